"""A neural differential equation: the black box of the VI-HDS paper, repaired.

    s' = sigmoid(N1) - sigmoid(N2) s,    states: one a channel, and hidden ones,

with one hidden layer on the states, ``latent`` local numbers of each series, ``shared`` numbers of
the population and the log inputs. With ``variance_states`` a second network of the same form
drives *variances* v' = sigmoid - sigmoid v (the published port drove precisions, which then can
never exceed the hours passed; Roeder et al. 2019 had variances).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.dynamics.parameters import GroupEffect, Parameter, Prior, Spread
from models.dynamics.systems.protocol import Context, Observed, System, Values

VARIANCE_START = 1e-5


class NeuralSystem(System):
    """Channels are read from the first states. ``inputs``: how many inputs there are, doses >= 0.

    ``groups``: effects on the location of the local numbers. ``generator`` starts the weights.
    """

    name = "neural"

    def __init__(
        self,
        channels: tuple[str, ...],
        inputs: int,
        generator: torch.Generator,
        *,
        hidden_states: int = 2,
        latent: int = 5,
        width: int = 25,
        groups: tuple[GroupEffect, ...] = (),
        variance_states: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.count = len(channels) + hidden_states
        self.states = (*channels, *(f"hidden{i}" for i in range(hidden_states)))
        self.variance_states = variance_states
        if variance_states:
            self.states += tuple(f"variance of {channel}" for channel in channels)
        self.parameters_of_model = (
            Parameter("z", Prior.normal(0.0, 0.0), latent, groups, Spread(1.0, 0.0)),
        )
        self.mean_net = _Rates(self.count, latent + inputs, width, generator)
        self.variance_net = (
            _Rates(len(channels), latent + inputs, width, generator, -6.0)
            if variance_states
            else None
        )

    def prepare(self, values: Values, inputs: Tensor) -> Context:
        """The part of the hidden layers that does not change in time."""
        z = values["z"]
        doses = torch.log1p(inputs).expand(-1, z.shape[1], -1) / 5
        fixed = torch.cat([z, doses])
        context = {"mean": self.mean_net.fixed_part(fixed)}
        if self.variance_net is not None:
            context["variance"] = self.variance_net.fixed_part(fixed)
        return context

    def initial(self, context: Context) -> Tensor:
        """Nothing yet; variances start at 1e-5."""
        _, k, n = context["mean"].shape
        start = context["mean"].new_zeros(self.count, k, n)
        if self.variance_net is None:
            return start
        return torch.cat([start, start.new_full((len(self.channels), k, n), VARIANCE_START)])

    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        """Production less decay of each state."""
        if self.variance_net is None:
            rates: Tensor = self.mean_net(state, context["mean"])
            return rates
        means, variances = state[: self.count], state[self.count :]
        change = self.variance_net(variances, context["variance"])
        return torch.cat([self.mean_net(means, context["mean"]), change])

    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        """The first states, and the variances if there are any."""
        mean = trajectory[:, : len(self.channels)]
        return Observed(mean, trajectory[:, self.count :] if self.variance_states else None)

    def log_penalty(self) -> Tensor:
        """Weights have the prior N(0, 1)."""
        return -0.5 * torch.stack([w.square().sum() for w in self.parameters()]).sum()


class _Rates(nn.Module):
    """sigmoid(N1) - sigmoid(N2) s for states ``(S, K, N)``, as two matrix products."""

    def __init__(
        self,
        states: int,
        fixed: int,
        width: int,
        generator: torch.Generator,
        production: float = -3.0,
    ) -> None:
        super().__init__()
        self.states = states

        def start(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*shape, generator=generator))

        self.from_state = start(width, states, scale=1 / math.sqrt(states))
        self.from_fixed = start(width, fixed, scale=1 / math.sqrt(fixed))
        self.bias = start(width, 1, 1, scale=0.5)
        self.out = start(2 * states, width, scale=0.5 / math.sqrt(width))
        level = torch.full((states, 1), production)
        self.level = nn.Parameter(torch.cat([level, torch.full((states, 1), -1.0)]))

    def fixed_part(self, fixed: Tensor) -> Tensor:
        """``(F, K, N)`` to ``(width, K, N)``."""
        flat = torch.addmm(self.bias[:, :, 0], self.from_fixed, fixed.flatten(1))
        return flat.reshape(-1, *fixed.shape[1:])

    def forward(self, state: Tensor, fixed: Tensor) -> Tensor:
        """The change of each state."""
        flat = state.flatten(1)
        hidden = torch.relu(torch.addmm(fixed.flatten(1), self.from_state, flat))
        rates = torch.sigmoid(torch.addmm(self.level, self.out, hidden))
        change = torch.addcmul(rates[: self.states], rates[self.states :], flat, value=-1)
        return change.reshape(state.shape)
