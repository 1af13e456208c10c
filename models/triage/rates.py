"""Hit rates of categories by empirical Bayes: beta-binomial, nested, for unordered pairs.

Hits of a group are binomial, its rate is Beta(m s, (1 - m) s): mean ``m`` from the level above,
strength ``s`` (rows that ``m`` is worth) by maximum marginal likelihood (Robbins 1956; Casella
1985; the likelihood is that of Skellam 1948). For pairs of labels {u, v} there are three levels:

    all rows -> each label, over the rows that hold it -> the pair itself

and the mean of a pair is ``logit m = logit g + w (d_u + d_v)``, where ``d`` is what a label adds to
the log-odds and the weight ``w`` is learned with the strength. Only sums of the two sides enter,
so (u, v) and (v, u) are one to the last bit; a label that was not seen adds exactly nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from scipy.special import betaln, digamma, expit, logit

from models.screen import ABSENT, BoolArray, FloatArray, IntArray, ScreenError

LOG_STRENGTH = (np.log(0.1), np.log(1e6))
"""A strength at the upper end says that groups do not differ beyond chance."""
PRIOR_CENTRE, PRIOR_SD = np.log(20.0), 1.5
"""Of the logarithm of a nested level's strength: where a handful of rows cannot say it, a group
needs about twenty rows to outweigh the level above. A hundred groups overrule this."""
LOG_ODDS = (-9.2, 9.2)
"""A rate learned from few rows is held to 1 in 10,000 at either end."""


@dataclass(frozen=True)
class BetaBinomial:
    """Rates drawn from Beta(``mean`` ``strength``, (1 - ``mean``) ``strength``)."""

    mean: float
    strength: float

    def rate(self, hits: FloatArray, rows: FloatArray) -> FloatArray:
        """Posterior mean of each group's rate; ``mean`` where there are no rows."""
        return (hits + self.mean * self.strength) / (rows + self.strength)

    def interval(
        self, hits: FloatArray, rows: FloatArray, level: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Ends of the central credible interval of each group's rate, from its Beta posterior."""
        from scipy.stats import beta

        a = hits + self.mean * self.strength
        b = rows - hits + (1 - self.mean) * self.strength
        tail = (1 - level) / 2
        return beta.ppf(tail, a, b), beta.ppf(1 - tail, a, b)


def fit_beta_binomial(hits: FloatArray, rows: FloatArray) -> BetaBinomial:
    """Mean and strength of most marginal likelihood; ``hits``, ``rows``: ``(c,)``, real numbers
    are allowed (weighted rows).

    Raises :class:`ScreenError` where there are no rows, no hits, or nothing but hits: no rate can
    be learned from these.
    """
    kept = rows > 0
    hits, rows = hits[kept], rows[kept]
    if not 0 < hits.sum() < rows.sum():
        raise ScreenError("a rate needs at least one hit and one row that is none")

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        mean, strength = float(expit(theta[0])), float(np.exp(theta[1]))
        value, by_a, by_b = _marginal(hits, rows, mean * strength, (1 - mean) * strength)
        slope = (by_a - by_b).sum() * strength * mean * (1 - mean)
        by_strength = (by_a * mean + by_b * (1 - mean)).sum() * strength
        return -value, -np.array([slope, by_strength])

    start = np.array([logit(hits.sum() / rows.sum()), np.log(20.0)])
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(-12.0, 12.0), LOG_STRENGTH]
    )
    return BetaBinomial(float(expit(found.x[0])), float(np.exp(found.x[1])))


@dataclass(frozen=True)
class LabelRates:
    """One level of single labels. ``hits``, ``rows`` ``(labels,)``; ``overall`` log-odds of all."""

    hits: FloatArray
    rows: FloatArray
    overall: float
    strength: float

    @classmethod
    def fit(cls, label: IntArray, hit: FloatArray, weight: FloatArray, n_labels: int) -> LabelRates:
        """``label`` ``(n,)`` or ``(n, 2)``, ``ABSENT`` where not known; a row with the same label
        twice counts once. ``hit`` ``(n,)`` 0 or 1, ``weight`` ``(n,)`` positive."""
        columns = label.reshape(len(hit), -1)
        owner, row = _label_rows(columns)
        hits, rows = effective_counts(owner, hit[row], weight[row], n_labels)
        overall = overall_log_odds(hit, weight)
        strength = fit_strength(hits, rows, np.full(n_labels, expit(overall)))
        return cls(hits, rows, overall, strength)

    @property
    def added(self) -> FloatArray:
        """``(labels + 1,)`` what each label adds to the log-odds; 0 in the last place, where
        ``ABSENT`` points, and for a label without rows."""
        mean = float(expit(self.overall))
        rate = (self.hits + mean * self.strength) / (self.rows + self.strength)
        added = np.where(self.rows > 0, logit(rate) - self.overall, 0.0)
        return np.append(added, 0.0)

    def evidence(self, label: IntArray) -> FloatArray:
        """``(n,)`` what the label of each row adds to the global log-odds."""
        return self.added[label]

    def draws(self, n: int, seed: int) -> FloatArray:
        """``(n, labels + 1)`` draws of :attr:`added` from the Beta posteriors, 0 where it is."""
        mean = float(expit(self.overall))
        known = np.flatnonzero(self.rows > 0)
        a = self.hits[known] + mean * self.strength
        b = self.rows[known] - self.hits[known] + (1 - mean) * self.strength
        drawn = np.zeros((n, len(self.rows) + 1))
        drawn[:, known] = beta_log_odds(a[None], b[None], known, n, seed) - self.overall
        return drawn


@dataclass(frozen=True)
class PairRates:
    """Three levels. ``pair`` ``(p, 2)`` labels of each measured pair, ascending; ``hits``,
    ``rows`` ``(p,)``; ``weight`` ``w`` of the labels in the mean of a pair."""

    labels: LabelRates
    pair: IntArray
    hits: FloatArray
    rows: FloatArray
    strength: float
    weight: float

    @classmethod
    def fit(cls, label: IntArray, hit: FloatArray, weight: FloatArray, n_labels: int) -> PairRates:
        """``label`` ``(n, 2)`` of both sides in any order, ``ABSENT`` where not known. Rows with
        an unknown side teach the labels and not the pairs."""
        labels = LabelRates.fit(label, hit, weight, n_labels)
        known = (label != ABSENT).all(axis=1)
        ordered = np.sort(label[known], axis=1)
        keys, group = np.unique(ordered @ np.array([n_labels, 1]), return_inverse=True)
        hits, rows = effective_counts(group, hit[known], weight[known], len(keys))
        pair = np.stack([keys // n_labels, keys % n_labels], axis=1).astype(np.int64)
        added = labels.added
        strength, share = _fit_nested(
            hits, rows, labels.overall, added[pair[:, 0]] + added[pair[:, 1]]
        )
        return cls(labels, pair, hits, rows, strength, share)

    def find(self, label: IntArray) -> IntArray:
        """``(n,)`` position of each row's pair in :attr:`pair`, ``ABSENT`` where not measured."""
        n = len(self.labels.rows)
        ordered = np.sort(label, axis=1)
        keys = np.where(ordered[:, 0] == ABSENT, -1, ordered @ np.array([n, 1]))
        known = self.pair @ np.array([n, 1])
        place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
        found = known[place] == keys if len(known) else np.zeros(len(keys), bool)
        return np.where(found, place, ABSENT).astype(np.int64)

    def evidence(self, label: IntArray) -> FloatArray:
        """``(n,)`` what the pair of labels of each row adds to the global log-odds."""
        added, place = self.labels.added, self.find(label)
        return self._posterior(added[label[:, 0]] + added[label[:, 1]], place)

    def draws(self, label: IntArray, n: int, seed: int) -> FloatArray:
        """``(n, rows)`` draws of :meth:`evidence`: labels first, then pairs given these. A row
        whose sides are both unknown is 0 in all; one draw is one world for all its rows, in
        whatever company they are asked for."""
        known = np.append(self.labels.rows > 0, False)
        drawn = self.labels.draws(n, seed)
        unique, where = np.unique(np.sort(label, axis=1), axis=0, return_inverse=True)
        mean = expit(
            self.labels.overall + self.weight * (drawn[:, unique[:, 0]] + drawn[:, unique[:, 1]])
        )
        place = self.find(unique)
        hits = np.append(self.hits, 0.0)[place]
        rows = np.append(self.rows, 0.0)[place]
        a, b = mean * self.strength + hits, (1 - mean) * self.strength + rows - hits
        key = (unique + 1) @ np.array([len(known) + 1, 1]) + len(known)
        value = beta_log_odds(a, b, key, n, seed) - self.labels.overall
        heard = known[unique].any(axis=1)
        return np.asarray((value * heard)[:, where.reshape(-1)])

    def _posterior(self, both: FloatArray, place: IntArray) -> FloatArray:
        """Log-odds beyond the global ones, from what both labels add and the pair's own rows."""
        start = self.weight * both
        mean = expit(self.labels.overall + start)
        hits, rows = np.append(self.hits, 0.0)[place], np.append(self.rows, 0.0)[place]
        rate = (hits + mean * self.strength) / (rows + self.strength)
        return np.where(rows > 0, logit(rate) - self.labels.overall, start)


def overall_log_odds(hit: FloatArray, weight: FloatArray) -> float:
    """Log-odds of all rows, with half a hit and half a miss beside them (Jeffreys' prior)."""
    zero = np.zeros(len(hit), np.int64)
    hits, rows = effective_counts(zero, hit, weight, 1)
    return float(logit((hits[0] + 0.5) / (rows[0] + 1.0)))


def effective_counts(
    group: IntArray, hit: FloatArray, weight: FloatArray, n_groups: int
) -> tuple[FloatArray, FloatArray]:
    """Hits and rows of each group as an unweighted sample would have them: the weighted rate times
    Kish's effective number of rows, ``(sum w)^2 / sum w^2``. Counts where weights are equal."""
    total = np.bincount(group, weight, n_groups)
    square = np.bincount(group, weight**2, n_groups)
    positive = np.bincount(group, weight * hit, n_groups)
    rows = np.divide(total**2, square, out=np.zeros(n_groups), where=square > 0)
    share = np.divide(positive, total, out=np.zeros(n_groups), where=total > 0)
    return np.minimum(share, 1.0) * rows, rows


def fit_strength(hits: FloatArray, rows: FloatArray, mean: FloatArray) -> float:
    """Strength of groups ``(c,)`` with known prior means ``(c,)``, most probable a posteriori."""
    kept = rows > 0
    hits, rows, mean = hits[kept], rows[kept], mean[kept]

    def loss(log_strength: float) -> float:
        s = float(np.exp(log_strength))
        return _log_prior(log_strength) - _marginal(hits, rows, mean * s, (1 - mean) * s)[0]

    found = scipy.optimize.minimize_scalar(
        loss, bounds=LOG_STRENGTH, method="bounded", options={"xatol": 1e-3}
    )
    return float(np.exp(found.x))


def beta_log_odds(a: FloatArray, b: FloatArray, key: IntArray, n: int, seed: int) -> FloatArray:
    """``(n, c)`` draws of the log-odds of Beta(a, b), each ``(1, c)`` or ``(n, c)``; column by
    column from a generator of its own ``key`` ``(c,)``, so that others change nothing."""
    a, b = np.broadcast_to(a, (n, len(key))), np.broadcast_to(b, (n, len(key)))
    value = np.empty((n, len(key)))
    tiny = 1e-300
    for column, own in enumerate(key.tolist()):
        rng = np.random.Generator(np.random.Philox(key=[seed, own]))
        # As two gammas, so that a small parameter does not end at log 0.
        first, second = rng.gamma(a[:, column]), rng.gamma(b[:, column])
        value[:, column] = np.log(first + tiny) - np.log(second + tiny)
    return np.clip(value, *LOG_ODDS)


def _fit_nested(
    hits: FloatArray, rows: FloatArray, overall: float, both: FloatArray
) -> tuple[float, float]:
    """Strength and weight of the level of pairs; the weight lies between 0 and 1."""
    if not len(rows):
        return float(np.exp(PRIOR_CENTRE)), 1.0

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        s, w = float(np.exp(theta[0])), theta[1]
        mean = expit(overall + w * both)
        value, by_a, by_b = _marginal(hits, rows, mean * s, (1 - mean) * s)
        by_s = (by_a * mean + by_b * (1 - mean)).sum() * s
        by_w = ((by_a - by_b) * s * mean * (1 - mean) * both).sum()
        prior = (theta[0] - PRIOR_CENTRE) / PRIOR_SD**2
        return _log_prior(theta[0]) - value, np.array([prior - by_s, -by_w])

    found = scipy.optimize.minimize(
        loss,
        np.array([PRIOR_CENTRE, 0.7]),
        jac=True,
        method="L-BFGS-B",
        bounds=[LOG_STRENGTH, (0.0, 1.0)],
    )
    return float(np.exp(found.x[0])), float(found.x[1])


def _log_prior(log_strength: float) -> float:
    """Minus the log density of the prior, without its constant."""
    return float(0.5 * ((log_strength - PRIOR_CENTRE) / PRIOR_SD) ** 2)


def _marginal(
    hits: FloatArray, rows: FloatArray, a: FloatArray | float, b: FloatArray | float
) -> tuple[float, FloatArray, FloatArray]:
    """Log marginal likelihood without binomial constants, and its slopes by ``a`` and ``b``."""
    value = betaln(hits + a, rows - hits + b) - betaln(a, b)
    total = digamma(np.add(a, b)) - digamma(rows + a + b)
    by_a = digamma(hits + a) - digamma(a) + total
    by_b = digamma(rows - hits + b) - digamma(b) + total
    return float(value.sum()), by_a, by_b


def _label_rows(columns: IntArray) -> tuple[IntArray, IntArray]:
    """(label, row) of every known label, once a row."""
    known: BoolArray = columns != ABSENT
    if columns.shape[1] == 2:
        known = known & np.stack([np.ones(len(columns), bool), columns[:, 0] != columns[:, 1]], 1)
    row, side = np.nonzero(known)
    return columns[row, side], row.astype(np.int64)
