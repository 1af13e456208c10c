"""Counts of cells in replicate wells over time: what is simulated, and under which prior.

Cells divide, die, fall asleep and wake (:data:`known_networks.GROWTH`), all awake at the first
reading. Two nuisances stand beside the four rates: wells differ (a log-normal factor on the
division of each well) and counting errs (a log-normal factor on each reading). Without them, what
a microscope and a pipette do would be read as births and deaths.

The prior knows the dose: untreated cells have rates of a narrow box, saturating doses of a drug
any of the wide one, and a Hill curve of unknown half-effect lies between, so that low doses are
expected to be like none. Two drugs act as a convex mixture of both, so no pair leaves the box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.dynamics.stochastic.known_networks import GROWTH
from models.dynamics.stochastic.leaping import Leaping
from models.dynamics.stochastic.priors import BoxPrior
from models.screen import BoolArray, FloatArray, ScreenError

RATES = ("division", "death", "falling asleep", "waking up")
NUISANCES = ("spread of wells", "error of counting")
MOST_WELLS = 12
FASTEST = 0.1
"""An hour: a cell divides every seven hours."""
FOLDS = 8.0
"""A population grows some exp(8)-fold in an experiment at most, however long it is."""
MOST_FIRST = 5000
"""More cells than this at the start are no matter of chance."""
FURTHEST = 2.5
"""The factors of wells and readings are log-normal, cut at so many standard deviations."""
UNTREATED = (1.0, 0.25, 0.25, 1.0)
"""Share of the box that untreated cells may have, by rate."""
LEAPS = 40
"""Leaps over the whole experiment, at least one between two readings."""


@dataclass(frozen=True)
class WellCounts:
    """Replicate wells of one condition: counts ``(K, T)``, NaN where not read, at ``times`` (T,)
    hours; ``levels`` (2,) of the two drugs, 0 absent to 1 the largest dose there is.

    Raises :class:`ScreenError` for counts that are no whole numbers, a well without a first
    reading, times that do not ascend from 0, or too many wells.
    """

    times: FloatArray
    counts: FloatArray
    levels: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or self.counts.shape[1] != len(self.times):
            raise ScreenError("counts are a row for each well, one for each time")
        if not 1 <= len(self.counts) <= MOST_WELLS:
            raise ScreenError(f"a condition has 1 to {MOST_WELLS} wells, not {len(self.counts)}")
        if len(self.times) < 3 or self.times[0] != 0 or np.any(np.diff(self.times) <= 0):
            raise ScreenError("times of counts ascend from 0 h, at least three of them")
        seen = self.counts[np.isfinite(self.counts)]
        if np.any(seen < 0) or np.any(seen != np.round(seen)):
            raise ScreenError("counts of cells must be whole numbers, 0 or more")
        if not np.all(np.isfinite(self.counts[:, 0])):
            raise ScreenError("each well needs a count at 0 h")
        if not np.all(self.counts[:, 0] > 0):
            raise ScreenError("a well without cells at 0 h tells nothing: leave it out")
        if self.counts[:, 0].max() > MOST_FIRST:
            raise ScreenError(
                f"{self.counts[:, 0].max():,.0f} cells at 0 h: with more than {MOST_FIRST:,} "
                "chance averages out; send such wells as time courses"
            )
        if not all(0 <= level <= 1 for level in self.levels):
            raise ScreenError("levels of dose lie between 0 and 1")


@dataclass(frozen=True)
class Experiment:
    """What all conditions share: ``times`` ``(T,)`` h from 0; ``first`` counts that wells began
    with, to draw from; ``wells`` numbers of replicates, to draw from; ``levels`` ``(m, 2)`` of the
    conditions; ``missing`` chance that a reading is. ``fastest``: largest rate of the prior."""

    times: FloatArray
    first: FloatArray
    wells: FloatArray
    levels: FloatArray
    missing: float = 0.0

    @classmethod
    def of(cls, conditions: list[WellCounts]) -> Experiment:
        """The frame of some conditions, all read at the same times. Raises :class:`ScreenError`."""
        if not conditions:
            raise ScreenError("there are no conditions")
        times = conditions[0].times
        if any(not np.array_equal(one.times, times) for one in conditions):
            raise ScreenError("conditions are read at the same times; leave readings empty")
        counts = np.concatenate([one.counts for one in conditions])
        return cls(
            times,
            np.sort(counts[:, 0]),
            np.sort(np.array([len(one.counts) for one in conditions], np.float64)),
            np.unique(np.array([one.levels for one in conditions]), axis=0),
            float(np.isnan(counts).mean()),
        )

    @property
    def fastest(self) -> float:
        """Largest rate of the prior, an hour."""
        return min(FASTEST, FOLDS / float(self.times[-1]))

    def prior(self) -> BoxPrior:
        """The box of all six parameters; what the dose says comes with :meth:`draw`."""
        top = self.fastest
        return BoxPrior((*RATES, *NUISANCES), (0.0,) * 6, (top, top, top / 2, top / 2, 0.15, 0.15))

    def draw(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """``(N, 6)`` parameters from the prior at dose ``levels`` ``(N, 2)``."""
        prior, n = self.prior(), len(levels)
        narrow = torch.tensor((*UNTREATED, 1.0, 1.0), dtype=torch.float64)
        usual = prior.sample(n, generator) * narrow
        weights = _mixture(_effect(levels, generator))
        found = weights[:, :1] * usual
        for drug in (0, 1):
            found = found + weights[:, 1 + drug, None] * prior.sample(n, generator)
        # The nuisances are of the lab, not of the drug.
        return torch.cat([found[:, :4], usual[:, 4:]], dim=1)

    def draw_frame(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Dose levels ``(n, 2)``, first counts ``(n, K)`` and which wells are there ``(n, K)``, as
        the conditions of the experiment have them."""
        levels = _pick(torch.as_tensor(self.levels), n, generator)
        most = int(self.wells.max())
        first = _pick(torch.as_tensor(self.first), n * most, generator).view(n, most)
        wells = _pick(torch.as_tensor(self.wells), n, generator)
        return levels, first, torch.arange(most) < wells[:, None]

    def simulate(self, theta: Tensor, first: Tensor, generator: torch.Generator) -> Tensor:
        """Counts read ``(N, K, T)`` in wells that began with ``first`` ``(N, K)`` cells, for
        parameters ``(N, 6)``; as counted, so the first reading errs, too."""
        n, wells = first.shape
        spread, error = theta[:, 4, None], theta[:, 5, None, None]
        rates = theta[:, None, :4].expand(n, wells, 4).clone()
        rates[..., 0] *= torch.exp(spread * _normal((n, wells), generator) - spread.square() / 2)
        start = torch.stack([first, torch.zeros_like(first)], dim=-1)
        tau = float(self.times[-1]) / LEAPS
        made = Leaping(GROWTH, tau).simulate(
            rates.flatten(0, 1), start.flatten(0, 1), self.times, generator
        )
        living = made.sum(dim=-1).view(n, wells, -1)
        factor = torch.exp(error * _normal(living.shape, generator) - error.square() / 2)
        return torch.round(living * factor)


def _effect(levels: Tensor, generator: torch.Generator) -> Tensor:
    """``(N, 2)`` share of each drug's full effect at its level: a Hill curve over the logarithm of
    the dose, two decades wide, whose middle may lie anywhere from below it to beyond."""
    size = levels.shape
    middle = -2.5 + 3.0 * torch.rand(size, generator=generator, dtype=torch.float64)
    slope = torch.exp(0.4 * _normal(size, generator)) * 1.5
    position = torch.log10(levels.clamp(min=1e-9))
    share = torch.sigmoid(math.log(10) * slope * (position - middle))
    return torch.where(levels > 0, share, torch.zeros_like(share))


def _mixture(share: Tensor) -> Tensor:
    """``(N, 3)`` weights of no drug, the first, the second; they add up to 1."""
    one, other = share.unbind(1)
    both = one * other
    return torch.stack([1 - one - other + both, one - both / 2, other - both / 2], dim=1)


def _normal(size: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    drawn = torch.randn(size, generator=generator, dtype=torch.float64)
    return drawn.clamp(-FURTHEST, FURTHEST)


def _pick(values: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return values[torch.randint(len(values), (n,), generator=generator)]


def padded(conditions: list[WellCounts]) -> tuple[FloatArray, BoolArray]:
    """Counts ``(N, K, T)`` and which wells are there ``(N, K)``; NaN elsewhere."""
    most = max(len(one.counts) for one in conditions)
    counts = np.full((len(conditions), most, len(conditions[0].times)), np.nan)
    present = np.zeros((len(conditions), most), np.bool_)
    for at, one in enumerate(conditions):
        counts[at, : len(one.counts)] = one.counts
        present[at, : len(one.counts)] = True
    return counts, present
