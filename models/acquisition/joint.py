"""A batch as a set: what its members are worth together, from the same worlds.

A set function F is grown greedily, one candidate at a time, each the one that adds most to those
chosen and to those *pending* (in the lab, results not here yet). All but ``expected_hits`` have
falling returns (they are monotone and submodular), so two candidates that say the same are not
both chosen, and greedy reaches at least 1 - 1/e of the best set of its size (Nemhauser, Wolsey and
Fisher, Mathematical Programming 14, 1978). With ``feasible`` the share is 1/(p + 1) for rules that
are p caps met together, as p = 2 for a cap per compound (Fisher, Nemhauser and Wolsey, 1978).

    batch = greedy_batch(draws, noise, "expected_best", 24, incumbent=31.0, pending=in_the_lab)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from models.acquisition.draws import AcquisitionError, require_draws
from models.bayes.predictive import Noise, standard_cdf
from models.screen import BoolArray, FloatArray, IntArray

LOOKED_AT = 256
"""Candidates whose gain is brought up to date at once."""
_GREEDY = "at least 1 - 1/e = 63 % of the best set of this size"
_CAPPED = "at least 1/(p + 1) of the best set where the rules are p caps met together"
_EXACT = "the best set of this size"

Feasible = Callable[[IntArray], BoolArray]
"""``feasible(chosen)``: ``(m,)`` which candidates may come next after those chosen."""


class SetFunction(Protocol):
    """A monotone function of sets with falling returns, at the set grown so far."""

    def gains(self, columns: IntArray) -> FloatArray:
        """What each of these candidates would add, ``(len(columns),)``, not negative."""
        ...

    def add(self, column: int) -> None:
        """Take a candidate into the set."""
        ...


class ExpectedHits:
    """F(S) = sum_j (1/n) sum_i P(f_ij + e_j > threshold): the sum of the hit probabilities.

    Modular: what is chosen changes nothing for the others, and greedy is exact.
    """

    def __init__(self, chance: FloatArray) -> None:
        self.mean = chance.mean(axis=0)

    def gains(self, columns: IntArray) -> FloatArray:
        """The hit probabilities."""
        return np.asarray(self.mean[columns])

    def add(self, column: int) -> None:
        """Nothing changes."""


class HitCoverage:
    """F(S) = 1 - (1/n) sum_i prod_{j in S} (1 - p_ij): the chance of at least one hit.

    ``p_ij``: probability of a hit in world i. Worlds in which a hit is likely already count no
    more, so that the set spreads over different ways in which the pool may hold hits.
    """

    def __init__(self, chance: FloatArray) -> None:
        self.chance = chance
        self.none = np.ones(len(chance))

    def gains(self, columns: IntArray) -> FloatArray:
        """(1/n) sum_i p_ij prod_{k in S} (1 - p_ik)."""
        return np.asarray(self.none @ self.chance[:, columns] / len(self.none))

    def add(self, column: int) -> None:
        """One more way to have a hit."""
        self.none = self.none * (1.0 - self.chance[:, column])


class ExpectedBest:
    """F(S) = (1/n) sum_i max(b, max_{j in S} f_ij) - b, with b the best score known (incumbent).

    Of noise-free scores. Expected improvement of a batch (q-EI) from whole-function draws.
    """

    def __init__(self, draws: FloatArray, incumbent: float) -> None:
        self.draws = draws
        self.best = np.full(len(draws), incumbent)

    def gains(self, columns: IntArray) -> FloatArray:
        """(1/n) sum_i max(0, f_ij - best_i)."""
        better = np.maximum(self.draws[:, columns] - self.best[:, None], 0.0)
        return np.asarray(better.mean(axis=0))

    def add(self, column: int) -> None:
        """The best of each world so far."""
        self.best = np.maximum(self.best, self.draws[:, column])


class Information:
    """F(S) = 1/2 log det(I + D^-1/2 K_S D^-1/2): what measuring S tells about the function, nats.

    K: covariance of the draws (divisor n - 1); D: variances of the noise. Exact for Gaussian
    worlds. Kept as each candidate's variance given those chosen, by rows of a Cholesky factor:
    O((n + k) m) for candidate number k.
    """

    def __init__(self, draws: FloatArray, noise_sd: FloatArray) -> None:
        if not np.all(np.isfinite(noise_sd) & (noise_sd > 0)):
            raise AcquisitionError("the noise of a measurement must be positive")
        self.centred = (draws - draws.mean(axis=0)) / math.sqrt(len(draws) - 1)
        self.noise = noise_sd**2
        self.variance = (self.centred**2).sum(axis=0)
        self._rows: list[FloatArray] = []

    def gains(self, columns: IntArray) -> FloatArray:
        """1/2 log(1 + variance given S / noise)."""
        left = np.maximum(self.variance[columns], 0.0)
        return np.asarray(0.5 * np.log1p(left / self.noise[columns]))

    def add(self, column: int) -> None:
        """Condition every candidate on one more measurement."""
        shared = self.centred[:, column] @ self.centred
        for row in self._rows:
            shared -= row[column] * row
        row = shared / math.sqrt(max(self.variance[column], 0.0) + self.noise[column])
        self._rows.append(row)
        self.variance = self.variance - row**2


class Mixed:
    """F(S) = sum_k w_k F_k(S) / s_k, with s_k the largest gain of any one candidate in F_k.

    Weights that are not negative keep falling returns. A kind in which nothing is to be gained
    counts nothing.
    """

    def __init__(self, parts: list[tuple[float, SetFunction]], m: int) -> None:
        every = np.arange(m)
        largest = [float(part.gains(every).max(initial=0.0)) for _, part in parts]
        scale = [one if one > 0 else math.inf for one in largest]
        self.parts = [(w / s, part) for (w, part), s in zip(parts, scale, strict=True)]

    def gains(self, columns: IntArray) -> FloatArray:
        """The weighted sum of gains."""
        total = np.zeros(len(columns))
        for weight, part in self.parts:
            total += weight * part.gains(columns)
        return total

    def add(self, column: int) -> None:
        """Add to every part."""
        for _, part in self.parts:
            part.add(column)


KINDS = ("expected_hits", "hit_coverage", "expected_best", "information", "mixed")
JOINT: Mapping[str, str] = MappingProxyType(
    {f"joint_{kind}": kind for kind in ("hit_coverage", "expected_best", "information")}
)
"""What a campaign may call them as its acquisition; expected hits are ``hit_probability``."""


@dataclass(frozen=True)
class JointBatch:
    """``rows``: ``(k,)`` chosen, in order. ``gains``: ``(k,)`` what each added to those before it
    and to the pending ones. ``guarantee``: how far from the best set it may be, in words."""

    rows: IntArray
    gains: FloatArray
    guarantee: str

    @property
    def value(self) -> float:
        """What the set adds to the pending ones."""
        return float(self.gains.sum())


def greedy_batch(
    draws: FloatArray,
    noise: Noise,
    kind: str,
    size: int,
    *,
    threshold: float = 0.0,
    incumbent: float | None = None,
    weights: Mapping[str, float] | None = None,
    pending: IntArray | None = None,
    feasible: Feasible | None = None,
) -> JointBatch:
    """Up to ``size`` different candidates; fewer where no more are feasible.

    ``draws``: ``(n, m)``, of the pool and the pending rows alike. ``noise``: of a measurement of
    each. ``kind``: one of ``KINDS``. ``threshold``: for hits; ``incumbent``: for
    "expected_best", the best score known; ``weights``: by kind, for "mixed". ``pending``: columns
    that are being measured; they are conditioned on and never chosen. Ties go to the earlier
    column. Raises :class:`AcquisitionError` for draws that are not finite and arguments that are
    missing.
    """
    checked = require_draws(draws)
    m = checked.shape[1]
    if size < 1:
        raise AcquisitionError(f"a batch of {size} candidates cannot be chosen")
    function = set_function(
        checked, noise, kind, threshold=threshold, incumbent=incumbent, weights=weights
    )
    waiting = np.empty(0, np.int64) if pending is None else np.unique(pending)
    if len(waiting) and (waiting[0] < 0 or waiting[-1] >= m):
        raise AcquisitionError(f"a pending row lies outside of the {m} columns of the draws")
    for column in waiting:
        function.add(int(column))
    open_ = np.ones(m, dtype=bool)
    open_[waiting] = False
    rows, gains = _grow(function, open_, size, feasible)
    exact = kind == "expected_hits" and feasible is None
    guarantee = _EXACT if exact else _GREEDY if feasible is None else _CAPPED
    return JointBatch(rows, gains, guarantee)


def set_function(
    draws: FloatArray,
    noise: Noise,
    kind: str,
    *,
    threshold: float = 0.0,
    incumbent: float | None = None,
    weights: Mapping[str, float] | None = None,
) -> SetFunction:
    """The set function of a kind, at the empty set; arguments as in :func:`greedy_batch`."""
    if kind in ("expected_hits", "hit_coverage"):
        if not math.isfinite(threshold):
            raise AcquisitionError(f"the hit threshold is {threshold}")
        chance = standard_cdf((draws - threshold) / noise.scale, noise.df)
        return ExpectedHits(chance) if kind == "expected_hits" else HitCoverage(chance)
    if kind == "expected_best":
        if incumbent is None or not math.isfinite(incumbent):
            raise AcquisitionError(f"the incumbent is {incumbent}, expected the best score known")
        return ExpectedBest(draws, incumbent)
    if kind == "information":
        return Information(draws, np.broadcast_to(noise.sd(), (draws.shape[1],)))
    if kind != "mixed":
        raise AcquisitionError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    if not weights or not all(math.isfinite(w) and w >= 0 for w in weights.values()):
        raise AcquisitionError("a mixture needs weights by kind, none of them below 0")
    if "mixed" in weights:
        raise AcquisitionError("a mixture of mixtures is a mixture: give its parts")
    parts = [
        (weight, set_function(draws, noise, part, threshold=threshold, incumbent=incumbent))
        for part, weight in weights.items()
    ]
    return Mixed(parts, draws.shape[1])


def _grow(
    function: SetFunction, open_: BoolArray, size: int, feasible: Feasible | None
) -> tuple[IntArray, FloatArray]:
    """Lazy greedy (Minoux, 1978): an old gain bounds the new one, so few are looked at."""
    open_ = open_.copy()
    upper = function.gains(np.arange(len(open_)))
    rows: list[int] = []
    gains: list[float] = []
    while len(rows) < size:
        allowed = open_ if feasible is None else open_ & feasible(np.array(rows, dtype=np.int64))
        best = _next(function, upper, np.flatnonzero(allowed))
        if best is None:
            break
        rows.append(best)
        gains.append(float(upper[best]))
        open_[best] = False
        function.add(best)
    return np.array(rows, dtype=np.int64), np.array(gains)


def _next(function: SetFunction, upper: FloatArray, allowed: IntArray) -> int | None:
    """The candidate that adds most; ``upper`` is brought up to date as far as looked at."""
    if not len(allowed):
        return None
    order = allowed[np.argsort(-upper[allowed], kind="stable")]
    best, gain = -1, -math.inf
    for start in range(0, len(order), LOOKED_AT):
        # Bounds as large as the gain may hide an equal candidate that comes earlier.
        if upper[order[start]] < gain:
            break
        looked = np.sort(order[start : start + LOOKED_AT])
        upper[looked] = function.gains(looked)
        top = int(np.argmax(upper[looked]))
        found = float(upper[looked[top]])
        if found > gain or (found == gain and looked[top] < best):
            best, gain = int(looked[top]), found
    return best
