"""Whether synthetic surfaces may be trained on. The default is no.

They may if the log density of held-out measurements, paired and grouped (by pair, cell line or
plate, whatever was left out together), improves on training without them *and* on training with
the swapped copies of the real blocks, which cost nothing; and if they are no copies: a synthetic
surface must not be nearer to the real ones that the sampler learned from than fresh measurements
are. Two tests of copying, both by the nearest neighbour: how near (Mann & Whitney), and nearer to
learned than to held-out ones, as many of each (Meehan, Chaudhuri & Dasgupta, AISTATS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.spatial
import scipy.stats

from models.screen import FloatArray, IntArray, ScreenError

LEVEL = 0.05
COPY_LEVEL = 0.01
FEWEST_GROUPS = 5


@dataclass(frozen=True)
class HeldOut:
    """Log densities ``(n,)``, nats, of the same held-out blocks after training on the real blocks
    (``none``), on those with their swapped copies (``swapped``) and on those with synthetic ones,
    too (``synthetic``). ``group``: ``(n,)`` what was left out together."""

    none: FloatArray
    swapped: FloatArray
    synthetic: FloatArray
    group: IntArray

    def __post_init__(self) -> None:
        sizes = {len(self.none), len(self.swapped), len(self.synthetic), len(self.group)}
        if len(sizes) > 1:
            raise ScreenError("all trainings must be judged on the same held-out blocks")
        if not all(np.all(np.isfinite(x)) for x in (self.none, self.swapped, self.synthetic)):
            raise ScreenError("a log density is not finite")


@dataclass(frozen=True)
class Gain:
    """Nats a block: mean over groups and its standard error; ``p_value`` of no gain, one-sided."""

    mean: float
    error: float
    p_value: float
    groups: int


@dataclass(frozen=True)
class Copying:
    """``nearer``: p value of synthetic surfaces lying nearer to the learned ones than held-out
    ones do. ``learned_share``: part of them whose nearest real neighbour was learned from, of
    equally many learned and held-out ones, 1/2 without copying, and its p value."""

    nearer: float
    learned_share: float
    learned_p_value: float

    @property
    def copies(self) -> bool:
        """Either test at one in a hundred."""
        return min(self.nearer, self.learned_p_value) <= COPY_LEVEL


@dataclass(frozen=True)
class Admission:
    """The decision and its reason in words. ``over_none``, ``over_swapped``: gains."""

    admitted: bool
    reason: str
    over_none: Gain
    over_swapped: Gain
    copying: Copying

    def report(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "admitted": self.admitted,
            "reason": self.reason,
            "gain_over_none": vars(self.over_none),
            "gain_over_swapped": vars(self.over_swapped),
            "copying": vars(self.copying),
        }


def judge_admission(held_out: HeldOut, copying: Copying) -> Admission:
    """Both gains and no copying, or a reason why not. Raises :class:`ScreenError` for fewer than
    five groups: a paired test over fewer cannot say anything."""
    none = paired_gain(held_out.synthetic - held_out.none, held_out.group)
    swapped = paired_gain(held_out.synthetic - held_out.swapped, held_out.group)
    reasons = [
        f"no gain over {name} ({gain.mean:+.3f} +- {gain.error:.3f} nats a block, "
        f"p = {gain.p_value:.3g})"
        for name, gain in (("real blocks alone", none), ("swapped copies", swapped))
        if not (gain.mean > 0 and gain.p_value <= LEVEL)
    ]
    if copying.copies:
        reasons.append(
            f"it copies what it learned from ({100 * copying.learned_share:.0f} % of its surfaces "
            "are nearest to a learned one, 50 % would be fair)"
        )
    if reasons:
        return Admission(False, "; ".join(reasons), none, swapped, copying)
    reason = (
        f"gains {swapped.mean:.3f} +- {swapped.error:.3f} nats a block over swapped copies in "
        f"{swapped.groups} groups, and copies nothing"
    )
    return Admission(True, reason, none, swapped, copying)


def paired_gain(difference: FloatArray, group: IntArray) -> Gain:
    """Paired t test over the means of groups: blocks of a group stand or fall together."""
    _, at = np.unique(group, return_inverse=True)
    means = np.bincount(at, difference) / np.bincount(at)
    if len(means) < FEWEST_GROUPS:
        raise ScreenError(f"a paired test needs {FEWEST_GROUPS} groups, got {len(means)}")
    error = float(means.std(ddof=1) / np.sqrt(len(means)))
    if error == 0:
        return Gain(float(means.mean()), 0.0, float(means.mean() <= 0), len(means))
    p_value = float(scipy.stats.t.sf(means.mean() / error, len(means) - 1))
    return Gain(float(means.mean()), error, p_value, len(means))


def check_copying(
    synthetic: FloatArray,
    learned: FloatArray,
    held_out: FloatArray,
    *,
    turned: tuple[FloatArray, FloatArray] | None = None,
    seed: int = 0,
) -> Copying:
    """Nearest-neighbour tests of rows ``(s, d)``, ``(n, d)`` learned from, ``(m, d)`` held out.

    ``turned``: synthetic and held-out rows under the swap, of which the nearer counts. Rows are
    comparable numbers of one unit, such as departures from Bliss. Raises :class:`ScreenError` for
    fewer than ten of any: too few to see a copy.
    """
    if min(len(synthetic), len(learned), len(held_out)) < 10:
        raise ScreenError("a check of copying needs ten synthetic, learned and held-out surfaces")
    views = [synthetic] if turned is None else [synthetic, turned[0]]
    fresh = [held_out] if turned is None else [held_out, turned[1]]
    nearer = scipy.stats.mannwhitneyu(
        _nearest(views, learned), _nearest(fresh, learned), alternative="less"
    ).pvalue
    rng, size = np.random.default_rng(seed), min(len(learned), len(held_out))
    one, other = (rows[rng.permutation(len(rows))[:size]] for rows in (learned, held_out))
    won = int((_nearest(views, one) < _nearest(views, other)).sum())
    told = scipy.stats.binomtest(won, len(synthetic), 0.5, alternative="greater").pvalue
    return Copying(float(nearer), won / len(synthetic), float(told))


def _nearest(views: list[FloatArray], rows: FloatArray) -> FloatArray:
    tree = scipy.spatial.cKDTree(rows)
    return np.asarray(np.min([tree.query(view)[0] for view in views], axis=0))
