"""From a response posterior to the campaign's score, and what a measured score scatters beyond.

The score of a block in one world is the summary, over the doses at which the block is measured,
of ``100 * (reference of the single agents - viability)``, all of that world.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from models.bayes.predictive import Noise, log_predictive_density
from models.pharmacology.score_rules import score_rule
from models.screen import Candidates, FloatArray, IntArray, ScreenError
from models.synergy.inputs import ScoredBlocks
from models.synergy.response.dose_grids import DoseGrids

POINTS = 100.0
ELEMENTS_PER_BLOCK = 1 << 21
"""Dose pairs times draws evaluated at once."""

CALIBRATION_BLOCKS, CALIBRATION_DRAWS = 1000, 64
_SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3)
_DFS = (3.0, 4.0, 6.0, 10.0, 30.0)

Surface = Callable[[IntArray, FloatArray, IntArray], tuple[list[Tensor], Tensor]]
"""Pairs ``(r, 2)``, doses ``(r, 2)``, cell lines ``(r,)`` to single viabilities of the two slots
and joint ones, ``(r, n)`` each: ``n`` draws of whole functions."""


@dataclass(frozen=True)
class Remainder:
    """``scale`` (percentage points) and ``df`` of the Student-t part of a measured score that
    neither the posterior nor its known error explains; ``typical_sd``: median known error."""

    scale: float
    df: float
    typical_sd: float

    def total(self) -> float:
        """Scale of the noise of one typical measurement."""
        return math.hypot(self.scale, self.typical_sd)


_REFERENCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "bliss": torch.mul,
        # The surface of a world has no noise that rows and columns would have to smooth.
        "zip": torch.mul,
        "hsa": torch.minimum,
        "none": lambda one, two: torch.ones_like(one),
    }
)
"""References as functions of the two single viabilities."""


def require_score_of_responses(score: str) -> None:
    """:class:`ScreenError` for a score that worlds of responses do not define."""
    if score_rule(score).reference not in _REFERENCES:
        raise ScreenError(
            f"{score} needs whole single-agent curves, of which a model of responses draws single "
            "viabilities only; choose a model of scores, such as gp_pairs, or another score"
        )


def score_draws(
    surface: Surface, candidates: Candidates, grids: DoseGrids, score: str, n: int
) -> Tensor:
    """``(n, m)`` float32 scores of whole functions, evaluated some candidates at a time."""
    if n < 1:
        raise ScreenError(f"cannot draw {n} functions")
    rule = score_rule(score)
    require_score_of_responses(score)
    owner, doses = grids.rows(candidates)
    result = torch.empty((n, len(candidates)), dtype=torch.float32)
    starts = np.searchsorted(owner, np.arange(len(candidates) + 1))
    first = 0
    while first < len(candidates):
        most = starts[first] + max(1, ELEMENTS_PER_BLOCK // n)
        last = max(first + 1, int(np.searchsorted(starts, most, side="right")) - 1)
        rows = slice(starts[first], starts[last])
        own = owner[rows]
        singles, joint = surface(candidates.compounds[own], doses[rows], candidates.cell_line[own])
        reference = _REFERENCES[rule.reference](singles[0], singles[1])
        excess = POINTS * (reference - joint)
        place = torch.from_numpy(own - first)
        result[:, first:last] = _summary(rule.summary, excess, place, last - first).T
        first = last
    return result


def _summary(summary: str, excess: Tensor, owner: Tensor, count: int) -> Tensor:
    """``(count, n)`` means or maxima of the rows of each owner."""
    if summary == "mean":
        total = torch.zeros((count, excess.shape[1])).index_add_(0, owner, excess)
        return total / torch.bincount(owner, minlength=count)[:, None]
    largest = torch.full((count, excess.shape[1]), -torch.inf)
    index = owner[:, None].expand_as(excess)
    return largest.scatter_reduce_(0, index, excess, "amax")


def calibrate(draws: FloatArray, blocks: ScoredBlocks) -> Remainder:
    """The remainder under which the measured scores are likeliest.

    ``draws``: ``(n, m)`` predictions of the blocks that do not know their own score. The squared
    scale of a measurement is the remainder's and the block's known squared error; scale and
    degrees of freedom are picked from a grid by mean log predictive density.
    """
    typical = float(np.median(blocks.noise_sd))
    residual = blocks.score - draws.mean(axis=0)
    spread = 1.4826 * float(np.median(np.abs(residual))) or float(residual.std()) or 1.0

    def density(choice: tuple[float, float]) -> float:
        scale = np.sqrt((choice[0] * spread) ** 2 + blocks.noise_sd**2)
        noise = Noise(scale, choice[1])
        return float(log_predictive_density(draws, blocks.score, noise).mean())

    share, df = max(itertools.product(_SHARES, _DFS), key=density)
    return Remainder(share * spread, df, typical)


def calibration_rows(n: int, seed: int) -> IntArray:
    """At most ``CALIBRATION_BLOCKS`` of ``n`` blocks, ascending."""
    chosen = np.random.default_rng([seed, n]).permutation(n)[:CALIBRATION_BLOCKS]
    return np.sort(chosen).astype(np.int64)
