"""Tau-leaping in torch: all trajectories at once, no count ever below zero.

Within a leap the moves of :mod:`leap_moves` act one after the other, each alone and so with a law
that is known (splitting: Jahnke & Altintan 2010, BIT 50, 757). Half a leap goes forward through
the moves and half of it backward, so that the error in means is of second order in tau (Strang
1968; for arrival and loss it is (loss tau)^2 / 12 of the mean); as tau -> 0 the law is that of the
direct method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dynamics.stochastic.leap_moves import moves_of
from models.dynamics.stochastic.reactions import ReactionNetwork, check_run
from models.screen import FloatArray, ScreenError, StopCallback, Stopped, never_stop

MOST_CELLS = 1e9
"""Beyond this a population is no longer a matter of chance, and doubles would soon overflow."""


@dataclass(frozen=True)
class Leaping:
    """A network made ready to leap, in leaps of at most ``tau`` (the unit of time of its rates)."""

    network: ReactionNetwork
    tau: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ScreenError(f"a leap takes a time above 0, not {self.tau}")

    def simulate(
        self,
        values: Tensor,
        start: Tensor,
        times: FloatArray,
        generator: torch.Generator,
        *,
        should_stop: StopCallback = never_stop,
    ) -> Tensor:
        """Counts ``(N, T, S)`` in float64 at ``times`` ``(T,)``.

        ``values`` ``(N, P)`` constants in the order of the network's parameters, ``start`` ``(N,
        S)`` counts at time 0; both on the device of ``generator``. Raises :class:`ScreenError` for
        input that is no network's, or where a count passes a billion.
        """
        check_run(times, start.cpu().numpy(), values.detach().cpu().numpy())
        index = torch.as_tensor(self.network.rate_index(), device=values.device)
        rates = values.to(torch.float64)[:, index].unbind(1)
        counts = [column.clone() for column in start.to(torch.float64).unbind(1)]
        moves = moves_of(self.network)
        last = len(moves) - 1
        readings = []
        before = 0.0
        for time in times.tolist():
            n = math.ceil((time - before) / self.tau - 1e-9)
            half = (time - before) / n / 2 if n else 0.0
            for _ in range(n):
                if should_stop():
                    raise Stopped
                for at in (*range(last), *range(last, -1, -1)):
                    moves[at](counts, rates, half if at < last else 2 * half, generator)
            before = time
            stacked = torch.stack(counts, dim=1)
            if not bool((stacked <= MOST_CELLS).all()):
                raise ScreenError(
                    f"a count passes {MOST_CELLS:.0e} before time {time:g}: shorten the run or "
                    "lower the rates"
                )
            readings.append(stacked)
        return torch.stack(readings, dim=1)
