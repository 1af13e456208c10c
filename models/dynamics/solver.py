"""Solving a system on the times of its data.

The fast path takes fixed steps (midpoint, Heun, classic Runge-Kutta) from hour 0 through all
times, or over a regular grid of its own whose nodes are joined by cubic Hermite pieces: the cost
is then that of the grid, however many irregular times the series have together. Adaptive steps
(Dormand-Prince 5(4), with or without the adjoint) are torchdiffeq's.
Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, II.1 and II.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.dynamics.systems.protocol import Context, System
from models.screen import FloatArray, ScreenError

Method = Literal["exact", "midpoint", "heun", "rk4", "dopri5", "adjoint"]
"""``exact``: the system's own solution; ``adjoint``: dopri5, gradients by the adjoint equation."""

Derivative = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True)
class Solver:
    """How to solve.

    ``step``: hours between the nodes of the fixed-step methods; ``None`` steps from each time of
    the data to the next. ``rtol`` and ``atol`` are of the adaptive methods.
    """

    method: Method = "heun"
    step: float | None = None
    rtol: float = 1e-6
    atol: float = 1e-8

    def __post_init__(self) -> None:
        if self.step is not None and not self.step > 0:
            raise ScreenError(f"a solver step must be positive, got {self.step}")

    def __call__(self, system: System, times: FloatArray, context: Context) -> Tensor:
        """States ``(T, S, K, N)`` of ``system`` at ``times`` ``(T,)`` hours.

        Raises :class:`ScreenError` where an exact solution is asked of a system without one.
        """
        if self.method == "exact":
            start = next(iter(context.values()))
            grid = torch.as_tensor(times, dtype=start.dtype, device=start.device)
            known = system.exact(grid, context)
            if known is None:
                raise ScreenError(f"the system {system.name!r} has no exact solution")
            return known
        if self.method in ("dopri5", "adjoint"):
            return self._adaptive(system, times, context)
        return self._fixed(system, times, context)

    def _fixed(self, system: System, times: FloatArray, context: Context) -> Tensor:
        nodes = solver_nodes(times, self.step)
        initial = system.initial(context)
        take = _STEPS[self.method]

        def slope(time: float, state: Tensor) -> Tensor:
            return system.derivative(time, state, context)

        states, slopes = [initial], [slope(float(nodes[0]), initial)]
        for left, right in zip(nodes[:-1].tolist(), nodes[1:].tolist(), strict=True):
            states.append(take(slope, left, right - left, states[-1], slopes[-1]))
            slopes.append(slope(right, states[-1]))
        if self.step is None:
            return torch.stack(states[len(nodes) - len(times) :])
        return hermite(nodes, torch.stack(states), torch.stack(slopes), times)

    def _adaptive(self, system: System, times: FloatArray, context: Context) -> Tensor:
        # Here and not above: all else runs on a machine that has torch and no more.
        import torchdiffeq

        initial = system.initial(context)
        nodes = solver_nodes(times, None)
        grid = torch.as_tensor(nodes, dtype=initial.dtype, device=initial.device)
        function = _RightHandSide(system, context)
        if self.method == "dopri5" or not torch.is_grad_enabled():
            solved = torchdiffeq.odeint(
                function, initial, grid, rtol=self.rtol, atol=self.atol, method="dopri5"
            )
        else:
            carried = [value for value in context.values() if value.requires_grad]
            weights = tuple(carried) + tuple(system.parameters())
            solved = torchdiffeq.odeint_adjoint(
                function,
                initial,
                grid,
                rtol=self.rtol,
                atol=self.atol,
                method="dopri5",
                adjoint_params=weights,
            )
        answer: Tensor = solved[len(nodes) - len(times) :]
        return answer


class _RightHandSide(nn.Module):
    """The right-hand side as torchdiffeq wants it."""

    def __init__(self, system: System, context: Context) -> None:
        super().__init__()
        self.system, self.context = system, context

    def forward(self, time: Tensor, state: Tensor) -> Tensor:
        """Time derivative of ``state`` at ``time`` hours, of the state's shape."""
        return self.system.derivative(time, state, self.context)


def solver_nodes(times: FloatArray, step: float | None) -> FloatArray:
    """Where fixed steps begin and end: hour 0 and ``times``, or every ``step`` hours past them."""
    if step is None:
        return times if times[0] == 0 else np.concatenate([[0.0], times])
    end = float(times[-1]) or step
    return np.linspace(0.0, end, max(1, math.ceil(end / step)) + 1)


def hermite(nodes: FloatArray, states: Tensor, slopes: Tensor, times: FloatArray) -> Tensor:
    """Cubic Hermite values at ``times`` between ``nodes`` ``(M,)``; ``states`` ``(M, ...)``."""
    left = np.clip(np.searchsorted(nodes, times, side="right") - 1, 0, len(nodes) - 2)
    width = nodes[left + 1] - nodes[left]
    u = (times - nodes[left]) / width
    weights = ((1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2 * width)
    mirrored = (u**2 * (3 - 2 * u), u**2 * (u - 1) * width)
    shape = (-1, *[1] * (states.ndim - 1))

    def column(values: FloatArray) -> Tensor:
        return torch.as_tensor(values, dtype=states.dtype, device=states.device).reshape(shape)

    index = torch.as_tensor(left, device=states.device)
    total = column(weights[0]) * states[index] + column(weights[1]) * slopes[index]
    return total + column(mirrored[0]) * states[index + 1] + column(mirrored[1]) * slopes[index + 1]


def _midpoint(f: Derivative, t: float, h: float, y: Tensor, k1: Tensor) -> Tensor:
    return y + h * f(t + 0.5 * h, y + 0.5 * h * k1)


def _heun(f: Derivative, t: float, h: float, y: Tensor, k1: Tensor) -> Tensor:
    return y + 0.5 * h * (k1 + f(t + h, y + h * k1))


def _rk4(f: Derivative, t: float, h: float, y: Tensor, k1: Tensor) -> Tensor:
    k2 = f(t + 0.5 * h, y + 0.5 * h * k1)
    k3 = f(t + 0.5 * h, y + 0.5 * h * k2)
    k4 = f(t + h, y + h * k3)
    return y + h / 6 * (k1 + 2 * (k2 + k3) + k4)


_STEPS: dict[str, Callable[[Derivative, float, float, Tensor, Tensor], Tensor]] = {
    "midpoint": _midpoint,
    "heun": _heun,
    "rk4": _rk4,
}
