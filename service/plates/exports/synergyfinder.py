"""A finished block as SynergyFinder reads it: one line a well, zero doses included.

``response`` is viability in percent, which is what SynergyFinder takes it for unless told
otherwise (``data_type = "viability"``). Nothing here guesses a scale: callers pass viability.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.kit.csv_out import csv_text
from service.plates.problems import PlateError

COLUMNS = (
    "block_id",
    "drug_row",
    "drug_col",
    "conc_r",
    "conc_c",
    "response",
    "conc_r_unit",
    "conc_c_unit",
    "cell_line_name",
)


@dataclass(frozen=True)
class Reading:
    """One well of a block: doses in uM (0 for none) and viability in percent."""

    row_um: float
    column_um: float
    viability_percent: float


@dataclass(frozen=True)
class FinishedBlock:
    """All readings of a pair in a cell line, the single agents and the vehicle among them."""

    id: str
    row: str
    column: str
    cell_line: str
    readings: tuple[Reading, ...]

    def __post_init__(self) -> None:
        for each in self.readings:
            doses = (each.row_um, each.column_um)
            if not all(math.isfinite(dose) and dose >= 0 for dose in doses):
                raise PlateError(f"block {self.id}: doses {doses} uM cannot be")
            if not math.isfinite(each.viability_percent):
                raise PlateError(f"block {self.id}: a viability at {doses} uM is no number")
        if missing := self._missing():
            row, column = missing[0]
            raise PlateError(
                f"block {self.id} lacks {len(missing)} of its wells, the first at {row:g} uM "
                f"{self.row} with {column:g} uM {self.column}; SynergyFinder needs every "
                "combination of the doses, each alone, and both at 0"
            )

    def _missing(self) -> list[tuple[float, float]]:
        seen = Counter((each.row_um, each.column_um) for each in self.readings)
        rows = sorted({0.0} | {each.row_um for each in self.readings})
        columns = sorted({0.0} | {each.column_um for each in self.readings})
        return [(row, column) for row in rows for column in columns if not seen[row, column]]


def synergyfinder_csv(blocks: Sequence[FinishedBlock]) -> str:
    """The long table of SynergyFinder. Blocks are numbered from 1, as it wants them."""
    rows = (
        (
            number,
            block.row,
            block.column,
            each.row_um,
            each.column_um,
            each.viability_percent,
            "uM",
            "uM",
            block.cell_line,
        )
        for number, block in enumerate(blocks, start=1)
        for each in sorted(block.readings, key=lambda r: (r.row_um, r.column_um))
    )
    return csv_text(COLUMNS, rows)
