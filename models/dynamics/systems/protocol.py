"""What every system of differential equations offers to the inference.

Shapes: ``K`` samples, ``N`` series, ``T`` times, ``S`` states, ``C`` channels. States come first,
``(S, K, N)``, so that each state is one block of memory; a parameter is ``(K, N)``, or
``(size, K, N)`` if it has more than one element. ``K`` or ``N`` may be 1 where all samples or
series share a value: everything broadcasts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from models.dynamics.parameters import Parameter

Values = Mapping[str, Tensor]
"""Parameters by name, in their natural unit (rates positive), ``(K, N)`` or ``(size, K, N)``."""

Context = dict[str, Tensor]
"""What a right-hand side needs at every step, worked out once: see :meth:`System.prepare`."""


@dataclass(frozen=True)
class Observed:
    """What a system says of the readings.

    ``mean``: ``(T, C, K, N)``. ``variance``: the same shape or ``None``: what the system itself
    adds to the variance of the observation noise (a neural system has states for it).
    """

    mean: Tensor
    variance: Tensor | None = None


class System(nn.Module, ABC):
    """An ordinary differential equation with named parameters, states and channels.

    ``name`` is stable, for saved fits. ``parameters_of_model`` are the parameters with priors and
    levels (``nn.Module`` has taken the word ``parameters`` for its weights).
    """

    name: str
    states: tuple[str, ...]
    channels: tuple[str, ...]
    parameters_of_model: tuple[Parameter, ...]

    @abstractmethod
    def prepare(self, values: Values, inputs: Tensor) -> Context:
        """Everything that does not change in time, from parameters and inputs ``(I, 1, N)``."""

    @abstractmethod
    def initial(self, context: Context) -> Tensor:
        """The state at hour 0, ``(S, K, N)``."""

    @abstractmethod
    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        """The change of the state an hour, ``(S, K, N)``, at ``time`` hours."""

    @abstractmethod
    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        """Readings without noise from states ``(T, S, K, N)``."""

    def exact(self, times: Tensor, context: Context) -> Tensor | None:
        """The trajectory ``(T, S, K, N)`` at ``times`` without a solver; ``None`` if none is known.

        Systems with a closed form, or with one up to quadrature, give it here; the tests hold it
        against the solvers.
        """
        return None

    def log_penalty(self) -> Tensor | None:
        """Log prior density of the weights, a scalar in nats, or ``None`` without weights."""
        return None
