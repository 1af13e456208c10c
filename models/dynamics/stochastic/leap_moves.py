"""What one or a few reactions do in a leap while all others wait, each with its own law.

What is consumed is binomial in what is there (Tian & Burrage 2004, J. Chem. Phys. 121, 10356),
division is Yule's negative binomial, what consumes nothing is Poisson: exact for the reaction
alone. Two groups that are often much faster than a leap are taken together: binding with its own
unbinding (a chain of two states, exact while the partner's number stands still) and the meeting A
+ B with the arrivals of both (who arrives may be gone before the leap ends). The share of a pair
that meets is that of the equation of the means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.dynamics.stochastic.reactions import ReactionNetwork

Counts = list[Tensor]
"""``(N,)`` of each species, in float64; a move replaces those that it changes."""

Move = Callable[[Counts, Sequence[Tensor], float, torch.Generator], None]
"""Counts, the constant ``(N,)`` of each reaction, length of the leap, generator."""


def moves_of(network: ReactionNetwork) -> list[Move]:
    """The moves that together are all reactions of a network, in their order."""
    left = dict(enumerate(zip(network.reactants(), network.change(), strict=True)))
    moves: list[tuple[int, Move]] = []
    for at, (reactants, change) in list(left.items()):
        one = (reactants, change)
        back = next((j for j, other in left.items() if _undoes(one, other)), None)
        if at in left and back is not None and _is_meeting(reactants, change):
            free, partner = (int(s) for s in np.flatnonzero(change < 0))
            bound = int(np.flatnonzero(change > 0)[0])
            moves.append((at, _binding(at, back, free, partner, bound)))
            del left[at], left[back]
    for at, (reactants, change) in list(left.items()):
        if at in left and _is_meeting(reactants, change):
            both = [int(s) for s in np.flatnonzero(change < 0)]
            arrivals = [[j for j, one in left.items() if _arrives(one, s)] for s in both]
            changes = [(int(s), float(change[s])) for s in np.flatnonzero(change > 0)]
            come = [[(j, _taken(left[j][0])) for j in each] for each in arrivals]
            moves.append((at, _meeting(at, both, changes, come)))
            for j in (at, *arrivals[0], *arrivals[1]):
                del left[j]
    moves += [(at, _single(at, *rows)) for at, rows in left.items()]
    return [move for _, move in sorted(moves, key=lambda pair: pair[0])]


_Rows = tuple[np.ndarray, np.ndarray]
"""Reactants and change of a reaction, ``(S,)`` each."""


def _is_meeting(reactants: np.ndarray, change: np.ndarray) -> bool:
    lost = change < 0
    return bool(lost.sum() == 2 and np.all(change[lost] == -1) and reactants.sum() == 2)


def _undoes(one: _Rows, other: _Rows) -> bool:
    """Whether ``one`` binds two into one and ``other`` parts them again."""
    return bool(
        np.array_equal(one[1], -other[1])
        and (one[1] > 0).sum() == 1
        and one[1].max() == 1
        and other[0].sum() == 1
    )


def _arrives(one: _Rows, species: int) -> bool:
    """Whether a reaction adds one of ``species`` and changes nothing else."""
    reactants, change = one
    return bool(change[species] == 1 and np.count_nonzero(change) == 1 and reactants[species] == 0)


def _taken(reactants: np.ndarray) -> list[tuple[int, int]]:
    return [(int(s), int(reactants[s])) for s in np.flatnonzero(reactants)]


def _ways(x: Counts, taken: list[tuple[int, int]]) -> Tensor:
    """Combinations of reactants, ``(N,)``; ones without any."""
    result = torch.ones_like(x[0])
    for s, n in taken:
        result = result * (x[s] if n == 1 else 0.5 * x[s] * (x[s] - 1))
    return result


def _single(at: int, reactants: np.ndarray, change: np.ndarray) -> Move:
    taken = _taken(reactants)
    changes = [(int(s), float(change[s])) for s in np.flatnonzero(change)]
    lost = [(s, -by) for s, by in changes if by < 0]
    divides = len(taken) == 1 and taken[0][1] == 1 and changes == [(taken[0][0], 1.0)]

    def move(x: Counts, rates: Sequence[Tensor], tau: float, generator: torch.Generator) -> None:
        rate = rates[at] * tau
        if divides:
            fired = _yule(x[taken[0][0]], rate, generator)
        elif lost:
            fired = _consumed(x, rate, taken, lost, generator)
        else:
            fired = torch.poisson(rate * _ways(x, taken), generator=generator)
        for s, by in changes:
            x[s] = x[s] + by * fired

    return move


def _yule(cells: Tensor, rate: Tensor, generator: torch.Generator) -> Tensor:
    """New cells of pure division: negative binomial, as a Poisson of a gamma."""
    mean = torch._standard_gamma(cells.clamp(min=0.5), generator=generator) * torch.expm1(rate)
    return torch.poisson(torch.where(cells > 0, mean, torch.zeros_like(mean)), generator=generator)


def _consumed(
    x: Counts,
    rate: Tensor,
    taken: list[tuple[int, int]],
    lost: list[tuple[int, float]],
    generator: torch.Generator,
) -> Tensor:
    """Binomial in what is there; exact where each molecule goes by itself."""
    room = torch.stack([torch.floor(x[s] / by) for s, by in lost]).amin(dim=0)
    hazard = rate * _ways(x, taken) / room.clamp(min=1.0)
    return torch.binomial(room, -torch.expm1(-hazard), generator=generator)


def _binding(at: int, back: int, free: int, partner: int, bound: int) -> Move:
    """F + P <-> B: each F or B is a chain of two states while P stands still."""

    def move(x: Counts, rates: Sequence[Tensor], tau: float, generator: torch.Generator) -> None:
        # Whoever of the two is scarcer is the one whose state changes.
        swap = x[partner] < x[free]
        scarce, many = (
            torch.where(swap, x[partner], x[free]),
            torch.where(swap, x[free], x[partner]),
        )
        on, off = rates[at] * many, rates[back]
        total = on + off
        share = torch.where(total > 0, on / total.clamp(min=1e-300), torch.zeros_like(total))
        gone = -torch.expm1(-total * tau)
        binds = torch.binomial(scarce, share * gone, generator=generator)
        parts = torch.binomial(x[bound], (1 - share) * gone, generator=generator)
        x[free] = x[free] - binds + parts
        x[partner] = x[partner] - binds + parts
        x[bound] = x[bound] + binds - parts

    return move


def _meeting(
    at: int,
    both: list[int],
    made: list[tuple[int, float]],
    arrivals: list[list[tuple[int, list[tuple[int, int]]]]],
) -> Move:
    """A + B -> ..., with what arrives of A and B meanwhile.

    The share of the scarcer one that meets is, by the equation of the means, m (1 - E) / (d + s (1
    - E)) with m the more, s the scarcer, d = m - s, E = exp(-rate d). Of what arrives of it, at
    any time of the leap alike, (1 - exp(-h)) / h is still there at its end, h = rate m.
    """
    first, second = both

    def move(x: Counts, rates: Sequence[Tensor], tau: float, generator: torch.Generator) -> None:
        new = [
            sum((_come(x, rates[j] * tau, taken, generator) for j, taken in each), x[0] * 0)
            for each in arrivals
        ]
        swap = x[first] > x[second]
        a, b = x[first], x[second]
        more, scarce = torch.maximum(a, b), torch.minimum(a, b)
        rate, apart = rates[at] * tau, more - scarce
        gone = -torch.expm1(-rate * apart)
        share = torch.where(
            apart > 0,
            more * gone / (apart + scarce * gone).clamp(min=1e-300),
            more * rate / (1 + scarce * rate),
        )
        met = torch.binomial(scarce, share.clamp(0.0, 1.0), generator=generator)
        hazard = rate * apart
        stay = torch.where(hazard > 1e-9, gone / hazard.clamp(min=1e-300), 1 - hazard / 2)
        late = torch.where(swap, new[1], new[0])
        met = met + torch.binomial(late, (1 - stay).clamp(0.0, 1.0), generator=generator)
        x[first], x[second] = a + new[0], b + new[1]
        met = torch.minimum(met, torch.minimum(x[first], x[second]))
        x[first], x[second] = x[first] - met, x[second] - met
        for s, by in made:
            x[s] = x[s] + by * met

    return move


def _come(
    x: Counts, rate: Tensor, taken: list[tuple[int, int]], generator: torch.Generator
) -> Tensor:
    return torch.poisson(rate * _ways(x, taken), generator=generator)
