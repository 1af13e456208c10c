"""What was learned: parameters and predictions at each level, and what they are worth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.dynamics.inference import refine
from models.dynamics.local import Local
from models.dynamics.model import DynamicModel
from models.dynamics.objective import bound, effective_samples, resample
from models.dynamics.observation import Readings
from models.dynamics.psis import RELIABLE, pareto_shape
from models.dynamics.series import TimeCourses
from models.dynamics.shared import Knowledge
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

CHUNK_READINGS = 1_000_000
"""Readings of all samples and series worked on at a time."""
PART = 128
"""Series worked on at a time: the memory of a question does not grow with the series."""
OUTLYING = 3.5
"""Robust z-score below which a series is an outlier (Iglewicz & Hoaglin 1993)."""


@dataclass(frozen=True)
class Scores:
    """How well series are described, one number each.

    ``bound``: importance-weighted lower bound of log p(y | what was learned), nats. ``readings``:
    how many readings that is of. ``pareto_k``: below 0.7 the weights can be trusted.
    ``effective``: samples that count.
    """

    bound: FloatArray
    readings: IntArray
    pareto_k: FloatArray
    effective: FloatArray

    def describe(self) -> dict[str, Any]:
        """JSON-able summary."""
        finite = self.pareto_k[np.isfinite(self.pareto_k)]
        return {
            "series": len(self.bound),
            "bound_mean": round(float(self.bound.mean()), 6),
            "bound_per_reading": round(float(self.bound.sum() / self.readings.sum()), 6),
            "pareto_k_max": round(float(finite.max()), 6) if finite.size else None,
            "share_reliable": round(float(np.mean(self.pareto_k < RELIABLE)), 6),
            "effective_min": round(float(self.effective.min()), 6),
        }


@dataclass(frozen=True)
class Bands:
    """Predicted readings: ``mean``, ``lower`` and ``upper`` ``(n, c, t)`` at ``times`` ``(t,)``.

    ``level``: probability between lower and upper, noise included.
    """

    times: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float


class DynamicPosterior:
    """A fitted model with the series it is asked about."""

    def __init__(
        self, model: DynamicModel, series: TimeCourses, local: Local | None = None
    ) -> None:
        self.model, self.series = model, series
        self.batch = model.batch(series)
        with torch.no_grad():
            self.local = model.local(self.batch) if local is None else local

    def _parts(self, seed: int) -> Iterator[tuple[DynamicPosterior, int]]:
        """Posteriors of :data:`PART` series each, in order, and a seed for each."""
        if len(self.series) <= PART:
            yield self, seed
            return
        for number, rows in enumerate(np.split(np.arange(len(self.series)), _cuts(self.series))):
            local = self.local.select(torch.as_tensor(rows, device=self.local.mean.device))
            own = np.random.SeedSequence([seed, number]).generate_state(1)[0]
            yield DynamicPosterior(self.model, self.series.select(rows), local), int(own)

    def refined(
        self,
        *,
        steps: int = 150,
        seed: int = 0,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> DynamicPosterior:
        """The same with each series' own posterior improved: see :func:`refine`."""
        local = refine(
            self.model,
            self.batch,
            steps=steps,
            seed=seed,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        return DynamicPosterior(self.model, self.series, local)

    def log_weights(
        self,
        samples: int,
        seed: int,
        should_stop: StopCallback = never_stop,
        *,
        against_prior: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Log weights ``(K, N)`` of all series at once, each sample with shared unknowns of its
        own drawn from what was learned, and the elements ``(K, N, P)``.

        log mean w is a bound of the posterior predictive log density of each series or, with
        ``against_prior``, of its density under the priors alone: what was learned is then only
        the proposal, and each series pays for all of it.
        """
        generator = torch.Generator().manual_seed(seed)
        shared = self.model.shared
        # Series share the draws: each of them sees as many, and a draw costs what all groups cost.
        with torch.no_grad():
            size = self.model.hierarchy.shared_size
            noise = self.model.normal(samples, 1, size, generator=generator)
            drawn = shared.sample(noise)
            weights, elements = [], []
            for part in drawn.split(self._chunk()):  # type: ignore[no-untyped-call]
                if should_stop():
                    raise Stopped
                found = self._draw(part, generator)
                weights.append(found[0])
                elements.append(found[1])
            told = shared.log_ratio(drawn, noise) if against_prior else 0.0
        return torch.cat(weights) + told, torch.cat(elements)

    def _draw(self, shared: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        model, n = self.model, len(self.batch)
        moments = model.moments(shared.expand(-1, n, -1), self.batch, generator)
        sampled = self.local.sample(
            model.normal(len(shared), n, self.local.noise_size, generator=generator)
        )
        terms = model.terms(self.batch, self.local, sampled, moments)
        return terms.log_weights(), terms.elements

    def _chunk(self) -> int:
        return max(1, CHUNK_READINGS // max(1, self.series.values.size))

    def scores(
        self, samples: int = 1000, seed: int = 0, should_stop: StopCallback = never_stop
    ) -> Scores:
        """Bounds and their diagnostics. For series the fit has seen they are optimistic."""
        found = [
            part.log_weights(samples, own, should_stop)[0].double()
            for part, own in self._parts(seed)
        ]
        return Scores(
            np.concatenate([bound(weights).cpu().numpy() for weights in found]),
            self.series.observed.sum(axis=(1, 2)).astype(np.int64),
            np.concatenate([pareto_shape(weights.cpu().numpy()) for weights in found]),
            np.concatenate([effective_samples(weights).cpu().numpy() for weights in found]),
        )

    def elements(self, draws: int, seed: int, samples: int = 500) -> Tensor:
        """``(draws, N, P)`` inner-scale elements resampled by their importance weights."""
        found = []
        for part, own in self._parts(seed):
            weights, elements = part.log_weights(samples, own)
            generator = torch.Generator().manual_seed(own + 1)
            index = resample(weights, draws, generator)
            index = index[..., None].expand(-1, -1, elements.shape[2])
            found.append(torch.gather(elements, 0, index))
        return torch.cat(found, dim=1)

    def individual(self, draws: int = 200, seed: int = 0) -> dict[str, FloatArray]:
        """Values of each series by parameter, ``(draws, N)`` or ``(size, draws, N)``."""
        values = self.model.hierarchy.values(self.elements(draws, seed))
        return {name: value.double().cpu().numpy() for name, value in values.items()}

    def group(
        self, factor: str, label: str, draws: int = 200, seed: int = 0
    ) -> dict[str, FloatArray]:
        """Values typical of one group (individual parts at their median), all other factors at
        the population; ``(draws,)`` or ``(size, draws)``."""
        labels = self.model.hierarchy.labels
        if factor not in labels or label not in labels[factor]:
            raise ScreenError(f"the fit knows no group {label!r} of {factor!r}")
        return self._typical({factor: labels[factor].index(label)}, draws, seed)

    def population(self, draws: int = 200, seed: int = 0) -> dict[str, FloatArray]:
        """Population values, ``(draws,)`` or ``(size, draws)``."""
        return self._typical({}, draws, seed)

    def _typical(self, groups: dict[str, int], draws: int, seed: int) -> dict[str, FloatArray]:
        model = self.model
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            noise = model.normal(draws, 1, model.hierarchy.shared_size, generator=generator)
            shared = model.shared.inner(model.shared.sample(noise))
            location = model.hierarchy.typical(shared, groups)
            values = model.hierarchy.values(location)
        return {name: value[..., 0].double().cpu().numpy() for name, value in values.items()}

    def predict(
        self,
        times: FloatArray | None = None,
        *,
        level: float = 0.9,
        draws: int = 200,
        seed: int = 0,
    ) -> Bands:
        """Bands of a reading of each series at ``times`` (its own if ``None``), given its own last
        reading before: of gaps, of what comes next, and of whether a reading was to be expected.
        """
        grid = self.series.times if times is None else np.asarray(times, np.float64)
        tail = (1 - level) / 2
        found = []
        for part, own in self._parts(seed):
            drawn = part._follow(grid, draws, own)
            found.append((drawn.mean(axis=0), *np.quantile(drawn, [tail, 1 - tail], axis=0)))
        mean, low, high = (np.concatenate(each) for each in zip(*found, strict=True))
        return Bands(grid, mean, low, high, level)

    def _follow(self, times: FloatArray, draws: int, seed: int) -> FloatArray:
        """Draws ``(draws, n, c, t)`` at ``times`` given the last reading before each."""
        union = np.union1d(self.series.times, times)
        values = np.full((*self.series.values.shape[:2], len(union)), np.nan)
        values[..., np.searchsorted(union, self.series.times)] = self.series.values
        readings = Readings.of(self.model.tensor(values), self.model.tensor(union))
        elements = self.elements(draws, seed)
        generator = torch.Generator().manual_seed(seed + 2)
        with torch.no_grad():
            natural = self.model.hierarchy.values(elements)
            observed = self.model.run(elements, self.batch.inputs, union)
            drawn = self.model.observation.follow(readings, observed, natural, generator)
        wanted = np.searchsorted(union, times)
        return drawn.permute(2, 3, 1, 0).double().cpu().numpy()[..., wanted]

    def simulate(self, times: FloatArray, draws: int, seed: int) -> FloatArray:
        """Whole new curves ``(draws, n, c, t)`` of the posterior of each series: what a replicate
        with its parameters would read, noise and its memory included."""
        return np.concatenate(
            [part._simulate(times, draws, own) for part, own in self._parts(seed)], axis=1
        )

    def _simulate(self, times: FloatArray, draws: int, seed: int) -> FloatArray:
        elements = self.elements(draws, seed)
        generator = torch.Generator().manual_seed(seed + 2)
        grid = self.model.tensor(times)
        with torch.no_grad():
            values = self.model.hierarchy.values(elements)
            observed = self.model.run(elements, self.batch.inputs, times)
            drawn = self.model.observation.draw(observed, values, grid, generator)
        return drawn.permute(2, 3, 1, 0).double().cpu().numpy()

    def outliers(self, samples: int = 200, seed: int = 0) -> FloatArray:
        """``(n,)`` robust z-scores of the bound a reading: below ``-OUTLYING`` is an outlier.

        0.6745 (value - median) / MAD; zeros if all series are described alike.
        """
        found = self.scores(samples, seed)
        each = found.bound / found.readings
        centred = each - np.median(each)
        deviation = float(np.median(np.abs(centred)))
        return centred * 0.0 if deviation == 0 else 0.6745 * centred / deviation

    def left_to_learn(
        self, until: float, *, every: float = 1.0, draws: int = 200, seed: int = 0
    ) -> FloatArray:
        """Nats that further readings of each series would tell of its parameters, ``(n,)``.

        Readings every ``every`` hours from the last one of the table to ``until``, in the normal
        approximation I = 1/2 log det(1 + S^-1 C): C is the covariance over posterior draws of the
        expected readings, S that of their noise. Near 0: this series will not tell us more.
        """
        last = float(self.series.times[self.series.observed.any(axis=(0, 1))][-1])
        times = np.arange(last + every, until + 1e-9, every)
        if len(times) == 0:
            raise ScreenError(f"nothing can be read between hour {last} and hour {until}")
        return np.concatenate(
            [part._left(times, every, draws, own) for part, own in self._parts(seed)]
        )

    def _left(self, times: FloatArray, every: float, draws: int, seed: int) -> FloatArray:
        elements = self.elements(draws, seed)
        with torch.no_grad():
            values = self.model.hierarchy.values(elements)
            observed = self.model.run(elements, self.batch.inputs, times)
            mean = self.model.observation.mean(observed, values).double()
            scale = self.model.observation.scale(observed, values).double().square().mean(2).sqrt()
            phi = self.model.observation.kept(values, every)
        return _information(mean, scale, phi)

    def knowledge(self) -> Knowledge:
        """What is known of all shared unknowns: ``known`` of the next experiment's fit."""
        return self.model.shared.knowledge()


def _cuts(series: TimeCourses) -> IntArray:
    """Where parts of :data:`PART` series begin, but for the first."""
    return np.arange(PART, len(series), PART, dtype=np.int64)


def _information(mean: Tensor, scale: Tensor, phi: Tensor) -> FloatArray:
    """1/2 log det(1 + S^-1 C) a series from means ``(T, C, K, N)``, noise sd ``(T, C, N)`` and
    the correlation of successive residuals ``(C, N)``."""
    t, c, k, n = mean.shape
    centred = (mean - mean.mean(2, keepdim=True)) / scale[:, :, None]
    before = torch.cat([torch.zeros_like(centred[:1]), centred[:-1]])
    white = (centred - phi[None, :, None] * before) * torch.rsqrt(1 - phi.square())[None, :, None]
    white = torch.cat([centred[:1], white[1:]])
    flat = white.reshape(t * c, k, n).permute(2, 1, 0) / math.sqrt(k - 1)
    gram = torch.eye(k, dtype=flat.dtype, device=flat.device) + flat @ flat.transpose(1, 2)
    nats: FloatArray = (0.5 * torch.linalg.slogdet(gram)[1]).cpu().numpy()
    return nats
