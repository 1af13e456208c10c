"""Reaction networks as data: what a reaction takes, what it leaves, how often it fires.

Mass action: a reaction with reactants n_s fires at rate k prod_s binomial(x_s, n_s) (Gillespie
1977, J. Phys. Chem. 81, 2340). Counts are ``(..., S)`` over species, rates ``(..., R)`` over
reactions; units are those of the rates, usually an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.integrate

from models.screen import FloatArray, IntArray, ScreenError

MOST_REACTANTS = 2


@dataclass(frozen=True)
class Reaction:
    """``reactants`` turn into ``products`` (species may repeat); ``rate`` names the constant."""

    reactants: tuple[str, ...]
    products: tuple[str, ...]
    rate: str


@dataclass(frozen=True)
class ReactionNetwork:
    """``species`` ``S``, ``reactions`` ``R``; ``parameters`` are the names of the rate constants,
    in order of first use. Several reactions may share one.

    Raises :class:`ScreenError` for unknown or repeated species, for a reaction that changes
    nothing, and for more than two reactants.
    """

    species: tuple[str, ...]
    reactions: tuple[Reaction, ...]

    def __post_init__(self) -> None:
        if len(set(self.species)) != len(self.species):
            raise ScreenError("a species is listed twice")
        if not self.reactions:
            raise ScreenError("a network needs at least one reaction")
        for reaction in self.reactions:
            for name in (*reaction.reactants, *reaction.products):
                if name not in self.species:
                    raise ScreenError(f"{name!r} is not among the species {self.species}")
            if len(reaction.reactants) > MOST_REACTANTS:
                raise ScreenError(f"{reaction.reactants} are more than {MOST_REACTANTS} reactants")
            if sorted(reaction.reactants) == sorted(reaction.products):
                raise ScreenError(f"the reaction of {reaction.rate!r} changes nothing")

    @property
    def parameters(self) -> tuple[str, ...]:
        """``(P,)`` names of the rates, in the order of the reactions that first use them."""
        return tuple(dict.fromkeys(reaction.rate for reaction in self.reactions))

    def reactants(self) -> IntArray:
        """``(R, S)`` how many of each species a reaction takes."""
        return self._count([reaction.reactants for reaction in self.reactions])

    def change(self) -> IntArray:
        """``(R, S)`` by how much a reaction changes each species."""
        made = self._count([reaction.products for reaction in self.reactions])
        return np.asarray(made - self.reactants())

    def rate_index(self) -> IntArray:
        """``(R,)`` the parameter that is each reaction's constant."""
        place = {name: at for at, name in enumerate(self.parameters)}
        return np.array([place[reaction.rate] for reaction in self.reactions], np.int64)

    def propensities(self, counts: FloatArray, values: FloatArray) -> FloatArray:
        """``(..., R)`` firings an hour at ``counts`` ``(..., S)`` with the constants ``values``
        ``(..., P)`` in the order of ``parameters``."""
        result = values[..., self.rate_index()].astype(np.float64)
        for at, row in enumerate(self.reactants()):
            for s in np.flatnonzero(row):
                x = counts[..., s]
                result[..., at] = result[..., at] * (x if row[s] == 1 else 0.5 * x * (x - 1))
        return result

    def mean_field(
        self, values: Sequence[float], start: Sequence[float], times: FloatArray
    ) -> FloatArray:
        """``(T, S)`` the ordinary differential equation of mass action, ``binomial(x, 2)`` read as
        x squared over two: the mean where all reactions are linear, else its large-number limit.

        Raises :class:`ScreenError` if the solver fails.
        """
        constants = np.asarray(values, np.float64)[self.rate_index()]
        reactants, change = self.reactants(), self.change().astype(np.float64)
        halves = np.where(reactants == 2, 0.5, 1.0).prod(axis=1) * constants

        def slope(_: float, x: FloatArray) -> FloatArray:
            rate = halves * np.prod(np.where(reactants > 0, x**reactants, 1.0), axis=1)
            return np.asarray(rate @ change)

        solved = scipy.integrate.solve_ivp(
            slope, (0.0, float(times[-1])), np.asarray(start, np.float64), "LSODA", times,
            rtol=1e-8, atol=1e-8,
        )  # fmt: skip
        if not solved.success:
            raise ScreenError(f"the mean of the network could not be solved: {solved.message}")
        return np.asarray(solved.y.T)

    def _count(self, names: Sequence[tuple[str, ...]]) -> IntArray:
        table = np.zeros((len(names), len(self.species)), np.int64)
        for at, row in enumerate(names):
            for name in row:
                table[at, self.species.index(name)] += 1
        return table


def check_run(times: FloatArray, counts: FloatArray, values: FloatArray) -> None:
    """Raises :class:`ScreenError` unless times ascend from 0 on, counts are whole numbers >= 0 and
    rates are finite and >= 0."""
    if times.ndim != 1 or not len(times) or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ScreenError("times of readings must ascend and begin at 0 or later")
    if np.any(counts < 0) or np.any(counts != np.round(counts)):
        raise ScreenError("counts at the start must be whole numbers, 0 or more")
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ScreenError("rates must be finite and 0 or more")
