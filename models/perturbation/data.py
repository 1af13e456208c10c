"""What perturbation models learn from: conditions, what each was treated with, and what was read.

A condition is a sample (a well, a cell, an averaged profile) treated with any number of
perturbations; a readout is a gene, a protein or a phenotype. Two kinds of values are known:

* ``log_ratio``: the logarithm of treated over control, so that 0 is "as the control". The base is
  the data's own and effects come out in the same unit.
* ``counts``: whole numbers of molecules. Effects come out as natural logarithms of ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray, ScreenError

Kind = Literal["log_ratio", "counts"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class ResponseTable:
    """``n`` conditions of ``p`` perturbations, read at ``g`` readouts. Validated when made.

    ``perturbations`` ``(p,)`` and ``readouts`` ``(g,)``: distinct names. ``conditions`` ``(n,)``:
    names; rows of one name are replicates and have the same doses. ``doses`` ``(n, p)``: 0 where
    absent, else positive in a unit of each perturbation's own; 1 stands for "as used" where no
    dose is known. ``values`` ``(n, g)``: NaN where missing. ``batch`` ``(n,)``: names of plates or
    runs, or empty. ``low_quality`` ``(n,)``: rows that failed a quality check.

    Raises :class:`ScreenError` naming the row and the column that is wrong.
    """

    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]
    conditions: tuple[str, ...]
    doses: FloatArray
    values: FloatArray
    kind: Kind
    batch: tuple[str, ...]
    low_quality: BoolArray

    @classmethod
    def of(
        cls,
        *,
        perturbations: Sequence[str],
        readouts: Sequence[str],
        conditions: Sequence[str],
        doses: FloatArray,
        values: FloatArray,
        kind: Kind = "log_ratio",
        batch: Sequence[str] = (),
        low_quality: BoolArray | None = None,
    ) -> ResponseTable:
        """A table from anything that numpy understands; no flags means that all rows are good."""
        flags = np.zeros(len(conditions), np.bool_) if low_quality is None else low_quality
        return cls(
            tuple(perturbations),
            tuple(readouts),
            tuple(conditions),
            np.asarray(doses, np.float64),
            np.asarray(values, np.float64),
            kind,
            tuple(batch),
            np.asarray(flags, np.bool_),
        )

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ScreenError(f"the kind of values is {self.kind!r}, not one of {', '.join(KINDS)}")
        _require_names("perturbation", self.perturbations)
        _require_names("readout", self.readouts)
        n = len(self.conditions)
        _require_shape("doses", self.doses, (n, len(self.perturbations)), "perturbation")
        _require_shape("values", self.values, (n, len(self.readouts)), "readout")
        if self.low_quality.shape != (n,):
            raise ScreenError(f"low_quality has shape {self.low_quality.shape}, expected ({n},)")
        if self.batch and len(self.batch) != n:
            raise ScreenError(f"{len(self.batch)} batches are named for {n} conditions")
        bad = ~(np.isfinite(self.doses) & (self.doses >= 0))
        self._refuse("the dose", bad, self.doses, self.perturbations, "it must be 0 or positive")
        self._refuse(
            "the value", np.isinf(self.values), self.values, self.readouts, "leave it out (NaN)"
        )
        if self.kind == "counts":
            with np.errstate(invalid="ignore"):
                broken = (self.values < 0) | (self.values != np.floor(self.values))
            broken &= ~np.isnan(self.values)
            self._refuse("the count", broken, self.values, self.readouts, "it must be 0, 1, 2, ...")
        self._require_equal_replicates()

    def __len__(self) -> int:
        return len(self.conditions)

    @property
    def n_present(self) -> IntArray:
        """``(n,)`` number of perturbations in each condition."""
        return np.asarray((self.doses > 0).sum(axis=1), np.int64)

    @property
    def is_control(self) -> BoolArray:
        """``(n,)`` no perturbation present."""
        return np.asarray(self.n_present == 0, np.bool_)

    def select(self, rows: BoolArray | IntArray) -> ResponseTable:
        """The conditions at ``rows`` (mask or indices), in that order."""
        index = np.arange(len(self))[rows]
        return ResponseTable(
            self.perturbations,
            self.readouts,
            tuple(self.conditions[i] for i in index),
            self.doses[index],
            self.values[index],
            self.kind,
            tuple(self.batch[i] for i in index) if self.batch else (),
            self.low_quality[index],
        )

    def controls(self) -> ResponseTable:
        """Conditions without any perturbation."""
        return self.select(self.is_control)

    def singles(self) -> ResponseTable:
        """Conditions of exactly one perturbation."""
        return self.select(self.n_present == 1)

    def pairs(self) -> ResponseTable:
        """Conditions of exactly two perturbations."""
        return self.select(self.n_present == 2)

    def sorted(self) -> ResponseTable:
        """Rows in an order that depends on their content only: by doses, then name, batch, flag
        and values. Models fit to this, so that shuffled rows give the same fit to the bit."""
        batch = np.array(self.batch if self.batch else [""] * len(self))
        names = np.array(self.conditions)
        keys = [_row_order(self.values), self.low_quality, batch, names, self.groups()]
        return self.select(np.lexsort(keys).astype(np.int64))

    def averaged(self) -> ResponseTable:
        """One row per set of doses, sorted: the mean of its rows, readout by readout, over those
        that are not missing. Named after the first name; no batches; flagged only if all were.

        Counts have no mean that is a count: raises :class:`ScreenError` for them.
        """
        if self.kind == "counts":
            raise ScreenError("counts cannot be averaged: turn them into log ratios first")
        if not len(self):
            return self
        rows = self.sorted()
        _, start = np.unique(rows.groups(), return_index=True)
        known = ~np.isnan(rows.values)
        total = np.add.reduceat(np.where(known, rows.values, 0.0), start, axis=0)
        count = np.add.reduceat(known.astype(np.float64), start, axis=0)
        means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return ResponseTable(
            rows.perturbations,
            rows.readouts,
            tuple(rows.conditions[i] for i in start),
            rows.doses[start],
            means,
            rows.kind,
            (),
            np.logical_and.reduceat(rows.low_quality, start),
        )

    def groups(self) -> IntArray:
        """``(n,)`` a number for each set of doses, equal exactly for equal doses, ascending in the
        order of :meth:`sorted`."""
        if not len(self):
            return np.empty(0, np.int64)
        _, group = np.unique(self.doses, axis=0, return_inverse=True)
        return np.asarray(group, np.int64).reshape(-1)

    def position(self, perturbation: str) -> int:
        """Column of a perturbation; raises :class:`ScreenError` for an unknown one."""
        return _position("perturbation", self.perturbations, perturbation)

    def readout_position(self, readout: str) -> int:
        """Column of a readout; raises :class:`ScreenError` for an unknown one."""
        return _position("readout", self.readouts, readout)

    def _refuse(
        self, what: str, bad: BoolArray, array: FloatArray, columns: Sequence[str], fix: str
    ) -> None:
        if not bad.any():
            return
        row, column = np.argwhere(bad)[0]
        raise ScreenError(
            f"{what} of {columns[column]!r} in condition {self.conditions[row]!r} (row {row}) is "
            f"{array[row, column]}: {fix}"
        )

    def _require_equal_replicates(self) -> None:
        first: dict[str, int] = {}
        for row, name in enumerate(self.conditions):
            known = first.setdefault(name, row)
            if known != row and not np.array_equal(self.doses[row], self.doses[known]):
                raise ScreenError(
                    f"condition {name!r} has other doses in row {row} than in row {known}: "
                    "replicates of a name share their doses"
                )


def require_doses(doses: FloatArray, perturbations: Sequence[str]) -> FloatArray:
    """``(m, p)`` doses to predict at, checked: finite, not negative, a column per perturbation."""
    checked = np.asarray(doses, np.float64)
    if checked.ndim != 2 or checked.shape[1] != len(perturbations):
        raise ScreenError(
            f"doses have shape {checked.shape}, expected a column for each of the "
            f"{len(perturbations)} perturbations"
        )
    bad = ~(np.isfinite(checked) & (checked >= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ScreenError(
            f"the dose of {perturbations[column]!r} in row {row} is {checked[row, column]}: "
            "it must be 0 or positive"
        )
    return checked


def _position(what: str, names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise ScreenError(f"no {what} is called {name!r}")
    return names.index(name)


def _row_order(values: FloatArray) -> IntArray:
    """``(n,)`` equal exactly for equal rows, and the same for a row wherever it stands."""
    if not values.size:
        return np.zeros(len(values), np.int64)
    # One kind of NaN and of zero, so that equal rows are equal bytes.
    plain = np.ascontiguousarray(np.where(np.isnan(values), np.nan, values) + 0.0)
    rows = plain.view(np.dtype((np.void, plain.shape[1] * plain.itemsize))).reshape(-1)
    _, order = np.unique(rows, return_inverse=True)
    return np.asarray(order, np.int64).reshape(-1)


def _require_names(what: str, names: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names):
        if not name.strip():
            raise ScreenError(f"{what} {position} has no name")
        if name in seen:
            raise ScreenError(f"{what} {name!r} is listed twice")
        seen.add(name)


def _require_shape(name: str, array: FloatArray, shape: tuple[int, int], column: str) -> None:
    if array.shape != shape:
        raise ScreenError(
            f"{name} have shape {array.shape}, expected a row for each of {shape[0]} conditions "
            f"and a column for each of {shape[1]} {column}s"
        )
