"""A cheap model for tests of what surrounds models: linear main effects, exact posterior.

score = centre + effect_a + effect_b + effect_line + noise, effects N(0, prior_sd^2), so that a draw
is a whole function and everything has a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.screen import Candidates, ScreenError, Stopped, never_stop, no_progress
from models.synergy.inputs import Training
from models.synergy.training import Schedule, require_rows


@dataclass
class RidgePosterior:
    model: str
    mean: np.ndarray
    factor: np.ndarray
    centre: float
    sd: float
    shape: tuple[int, int]
    schedule: Schedule
    n_rows: int = 0
    noise_df: float = math.inf

    def design(self, at: Candidates) -> np.ndarray:
        n_compounds, n_lines = self.shape
        table = np.zeros((len(at), n_compounds + n_lines))
        rows = np.arange(len(at))
        for column in (*at.compounds.T, n_compounds + at.cell_line):
            table[rows, column] = 1.0
        return table

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        z = np.random.default_rng(seed).normal(size=(n, len(self.mean)))
        effects = self.mean + z @ self.factor.T
        return torch.tensor(self.centre + effects @ self.design(candidates).T, dtype=torch.float32)

    def noise_scale(self, candidates: Candidates) -> Tensor:
        return torch.full((len(candidates),), self.sd)

    def noise_sd(self, candidates: Candidates) -> Tensor:
        df = self.noise_df
        return self.noise_scale(candidates) * (1.0 if math.isinf(df) else (df / (df - 2)) ** 0.5)

    def diagnostics(self) -> dict[str, Any]:
        return {"kind": "exact", "rows": self.n_rows}


class Log(list[tuple[int, Schedule | None, bool]]):
    """Rows, schedule and refit of each fit; no part of what the model was set up with."""

    def __repr__(self) -> str:
        return "Log"


@dataclass
class Ridge:
    """``prior_sd`` of the effects; ``overconfidence`` divides the spread that it admits to."""

    name: str = "ridge"
    prior_sd: float = 5.0
    overconfidence: float = 1.0
    df: float = math.inf
    fails: bool = False

    def __post_init__(self) -> None:
        self.fits = Log()

    def fit(
        self,
        training: Training,
        *,
        seed: int,
        device: str = "cpu",
        on_progress=no_progress,
        should_stop=never_stop,
        schedule: Schedule | None = None,
        refit: bool = True,
    ) -> RidgePosterior:
        if self.fails:
            raise ScreenError("this model never fits")
        on_progress("solving", 0, 1)
        if should_stop():
            raise Stopped
        blocks = training.sorted().blocks
        require_rows(len(blocks), 5)
        self.fits.append((len(blocks), schedule, refit))
        shape = (len(training.features.compounds), len(training.features.cell_lines))
        centre = float(blocks.score.mean())
        start = RidgePosterior(
            self.name, np.zeros(0), np.zeros(0), centre, 1.0, shape, schedule or Schedule(1, 1)
        )
        design, target = start.design(blocks.candidates), blocks.score - centre
        sd = max(float(np.median(blocks.noise_sd)), 0.1)
        precision = design.T @ design / sd**2 + np.eye(design.shape[1]) / self.prior_sd**2
        covariance = np.linalg.inv(precision)
        start.mean = covariance @ design.T @ target / sd**2
        start.factor = np.linalg.cholesky(covariance) / self.overconfidence
        start.sd, start.noise_df = sd / self.overconfidence, self.df
        start.n_rows = len(blocks)
        return start

    def save(self, posterior: RidgePosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"mean": torch.tensor(posterior.mean), "factor": torch.tensor(posterior.factor)}
        return tensors, {
            "model": self.name,
            "centre": posterior.centre,
            "sd": posterior.sd,
            "shape": list(posterior.shape),
            "schedule": [posterior.schedule.steps, posterior.schedule.horizon],
        }

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> RidgePosterior:
        return RidgePosterior(
            self.name,
            tensors["mean"].numpy(),
            tensors["factor"].numpy(),
            metadata["centre"],
            metadata["sd"],
            tuple(metadata["shape"]),
            Schedule(*metadata["schedule"]),
            noise_df=self.df,
        )
