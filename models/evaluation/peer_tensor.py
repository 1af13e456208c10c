"""BATCHIE's model with the synergy that its authors compute: from single agents as measured.

Their Bliss excess is the product of the *measured* single agents less the modelled combination
(Tosh et al. 2025, doi:10.1038/s41467-024-55287-7; the same in their code). ``logit_tensor`` takes
both from the model, whose single agents at doses that only combinations have are its weakest part:
O'Neil, 955 random blocks, correlation 0.06 with the other blocks, 0.28 with measured ones.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bayes.training import one_thread
from models.pharmacology.dose_response import CurveTable
from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.inputs import Training
from models.synergy.response.logit_tensor import LogitTensor, LogitTensorPosterior
from models.synergy.response.scoring import (
    CALIBRATION_DRAWS,
    Remainder,
    calibrate,
    calibration_rows,
    score_draws,
)
from models.synergy.response.treatments import Treatments
from models.synergy.training import Schedule

ELEMENTS_PER_BLOCK = 1 << 21


@dataclass(frozen=True)
class AnchoredTensor:
    """``tensor``: posterior of responses. ``curves``: of the measured single agents, which every
    candidate must have. ``remainder``: noise of a score around the draws."""

    tensor: LogitTensorPosterior
    curves: CurveTable
    remainder: Remainder

    @property
    def model(self) -> str:
        """Name of the model of responses."""
        return self.tensor.model

    @property
    def schedule(self) -> Schedule:
        """Sweeps of each chain, and those of the burn-in."""
        return self.tensor.schedule

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of a measured score around the true one."""
        return self.remainder.df

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 noise-free scores of ``n`` whole functions."""

        def surface(
            pairs: IntArray, doses: FloatArray, line: IntArray
        ) -> tuple[list[Tensor], Tensor]:
            """Each compound as measured, ``(m,)`` expanded to ``(m, n)``, and both together
            ``(m, n)``."""
            measured = self.curves.viability(pairs, line[:, None], doses)
            joint = self._joint(pairs, doses, line, n, seed)
            columns = torch.from_numpy(measured.astype(np.float32))
            return [columns[:, k, None].expand_as(joint) for k in (0, 1)], joint

        with one_thread():
            return score_draws(surface, candidates, self.tensor.grids, self.tensor.score, n)

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of a measurement like the others."""
        return torch.full((len(candidates),), self.remainder.total())

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        return self.noise_scale(candidates) * math.sqrt(self.noise_df / (self.noise_df - 2))

    def diagnostics(self) -> dict[str, Any]:
        """R-hat and effective sample size of fitted logits over the chains."""
        return self.tensor.diagnostics()

    def _joint(
        self, pairs: IntArray, doses: FloatArray, line: IntArray, n: int, seed: int
    ) -> Tensor:
        """``(rows, n)`` viabilities of combinations, some rows at a time."""
        worlds = self.tensor.worlds
        treatments = Treatments.of(pairs, doses, line, *worlds.shape)
        size = max(1, ELEMENTS_PER_BLOCK // (n * worlds.states["row"].shape[1]))
        parts = [
            torch.sigmoid(worlds.surface(treatments.select(slice(at, at + size)), n, seed)[1])
            for at in range(0, len(treatments), size)
        ]
        return torch.cat(parts) if parts else torch.empty((0, n))


def fit_anchored(
    training: Training,
    curves: CurveTable,
    *,
    seed: int,
    schedule: Schedule | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> AnchoredTensor:
    """Sample ``logit_tensor`` (its sweeps or those of ``schedule``) and measure its noise anew.

    Raises as :meth:`models.synergy.response.logit_tensor.LogitTensor.fit`.
    """
    tensor = LogitTensor().fit(
        training, seed=seed, schedule=schedule, on_progress=on_progress, should_stop=should_stop
    )
    whole = AnchoredTensor(tensor, curves, tensor.remainder)
    blocks = training.sorted().blocks
    some = blocks.select(calibration_rows(len(blocks), seed))
    draws = whole.draws(some.candidates, CALIBRATION_DRAWS, seed).numpy().astype(np.float64)
    return dataclasses.replace(whole, remainder=calibrate(draws, some))
