"""A drug pair watched over time: the growth and death model fitted to all wells of an experiment.

Population, plates, dose pairs and wells are levels of one hierarchy (:class:`Hierarchy`). Readings
scatter by a Student-t with the memory of an Ornstein-Uhlenbeck process, for each channel a size of
its own: what the curves cannot follow lasts longer than one reading.

The result depends on neither the order of the series, nor that of the drugs, nor the unit of dose:
all are brought into one order before anything is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.dynamics.dose_surface import Surface
from models.dynamics.observation import Readings
from models.dynamics.parameters import Hierarchy, Parameter, Prior
from models.dynamics.series import TimeCourses
from models.dynamics.systems.growth_death import (
    CHANNELS,
    CONDITION,
    CONTROL,
    PLATE,
    RATES,
    GrowthDeath,
    GrowthDeathScale,
    typical_dose,
)
from models.dynamics.systems.protocol import Values
from models.screen import FloatArray, ScreenError

FEWEST_SERIES = 6
LEAST_DF = 3.0
"""Degrees of freedom of the noise lie above this."""
LONGEST_MEMORY = 1 / 6
"""Longest memory of the noise, as a part of the experiment: beyond that it would be a curve."""


@dataclass(frozen=True)
class PairOptions:
    """``interaction`` False fits Bliss on rates. ``capacity``: highest phase there can be (100 %
    for confluence), ``None`` for growth without limit."""

    interaction: bool = True
    capacity: float | None = 100.0


@dataclass(frozen=True)
class PairData:
    """An experiment in the order in which it is fitted: series by name, drugs by name."""

    series: TimeCourses
    drugs: tuple[str, str]
    plates: tuple[str, ...]
    plate: Tensor
    conditions: tuple[str, ...]
    condition: Tensor
    swapped: bool

    @classmethod
    def of(cls, series: TimeCourses) -> PairData:
        """Check and sort. Raises :class:`ScreenError` for what is no drug-pair experiment: two
        dose inputs >= 0, channels among phase, green and red with phase among them, and at least
        one series without drugs."""
        if len(series.input_names) != 2:
            raise ScreenError(f"a pair needs the doses of two drugs, got {series.input_names}")
        if "phase" not in series.channels or not set(series.channels) <= set(CHANNELS):
            raise ScreenError(f"channels must be phase, green, red; got {series.channels}")
        if len(series) < FEWEST_SERIES:
            raise ScreenError(f"a fit needs at least {FEWEST_SERIES} series, got {len(series)}")
        if np.any(series.inputs < 0):
            raise ScreenError("a dose is negative")
        if not np.any(np.all(series.inputs == 0, axis=1)):
            raise ScreenError("no series is without drugs: there must be controls")
        rows = np.argsort(np.array(series.names))
        ordered = series.select(rows)
        swapped = series.input_names[1] < series.input_names[0]
        drugs = (series.input_names[1], series.input_names[0]) if swapped else series.input_names
        plate = next((f for f in ordered.factors if f.name == PLATE), None)
        used = sorted({plate.labels[i] for i in plate.index}) if plate is not None else [""]
        of_plate = {label: at for at, label in enumerate(used)}
        own = [used[0]] * len(rows) if plate is None else [plate.labels[i] for i in plate.index]
        doses = ordered.inputs[:, ::-1] if swapped else ordered.inputs
        names = [condition_name(row) for row in doses]
        conditions = sorted(set(names))
        of_condition = {label: at for at, label in enumerate(conditions)}
        return cls(
            ordered,
            (drugs[0], drugs[1]),
            tuple(used),
            torch.tensor([of_plate[label] for label in own]),
            tuple(conditions),
            torch.tensor([of_condition[name] for name in names]),
            swapped,
        )

    def doses(self) -> FloatArray:
        """``(n, 2)`` in the order of ``drugs``."""
        return self.series.inputs[:, ::-1].copy() if self.swapped else self.series.inputs

    def values(self) -> FloatArray:
        """``(n, 3, t)`` in the order of :data:`CHANNELS`; NaN where nothing was read."""
        n, _, t = self.series.values.shape
        found = np.full((n, len(CHANNELS), t), np.nan)
        for at, channel in enumerate(CHANNELS):
            if channel in self.series.channels:
                found[:, at] = self.series.values[:, self.series.channels.index(channel)]
        return found

    def scale(self, capacity: float | None) -> GrowthDeathScale:
        """Units and usual sizes: the only things that the priors take from the data."""
        values, doses = self.values(), self.doses()
        first = np.nanmedian(values[:, 0, : max(1, values.shape[2] // 8)])
        late = values[:, 1:, values.shape[2] // 2 :]
        sizes = [
            float(np.nanmedian(np.abs(late[:, c]))) if np.isfinite(late[:, c]).any() else 1.0
            for c in range(2)
        ]
        return GrowthDeathScale(
            doses=(typical_dose(doses[:, 0].tolist()), typical_dose(doses[:, 1].tolist())),
            initial=max(float(first), 1e-3),
            signal=(max(sizes[0], 1e-6), max(sizes[1], 1e-6)),
            hours=float(self.series.times[-1]),
            capacity=capacity,
        )


def condition_name(doses: FloatArray) -> str:
    """The name of a dose pair; :data:`CONTROL` without drugs."""
    return CONTROL if not np.any(doses) else " + ".join(repr(float(dose)) for dose in doses)


def noise_parameters() -> tuple[Parameter, ...]:
    """Scale of the transformed readings, logit of the memory over its longest, degrees of freedom
    above the least, and the size of what frames (times of reading) have in common."""
    return (
        Parameter("noise_scale", Prior.lognormal(math.log(0.05), 1.0), 3),
        Parameter("noise_memory", Prior.normal(-1.0, 1.0), 3),
        Parameter("noise_df", Prior.lognormal(math.log(4.0), 0.5)),
        Parameter("frame_size", Prior.lognormal(math.log(0.05), 1.0), 3),
    )


@dataclass(frozen=True)
class Noise:
    """How transformed readings asinh(y / bend) scatter: about additive below the bend of a
    channel, relative above it. ``bend``: ``(3, 1, 1)``; ``scale`` and ``memory`` ``(1, 3, K, 1)``,
    ``df`` ``(K, 1)``: wells share them."""

    bend: Tensor
    scale: Tensor
    memory: Tensor
    df: Tensor

    @classmethod
    def of(cls, values: Values, scale: GrowthDeathScale) -> Noise:
        """From the parameters of :func:`noise_parameters`."""
        size, memory = (values[f"noise_{part}"][None, ..., :1] for part in ("scale", "memory"))
        df = LEAST_DF + values["noise_df"][:, :1]
        memory = torch.sigmoid(memory) * (scale.hours * LONGEST_MEMORY)
        return cls(bends(scale).to(size.dtype), size, memory, df)

    def student(self, z: Tensor) -> Tensor:
        """log of the Student-t density; nats."""
        half = (self.df + 1) / 2
        constant = (
            torch.lgamma(half) - torch.lgamma(self.df / 2) - 0.5 * torch.log(self.df * math.pi)
        )
        return constant - half * torch.log1p(z.square() / self.df)


def bends(scale: GrowthDeathScale) -> Tensor:
    """Where the noise of each channel turns from additive to relative, ``(3, 1, 1)``."""
    found = (0.2 * scale.initial, 0.5 * scale.signal[0], 0.5 * scale.signal[1])
    return torch.tensor(found, dtype=torch.float64).reshape(3, 1, 1)


class PairModel:
    """What an experiment's unknowns are, and the readings that they lead to.

    The unknowns fall into three parts: ``free``, the ``X`` parameters of the population and the
    effects of plates, standardised (N(0, 1) a priori), which act as the system says; ``hyper``, the
    ``H`` spreads and sizes of noise, on their inner scale; and small effects of dose pairs, frames
    (times of reading) and wells, in which :mod:`models.dynamics.pair_marginal` is linear.

    A cell is a dose pair on a plate: its ``M`` curves are those of all its wells but for what wells
    have of their own.
    """

    def __init__(self, data: PairData, options: PairOptions) -> None:
        self.data = data
        self.scale = data.scale(options.capacity)
        many = len(data.plates) > 1
        self.system = GrowthDeath(self.scale, interaction=options.interaction, plates=many)
        parameters = self.system.parameters_of_model + noise_parameters()
        labels = {PLATE: data.plates, CONDITION: data.conditions}
        self.hierarchy = Hierarchy(parameters, labels)
        self.names = [c.name for c in self.hierarchy.coordinates]
        self.centre = torch.tensor([c.mean for c in self.hierarchy.coordinates]).double()
        self.unit = torch.tensor([c.sd for c in self.hierarchy.coordinates]).double()
        self.times = torch.as_tensor(data.series.times, dtype=torch.float64)
        doses = torch.as_tensor(data.doses().T.copy(), dtype=torch.float64)
        self.inputs = doses[:, None]
        self.groups = {PLATE: data.plate, CONDITION: data.condition}
        readings = Readings.of(torch.as_tensor(data.values()), self.times)
        bent = torch.asinh(readings.values / bends(self.scale))
        self.readings = replace(readings, values=bent * readings.observed)
        both = torch.stack([data.condition, data.plate], dim=1)
        cells, self.cell = torch.unique(both, dim=0, return_inverse=True)
        self.cell_groups = {CONDITION: cells[:, 0], PLATE: cells[:, 1]}
        first = [int((self.cell == c).nonzero()[0]) for c in range(len(cells))]
        self.cell_inputs = self.inputs[..., first]
        self._lay_out()

    def _lay_out(self) -> None:
        """Places of the three parts."""
        names, data = self.names, self.data
        stems = [name.split("=")[0] for name in names]
        by_pair = [i for i, stem in enumerate(stems) if stem.endswith(f".{CONDITION}")]
        noise = ("noise_", "frame_size")
        hyper = [
            i for i, stem in enumerate(stems) if stem.endswith(".sd") or stem.startswith(noise)
        ]
        self.hyper = torch.tensor(hyper)
        self.free = torch.tensor([i for i in range(len(names)) if i not in {*by_pair, *hyper}])
        treated = [c for c in data.conditions if c != CONTROL]
        rows = [data.conditions.index(c) for c in treated]
        self.pair_of_cell = torch.tensor(
            [rows.index(c) if c in rows else -1 for c in self.cell_groups[CONDITION].tolist()]
        )
        first = [int((data.condition == c).nonzero()[0]) for c in rows]
        doses = self.inputs[:, 0, first].T
        self.misfits = tuple(
            p.name
            for p in self.hierarchy.parameters
            if any(g.factor == CONDITION for g in p.groups)
        )
        self.misfit_places = {
            n: torch.tensor([names.index(f"{n}.{CONDITION}={c}") for c in treated])
            for n in self.misfits
        }
        alone = Surface.over(doses, joint=False)
        joint = Surface.over(doses, joint=True)
        rates = [f"{rate}_misfit" for rate in RATES]
        self.surfaces = {n: alone if n in rates else joint for n in self.misfits}

    def at(self, points: Tensor, hyper: Tensor) -> Tensor:
        """Shared unknowns ``(K, D)`` of standardised ``points`` ``(K, X)`` and ``hyper`` ``(H,)``,
        without effects of dose pairs."""
        shared = self.centre.expand(len(points), -1).clone()
        by_pair = torch.cat(list(self.misfit_places.values()))
        shared[:, by_pair] = 0.0
        shared[:, self.hyper] = hyper.expand(len(points), -1)
        return shared.index_copy(
            1, self.free, self.centre[self.free] + self.unit[self.free] * points
        )

    def elements(self, shared: Tensor) -> Tensor:
        """Elements ``(K, M, P)`` of cells, without effects of wells."""
        every = shared[:, None].expand(-1, len(self.pair_of_cell), -1)
        return self.hierarchy.moments(every, self.cell_groups)[0]

    def expected(self, elements: Tensor) -> Tensor:
        """Transformed curves of cells ``(K, M, 3, T)`` from their elements."""
        found = self.curves(self.named(elements), self.cell_inputs, self.times)
        return torch.asinh(found / bends(self.scale)).permute(2, 3, 1, 0)

    def named(self, elements: Tensor) -> dict[str, Tensor]:
        """Elements ``(K, N, P)`` as parameters; one split, whose gradient is one concatenation."""
        parameters = self.hierarchy.parameters
        parts = elements.movedim(2, 0).contiguous().split([p.size for p in parameters])  # type: ignore[no-untyped-call]
        return {
            p.name: p.prior.natural(part[0] if p.size == 1 else part)
            for p, part in zip(parameters, parts, strict=True)
        }

    def curves(self, values: Values, inputs: Tensor, times: Tensor) -> Tensor:
        """Expected readings ``(T, 3, K, N)``."""
        context = self.system.prepare(values, inputs)
        return self.system.observe(self.system.exact(times, context), context).mean

    @staticmethod
    def frame_effects(values: Values, frames: Tensor) -> Tensor:
        """What all wells have in common at a time of reading, transformed, ``(T, 3, K, 1)``."""
        return (values["frame_size"][..., 0].T[..., None] * frames).permute(2, 1, 0)[..., None]
