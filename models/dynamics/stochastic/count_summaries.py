"""What a network and a person see of replicate counts: channels over time, and nine numbers.

Counts are ``(N, K, T)`` float64, NaN where there is no reading; ``present`` ``(N, K)`` wells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.dynamics.stochastic.neural_posterior import Inputs
from models.dynamics.stochastic.summaries import SeriesCNN, SetPooled
from models.screen import FloatArray

CHANNELS = 5
NUMBERS = (
    "growth over the whole experiment",
    "growth in the second half against the first",
    "spread between wells at the end",
    "scatter about a steady growth",
    "alternation from reading to reading",
    "largest jump between readings",
    "share of wells without cells at the end",
    "cells at the start",
    "wells that come back from nothing",
)
"""The numbers of :func:`numbers_of`, in words."""
_LEVEL = 5.0
_ENCODED = 32


def channels_of(counts: Tensor, times: FloatArray) -> Tensor:
    """``(N, K, C, T)`` float32: log count, its change since the last reading, none left, read at
    all, time; 0 where not read."""
    seen = torch.isfinite(counts)
    logs = torch.where(seen, torch.log1p(counts.nan_to_num()), torch.nan)
    filled, _ = _forward(logs)
    change = torch.diff(filled, dim=-1, prepend=filled[..., :1])
    time = torch.as_tensor(times / times[-1]).expand_as(counts)
    stacked = torch.stack(
        [logs / _LEVEL, 2 * change, (counts == 0).to(torch.float64), seen.to(torch.float64), time],
        dim=-2,
    )
    unread = ~seen.unsqueeze(-2).expand_as(stacked)
    return stacked.masked_fill(unread, 0.0).to(torch.float32)


def numbers_of(counts: Tensor, present: Tensor, times: FloatArray) -> Tensor:
    """``(N, 9)`` float64 of :data:`NUMBERS`; each well needs its first reading."""
    logs = torch.where(torch.isfinite(counts), torch.log1p(counts.nan_to_num()), torch.nan)
    filled, was = _forward(logs)
    there = present.to(torch.float64)
    hours = torch.as_tensor(times)
    middle = int(torch.searchsorted(hours, hours[-1] / 2))
    first, last = filled[..., 0], filled[..., -1]
    growth = (last - first) / hours[-1]
    late = (last - filled[..., middle]) / (hours[-1] - hours[middle]).clamp(min=1e-9)
    early = (filled[..., middle] - first) / hours[middle].clamp(min=1e-9)
    change = torch.diff(filled, dim=-1)
    rest = change - growth.unsqueeze(-1) * torch.diff(hours)
    rest = torch.where(was[..., 1:], rest, torch.zeros_like(rest))
    scatter = rest.square().mean(dim=-1)
    turn = (rest[..., 1:] * rest[..., :-1]).mean(dim=-1) / (scatter + 1e-6)
    jump = rest.abs().amax(dim=-1)
    back = ((filled[..., :-1] == 0) & (filled[..., 1:] > 0)).any(dim=-1).to(torch.float64)
    mean = _mean(growth, there)
    spread = (_mean((growth - mean[:, None]).square(), there) * hours[-1] ** 2 + 1e-4).log()
    return torch.stack(
        [
            mean * hours[-1], _mean(late - early, there) * hours[-1], spread,
            (_mean(scatter, there) + 1e-5).log(), _mean(turn, there),
            (_mean(jump, there) + 1e-3).log(), _mean((last == 0).to(torch.float64), there),
            _mean(first, there), _mean(back, there),
        ],
        dim=1,
    )  # fmt: skip


def inputs_of(counts: Tensor, present: Tensor, levels: Tensor, times: FloatArray) -> Inputs:
    """What :class:`CountsEmbedding` takes: channels, wells, and numbers with doses ``(N, 2)``."""
    wells = present.to(torch.float64).sum(dim=1, keepdim=True).log()
    numbers = numbers_of(counts, present, times)
    facts = torch.cat([numbers, levels, (levels > 0).to(torch.float64), wells], dim=1)
    return channels_of(counts, times), present, facts.to(torch.float32)


class CountsEmbedding(nn.Module):
    """A set-pooled CNN of the wells beside the numbers and the doses, ``(N, size)``."""

    def __init__(self, length: int, size: int, centre: Tensor, spread: Tensor) -> None:
        super().__init__()
        blocks = (16, 32) if length >= 6 else (16,)
        encoder = SeriesCNN(CHANNELS, length, _ENCODED, blocks)
        self.wells = SetPooled(encoder, _ENCODED, _ENCODED)
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        width = _ENCODED + len(centre)
        self.together = nn.Sequential(nn.Linear(width, 96), nn.SiLU(), nn.Linear(96, size))

    def forward(self, channels: Tensor, present: Tensor, facts: Tensor) -> Tensor:
        """``(N, size)`` of what :func:`inputs_of` gives."""
        assert isinstance(self.centre, Tensor)  # noqa: S101 - buffers are untyped
        assert isinstance(self.spread, Tensor)  # noqa: S101
        scaled = (facts - self.centre) / self.spread
        found: Tensor = self.together(torch.cat([self.wells(channels, present), scaled], dim=1))
        return found


def _forward(logs: Tensor) -> tuple[Tensor, Tensor]:
    """Readings with the last one before where there is none, 0 before the first; and which are
    real."""
    seen = torch.isfinite(logs)
    place = torch.arange(logs.shape[-1]).expand_as(logs)
    last = torch.where(seen, place, -1).cummax(dim=-1).values
    filled = logs.nan_to_num().gather(-1, last.clamp(min=0))
    return torch.where(last >= 0, filled, torch.zeros_like(filled)), seen


def _mean(values: Tensor, there: Tensor) -> Tensor:
    """``(N,)`` over the wells that are there."""
    return (values.nan_to_num() * there).sum(dim=1) / there.sum(dim=1)
