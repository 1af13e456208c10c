"""The VAE as a model of conditions: coordinates are the readouts, effects act on their own readout.

With few conditions the networks are small and most of the answer is the sparse additive part with
its low-rank interaction; the decoder adds what saturates and what readouts share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.perturbation.data import ResponseTable
from models.perturbation.saving import df_from_json, df_to_json
from models.perturbation.vae.cells import from_responses
from models.perturbation.vae.fitting import FittedVae, fit_vae, load_vae
from models.perturbation.vae.module import VaeSettings
from models.perturbation.vae.observations import ContinuousObservation
from models.perturbation.vae.training import TrainingPlan
from models.perturbation.vae.worlds import BASAL_STATES
from models.screen import (
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

NAME = "vae"
LEAST_CONDITIONS = 5
STEPS = 800
BATCH = 128
MEAN_DRAWS = 64


@dataclass(frozen=True)
class VaePosterior:
    """See :class:`models.perturbation.protocol.ResponsePosterior`.

    ``spread`` ``(g,)``: standard deviation of a response around its mean that comes from basal
    states, with the observation's own. ``df``: degrees of freedom of the noise.
    """

    fitted: FittedVae
    spread: FloatArray
    df: float

    @property
    def model(self) -> str:
        """``vae``."""
        return NAME

    @property
    def perturbations(self) -> tuple[str, ...]:
        """``p`` names, the columns of doses."""
        return self.fitted.perturbations

    @property
    def readouts(self) -> tuple[str, ...]:
        """``g`` names, the columns of responses."""
        return self.fitted.readouts

    @property
    def channels(self) -> dict[str, Any] | None:
        """How active those of its networks were."""
        return self.fitted.channels

    @property
    def noise_scale(self) -> FloatArray:
        """``(g,)`` scale of a measurement around the mean, in the unit of the readout."""
        return self.spread

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of that noise; infinite where it is normal."""
        return self.df

    def draws(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)`` noise-free responses at ``doses`` ``(m, p)``; exactly 0 without a dose."""
        return self.fitted.effects(doses, n, seed)

    def mean(self, doses: FloatArray) -> FloatArray:
        """``(m, g)`` mean over 64 worlds and their mirror images, always the same ones."""
        return self.fitted.mean_effects(doses, MEAN_DRAWS)

    def interaction(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)`` what combining adds in the same worlds; exactly 0 for single doses."""
        return self.fitted.interactions(doses, n, seed)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able metadata; :meth:`VaeResponses.load` gives the same draws."""
        tensors, metadata = self.fitted.save()
        tensors["noise.spread"] = torch.from_numpy(self.spread.copy())
        return tensors, {"model": NAME, "version": 1, "df": df_to_json(self.df), "vae": metadata}


class VaeResponses:
    """The model. ``rank``, ``basal``, ``hidden`` and ``prior_on`` as in :class:`VaeSettings`;
    ``steps``: fewest of training."""

    def __init__(
        self,
        *,
        rank: int = 4,
        basal: int = 1,
        hidden: int = 16,
        prior_on: float = 0.5,
        steps: int = STEPS,
    ) -> None:
        self.rank, self.basal, self.hidden = rank, basal, hidden
        self.prior_on, self.steps = prior_on, steps

    @property
    def name(self) -> str:
        """``vae``."""
        return NAME

    def fit(
        self,
        table: ResponseTable,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> VaePosterior:
        """Posterior given the rows of good quality; their order does not matter.

        Raises :class:`ScreenError` for fewer than 5 such rows, ``Stopped``, and
        :class:`models.bayes.training.NonFiniteLossError`.
        """
        good = table.select(~table.low_quality).sorted()
        if len(good) < LEAST_CONDITIONS:
            raise ScreenError(
                f"the VAE needs at least {LEAST_CONDITIONS} conditions of good quality"
            )
        cells = from_responses(good)
        if not (good.doses > 0).any():
            raise ScreenError("no condition is perturbed: there is nothing to learn")
        settings = VaeSettings(
            columns=good.readouts,
            basal=self.basal,
            hidden=self.hidden,
            own_readout=True,
            anchored=good.kind == "log_ratio",
            rank=self.rank,
            prior_on=self.prior_on,
        )
        batches = math.ceil(len(cells) / BATCH)
        plan = TrainingPlan(
            epochs=max(1, math.ceil(self.steps / batches)), batch_cells=BATCH, rate=5e-3
        )
        fitted = fit_vae(
            cells, settings, plan, seed=seed, on_progress=on_progress, should_stop=should_stop
        )
        return VaePosterior(fitted, *_noise(fitted, float(np.median(cells.library))))

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> VaePosterior:
        """Inverse of :meth:`VaePosterior.save`. Raises :class:`ScreenError` for another model."""
        if (metadata.get("model"), metadata.get("version")) != (NAME, 1):
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {NAME} version 1")
        inner = {k: v for k, v in tensors.items() if k != "noise.spread"}
        spread = tensors["noise.spread"].numpy().astype(np.float64)
        return VaePosterior(load_vae(inner, metadata["vae"]), spread, df_from_json(metadata["df"]))


@torch.no_grad()
def _noise(fitted: FittedVae, library: float) -> tuple[FloatArray, float]:
    """Scale ``(g,)`` and degrees of freedom of a measured response.

    Basal states spread the decoder's output around the control; the observation adds its own:
    the Student-t scale, or for counts the delta method, 1 / mean + 1 / concentration on the
    logarithm (a count is never better known than one molecule).
    """
    model = fitted.model
    generator = torch.Generator().manual_seed(0)
    states = torch.randn((BASAL_STATES * 8, model.settings.basal), generator=generator)
    shift = torch.zeros(len(states), len(model.settings.columns))
    raw = model.decode(states, shift, torch.zeros(len(states)), None).double()
    observation = model.observation
    if isinstance(observation, ContinuousObservation):
        scale, df = observation.noise()
        own = scale.double().square()
        return torch.sqrt(own + raw.var(0)).numpy(), float(df)
    share = torch.log_softmax(raw, -1)
    mean = (library * share.exp().mean(0)).clamp(min=1.0)
    own = 1 / mean + 1 / torch.exp(observation.log_concentration).double()
    return torch.sqrt(own + share.var(0)).numpy(), math.inf
