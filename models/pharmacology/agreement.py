"""Do wells from another source agree with ours? Treatments that both measured tell.

    found = compare_sources(wells, source, n_cell_lines)
    found[0].beyond_noise, found[0].shift

Both means of a treatment scatter by the noise of their wells, so of ``n`` treatments that do not
differ about one in twenty lies beyond ``1.96 sd``. More of them mean other plates, other doses or
other cells: plates of one source then say less about the other than their replicates suggest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from models.pharmacology.noise import ASSUMED_SD, NoiseModel, gather_replicates, learn_noise
from models.screen import FloatArray, IntArray, ScreenError, Wells

LIMIT_SD = 1.96
BY_CHANCE = 0.05
"""Share of treatments beyond ``LIMIT_SD`` where nothing differs."""
FEWEST = 8
"""Treatments in common from which a disagreement is called one."""
LARGE_SHARE, RARE = 0.2, 1e-3
"""Share that matters, and the chance below which it is none by chance."""


@dataclass(frozen=True)
class Agreement:
    """``source``: which one. ``with_first``: whether it was compared with source 0, or, where they
    have nothing in common, with all others together. ``treatments``: measured by both sides.
    ``beyond_noise``: the share whose means differ by more than noise lets them. ``shift``: its
    mean minus the other side's, as a viability, and ``shift_sd`` the standard error over
    treatments; ``None`` where there is nothing to say. ``well_sd``: noise of one untreated well
    that was counted with."""

    source: int
    with_first: bool
    treatments: int
    beyond_noise: float | None
    shift: float | None
    shift_sd: float | None
    well_sd: float

    @property
    def disagrees(self) -> bool:
        """Whether more treatments differ than chance and a little could explain."""
        if self.beyond_noise is None or self.treatments < FEWEST:
            return False
        beyond = round(self.beyond_noise * self.treatments)
        chance = float(binom.sf(beyond - 1, self.treatments, BY_CHANCE))
        return self.beyond_noise >= LARGE_SHARE and chance < RARE


def compare_sources(wells: Wells, source: IntArray, n_cell_lines: int) -> list[Agreement]:
    """Every source but 0 against source 0, or against all others where it shares nothing with that.

    ``source`` ``(n,)``: where each well comes from, numbers from 0. The noise of a well is
    learned from replicates within a source, so that a disagreement does not hide itself.
    Raises :class:`ScreenError` where the two do not fit together.
    """
    if len(source) != len(wells):
        raise ScreenError(f"{len(source)} sources are given for {len(wells)} wells")
    count = int(source.max(initial=0)) + 1
    apart = replace(wells, cell_line=wells.cell_line + n_cell_lines * source)
    noise = learn_noise(apart, gather_replicates(apart)) or NoiseModel(ASSUMED_SD, 0.0, "assumed")
    together = gather_replicates(replace(wells, plate=None, plates=None))
    at = together.group * count + source[together.order]
    ones, values = np.ones(len(at)), wells.viability[together.order]
    n, total = (
        np.asarray(np.bincount(at, weight, len(together) * count), np.float64).reshape(-1, count)
        for weight in (ones, values)
    )
    return [_compared(n, total, other, noise) for other in range(1, count)]


def _compared(n: FloatArray, total: FloatArray, other: int, noise: NoiseModel) -> Agreement:
    untreated = float(noise.sd(np.ones(1))[0])
    n_theirs, theirs = n[:, other], total[:, other]
    n_ours, ours = n[:, 0], total[:, 0]
    with_first = bool(((n_ours > 0) & (n_theirs > 0)).any())
    if not with_first:
        n_ours, ours = n.sum(axis=1) - n_theirs, total.sum(axis=1) - theirs
    both = (n_ours > 0) & (n_theirs > 0)
    if not both.any():
        return Agreement(other, False, 0, None, None, None, untreated)
    n_ours, ours, n_theirs, theirs = (x[both] for x in (n_ours, ours, n_theirs, theirs))
    level = (ours + theirs) / (n_ours + n_theirs)
    sd = noise.sd(np.maximum(level, 0.0)) * np.sqrt(1 / n_ours + 1 / n_theirs)
    difference = theirs / n_theirs - ours / n_ours
    m = len(difference)
    return Agreement(
        source=other,
        with_first=with_first,
        treatments=m,
        beyond_noise=float(np.mean(np.abs(difference) > LIMIT_SD * sd)),
        shift=float(difference.mean()),
        shift_sd=float(difference.std(ddof=1) / np.sqrt(m)) if m > 1 else None,
        well_sd=untreated,
    )
