"""What quality control gets to see: the readings of one plate, well by well.

Nothing here knows files, names or compounds: a well is a position, a reading, a role and, where
it repeats on the plate, the number of its treatment. The order of the wells never matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray, ScreenError

NO_TREATMENT = -1
"""Treatment of a well whose content is not known to be repeated anywhere on the plate."""


class Role(IntEnum):
    """What a well is for. ``EMPTY`` wells are never read; their readings are ignored."""

    SAMPLE = 0
    SINGLE = 1
    VEHICLE = 2
    POSITIVE = 3
    BLANK = 4
    REFERENCE = 5
    EMPTY = 6


@dataclass(frozen=True)
class PlateReadings:
    """The readings of one plate.

    ``row``, ``column``: ``(n,)`` int64, from 0. ``value``: ``(n,)`` float64 in the reader's own
    units, NaN where the reader gave nothing. ``role``: ``(n,)`` int64 codes of :class:`Role`.
    ``excluded``: ``(n,)`` bool, wells that a person or a machine has flagged: they are still
    normalised, and nothing is learned from them. ``treatment``: ``(n,)`` int64, equal for wells of
    the plate with equal content, ``NO_TREATMENT`` where unknown; it is ignored for controls.

    Raises :class:`ScreenError` for wells off the plate, listed twice, or of unknown roles.
    """

    row: IntArray
    column: IntArray
    value: FloatArray
    role: IntArray
    excluded: BoolArray
    n_rows: int
    n_columns: int
    treatment: IntArray | None = None

    def __post_init__(self) -> None:
        if self.n_rows < 1 or self.n_columns < 1:
            raise ScreenError(f"a plate of {self.n_rows} x {self.n_columns} has no wells")
        n = len(self.row)
        for name in ("row", "column", "value", "role", "excluded", "treatment"):
            array = getattr(self, name)
            if array is not None and array.shape != (n,):
                raise ScreenError(f"{name} has shape {array.shape}, expected ({n},)")
        if self.excluded.dtype != np.bool_:
            raise ScreenError("excluded holds something else than true and false")
        if np.any(np.isinf(self.value)):
            raise ScreenError("a reading is infinite; a well without a reading is NaN")
        self._require_positions()
        if n and (self.role.min() < min(Role) or self.role.max() > max(Role)):
            raise ScreenError(f"roles are {min(Role)}..{max(Role)}, see models.quality.plate.Role")

    def _require_positions(self) -> None:
        outside = (self.row < 0) | (self.row >= self.n_rows)
        outside |= (self.column < 0) | (self.column >= self.n_columns)
        if np.any(outside):
            at = int(np.flatnonzero(outside)[0])
            where = f"row {self.row[at]}, column {self.column[at]}"
            raise ScreenError(
                f"a well at {where} is off the {self.n_rows} x {self.n_columns} plate"
            )
        position, count = np.unique(self._position(), return_counts=True)
        if np.any(count > 1):
            row, column = divmod(int(position[count > 1][0]), self.n_columns)
            raise ScreenError(f"the well at row {row}, column {column} is listed twice")

    def __len__(self) -> int:
        return len(self.row)

    @property
    def measured(self) -> BoolArray:
        """``(n,)`` wells that were meant to be read and have a reading."""
        return np.asarray(np.isfinite(self.value) & (self.role != Role.EMPTY))

    @property
    def usable(self) -> BoolArray:
        """``(n,)`` measured wells that nobody has excluded."""
        return self.measured & ~self.excluded

    @property
    def edge(self) -> BoolArray:
        """``(n,)`` wells of the outermost ring of the plate."""
        rim = (self.row == 0) | (self.row == self.n_rows - 1)
        return np.asarray(rim | (self.column == 0) | (self.column == self.n_columns - 1))

    def readings(self, role: Role) -> FloatArray:
        """Usable readings of a role, ascending: the order of the wells leaves no trace."""
        return np.sort(self.value[self.usable & (self.role == role)])

    def content(self) -> IntArray:
        """``(n,)`` number of the well's content: 0 vehicle, 1 reference, 2.. treatments, else -1.

        Positive controls, blanks and empty wells have none, nor do wells of unknown treatment.
        """
        content = np.full(len(self), NO_TREATMENT, np.int64)
        if self.treatment is not None:
            drugged = np.isin(self.role, (Role.SAMPLE, Role.SINGLE))
            drugged &= self.treatment != NO_TREATMENT
            content[drugged] = 2 + np.unique(self.treatment[drugged], return_inverse=True)[1]
        content[self.role == Role.VEHICLE] = 0
        content[self.role == Role.REFERENCE] = 1
        return content

    def in_order(self) -> tuple[PlateReadings, IntArray]:
        """The plate with its wells by position, and where each well of this plate went."""
        order = np.argsort(self._position(), kind="stable")
        back = np.empty(len(self), np.int64)
        back[order] = np.arange(len(self))
        return self.select(order), back

    def select(self, wells: BoolArray | IntArray) -> PlateReadings:
        """The plate with only ``wells`` (mask or indices)."""
        return PlateReadings(
            self.row[wells],
            self.column[wells],
            self.value[wells],
            self.role[wells],
            self.excluded[wells],
            self.n_rows,
            self.n_columns,
            None if self.treatment is None else self.treatment[wells],
        )

    def _position(self) -> IntArray:
        return self.row * self.n_columns + self.column


def well_name(row: int, column: int) -> str:
    """``(0, 0)`` is A1, ``(26, 0)`` is AA1: how messages name a well."""
    letters = ""
    number = row + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{column + 1}"
