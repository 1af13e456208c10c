"""Logistic growth with a known solution: the oracle of solvers and inference."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.dynamics.parameters import GroupEffect, Parameter, Prior, Spread
from models.dynamics.systems.protocol import Context, Observed, System, Values


class LogisticGrowth(System):
    """x' = r x (1 - x / K), read as it is.

    x(t) = K x0 / (x0 + (K - x0) exp(-r t)). ``groups``: effects on the log rate r.
    """

    name = "logistic-growth"
    states = ("x",)

    def __init__(self, channel: str = "x", groups: tuple[GroupEffect, ...] = ()) -> None:
        super().__init__()
        self.channels = (channel,)
        self.parameters_of_model = (
            Parameter("r", Prior.lognormal(0.0, 0.5), 1, groups, Spread(0.2)),
            Parameter("K", Prior.lognormal(0.0, 0.5), 1, (), Spread(0.2)),
            Parameter("x0", Prior.lognormal(math.log(0.01), 0.5), 1, (), Spread(0.2)),
        )

    def prepare(self, values: Values, inputs: Tensor) -> Context:
        """The three parameters, expanded to all samples and series."""
        one = torch.ones_like(values["r"] + values["K"] + values["x0"])
        return {name: values[name] * one for name in ("r", "K", "x0")}

    def initial(self, context: Context) -> Tensor:
        """``x0``."""
        return context["x0"][None]

    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        """r x (1 - x / K)."""
        return context["r"] * state * (1 - state / context["K"])

    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        """The state."""
        return Observed(trajectory)

    def exact(self, times: Tensor, context: Context) -> Tensor:
        """The closed form."""
        r, k, x0 = context["r"], context["K"], context["x0"]
        fallen = torch.exp(-r * times[:, None, None])
        return (k * x0 / (x0 + (k - x0) * fallen))[:, None]
