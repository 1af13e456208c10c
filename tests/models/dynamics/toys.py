"""Small systems and data with known answers, for the tests of this room."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.dynamics.observation import Observation
from models.dynamics.parameters import GroupEffect, Parameter, Prior, Spread
from models.dynamics.series import GroupFactor, TimeCourses
from models.dynamics.systems.protocol import Context, Observed, System, Values

MEAN_SD, GROUP_SD, OWN_SD, NOISE_SD = 1.0, 0.7, 0.5, 0.3
TIMES = np.array([0.0, 1.0, 2.0])


class Level(System):
    """A reading is the series' own level: linear and Gaussian, so everything is known exactly.
    ``log_sd`` above 0: spreads are to be learned, too."""

    name = "level"
    states = ("level",)
    channels = ("level",)

    def __init__(
        self, mean_sd: float = MEAN_SD, group_sd: float = GROUP_SD, log_sd: float = 0.0
    ) -> None:
        super().__init__()
        effect = GroupEffect("plate", Spread(group_sd, log_sd))
        own = Spread(OWN_SD, log_sd)
        self.parameters_of_model = (
            Parameter("level", Prior.normal(0.0, mean_sd), 1, (effect,), own),
        )

    def prepare(self, values: Values, inputs: Tensor) -> Context:
        return {"level": values["level"]}

    def initial(self, context: Context) -> Tensor:
        return context["level"][None]

    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        return torch.zeros_like(state)

    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        return Observed(trajectory)

    def exact(self, times: Tensor, context: Context) -> Tensor:
        return context["level"].expand(len(times), 1, *context["level"].shape)


def known_noise(sd: float = NOISE_SD, channels: tuple[str, ...] = ("level",)) -> Observation:
    """Independent Gaussian noise of a known sd."""
    return Observation(channels, sd, None, None, None, 0.0, None)


def level_series(levels: np.ndarray, plates: list[str], seed: int) -> TimeCourses:
    """Readings of ``levels`` with the toy's noise."""
    rng = np.random.default_rng(seed)
    values = levels[:, None, None] + rng.normal(0, NOISE_SD, (len(levels), 1, len(TIMES)))
    names = tuple(f"s{i}" for i in range(len(levels)))
    factors = (GroupFactor.of("plate", plates),)
    return TimeCourses(TIMES, values, ("level",), names, np.zeros((len(levels), 0)), (), factors)


def drawn_series(n: int, plates: int, seed: int, mean: float = 0.4) -> TimeCourses:
    """``n`` series on ``plates`` plates, drawn from the toy around ``mean``."""
    rng = np.random.default_rng(seed)
    index = np.arange(n) % plates
    levels = mean + rng.normal(0, GROUP_SD, plates)[index] + rng.normal(0, OWN_SD, n)
    return level_series(levels, [f"p{i}" for i in index], seed + 1)


def joint_covariance(series: TimeCourses, group_sd: float = GROUP_SD) -> np.ndarray:
    """Covariance of all readings, series by series, under the toy's prior."""
    index = series.factor("plate").index
    same = index[:, None] == index[None]
    between = MEAN_SD**2 + group_sd**2 * same + OWN_SD**2 * np.eye(len(series))
    t = len(TIMES)
    return np.kron(between, np.ones((t, t))) + NOISE_SD**2 * np.eye(len(series) * t)
