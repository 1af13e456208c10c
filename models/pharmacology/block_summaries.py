"""How much synergy a measured block shows, four ways, each with its uncertainty.

    found = summarise_blocks(pairs, curves, "bliss", errors, n=1000, seed=1, delta=10.0)
    found["best_3x3"].low, found["mean"].above        # (m,)

Summaries are of combination wells only; single agents enter through the reference. The wells'
true viabilities have a flat prior: a maximum over noisy wells is too high, and so are its draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.block_draws import (
    ELEMENTS_AT_ONCE,
    BlockErrors,
    ExcessDraws,
    Grids,
    dose_grids,
)
from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable
from models.screen import (
    Candidates,
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

LEAST_DRAWS = 100
_QUANTILES = (0.05, 0.5, 0.95)

BLOCK_SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "mean": "mean excess over the measured dose pairs, percentage points",
        "max": "largest excess over the measured dose pairs, percentage points; noise raises it",
        "best_3x3": "largest mean excess of three by three neighbouring doses, percentage points; "
        "undefined where no such window was measured in full; noise raises it",
        "log_volume": "excess integrated over log10 dose by log10 dose, percentage points times "
        "decades squared; undefined unless the grid is full, two by two at least",
    }
)
"""The summaries and what they mean. Undefined ones are NaN."""


@dataclass(frozen=True)
class Estimates:
    """One summary of every block, all ``(m,)``, NaN where it is undefined.

    ``measured``: at the modes of the curves and the measured wells. ``mean``, ``sd``, ``low``,
    ``median``, ``high`` (5, 50, 95 %) and ``above`` (chance of exceeding ``delta``): over the draws
    in which the reference is defined, whose share is ``defined``.
    """

    measured: FloatArray
    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    median: FloatArray
    high: FloatArray
    above: FloatArray
    defined: FloatArray


@dataclass(frozen=True)
class BlockSummaries:
    """``estimates`` by the names of ``BLOCK_SUMMARIES``, over ``candidates`` ``(m,)``."""

    candidates: Candidates
    reference: str
    delta: float
    n_draws: int
    estimates: Mapping[str, Estimates]

    def __getitem__(self, summary: str) -> Estimates:
        return self.estimates[summary]


def summarise_blocks(
    pairs: DosePairs,
    curves: CurveTable,
    reference: str = "bliss",
    errors: BlockErrors = BlockErrors(),
    *,
    n: int = 1000,
    seed: int = 0,
    delta: float = 0.0,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> BlockSummaries:
    """All summaries of all blocks under ``reference`` (a key of ``REFERENCES``) from ``n`` draws.

    ``errors``: what combination wells scatter and share (:mod:`models.objectives.block_noise`
    learns both). ``delta``: percentage points. A block's numbers do not depend on which others
    are asked for. Raises :class:`ScreenError` for an unknown reference and fewer than 100 draws,
    ``Stopped``.
    """
    if n < LEAST_DRAWS:
        raise ScreenError(f"{n} draws, at least {LEAST_DRAWS} are needed for a 5 % quantile")
    draws = ExcessDraws.of(pairs, curves, reference, errors, n, seed)
    measured = draws.measured()
    m, done = len(pairs.first), 0
    table = {name: np.full((8, m), np.nan) for name in BLOCK_SUMMARIES}
    for grids in dose_grids(pairs):
        width = max(1, ELEMENTS_AT_ONCE // (n * grids.rows[0].size))
        for start in range(0, len(grids.block), width):
            if should_stop():
                raise Stopped
            part = grids.part(slice(start, start + width))
            fixed = _summaries(part, _at_modes(part, measured))
            drawn = _summaries(part, draws.draw(part))
            for name, column in table.items():
                column[0, part.block] = fixed[name][:, 0].numpy()
                column[1:, part.block] = _describe(drawn[name], delta)
            done += len(part.block)
            on_progress("blocks", done, m)
    return BlockSummaries(
        pairs.candidates,
        reference,
        delta,
        n,
        MappingProxyType({name: Estimates(*column) for name, column in table.items()}),
    )


def _at_modes(grids: Grids, measured: FloatArray) -> Tensor:
    """``(b, n1, n2, 1)`` measured excess."""
    excess = np.where(grids.rows >= 0, measured[np.maximum(grids.rows, 0)], np.nan)
    return torch.from_numpy(excess)[..., None]


def _summaries(grids: Grids, excess: Tensor) -> dict[str, Tensor]:
    """Draws ``(b, n1, n2, n)`` to ``(b, n)`` per summary."""
    flat = excess.flatten(1, 2)
    known = ~flat.isnan()
    count = known.sum(1)
    complete = bool(known.all())
    total = flat.sum(1) if complete else flat.nansum(1)
    largest = (flat if complete else flat.nan_to_num(nan=-torch.inf)).amax(1)
    return {
        "mean": total / count,
        "max": torch.where(count > 0, largest, torch.nan),
        "best_3x3": _best_window(excess),
        "log_volume": _log_volume(grids, excess),
    }


def _best_window(excess: Tensor) -> Tensor:
    """Largest mean of a full window of three by three neighbours."""
    b, n1, n2, n = excess.shape
    if n1 < 3 or n2 < 3:
        return torch.full((b, n), torch.nan, dtype=excess.dtype)
    across = excess[:, :-2] + excess[:, 1:-1] + excess[:, 2:]
    windows = (across[:, :, :-2] + across[:, :, 1:-1] + across[:, :, 2:]) / 9.0
    best = windows.flatten(1, 2).nan_to_num(nan=-torch.inf).amax(1)
    return torch.where(best > -torch.inf, best, torch.nan)


def _log_volume(grids: Grids, excess: Tensor) -> Tensor:
    """Trapezoids over log10 doses; NaN unless every dose pair is there."""
    b, n1, n2, n = excess.shape
    if n1 < 2 or n2 < 2:
        return torch.full((b, n), torch.nan, dtype=excess.dtype)
    one, two = (torch.from_numpy(_trapezoid(d)).to(excess.dtype) for d in grids.log_dose)
    weight = one[:, :, None] * two[:, None, :]
    return torch.einsum("bij,bijn->bn", weight, excess)


def _trapezoid(log_dose: FloatArray) -> FloatArray:
    """``(b, n)`` weights of the trapezoidal rule over decades."""
    width = np.diff(log_dose, axis=1) / np.log(10.0)
    weight = np.zeros_like(log_dose)
    weight[:, :-1] += 0.5 * width
    weight[:, 1:] += 0.5 * width
    return weight


def _describe(draws: Tensor, delta: float) -> FloatArray:
    """``(7, b)`` mean, sd, quantiles, chance above ``delta`` and share of defined draws."""
    known = ~draws.isnan()
    count = known.sum(1)
    usable = count > 1
    safe = count.clamp(min=2)
    filled = draws.nan_to_num(nan=0.0)
    mean = filled.sum(1) / safe
    away = torch.where(known, filled - mean[:, None], 0.0)
    sd = (away.square().sum(1) / (safe - 1)).sqrt()
    ordered = draws.sort(dim=1).values  # NaN last
    cuts = []
    for share in _QUANTILES:
        place = share * (safe - 1)
        low = place.floor().long()
        rest = (place - low)[:, None]
        pair = ordered.gather(1, torch.stack([low, low + 1], dim=1).clamp(max=len(draws[0]) - 1))
        # The last value has no neighbour above it.
        upper = torch.where((low + 1 < safe)[:, None], pair[:, 1:], pair[:, :1])
        cuts.append(((1.0 - rest) * pair[:, :1] + rest * upper)[:, 0])
    above = (filled > delta).logical_and(known).sum(1) / safe
    columns = [mean, sd, *cuts, above]
    columns = [torch.where(usable, column, torch.nan) for column in columns]
    return torch.stack([*columns, count / draws.shape[1]]).double().numpy()
