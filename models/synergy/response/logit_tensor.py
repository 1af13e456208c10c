"""``logit_tensor``: the low-rank model of logit viabilities over drug-dose labels.

The peer to compare with: no dose-response curve, no anchor, one noise on the logit scale. Sampled
by :mod:`.tensor_gibbs`, two chains, whose agreement ``diagnostics()`` reports.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.inputs import Training
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.response.labels import DoseLabels
from models.synergy.response.scoring import (
    CALIBRATION_DRAWS,
    Remainder,
    calibrate,
    calibration_rows,
    require_score_of_responses,
    score_draws,
)
from models.synergy.response.tensor_gibbs import HIGHEST, LOWEST
from models.synergy.response.tensor_sampling import TensorWorlds, sample_tensor
from models.synergy.response.treatments import Treatments
from models.synergy.training import Schedule, require_rows

NAME = "logit_tensor"
VERSION = 1
MIN_ROWS = 5
BURN_IN, KEPT = 100, 100
ELEMENTS_PER_BLOCK = 1 << 21


@dataclass(frozen=True)
class LogitTensorPosterior:
    """Posterior of ``logit_tensor``: of responses at measured doses, and of the score."""

    worlds: TensorWorlds
    grids: DoseGrids
    score: str
    remainder: Remainder
    schedule: Schedule
    report: dict[str, Any]

    model = NAME

    def viability_draws(
        self, compounds: IntArray, doses_um: FloatArray, cell_line: IntArray, n: int, seed: int
    ) -> Tensor:
        """``(n, m)`` float32 draws of true viabilities; vehicle is exactly 1.

        Raises :class:`ScreenError` for doses at which a measured compound was never measured.
        """
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        treatments = Treatments.of(compounds, doses_um, cell_line, *self.worlds.shape)
        result = torch.empty((n, len(treatments)), dtype=torch.float32)
        width = max(1, self.worlds.states["row"].shape[1])
        size = max(1, ELEMENTS_PER_BLOCK // (n * width))
        for start in range(0, len(treatments), size):
            rows = slice(start, start + size)
            _, joint = self.worlds.surface(treatments.select(rows), n, seed)
            result[:, rows] = torch.sigmoid(joint).T
        vehicle = torch.from_numpy((treatments.doses_um == 0).all(axis=1))
        result[:, vehicle] = 1.0
        return result

    @property
    def logit_noise_sd(self) -> float:
        """Standard deviation of one well on the logit scale, posterior mean."""
        return float(self.worlds.states["noise"].mean())

    def well_noise_sd(self, viability: FloatArray) -> FloatArray:
        """Standard deviation of one well around a true viability, to first order; same shape."""
        inside = np.clip(viability, LOWEST, HIGHEST)
        return np.asarray(self.logit_noise_sd * inside * (1.0 - inside), dtype=np.float64)

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 noise-free scores of ``n`` whole functions."""

        def surface(
            pairs: IntArray, doses: FloatArray, line: IntArray
        ) -> tuple[list[Tensor], Tensor]:
            parts = []
            treatments = Treatments.of(pairs, doses, line, *self.worlds.shape)
            size = max(1, ELEMENTS_PER_BLOCK // (n * self.worlds.states["row"].shape[1]))
            for start in range(0, len(treatments), size):
                rows = treatments.select(slice(start, start + size))
                singles, joint = self.worlds.surface(rows, n, seed)
                parts.append(torch.sigmoid(torch.stack([*singles, joint])))
            first, second, joint = torch.cat(parts, dim=1)
            return [first, second], joint

        return score_draws(surface, candidates, self.grids, self.score, n)

    counted = "unknowns of one draw"

    @property
    def n_parameters(self) -> int:
        """Unknowns of one draw."""
        return sum(int(np.prod(state.shape[:-1])) for state in self.worlds.states.values())

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of a measured score around the true one."""
        return self.remainder.df

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of a measurement like the others."""
        return torch.full((len(candidates),), self.remainder.total())

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        df = self.noise_df
        return self.noise_scale(candidates) * math.sqrt(df / (df - 2))

    def diagnostics(self) -> dict[str, Any]:
        """R-hat and effective sample size of fitted logits over the chains."""
        return self.report


class LogitTensor:
    """The model; see :class:`models.synergy.registry.Model`."""

    name = NAME
    learns_from_wells = True

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
    ) -> LogitTensorPosterior:
        """Fit to the wells that hold compounds; the blocks calibrate the noise of scores.

        ``schedule``: sweeps of each chain and of those the burn-in. Nothing is held out, so
        ``refit`` changes nothing. Raises :class:`ScreenError` without wells or with fewer than 5
        blocks, ``Stopped``.
        """
        require_score_of_responses(training.score)
        if training.wells is None:
            raise ScreenError(f"{NAME} learns from wells; this screen has scores only")
        blocks = training.sorted().blocks
        require_rows(len(blocks), MIN_ROWS)
        shape = (len(training.features.compounds), len(training.features.cell_lines))
        plan = schedule or Schedule(BURN_IN + KEPT, BURN_IN)
        worlds, report = sample_tensor(
            training.wells,
            shape,
            seed=seed,
            device=torch.device(device),
            plan=plan,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        grids = DoseGrids.of(training.wells, shape[0])
        none = Remainder(0.0, math.inf, 0.0)
        posterior = LogitTensorPosterior(worlds, grids, training.score, none, plan, report)
        some = blocks.select(calibration_rows(len(blocks), seed))
        draws = posterior.draws(some.candidates, CALIBRATION_DRAWS, seed)
        remainder = calibrate(draws.numpy().astype(np.float64), some)
        return dataclasses.replace(posterior, remainder=remainder)

    def save(self, posterior: LogitTensorPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors for safetensors and metadata for JSON; :meth:`load` gives the same draws."""
        worlds = posterior.worlds
        tensors = {f"states.{k}": torch.from_numpy(v) for k, v in worlds.states.items()}
        tensors["labels.compound"] = torch.from_numpy(worlds.labels.compound)
        tensors["labels.dose_um"] = torch.from_numpy(worlds.labels.dose_um)
        tensors |= posterior.grids.save()
        metadata = {
            "model": NAME,
            "version": VERSION,
            "score": posterior.score,
            "n_compounds": worlds.labels.n_compounds,
            "centre": worlds.centre,
            "remainder": dataclasses.asdict(posterior.remainder),
            "schedule": dataclasses.asdict(posterior.schedule),
            "report": posterior.report,
        }
        return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> LogitTensorPosterior:
        """Rebuild a saved posterior; predictions run on the CPU whatever the device.

        Raises :class:`ScreenError` for another model or version.
        """
        if (metadata.get("model"), metadata.get("version")) != (NAME, VERSION):
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {NAME} version {VERSION}")
        arrays = {k: v.cpu().numpy() for k, v in tensors.items()}
        states = {k.removeprefix("states."): v for k, v in arrays.items() if k.startswith("states")}
        labels = DoseLabels(
            arrays["labels.compound"], arrays["labels.dose_um"], int(metadata["n_compounds"])
        )
        return LogitTensorPosterior(
            worlds=TensorWorlds(states, labels, float(metadata["centre"])),
            grids=DoseGrids.load({k: v.cpu() for k, v in tensors.items()}),
            score=metadata["score"],
            remainder=Remainder(**metadata["remainder"]),
            schedule=Schedule(**metadata["schedule"]),
            report=dict(metadata["report"]),
        )
