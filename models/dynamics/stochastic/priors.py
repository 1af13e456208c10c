"""Priors over rates, and the way from each to independent standard normals and back.

A prior is uniform over a set; a map takes it to the uniform law of the unit cube (Rosenblatt 1952)
and the normal quantile to N(0, I). A flow that learns nothing then is the prior, and none of its
draws lies outside. Everything is float64; ``P`` parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.screen import ScreenError

_EDGE = 1e-12


class Prior(ABC):
    """Uniform over a bounded set. ``names`` of its ``P`` parameters; ``log_volume`` of the set."""

    names: tuple[str, ...]

    @abstractmethod
    def to_unit(self, values: Tensor) -> Tensor:
        """``(..., P)`` in the unit cube; outside of it where ``values`` are outside of the set."""

    @abstractmethod
    def from_unit(self, unit: Tensor) -> Tensor:
        """Inverse of :meth:`to_unit`."""

    @property
    @abstractmethod
    def log_volume(self) -> float:
        """log of the volume of the set: minus the log density anywhere in it."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, P)`` independent draws, on the device of the generator."""
        unit = torch.rand(
            (n, len(self.names)), generator=generator, dtype=torch.float64, device=generator.device
        )
        return self.from_unit(unit)

    def contains(self, values: Tensor) -> Tensor:
        """``(...)`` whether each row lies in the set."""
        unit = self.to_unit(values)
        return ((unit >= 0) & (unit <= 1)).all(dim=-1)

    def log_prob(self, values: Tensor) -> Tensor:
        """``(...)`` log density, minus infinity outside."""
        inside = torch.full(values.shape[:-1], -self.log_volume, dtype=torch.float64)
        return torch.where(self.contains(values), inside.to(values.device), -torch.inf)

    def to_normal(self, values: Tensor) -> Tensor:
        """``(..., P)``. Raises :class:`ScreenError` for values outside of the set."""
        if not bool(self.contains(values).all()):
            raise ScreenError("parameters lie outside of their prior")
        found: Tensor = torch.special.ndtri(self.to_unit(values).clamp(_EDGE, 1 - _EDGE))
        return found

    def from_normal(self, normal: Tensor) -> Tensor:
        """Inverse of :meth:`to_normal`."""
        return self.from_unit(torch.special.ndtr(normal.to(torch.float64)))

    def log_slope(self, normal: Tensor) -> Tensor:
        """``(...)`` log |d normal / d values| at ``normal``: what turns a density of normals into
        one of parameters."""
        standard = -0.5 * (normal.square() + math.log(2 * math.pi)).sum(dim=-1)
        return -self.log_volume - standard


@dataclass(frozen=True)
class BoxPrior(Prior):
    """Uniform between ``lower`` and ``upper``, one of each for each name.

    Raises :class:`ScreenError` unless every upper end is above its lower one.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.lower) == len(self.upper):
            raise ScreenError("a box has a name, a lower and an upper end for each parameter")
        for name, low, high in zip(self.names, self.lower, self.upper, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ScreenError(f"{name!r} needs a finite lower end below its upper one")

    @property
    def log_volume(self) -> float:
        """See :class:`Prior`."""
        ends = zip(self.lower, self.upper, strict=True)
        return sum(math.log(high - low) for low, high in ends)

    def to_unit(self, values: Tensor) -> Tensor:
        """See :class:`Prior`."""
        low = self._row(self.lower, values)
        return (values.to(torch.float64) - low) / (self._row(self.upper, values) - low)

    def from_unit(self, unit: Tensor) -> Tensor:
        """See :class:`Prior`."""
        low = self._row(self.lower, unit)
        return low + unit * (self._row(self.upper, unit) - low)

    @staticmethod
    def _row(values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=like.device)


@dataclass(frozen=True)
class TrianglePrior(Prior):
    """Uniform where a moving average of order two can be inverted: |theta_2| < 1 and |theta_1| <
    1 + theta_2 (area 4). First theta_2, whose distribution function is ((1 + theta_2) / 2)^2, then
    theta_1 given it."""

    names: tuple[str, ...] = ("theta_1", "theta_2")

    @property
    def log_volume(self) -> float:
        """See :class:`Prior`."""
        return math.log(4.0)

    def to_unit(self, values: Tensor) -> Tensor:
        """See :class:`Prior`."""
        first, second = values.to(torch.float64).unbind(-1)
        width = 1 + second
        # Below -1 the square would come back into the cube.
        height = torch.where(width >= 0, (width / 2).square(), width)
        side = torch.where(width > 0, (first / width.clamp(min=_EDGE) + 1) / 2, 0.5 + first)
        return torch.stack([side, height], dim=-1)

    def from_unit(self, unit: Tensor) -> Tensor:
        """See :class:`Prior`."""
        width = 2 * torch.sqrt(unit[..., 1])
        return torch.stack([(2 * unit[..., 0] - 1) * width, width - 1], dim=-1)
