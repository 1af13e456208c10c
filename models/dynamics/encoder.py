"""From a series to the posterior of its individual parameters, whatever its times.

Each channel is summed up by smooth bins over the hours of the training data: the weighted mean of
the readings near each centre (shrunk to the channel's mean where there are few), how many there
were and how far off centre. A series read twice as often has the same features, one with gaps has
features that say so. A small network turns them into a normal posterior on the inner
scale; readings enter as they are and as asinh(reading / small), which
opens up the early hours.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from models.dynamics.local import Local
from models.dynamics.series import TimeCourses
from models.screen import FloatArray, ScreenError

BINS = 24
START_SD = 0.3
"""Posterior sd at the start, in units of the prior spread."""
WIDEST = 2.0
"""No posterior of the encoder is wider than this, in units of the prior spread."""
DIRECTIONS = 8
"""Directions in which the coordinates of a series move together."""
LARGEST_WAY = 3.0
"""Bound of their elements, in units of a coordinate's own sd."""
LARGEST_FEATURE = 3.0
"""Standardised features are bent towards this size."""
SHRINKAGE = 0.02
"""Weight of the channel's mean in a bin, in readings."""


class SeriesFeatures:
    """Bins and scales learned from the training series: ``of(series)`` is ``(N, F)`` float64."""

    def __init__(
        self,
        centres: FloatArray,
        level: FloatArray,
        small: FloatArray,
        mean: FloatArray | None = None,
        scale: FloatArray | None = None,
    ) -> None:
        self.centres, self.level, self.small = centres, level, small
        self.mean, self.scale = mean, scale

    @classmethod
    def learn(cls, series: TimeCourses, bins: int = BINS) -> SeriesFeatures:
        """Centres over the hours of ``series``, scales from its readings."""
        centres = np.linspace(0.0, max(float(series.times[-1]), 1e-9), bins)
        values = series.values
        for c, channel in enumerate(series.channels):
            if np.isnan(values[:, c]).all():
                raise ScreenError(f"channel {channel!r} has no reading in any series")
        level = np.nanmean(values, axis=(0, 2))
        small = 0.02 * np.nanstd(values, axis=(0, 2)) + 1e-12
        raw = cls(centres, level, small)._raw(series)
        spread = raw.std(axis=0)
        moves = spread > 1e-6
        scale = np.where(moves, 1 / np.where(moves, spread, 1.0), 0.0)
        return cls(centres, level, small, raw.mean(axis=0), scale)

    def of(self, series: TimeCourses) -> FloatArray:
        """Standardised features; what never moved among the training series is 0."""
        if self.mean is None or self.scale is None:
            raise ScreenError("these features were not learned")
        return (self._raw(series) - self.mean) * self.scale

    def _raw(self, series: TimeCourses) -> FloatArray:
        width = self.centres[1] - self.centres[0]
        offset = series.times[:, None] - self.centres[None, :]
        weight = np.exp(-0.5 * (offset / (0.7 * width)) ** 2)
        seen = series.observed.astype(np.float64)
        filled = np.where(series.observed, series.values, 0.0)
        mass = np.einsum("nct,tb->ncb", seen, weight)
        total = np.einsum("nct,tb->ncb", filled, weight)
        drift = np.einsum("nct,tb->ncb", seen, weight * offset / width)
        value = (total + SHRINKAGE * self.level[:, None]) / (mass + SHRINKAGE)
        parts = [
            value,
            np.arcsinh(value / self.small[:, None]),
            np.log(mass + SHRINKAGE),
            drift / (mass + SHRINKAGE),
        ]
        n = len(series)
        return np.concatenate([*(p.reshape(n, -1) for p in parts), np.log1p(series.inputs)], axis=1)

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, for saving; read back by :meth:`from_tensors`."""
        if self.mean is None or self.scale is None:
            raise ScreenError("these features were not learned")
        found = {"centres": self.centres, "level": self.level, "small": self.small}
        found |= {"mean": self.mean, "scale": self.scale}
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in found.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> SeriesFeatures:
        """What :meth:`tensors` gave."""
        names = ("centres", "level", "small", "mean", "scale")
        return cls(*(tensors[name].numpy() for name in names))


class Encoder(nn.Module):
    """Features ``(N, F)`` to a normal posterior of ``Q`` standardised coordinates."""

    def __init__(
        self, features: int, coordinates: int, generator: torch.Generator, width: int = 96
    ) -> None:
        super().__init__()
        self.coordinates, self.directions = coordinates, min(coordinates, DIRECTIONS)
        outputs = (2 + self.directions) * coordinates
        self.first = _linear(features, width, 1.0, generator)
        self.second = _linear(width, width, 1.0, generator)
        self.last = _linear(width, outputs, 0.03, generator)
        self.bend_first, self.bend_second = nn.SiLU(), nn.SiLU()

    def forward(self, features: Tensor) -> Local:
        """The posterior of each series."""
        # A series far outside the training data must not drive its posterior as far away.
        features = features * torch.rsqrt(1 + (features / LARGEST_FEATURE).square())
        hidden = self.bend_first(self.first(features))
        hidden = hidden + self.bend_second(self.second(hidden))
        q = self.coordinates
        raw = self.last(hidden)
        sd = WIDEST * torch.sigmoid(raw[:, q : 2 * q] + math.log(START_SD / (WIDEST - START_SD)))
        ways = LARGEST_WAY * torch.tanh(raw[:, 2 * q :] / LARGEST_WAY)
        return Local(raw[:, :q], sd, ways.reshape(-1, q, self.directions))


def _linear(fan_in: int, fan_out: int, gain: float, generator: torch.Generator) -> nn.Linear:
    """A linear layer started from ``generator``."""
    layer = nn.Linear(fan_in, fan_out)
    with torch.no_grad():
        layer.weight.copy_(
            torch.randn(fan_out, fan_in, generator=generator) * gain / math.sqrt(max(fan_in, 1))
        )
        layer.bias.zero_()
    return layer
