"""A mechanism and what it leaves out: a bounded neural residual on its right-hand side.

    s' = f(s) + amplitude s tanh(N(s / scale, z, log inputs)),

for any system f of states that are not negative, with ``scale`` a typical size of each, ``z``
local numbers, and one ``amplitude`` for all series whose prior is small: without evidence the
residual goes to 0 and what is left is the mechanism (universal differential equations, Rackauckas
et al. 2020, arXiv 2001.04385). It changes the relative rate of a state by at most ``amplitude`` an
hour, so that states stay positive.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.dynamics.parameters import Parameter, Prior, Spread
from models.dynamics.systems.protocol import Context, Observed, System, Values
from models.screen import ScreenError


class HybridSystem(System):
    """``base`` with a residual. ``scale``: typical size of each of its states, positive.

    ``amplitude``: prior median of the largest change of a rate, per hour, with a factor e^``doubt``
    either way. ``generator`` starts the weights.
    """

    def __init__(
        self,
        base: System,
        scale: tuple[float, ...],
        inputs: int,
        generator: torch.Generator,
        *,
        amplitude: float = 0.01,
        doubt: float = 1.5,
        latent: int = 2,
        width: int = 16,
    ) -> None:
        super().__init__()
        if len(scale) != len(base.states) or min(scale) <= 0:
            raise ScreenError(f"a residual needs a positive scale for each of {base.states}")
        self.base = base
        self.name = f"hybrid {base.name}"
        self.states, self.channels = base.states, base.channels
        self.parameters_of_model = (
            *base.parameters_of_model,
            Parameter("residual", Prior.lognormal(math.log(amplitude), doubt)),
            Parameter("residual_z", Prior.normal(0.0, 0.0), latent, (), Spread(1.0, 0.0)),
        )
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(scale)[:, None])
        fan = len(scale) + latent + inputs
        self.from_state = nn.Parameter(_normal(generator, fan, width, len(scale)))
        self.from_fixed = nn.Parameter(_normal(generator, fan, width, latent + inputs))
        self.bias = nn.Parameter(torch.zeros(width, 1))
        self.out = nn.Parameter(_normal(generator, width, len(scale), width))

    def prepare(self, values: Values, inputs: Tensor) -> Context:
        """The mechanism's own, and the part of the hidden layer that does not change."""
        context = self.base.prepare(values, inputs)
        z = values["residual_z"]
        z = z[None] if z.ndim == 2 else z
        fixed = torch.cat([z, (torch.log1p(inputs) / 5).expand(-1, z.shape[1], -1)])
        flat = torch.addmm(self.bias, self.from_fixed, fixed.flatten(1))
        context["residual.fixed"] = flat.reshape(-1, *fixed.shape[1:])
        context["residual.amplitude"] = values["residual"].expand(fixed.shape[1:])
        return context

    def initial(self, context: Context) -> Tensor:
        """The mechanism's."""
        return self.base.initial(context)

    def residual(self, state: Tensor, context: Context) -> Tensor:
        """What is added to the mechanism's derivative, ``(S, K, N)``."""
        flat = state.flatten(1) / self.scale
        fixed = context["residual.fixed"].flatten(1)
        hidden = torch.tanh(torch.addmm(fixed, self.from_state, flat))
        bent = torch.tanh(self.out @ hidden).reshape(state.shape)
        return context["residual.amplitude"] * state * bent

    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        """Mechanism and residual."""
        return self.base.derivative(time, state, context) + self.residual(state, context)

    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        """The mechanism's."""
        return self.base.observe(trajectory, context)

    def log_penalty(self) -> Tensor:
        """Weights have the prior N(0, 1); the mechanism's come with theirs."""
        own = (self.from_state, self.from_fixed, self.bias, self.out)
        found = -0.5 * torch.stack([w.square().sum() for w in own]).sum()
        base = self.base.log_penalty()
        return found if base is None else found + base


def _normal(generator: torch.Generator, fan_in: int, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=generator) / math.sqrt(fan_in)
