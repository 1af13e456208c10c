"""A posterior whose spread was mended by a factor learned on held-out blocks, and says so.

The model ``Recalibrated(inner)`` is asked for by name; no other fit is ever recalibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from models.bayes.recalibration import FEWEST, ScaleRecalibration, learn_scale
from models.screen import (
    Candidates,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.evidence import HELD_OUT_SHARE, forecast_blocks, split_rows
from models.synergy.inputs import Training
from models.synergy.training import Schedule, require_rows

if TYPE_CHECKING:
    from models.synergy.registry import Model, ModelPosterior

SUFFIX = "_recalibrated"
VERSION = 1
MIN_ROWS = round(FEWEST / HELD_OUT_SHARE)
SCALE_DRAWS = 128


@dataclass(frozen=True)
class RecalibratedSchedule(Schedule):
    """``inner``: what the model's own fit ran; ``scale``: the factor found beside it."""

    inner: Schedule | None = None
    scale: ScaleRecalibration | None = None


class RecalibratedPosterior:
    """``inner`` with draws stretched around their mean, and its noise, by ``scale.factor``.

    Draw ``i`` stays a whole function: mean of the ``n`` draws asked for plus the factor times its
    deviation, the same combination of functions at every candidate. A single draw is its own mean.
    """

    def __init__(self, inner: ModelPosterior, scale: ScaleRecalibration) -> None:
        self.inner, self.scale = inner, scale

    @property
    def model(self) -> str:
        """Name of the model with the suffix."""
        return self.inner.model + SUFFIX

    @property
    def n_parameters(self) -> int | None:
        """Of the inner model."""
        found: int | None = getattr(self.inner, "n_parameters", None)
        return found

    @property
    def noise_df(self) -> float:
        """Degrees of freedom, unchanged."""
        return self.inner.noise_df

    @property
    def schedule(self) -> RecalibratedSchedule:
        """What the fit ran, and the factor."""
        own = self.inner.schedule
        return RecalibratedSchedule(own.steps, own.horizon, own, self.scale)

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 draws of the noise-free score."""
        own = self.inner.draws(candidates, n, seed)
        mean = own.mean(dim=0, keepdim=True)
        return mean + self.scale.factor * (own - mean)

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of one measurement."""
        return self.scale.factor * self.inner.noise_scale(candidates)

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        return self.scale.factor * self.inner.noise_sd(candidates)

    def diagnostics(self) -> dict[str, Any]:
        """The inner model's, and what was done."""
        return {
            "kind": "recalibrated",
            "recalibration": {"applied": True, **self.scale.report()},
            "inner": self.inner.diagnostics(),
        }


class Recalibrated:
    """The model ``inner`` with a factor on its spread, learned from a held-out fifth."""

    def __init__(self, inner: Model) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner name with the suffix."""
        return self.inner.name + SUFFIX

    @property
    def reads_modules(self) -> bool:
        """Whether the inner model does."""
        return bool(getattr(self.inner, "reads_modules", False))

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
    ) -> RecalibratedPosterior:
        """Fit to four fifths, learn the factor on the other, fit again to all blocks.

        ``schedule``: a :class:`RecalibratedSchedule` is run as it is, factor included; any other
        is the inner model's. ``refit`` false: the posterior stays the one of four fifths. Raises
        :class:`ScreenError` for fewer than 100 blocks, and what the inner fit raises.
        """
        training = training.sorted()
        require_rows(len(training.blocks), MIN_ROWS)

        def fit(data: Training, plan: Schedule | None, again: bool) -> ModelPosterior:
            return self.inner.fit(
                data,
                seed=seed,
                device=device,
                on_progress=on_progress,
                should_stop=should_stop,
                schedule=plan,
                refit=again,
            )

        if isinstance(schedule, RecalibratedSchedule) and schedule.scale is not None:
            return RecalibratedPosterior(fit(training, schedule.inner, True), schedule.scale)
        kept, left_out = split_rows(len(training.blocks), seed)
        train, held_out = training.select(kept), training.blocks.select(left_out)
        first = fit(train, schedule, False)
        functions, noise = forecast_blocks(first, train.blocks, held_out, SCALE_DRAWS, seed)
        scale = learn_scale(functions, held_out.score, noise)
        final = fit(training, first.schedule, True) if refit else first
        return RecalibratedPosterior(final, scale)

    def save(self, posterior: RecalibratedPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The inner posterior's tensors; metadata with the factor around its own."""
        tensors, metadata = self.inner.save(posterior.inner)
        return tensors, {
            "model": self.name,
            "version": VERSION,
            "scale": asdict(posterior.scale),
            "inner": metadata,
        }

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> RecalibratedPosterior:
        """Inverse of :meth:`save`."""
        if metadata.get("model") != self.name or metadata.get("version") != VERSION:
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {self.name} version {VERSION}")
        inner = self.inner.load(tensors, metadata["inner"], device)
        return RecalibratedPosterior(inner, ScaleRecalibration(**metadata["scale"]))
