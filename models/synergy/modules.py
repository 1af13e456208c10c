"""What other data say of compounds and pairs: molecular responses, rates of growth and death.

A module is the posterior of a model of other data, seen from the compounds of a screen: numbers of
each compound (factors of its response, rates at a dose) and of each pair (mean and standard
deviation of an interaction). ``skill`` says how far the model's own held-out forecasts were better
than the best baseline's; every model of synergy weighs a module by it, and at 0 nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray, ScreenError

LIMIT = 3.0
"""Standardised values are held within this many standard deviations."""


@dataclass(frozen=True)
class Module:
    """``compounds``: ``(n, k)`` and ``pairs``: ``(n, n, q)`` symmetric to the bit, any unit, NaN
    where unknown. ``skill``: in [0, 1]. ``source``: where it comes from, for the reader only.

    Raises :class:`ScreenError` for other shapes, infinite values, a pair that differs from itself
    in the other order, or a skill outside of [0, 1].
    """

    name: str
    compounds: FloatArray
    pairs: FloatArray
    skill: float
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.compounds)
        if self.compounds.ndim != 2 or self.pairs.ndim != 3 or self.pairs.shape[:2] != (n, n):
            raise ScreenError(
                f"module {self.name!r} has tables of shape {self.compounds.shape} and "
                f"{self.pairs.shape}, expected (n, k) and (n, n, q)"
            )
        if np.isinf(self.compounds).any() or np.isinf(self.pairs).any():
            raise ScreenError(f"module {self.name!r} has infinite values; NaN stands for unknown")
        if not np.array_equal(self.pairs, self.pairs.swapaxes(0, 1), equal_nan=True):
            raise ScreenError(f"pairs of module {self.name!r} are not the same in both orders")
        if not 0.0 <= self.skill <= 1.0:  # NaN, too
            raise ScreenError(f"module {self.name!r} has skill {self.skill}, expected 0 to 1")

    @property
    def known_compounds(self) -> BoolArray:
        """``(n,)`` of which compounds it says anything."""
        return np.asarray(np.isfinite(self.compounds).any(axis=1))

    @property
    def known_pairs(self) -> BoolArray:
        """``(n, n)`` of which pairs of two compounds it says anything."""
        return np.asarray(
            np.isfinite(self.pairs).any(axis=2) & ~np.eye(len(self.pairs), dtype=bool)
        )

    @property
    def says_nothing(self) -> bool:
        """Whether no two compounds and no pair can be told apart by it."""
        return not (_varied(self.compounds[:, None]) or _varied(self.pairs[_upper(self.pairs)]))

    def select(self, rows: IntArray) -> Module:
        """The module of the compounds at ``rows``."""
        pairs = self.pairs[rows][:, rows]
        return Module(self.name, self.compounds[rows], pairs, self.skill, self.source)

    def standardised_compounds(self) -> FloatArray:
        """``(n, k)`` columns of mean 0 and variance 1 over known values, unknown ones 0."""
        return _standardised(self.compounds, np.isfinite(self.compounds))

    def standardised_pairs(self) -> FloatArray:
        """``(n, n, q)`` the same over pairs, rows of mean square length 1 over known pairs."""
        upper = np.isfinite(self.pairs) & _upper(self.pairs)[:, :, None]
        table = _standardised(self.pairs, upper)
        table[np.arange(len(table)), np.arange(len(table))] = 0.0
        square = np.square(table).sum(axis=2)[_upper(self.pairs) & self.known_pairs]
        return table if not square.any() else np.asarray(table / np.sqrt(square.mean()))


def of_names(
    name: str,
    skill: float,
    rows: Sequence[int | None],
    compounds: FloatArray,
    pairs: Sequence[tuple[int, int, Sequence[float | None]]],
    n_pair_columns: int,
    n_compounds: int,
    source: str = "",
) -> Module:
    """A module of a screen from one of named perturbations.

    ``rows``: which compound of the screen each perturbation is, ``None`` for none of them; several
    that are the same compound count with the mean of what is known of them. ``compounds``:
    ``(p, k)``. ``pairs``: two perturbations and ``n_pair_columns`` numbers, ``None`` unknown. A
    pair of a compound with itself is left out. Raises :class:`ScreenError` for a perturbation that
    is not there or rows of another width.
    """
    own, own_count = np.zeros((2, n_compounds, compounds.shape[1]))
    both, both_count = np.zeros((2, n_compounds, n_compounds, n_pair_columns))
    for row, values in zip(rows, compounds, strict=True):
        if row is not None:
            own[row] += np.nan_to_num(values)
            own_count[row] += np.isfinite(values)
    for first, second, numbers in pairs:
        if not (0 <= first < len(rows) and 0 <= second < len(rows)):
            raise ScreenError(f"module {name!r} has a pair of a perturbation that it does not name")
        if len(numbers) != n_pair_columns:
            raise ScreenError(f"a pair of module {name!r} has not {n_pair_columns} numbers")
        a, b = rows[first], rows[second]
        if a is None or b is None or a == b:
            continue
        values = np.array([np.nan if one is None else one for one in numbers])
        for at in ((a, b), (b, a)):
            both[at] += np.nan_to_num(values)
            both_count[at] += np.isfinite(values)
    return Module(name, _means(own, own_count), _means(both, both_count), skill, source)


def _means(total: FloatArray, count: FloatArray) -> FloatArray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _upper(pairs: FloatArray) -> BoolArray:
    return np.triu(np.ones(pairs.shape[:2], dtype=bool), k=1)


def _varied(table: FloatArray) -> bool:
    """Whether any column has two different known values."""
    flat = table.reshape(-1, table.shape[-1])
    known = np.isfinite(flat)
    low = np.where(known, flat, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, flat, -np.inf).max(axis=0, initial=-np.inf)
    return bool((low < high).any())


def _standardised(table: FloatArray, counted: BoolArray) -> FloatArray:
    """Columns by the values that are ``counted``; unknown and constant ones become 0."""
    flat, use = table.reshape(-1, table.shape[-1]), counted.reshape(-1, table.shape[-1])
    result = np.zeros(flat.shape)
    for column in range(flat.shape[1]):
        values = flat[use[:, column], column]
        if len(values) and values.min() < values.max():
            scaled = (flat[:, column] - values.mean()) / values.std()
            result[:, column] = np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -LIMIT, LIMIT)
    return result.reshape(table.shape)
