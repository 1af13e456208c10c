"""Parameters of a system: priors, levels and how an individual's value is put together.

Everything is normal on an inner scale (the logarithm for positive parameters). For series n in
the groups g_f(n) of the factors f, on the inner scale,

    u_n = m + sum_f s_f e_{f, g_f(n)} + s e_n,    value_n = exp(u_n) or u_n,

with m ~ N(prior) of the population, group effects e ~ N(0, 1) (non-centred: Papaspiliopoulos,
Roberts & Skold 2007), individual e_n ~ N(0, 1), and spreads s of log-normal prior: they are
learned. A spread that goes to 0 gives the pooled fit, a wide one separate fits. A parameter
without group effects and without an individual part is one number for all series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.screen import ScreenError


@dataclass(frozen=True)
class Prior:
    """N(``location``, ``sd``^2) on the inner scale; ``sd`` 0 fixes the value.

    ``scale``: ``"log"`` for positive parameters (the prior is log-normal), else ``"linear"``.
    """

    location: float
    sd: float
    scale: Literal["log", "linear"] = "log"

    def __post_init__(self) -> None:
        if not math.isfinite(self.location) or not 0 <= self.sd < math.inf:
            raise ScreenError(f"a prior needs a finite location and sd >= 0, got {self}")

    @classmethod
    def lognormal(cls, location: float, sd: float) -> Prior:
        """log value ~ N(location, sd^2)."""
        return cls(location, sd, "log")

    @classmethod
    def normal(cls, location: float, sd: float) -> Prior:
        """value ~ N(location, sd^2)."""
        return cls(location, sd, "linear")

    def natural(self, inner: Tensor) -> Tensor:
        """From the inner scale to the value."""
        return torch.exp(inner) if self.scale == "log" else inner


@dataclass(frozen=True)
class Spread:
    """Prior of a standard deviation on the inner scale: log s ~ N(log ``median``, ``log_sd``^2).

    ``log_sd`` 0 fixes it at the median.
    """

    median: float
    log_sd: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.median < math.inf or not 0 <= self.log_sd < math.inf:
            raise ScreenError(f"a spread needs a positive median and log_sd >= 0, got {self}")


@dataclass(frozen=True)
class GroupEffect:
    """Groups of ``factor`` differ by ``spread``; the ``reference`` group's effect is exactly 0.

    With a fixed prior (sd 0) the reference group then has exactly the prior's value: a log-normal
    parameter of location 0 is 1 there.
    """

    factor: str
    spread: Spread
    reference: str | None = None


@dataclass(frozen=True)
class Parameter:
    """One parameter of a system.

    ``prior``: of the population value. ``size``: number of elements, each with effects of its own.
    ``groups``: effects of groups, added up. ``individual``: how series differ within their groups,
    ``None`` if they do not.
    """

    name: str
    prior: Prior
    size: int = 1
    groups: tuple[GroupEffect, ...] = ()
    individual: Spread | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ScreenError(f"parameter {self.name!r} needs at least one element")
        factors = [effect.factor for effect in self.groups]
        if len(set(factors)) != len(factors):
            raise ScreenError(f"parameter {self.name!r} names a group factor twice")

    def elements(self) -> tuple[str, ...]:
        """Names of its elements: the name itself, or ``name[i]``."""
        if self.size == 1:
            return (self.name,)
        return tuple(f"{self.name}[{i}]" for i in range(self.size))


@dataclass(frozen=True)
class Coordinate:
    """One shared unknown on the inner scale, with its prior N(``mean``, ``sd``^2).

    ``name``: ``r`` (population), ``r.sd`` (individual spread, log), ``r.plate.sd`` (group spread,
    log), ``r.plate=A`` (standardised effect of a group).
    """

    name: str
    mean: float
    sd: float


class Hierarchy:
    """The layout of all shared unknowns and individual values of a list of parameters.

    ``factors``: labels of the groups by factor. ``coordinates``: the ``D`` shared unknowns.
    ``elements``: the ``P`` elements of all parameters; ``individual``: those with an individual
    part, the ``Q`` coordinates of a series. Shared unknowns are vectors ``G`` ``(..., D)``.
    ``effect_spreads`` and ``location_spreads``: numbers of coordinates, ``(effect, its spread)``
    and ``(population value, a spread around it)``, where both are unknown; ``effect_locations``:
    ``(place among effect_spreads, population value)`` where that is unknown too.
    """

    def __init__(
        self, parameters: tuple[Parameter, ...], factors: Mapping[str, tuple[str, ...]]
    ) -> None:
        names = [parameter.name for parameter in parameters]
        if len(set(names)) != len(names):
            raise ScreenError(f"parameters are named twice: {sorted(names)}")
        self.parameters = parameters
        self._tables: dict[str, Tensor] = {}
        self.used_factors = tuple(
            sorted({effect.factor for p in parameters for effect in p.groups})
        )
        for factor in self.used_factors:
            if factor not in factors:
                raise ScreenError(f"a parameter has effects of {factor!r}, the data have no such")
        self.labels = {factor: tuple(factors[factor]) for factor in self.used_factors}
        self.elements = tuple(name for p in parameters for name in p.elements())
        self._coordinates: list[Coordinate] = []
        self._constants: list[float] = [0.0]
        self.effect_spreads: list[tuple[int, int]] = []
        self.location_spreads: list[tuple[int, int]] = []
        self.effect_locations: list[tuple[int, int]] = []
        self._lay_out()
        self.coordinates = tuple(self._coordinates)

    def _lay_out(self) -> None:
        """Give every location, spread and effect its place in the vector (G, constants)."""
        location: list[int] = []
        spread: list[int] = []
        individual: list[int] = []
        effects = {f: [[0] * len(self.elements) for _ in self.labels[f]] for f in self.used_factors}
        widths = {f: [0] * len(self.elements) for f in self.used_factors}
        row = 0
        for parameter in self.parameters:
            for name in parameter.elements():
                prior = parameter.prior
                location.append(self._place(name, prior.location, prior.sd))
                if parameter.individual is not None:
                    individual.append(row)
                    spread.append(self._place_spread(f"{name}.sd", parameter.individual))
                    self._note(self.location_spreads, location[-1], spread[-1])
                for effect in parameter.groups:
                    f = effect.factor
                    width = widths[f][row] = self._place_spread(f"{name}.{f}.sd", effect.spread)
                    self._note(self.location_spreads, location[-1], width)
                    self._check_reference(parameter, effect)
                    for g, label in enumerate(self.labels[f]):
                        if label != effect.reference:
                            place = self._place(f"{name}.{f}={label}", 0.0, 1.0)
                            effects[f][g][row] = place
                            self._note_effect(place, width, location[-1])
                row += 1
        self._tables["location"] = self._final(location)
        self._tables["spread"] = self._final(spread)
        self._tables["individual"] = torch.tensor(individual, dtype=torch.long)
        self._tables["fixed"] = torch.tensor(self._constants, dtype=torch.float64)
        for f in self.used_factors:
            self._tables[f"effects of {f}"] = torch.stack([self._final(r) for r in effects[f]])
            self._tables[f"widths of {f}"] = self._final(widths[f])

    @staticmethod
    def _note(pairs: list[tuple[int, int]], place: int, spread: int) -> None:
        """Keep a pair of places of which both are free, as numbers of coordinates."""
        if place > 0 and spread > 0:
            pairs.append((place - 1, spread - 1))

    def _note_effect(self, place: int, width: int, location: int) -> None:
        self._note(self.effect_spreads, place, width)
        if width > 0 and location > 0:
            self.effect_locations.append((len(self.effect_spreads) - 1, location - 1))

    def move(self, device: torch.device) -> None:
        """Take the tables of places to ``device``, where the model has gone."""
        self._tables = {name: table.to(device) for name, table in self._tables.items()}

    @property
    def individual(self) -> Tensor:
        """``(Q,)`` numbers of the elements with an individual part."""
        return self._tables["individual"]

    def _effects(self, factor: str) -> Tensor:
        """``(groups, P)``: place of each group's effect on each element."""
        return self._tables[f"effects of {factor}"]

    def _check_reference(self, parameter: Parameter, effect: GroupEffect) -> None:
        if effect.reference is not None and effect.reference not in self.labels[effect.factor]:
            raise ScreenError(
                f"the reference group {effect.reference!r} of {parameter.name!r} is not among the "
                f"groups of {effect.factor!r}"
            )

    def _place(self, name: str, mean: float, sd: float) -> int:
        """Place of an unknown: its number if it is free, -1 - number among constants if fixed."""
        if sd == 0:
            self._constants.append(mean)
            return -len(self._constants)
        self._coordinates.append(Coordinate(name, mean, sd))
        return len(self._coordinates)

    def _place_spread(self, name: str, spread: Spread) -> int:
        return self._place(name, math.log(spread.median), spread.log_sd)

    def _final(self, places: list[int]) -> Tensor:
        """Places as indices into the vector (G, constants); 0 stands for the constant 0."""
        count = len(self._coordinates)
        found = [p - 1 if p > 0 else count + (-p - 1 if p < 0 else 0) for p in places]
        return torch.tensor(found, dtype=torch.long)

    @property
    def shared_size(self) -> int:
        """``D``, the number of shared unknowns."""
        return len(self.coordinates)

    @property
    def series_size(self) -> int:
        """``Q``, the number of individual coordinates of one series."""
        return len(self.individual)

    def individual_names(self) -> tuple[str, ...]:
        """Names of the ``Q`` individual coordinates."""
        return tuple(self.elements[i] for i in self.individual.tolist())

    def start(self) -> tuple[Tensor, Tensor]:
        """Location and spread of the individual coordinates at the priors' medians, ``(Q,)``."""
        vector = self._extended(torch.tensor([c.mean for c in self.coordinates])[None])[0]
        return vector[self._tables["location"][self.individual]], torch.exp(
            vector[self._tables["spread"]]
        )

    def _extended(self, shared: Tensor) -> Tensor:
        constants = self._tables["fixed"].to(shared.dtype)
        return torch.cat([shared, constants.expand(*shared.shape[:-1], -1)], dim=-1)

    def moments(
        self, shared: Tensor, groups: Mapping[str, Tensor], noise: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Prior of all elements given shared unknowns ``(K, N, D)``: location ``(K, N, P)`` and
        standard deviation of the individual ones ``(K, N, Q)``.

        ``groups``: ``(N,)`` group of each series by factor, -1 for a group not seen before: its
        effect is drawn anew with ``noise``, and where series differ anyway it is integrated out
        (variances add), which is exact.
        """
        vector = self._extended(shared)
        location = vector[..., self._tables["location"]]
        sd = torch.exp(vector[..., self._tables["spread"]])
        for factor in self.used_factors:
            index = groups[factor]
            effect = self._effects(factor)[index.clamp_min(0)]
            width = self._width(vector, factor)
            gathered = torch.gather(vector, 2, effect.expand(len(vector), -1, -1))
            unknown = index < 0
            if bool(unknown.any()):
                has = (self._effects(factor) != len(self.coordinates)).any(0)
                fresh = self._fresh(gathered, has, noise)
                gathered = torch.where(unknown[None, :, None], fresh, gathered)
                extra = (width * has)[..., self.individual] * unknown[None, :, None]
                sd = torch.sqrt(sd.square() + extra.square())
            location = location + width * gathered
        return location, sd

    def typical(self, shared: Tensor, groups: Mapping[str, int]) -> Tensor:
        """Elements ``(K, 1, P)`` of a median individual of ``groups`` (label numbers by factor;
        factors left out are at the population) for shared unknowns ``(K, 1, D)``."""
        vector = self._extended(shared)
        location = vector[..., self._tables["location"]]
        for factor, label in groups.items():
            effect = vector[..., self._effects(factor)[label]]
            location = location + self._width(vector, factor) * effect
        return location

    def _width(self, vector: Tensor, factor: str) -> Tensor:
        return torch.exp(vector[..., self._tables[f"widths of {factor}"]])

    def _fresh(self, like: Tensor, has: Tensor, noise: torch.Generator | None) -> Tensor:
        """Effects of a new group: drawn where nothing individual could stand for them, else 0."""
        only = has.clone()
        only[self.individual] = False
        if not bool(only.any()):
            return torch.zeros_like(like)
        if noise is None:
            raise ScreenError("a series belongs to a group that was not seen: draws are needed")
        drawn = torch.randn(like.shape, generator=noise, dtype=like.dtype).to(like.device)
        return drawn * only

    def values(self, elements: Tensor) -> dict[str, Tensor]:
        """Inner-scale elements ``(K, N, P)`` to natural values by name, states-first shapes."""
        values, row = {}, 0
        for parameter in self.parameters:
            inner = elements[..., row : row + parameter.size]
            natural = parameter.prior.natural(inner)
            values[parameter.name] = (
                natural[..., 0] if parameter.size == 1 else natural.movedim(-1, 0)
            )
            row += parameter.size
        return values
