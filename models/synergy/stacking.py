"""``stacked``: several models as one mixture, weighted by what they predict of held-out blocks.

Weights come from :func:`models.bayes.stacking.stack` on a fifth of the blocks that no component
saw; then every component that has a weight is fitted again to all blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from models.bayes.predictive import log_predictive_density
from models.bayes.stacking import allot, stack
from models.screen import (
    Candidates,
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.evidence import KnowsErrors, forecast_blocks, split_rows
from models.synergy.inputs import Training
from models.synergy.training import Schedule, require_rows

if TYPE_CHECKING:
    from models.synergy.registry import Model, ModelPosterior

NAME = "stacked"
VERSION = 1
MIN_ROWS = 8
SMALLEST_WEIGHT = 1e-3
"""Components below this weight are dropped: they cost a fit and never get a draw."""
WEIGHT_DRAWS = 128
_SEED_STEP = 7919


@dataclass(frozen=True)
class StackedPart:
    """One component: the ``model``'s name, its ``weight`` and what its fit ran."""

    model: str
    weight: float
    schedule: Schedule


@dataclass(frozen=True)
class StackedSchedule(Schedule):
    """``steps`` and ``horizon`` are the sums over ``parts``, which a refit runs as they are."""

    parts: tuple[StackedPart, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[StackedPart]) -> StackedSchedule:
        """Of these components."""
        steps, horizon = (sum(getattr(p.schedule, k) for p in parts) for k in ("steps", "horizon"))
        return cls(steps, horizon, tuple(parts))


class StackedPosterior:
    """Mixture of ``components`` by ``weights`` (positive, summing to 1).

    Draw ``i`` is a whole function of one component; which one follows from the weights, ``n`` and
    ``seed`` alone (:func:`models.bayes.stacking.allot`), and any prefix of the draws is mixed.
    The noise is one Student-t for all draws: its variance is the weighted mean of the components'
    variances, 1 / df the weighted mean of theirs (a Gaussian counts 0), so that it stays proper
    and its tails lie between those of the components.
    """

    model = NAME

    def __init__(self, components: Sequence[ModelPosterior], weights: Sequence[float]) -> None:
        if not components or len(components) != len(weights):
            raise ScreenError("a stacked posterior needs one weight for each of its components")
        total = math.fsum(weights)
        if min(weights) <= 0 or not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ScreenError(f"stacking weights must be positive and sum to 1, not {weights}")
        self.components, self.weights = tuple(components), tuple(float(w) for w in weights)

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 noise-free scores of whole functions, on the CPU."""
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        owner = allot(np.array(self.weights), n, seed)
        result = torch.empty((n, len(candidates)), dtype=torch.float32)
        for k, component in enumerate(self.components):
            rows = np.flatnonzero(owner == k)
            if len(rows):
                own = component.draws(candidates, len(rows), seed + _SEED_STEP * k)
                result[torch.as_tensor(rows)] = own.float().cpu()
        return result

    @property
    def schedule(self) -> StackedSchedule:
        """What the components' fits ran, and their weights."""
        return StackedSchedule.of(
            [
                StackedPart(c.model, w, c.schedule)
                for c, w in zip(self.components, self.weights, strict=True)
            ]
        )

    @property
    def n_parameters(self) -> int | None:
        """Of all components together; ``None`` where one of them does not know."""
        counts: list[int | None] = [getattr(c, "n_parameters", None) for c in self.components]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def noise_df(self) -> float:
        """Degrees of freedom; see the class."""
        pairs = zip(self.weights, self.components, strict=True)
        share = math.fsum(w / c.noise_df for w, c in pairs)
        return 1.0 / share if share > 0 else math.inf

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        variance = torch.zeros(len(candidates), dtype=torch.float64)
        for weight, component in zip(self.weights, self.components, strict=True):
            variance += weight * component.noise_sd(candidates).double().cpu().square()
        return variance.sqrt().float()

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale that gives :meth:`noise_sd` at :attr:`noise_df`."""
        df = self.noise_df
        return self.noise_sd(candidates) * (1.0 if math.isinf(df) else math.sqrt((df - 2) / df))

    def noise_scale_given(self, candidates: Candidates, noise_sd: FloatArray) -> FloatArray:
        """``(m,)`` scale of the noise of measurements with these standard errors: variances
        weighted, each component by its own rule where it has one."""
        variance = np.zeros(len(candidates))
        for weight, component in zip(self.weights, self.components, strict=True):
            if isinstance(component, KnowsErrors):
                scale, own = component.noise_scale_given(candidates, noise_sd), component.noise_df
                inflation = 1.0 if math.isinf(own) else own / (own - 2)
                variance += weight * scale**2 * inflation
            else:
                variance += weight * component.noise_sd(candidates).double().cpu().numpy() ** 2
        df = self.noise_df
        return np.asarray(np.sqrt(variance * (1.0 if math.isinf(df) else (df - 2) / df)))

    def diagnostics(self) -> dict[str, Any]:
        """Weights, and how well each component converged."""
        return {
            "kind": "stacked",
            "components": [
                {"model": c.model, "weight": round(w, 6), "convergence": c.diagnostics()}
                for c, w in zip(self.components, self.weights, strict=True)
            ],
        }


class Stacked:
    """The model over ``components``, by name; see the module."""

    name = NAME

    def __init__(self, components: Mapping[str, Model]) -> None:
        if NAME in components:
            raise ScreenError("a stack cannot hold itself")
        self.components = dict(components)
        self.reads_modules = any(getattr(m, "reads_modules", False) for m in components.values())

    def fit(
        self,
        training: Training,
        *,
        seed: int,
        device: str = "cpu",
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
        schedule: Schedule | None = None,
        refit: bool = True,
    ) -> StackedPosterior:
        """Learn the weights on a held-out fifth, then fit all components to all blocks.

        ``schedule``: a :class:`StackedSchedule` is run as it is, weights included; any other is
        what each component runs while the weights are learned. ``refit`` false: the components
        stay as they were when the weights were learned. A component that cannot be fitted to
        these data (:class:`ScreenError`) ends the fit: a stack never leaves one out in silence.
        """
        training = training.sorted()
        require_rows(len(training.blocks), MIN_ROWS)
        job = _Job(self.components, seed, device, on_progress, should_stop)
        if isinstance(schedule, StackedSchedule):
            return job.refit(training, schedule.parts)
        learned = job.learn(training, schedule)
        return job.refit(training, learned.schedule.parts) if refit else learned

    def save(self, posterior: StackedPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors under ``0.``, ``1.``, ... and each component's metadata."""
        tensors: dict[str, Tensor] = {}
        parts = []
        for k, component in enumerate(posterior.components):
            own, metadata = self._model(component.model).save(component)
            tensors |= {f"{k}.{name}": tensor for name, tensor in own.items()}
            parts.append(metadata)
        return tensors, {
            "model": NAME,
            "version": VERSION,
            "weights": list(posterior.weights),
            "components": parts,
        }

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> StackedPosterior:
        """Inverse of :meth:`save`: the same draws to the bit where the components' are."""
        if metadata.get("model") != NAME or metadata.get("version") != VERSION:
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {NAME} version {VERSION}")
        components = []
        for k, part in enumerate(metadata["components"]):
            head = f"{k}."
            own = {t.removeprefix(head): v for t, v in tensors.items() if t.startswith(head)}
            components.append(self._model(str(part.get("model"))).load(own, part, device))
        return StackedPosterior(components, metadata["weights"])

    def _model(self, name: str) -> Model:
        if name not in self.components:
            raise ScreenError(f"{NAME} has no component {name!r}")
        return self.components[name]


@dataclass(frozen=True)
class _Job:
    """What the fits of one stack share."""

    models: Mapping[str, Model]
    seed: int
    device: str
    on_progress: ProgressCallback
    should_stop: StopCallback

    def learn(self, training: Training, schedule: Schedule | None) -> StackedPosterior:
        """Components fitted to four fifths and their weights on the other."""
        kept, left_out = split_rows(len(training.blocks), self.seed)
        train, held_out = training.select(kept), training.blocks.select(left_out)
        fitted, density = [], []
        for name in self.models:
            posterior = self._fit(name, train, schedule, refit=False)
            functions, noise = forecast_blocks(
                posterior, train.blocks, held_out, WEIGHT_DRAWS, self.seed
            )
            density.append(log_predictive_density(functions, held_out.score, noise))
            fitted.append(posterior)
        weights = _without_dust(stack(np.stack(density)).weights)
        used = [k for k, weight in enumerate(weights) if weight > 0]
        return StackedPosterior([fitted[k] for k in used], [float(weights[k]) for k in used])

    def refit(self, training: Training, parts: Sequence[StackedPart]) -> StackedPosterior:
        """The same weights, each component on all blocks."""
        unknown = [part.model for part in parts if part.model not in self.models]
        if unknown:
            raise ScreenError(f"{NAME} has no component {unknown[0]!r}")
        fitted = [self._fit(p.model, training, p.schedule, refit=True) for p in parts]
        return StackedPosterior(fitted, [part.weight for part in parts])

    def _fit(
        self, name: str, training: Training, schedule: Schedule | None, *, refit: bool
    ) -> ModelPosterior:
        return self.models[name].fit(
            training,
            seed=self.seed,
            device=self.device,
            on_progress=lambda stage, done, total: self.on_progress(f"{name} {stage}", done, total),
            should_stop=self.should_stop,
            schedule=schedule,
            refit=refit,
        )


def _without_dust(weights: FloatArray) -> FloatArray:
    kept = np.where(weights >= SMALLEST_WEIGHT, weights, 0.0)
    return np.asarray(kept / kept.sum())
