"""What a drug-pair experiment taught: draws of parameters, rates, synergy and curves.

The parameters of the mechanism are drawn by Hamiltonian Monte Carlo with all small effects
integrated out (:mod:`models.dynamics.pair_marginal`), then the effects given each draw;
``diagnostics`` say whether the chains agree (``rhat_max``). Rates, synergy and living cells are
those of the mechanism; curves of readings are corrected by what it missed
(:mod:`models.dynamics.pair_predictions`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.interpolate
import torch
from torch import Tensor

from models.bayes.diagnostics import describe_chains
from models.dynamics.drug_pair import (
    Noise,
    PairData,
    PairModel,
    PairOptions,
    bends,
    condition_name,
)
from models.dynamics.hmc import Settings, sample
from models.dynamics.pair_marginal import PairMarginal
from models.dynamics.pair_mode import settled
from models.dynamics.pair_predictions import Kriging, fitted_kriging
from models.dynamics.series import TimeCourses
from models.dynamics.systems.growth_death import CHANNELS, CONDITION, CONTROL, PLATE
from models.screen import (
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

Level = Literal["surface", "condition", "well"]
"""``surface``: the dose-response surface alone; ``condition``: with the misfit of a dose pair;
``well``: one well, which differs from others of its kind."""
_CHUNK = 64


def fit_pair(
    series: TimeCourses,
    options: PairOptions | None = None,
    *,
    seed: int,
    draws: int = 400,
    settings: Settings | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> DrugPairPosterior:
    """Fit the growth and death model to all wells of an experiment.

    ``series``: inputs are the doses of two drugs, channels among phase, green and red, a factor
    ``plate`` if there are several. ``draws``: most that are kept of all chains. Raises
    :class:`ScreenError` for data that are no such experiment,
    :class:`models.dynamics.hmc.NotFiniteError` if the density breaks down.
    """
    model = PairModel(PairData.of(series), options or PairOptions())
    generator = torch.Generator().manual_seed(seed)
    marginal = PairMarginal(model)
    given, mode, hessian = settled(marginal, on_progress=on_progress, should_stop=should_stop)
    drawn = sample(
        given.log_density, mode, settings or Settings(), generator,
        hessian=hessian, on_progress=on_progress, should_stop=should_stop,
    )  # fmt: skip
    told = {
        **describe_chains(drawn.draws.numpy()), "method": "hmc",
        "acceptance": drawn.acceptance, "divergent": drawn.divergent,
    }  # fmt: skip
    every = drawn.draws.flatten(0, 1)
    points = every[torch.linspace(0, len(every) - 1, min(draws, len(every))).round().long()]
    with torch.no_grad():
        parts = [given.effects(part, generator) for part in points.split(_CHUNK)]  # type: ignore[no-untyped-call]
    frames, pairs, wells = (torch.cat(part) for part in zip(*parts, strict=True))
    shared = model.at(points, given.hyper)
    for kind, name in enumerate(model.misfits):
        shared[:, model.misfit_places[name]] = pairs[:, kind]
    laid = frames.reshape(len(frames), len(CHANNELS), -1)
    correction = _correction(model, shared, laid)
    names = (series.input_names[0], series.input_names[1])
    return DrugPairPosterior(model, shared, laid, wells, told, names, correction)


@dataclass(frozen=True)
class Correction:
    """What the pairs fitted showed beside the mechanism, on the transformed scale: ``seen`` means
    over wells ``(C, 3, T)``, freed of frames and plates; ``mechanism`` ``(S, C, 3, T)`` the
    surface there; ``least`` ``(2,)`` lowest doses; a kriging for each channel."""

    seen: FloatArray
    mechanism: FloatArray
    least: FloatArray
    krigings: tuple[Kriging | None, ...]


def _correction(model: PairModel, shared: Tensor, frames: Tensor) -> Correction:
    rows = [
        int((model.data.condition == c).nonzero()[0]) for c in range(len(model.data.conditions))
    ]
    doses = model.inputs[:, 0, rows].T.numpy()
    least = np.array([column[column > 0].min() for column in doses.T])
    shared = shared.clone()
    for places in model.misfit_places.values():
        shared[:, places] = 0.0
    with torch.no_grad():
        cells = torch.cat([model.expected(model.elements(part)) for part in shared.split(_CHUNK)])  # type: ignore[no-untyped-call]
        plain = shared.clone()
        plain[:, [i for i, name in enumerate(model.names) if f".{PLATE}=" in name]] = 0.0
        surface = torch.cat([model.expected(model.elements(part)) for part in plain.split(_CHUNK)])  # type: ignore[no-untyped-call]
        sizes = torch.exp(shared[:, [model.names.index(f"frame_size[{c}]") for c in range(3)]])
    common = (sizes[..., None] * frames).mean(0) + (cells - surface).mean(0)[model.cell]
    own = model.readings.values[:, :, 0].permute(2, 1, 0) - common
    missing = model.readings.observed[:, :, 0].permute(2, 1, 0) == 0
    laid = torch.where(missing, torch.full_like(own, math.nan), own)
    count = len(model.data.conditions)
    seen = torch.stack([laid[model.data.condition == c].nanmean(0) for c in range(count)]).numpy()
    cell = [int((model.cell_groups[CONDITION] == c).nonzero()[0]) for c in range(count)]
    mechanism = surface[:, cell].numpy()
    places, pairs = np.log2(1 + doses / least), np.all(doses > 0, axis=1)
    krigings = tuple(
        fitted_kriging(places, pairs, seen[:, c], mechanism[:, :, c].mean(0)) for c in range(3)
    )
    return Correction(seen, mechanism, least, krigings)


@dataclass(frozen=True)
class DrugPairPosterior:
    """``S`` joint draws of all unknowns.

    ``shared``: ``(S, D)`` on the inner scale; ``frames``: ``(S, 3, T)`` standardised effects of
    the times of reading; ``own``: ``(S, N, Q)`` standardised effects of the
    wells fitted, in the order of ``model.data``. Doses are asked and answered in the order of
    ``input_names``, as the data had them. ``diagnostics``: of the draws, JSON-able.
    """

    model: PairModel
    shared: Tensor
    frames: Tensor
    own: Tensor
    diagnostics: dict[str, Any]
    input_names: tuple[str, str]
    correction: Correction

    def __len__(self) -> int:
        return len(self.shared)

    @property
    def corrected(self) -> bool:
        """Whether predictions make good what the mechanism missed; else it draws its misfits."""
        return any(kriging is not None for kriging in self.correction.krigings)

    def uncorrected(self) -> DrugPairPosterior:
        """The same, predicting by the mechanism alone."""
        nothing = (None,) * len(CHANNELS)
        return replace(self, correction=replace(self.correction, krigings=nothing))

    @property
    def well_names(self) -> tuple[str, ...]:
        """Names of the ``N`` wells fitted."""
        return self.model.data.series.names

    def parameters(self) -> dict[str, FloatArray]:
        """Draws of the population's parameters by element name, ``(S,)`` on the inner scale."""
        names = [c.name for c in self.model.hierarchy.coordinates]
        wanted = [(i, n) for i, n in enumerate(names) if "=" not in n]
        return {name: self.shared[:, i].numpy() for i, name in wanted}

    def wells(self, times: FloatArray | None = None) -> FloatArray:
        """Curves of the wells fitted, ``(S, N, 3, T)`` without noise; by default at their times."""
        grid = self.model.times if times is None else torch.as_tensor(times, dtype=torch.float64)
        with torch.no_grad():
            found = [
                self.model.curves(self._fitted(rows), self.model.inputs, grid)
                for rows in torch.arange(len(self)).split(_CHUNK)  # type: ignore[no-untyped-call]
            ]
        return torch.cat(found, dim=2).permute(2, 3, 1, 0).numpy()

    def _fitted(self, rows: Tensor) -> dict[str, Tensor]:
        every = self.shared[rows, None].expand(-1, self.own.shape[1], -1)
        location, sd = self.model.hierarchy.moments(every, self.model.groups)
        index = self.model.hierarchy.individual
        return self.model.named(location.index_add(2, index, sd * self.own[rows]))

    def new(
        self,
        doses: FloatArray,
        plates: Sequence[str] | None,
        level: Level,
        seed: int,
        *,
        misfit: bool = True,
    ) -> dict[str, Tensor]:
        """Parameters of new wells at ``doses`` ``(m, 2)``, ``(S, m)`` each. ``plates`` ``None`` is
        a plate without effects of its own; one not fitted is drawn anew. The misfit of a dose pair
        not fitted is drawn given those of its neighbours; without ``misfit`` there is none."""
        data, hierarchy = self.model.data, self.model.hierarchy
        rows = self._ordered(doses)
        generator = torch.Generator().manual_seed(seed)
        names = [condition_name(row) if misfit else CONTROL for row in rows]
        fresh = torch.tensor([name not in data.conditions for name in names])
        stand_ins = [n if n in data.conditions else CONTROL for n in names]
        condition = torch.tensor([data.conditions.index(n) for n in stand_ins], dtype=torch.long)
        shared, plate = self.shared, self._plates(len(rows), plates)
        if plates is None:
            shared = shared.clone()
            names_of = [c.name for c in hierarchy.coordinates]
            shared[:, [i for i, n in enumerate(names_of) if f".{PLATE}=" in n]] = 0.0
        every = shared[:, None].expand(-1, len(rows), -1)
        location, sd = hierarchy.moments(every, {PLATE: plate, CONDITION: condition}, generator)
        seen = {PLATE: plate.clamp_min(0), CONDITION: condition}
        _, wells = hierarchy.moments(every, seen)
        noise = torch.randn(sd.shape, generator=generator, dtype=torch.float64)
        if level != "well":
            sd = torch.sqrt((sd.square() - wells.square()).clamp_min(0))
        location = location.index_add(2, hierarchy.individual, sd * noise)
        if level != "surface" and bool(fresh.any()):
            location = self._with_misfits(location, rows, fresh, generator)
        values = self.model.named(location)
        if level == "surface":
            for name in self.model.misfits:
                if name.endswith("_misfit"):
                    values[name] = torch.zeros_like(values["growth"])
        return values

    def _with_misfits(
        self, location: Tensor, rows: FloatArray, fresh: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Elements with the misfits of dose pairs that were not fitted, drawn given the others."""
        hierarchy, wanted = self.model.hierarchy, torch.as_tensor(rows)[fresh]
        # Rows of the same pair share its misfit.
        pairs, which = torch.unique(wanted, dim=0, return_inverse=True)
        location = location.clone()
        for name in self.model.misfits:
            weights, root = self.model.surfaces[name].further(pairs)
            noise = torch.randn(len(self), len(pairs), generator=generator, dtype=torch.float64)
            known = self.shared[:, self.model.misfit_places[name]]
            drawn = known @ weights.T + noise @ root.T
            place = [c.name for c in hierarchy.coordinates].index(f"{name}.{CONDITION}.sd")
            spread = torch.exp(self.shared[:, place, None])
            row = hierarchy.elements.index(name)
            location[:, fresh, row] += spread * drawn[:, which]
        return location

    def _plates(self, count: int, plates: Sequence[str] | None) -> Tensor:
        labels = self.model.data.plates
        if plates is None or len(labels) == 1:
            return torch.zeros(count, dtype=torch.long)
        found = [labels.index(p) if p in labels else -1 for p in plates]
        return torch.tensor(found, dtype=torch.long)

    def _ordered(self, doses: FloatArray) -> FloatArray:
        given = np.asarray(doses, np.float64)
        if given.ndim != 2 or given.shape[1] != 2 or not np.all(np.isfinite(given)):
            raise ScreenError("doses are asked as finite rows of two")
        if np.any(given < 0):
            raise ScreenError("a dose is negative")
        return given[:, ::-1].copy() if self.model.data.swapped else given

    def _inputs(self, doses: FloatArray) -> Tensor:
        return torch.as_tensor(self._ordered(doses).T.copy(), dtype=torch.float64)[:, None]

    def curves(
        self,
        doses: FloatArray,
        times: FloatArray,
        *,
        plates: Sequence[str] | None = None,
        level: Level = "condition",
        seed: int = 0,
    ) -> FloatArray:
        """Curves at any dose pairs ``(m, 2)``: ``(S, m, 3, T)`` without noise, channels as
        :data:`CHANNELS`. Beyond the ``surface``, what the mechanism missed at the pairs fitted is
        made good (:mod:`models.dynamics.pair_predictions`)."""
        grid = torch.as_tensor(times, dtype=torch.float64)
        with torch.no_grad():
            values = self.new(doses, plates, level, seed, misfit=not self.corrected)
            found = self.model.curves(values, self._inputs(doses), grid)
            if level == "surface" or not self.corrected:
                return found.permute(2, 3, 1, 0).numpy()
            plain = self.new(doses, None, "surface", seed)
            surface = self.model.curves(plain, self._inputs(doses), grid)
        bend = bends(self.model.scale)
        bent, mechanism = (torch.asinh(part / bend).permute(2, 3, 1, 0).numpy()
                           for part in (found, surface))  # fmt: skip
        bent = bent + self._missed(doses, mechanism, times, seed)
        return np.asarray(bend[..., 0].numpy() * np.sinh(bent))

    def _missed(
        self, doses: FloatArray, mechanism: FloatArray, times: FloatArray, seed: int
    ) -> FloatArray:
        """What to add to transformed curves at ``doses``, ``(S, m, 3, T)`` as ``mechanism``."""
        rng = np.random.default_rng(seed)
        found = np.zeros_like(mechanism)
        places = self._places(self._ordered(doses))
        known = self.model.data.series.times
        same, which = np.unique(places, axis=0, return_inverse=True)
        for channel, kriging in enumerate(self.correction.krigings):
            z = rng.normal(size=(len(self), len(same)))[:, which.ravel()]
            if kriging is None:
                continue
            weights, left = kriging.weights(places)
            rest = (
                self.correction.seen[kriging.rows, channel]
                - kriging.share * (self.correction.mechanism[:, kriging.rows, channel])
            )
            moved = weights @ rest
            spread = np.sqrt(left[:, None] * kriging.variance)
            moved = moved + z[..., None] * spread
            moved = scipy.interpolate.interp1d(
                known, moved, bounds_error=False, fill_value=(moved[..., 0], moved[..., -1])
            )(times)
            found[:, :, channel] = moved - (1 - kriging.share) * mechanism[:, :, channel]
        return found

    def _places(self, doses: FloatArray) -> FloatArray:
        return np.log2(1 + doses / self.correction.least)

    def living(
        self, doses: FloatArray, times: FloatArray, *, level: Level = "condition", seed: int = 0
    ) -> tuple[FloatArray, FloatArray]:
        """Cells that live (early apoptotic ones too) and that have died at ``doses`` ``(m, 2)`` on
        a plate without effects of its own: twice ``(S, m, T)``, in units of phase."""
        grid = torch.as_tensor(times, dtype=torch.float64)
        with torch.no_grad():
            values = self.new(doses, None, level, seed)
            context = self.model.system.prepare(values, self._inputs(doses))
            states = self.model.system.exact(grid, context)
        alive, dead = states[:, 0] + states[:, 1], states[:, 2] + states[:, 3]
        return alive.permute(1, 2, 0).numpy(), dead.permute(1, 2, 0).numpy()

    def rates(self, doses: FloatArray) -> dict[str, FloatArray]:
        """What the dose surface says at ``doses`` ``(m, 2)``, ``(S, m)`` each: ``growth`` and
        ``death`` an hour once the drugs act; ``cytostatic`` and ``cytotoxic`` synergy, the factors
        by which growth falls and death rises beyond the drugs alone (logarithms, exactly 0 where
        a dose is 0)."""
        with torch.no_grad():
            values = self.new(doses, None, "surface", 0)
            found = self.model.system.effects(values, self._inputs(doses))
        shape = (len(self), len(doses))
        picked = {
            "growth": found["growth_end"], "death": found["death_end"],
            "cytostatic": -found["growth_interaction"], "cytotoxic": found["death_interaction"],
        }  # fmt: skip
        return {name: value.expand(shape).numpy().copy() for name, value in picked.items()}

    def readings(
        self, mean: FloatArray, times: FloatArray, seed: int, *, noise: bool = True
    ) -> FloatArray:
        """New readings around curves ``mean`` ``(S, m, 3, T)`` at ``times``, the same shape: with
        what a time of reading does to all wells, drawn anew where nothing was read in the
        experiment. ``noise`` False gives their medians."""
        found, z = self._residuals(mean.shape[1], times, seed)
        bend = bends(self.model.scale)
        centre = torch.asinh(torch.as_tensor(mean).permute(3, 2, 0, 1) / bend)
        centre = centre + self._frames(times, seed)
        drawn = bend * torch.sinh(centre + found.scale * z if noise else centre)
        return drawn.permute(2, 3, 1, 0).numpy()

    def _frames(self, times: FloatArray, seed: int) -> Tensor:
        """Effects of frames at ``times``, ``(T, 3, S, 1)``."""
        known = {float(time): at for at, time in enumerate(self.model.times)}
        generator = torch.Generator().manual_seed(seed + 7919)
        shape = (len(self), len(CHANNELS), len(times))
        frames = torch.randn(shape, generator=generator, dtype=torch.float64)
        for at, time in enumerate(times.tolist()):
            if time in known:
                frames[..., at] = self.frames[..., known[time]]
        return self.model.frame_effects(self._fitted(torch.arange(len(self))), frames)

    def _residuals(self, count: int, times: FloatArray, seed: int) -> tuple[Noise, Tensor]:
        """Noise, and standardised residuals ``(T, 3, S, m)`` of new readings."""
        generator = torch.Generator().manual_seed(seed)
        noise = Noise.of(self._fitted(torch.arange(len(self))), self.model.scale)
        shape = (len(times), len(CHANNELS), len(self), count)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        half = (noise.df / 2).expand(shape).contiguous()
        # A chi-squared variate is twice a gamma variate of half its degrees of freedom.
        fresh = normal * torch.sqrt(half / torch._standard_gamma(half, generator=generator))
        levels = [fresh[0]]
        for gap, new in zip(np.diff(times).tolist(), fresh[1:], strict=True):
            kept = torch.exp(-gap / noise.memory[0])
            levels.append(kept * levels[-1] + torch.sqrt(1 - kept**2) * new)
        return noise, torch.stack(levels)

    def log_score(self, series: TimeCourses, seed: int = 0) -> FloatArray:
        """log predictive density of each reading of new wells, ``(n, 3, T)`` nats in units of the
        readings; NaN where nothing was read. Marginal over the other readings of the well."""
        mean = self.curves(
            series.inputs, series.times, plates=_plates_of(series), level="well", seed=seed
        )
        noise, z = self._residuals(len(series), series.times, seed + 1)
        values = torch.full((len(series), len(CHANNELS), len(series.times)), math.nan).double()
        for at, channel in enumerate(CHANNELS):
            if channel in series.channels:
                place = series.channels.index(channel)
                values[:, at] = torch.as_tensor(series.values[:, place])
        laid = values.permute(2, 1, 0)[:, :, None]
        bend = bends(self.model.scale)
        centre = torch.asinh(torch.as_tensor(mean).permute(3, 2, 0, 1) / bend)
        centre = centre + self._frames(series.times, seed + 1)
        residual = (torch.asinh(laid / bend) - centre) / noise.scale
        # Given the simulated reading before, a reading's density is known: no kernel is needed.
        gaps = torch.as_tensor(np.diff(series.times)).reshape(-1, 1, 1, 1)
        kept = torch.exp(-gaps / noise.memory)
        left = torch.cat([torch.ones_like(kept[:1]), torch.sqrt(1 - kept**2)])
        before = torch.cat([torch.zeros_like(z[:1]), kept * z[:-1]])
        density = noise.student((residual - before) / left) - torch.log(noise.scale * left)
        total = torch.logsumexp(density, dim=2) - math.log(len(self))
        total = total - 0.5 * torch.log(bend[..., 0].square() + laid[:, :, 0].square())
        return total.permute(2, 1, 0).numpy()


def _plates_of(series: TimeCourses) -> list[str] | None:
    factor = next((f for f in series.factors if f.name == PLATE), None)
    return None if factor is None else [factor.labels[i] for i in factor.index]
