"""A table file as a submission: rows by name, the scale declared or proved, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from models.chemistry.names import fold_name
from service.assays.files_in import TableFile, TableRow
from service.assays.service import Table
from service.assays.tables_in import Chunk, Scale, TableError, WellRow
from service.assays.tables_in.duplicates import DuplicateGuard
from service.assays.tables_in.rows import Problems, RowProblem
from service.assays.tables_in.rules import Draft, plain_well
from service.assays.tables_in.scale import ScaleWatch
from service.assays.uploads.schemas import AskedIn, TableLookOut

_CHUNK = 2_000
_SHOWN = 8


@dataclass(frozen=True)
class FileOfTable:
    """The bytes that a table was read from."""

    media_type: str
    sha256: str
    n_bytes: int
    suffix: str
    content: Callable[[], bytes]


@dataclass(frozen=True)
class TableReading:
    """A table file with what was said about it."""

    table: TableFile
    asked: AskedIn

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Its channels and time points, in words; one empty one where it has none."""
        return tuple(dict.fromkeys(_label(row) for row in self.table.rows))

    @cached_property
    def label(self) -> str | None:
        """The channel and time point that counts, where that is clear."""
        if self.asked.label is not None:
            wanted = self.asked.label.casefold()
            return next((each for each in self.labels if each.casefold() == wanted), None)
        return self.labels[0] if len(self.labels) == 1 else None

    @property
    def rows(self) -> list[TableRow]:
        """The rows that count and have a value."""
        label = self.label
        return [r for r in self.table.rows if r.value is not None and _label(r) == label]

    def scale(self) -> Scale:
        """The scale, proved and declared halves together. Raises :class:`TableError`."""
        said = self.table.scale
        if said is None or said.quantity == "raw":
            message = (
                "the table holds raw readings; send the reader's file with the barcode of its "
                "plate, or a table of viability or inhibition"
            )
            raise TableError.single("raw_values", message)
        problems = []
        for half in ("quantity", "unit"):
            proved, declared = getattr(said, half), getattr(self.asked, half)
            if proved and declared and proved != declared:
                message = f"{half} {declared!r} was declared, but {'; '.join(said.reasons)}"
                problems.append(RowProblem(None, half, None, f"{half}_contradiction", message))
            elif not proved and not declared:
                choices = "viability or inhibition" if half == "quantity" else "fraction or percent"
                message = f"nothing in the file proves its {half}; declare {half}: {choices}"
                problems.append(RowProblem(None, half, None, f"{half}_missing", message))
        if problems:
            raise TableError(problems)
        quantity, unit = said.quantity or self.asked.quantity, said.unit or self.asked.unit
        return Scale(quantity, unit)  # type: ignore[arg-type]

    def read(self) -> Iterator[Chunk]:
        """The good rows and the problems; the scale is also judged over the whole table."""
        if self.label is None:
            listed = ", ".join(map(repr, self.labels))
            message = f"the table has several channels or times: {listed}; name one as label"
            raise TableError.single("label_missing", message, "label")
        watch, problems = ScaleWatch(self.scale(), self.asked.confirm_scale), Problems()
        told = (0, 0)
        rows = self.rows
        with DuplicateGuard(self.asked.repeats, problems) as guard:
            for start in range(0, len(rows), _CHUNK):
                made = [self._draft(row, watch, problems) for row in rows[start : start + _CHUNK]]
                if start + _CHUNK >= len(rows):
                    watch.finish("value")
                good = guard.accept([draft for draft in made if draft is not None])
                new = tuple(problems.first[told[0] :])
                yield Chunk(good, new, problems.total - told[1])
                told = (len(problems.first), problems.total)

    def _draft(self, row: TableRow, watch: ScaleWatch, problems: Problems) -> Draft | None:
        line = row.cell_line or self.asked.cell_line
        if line is None:
            message = "no cell line; declare cell_line for the whole table"
            problems.add(row.line, "cell_line", None, "cell_line_missing", message)
            return None
        value = float(row.value or 0.0)
        vehicle = not row.components
        viability = watch.viability(row.line, "value", value, vehicle, problems)
        if viability is None:
            return None
        well = WellRow(
            row.line, line, row.components, viability, value,
            row.plate, row.well, row.replicate, row.block,
        )  # fmt: skip
        return Draft(well, _folded(well))

    def as_table(self, file: FileOfTable, note: str) -> Table:
        """The table as a submission takes it."""
        return Table(
            media_type=file.media_type,
            content=file.content,
            sha256=file.sha256,
            n_bytes=file.n_bytes,
            read=self.read,
            scale=self.scale,
            ignored_columns=lambda: list(self.table.ignored_columns),
            suffix=file.suffix,
            note=note,
        )

    def look(self) -> TableLookOut:
        """What the outside sees before anything counts."""
        said = self.table.scale
        first = [_shown(row) for row in self.table.rows[:_SHOWN]]
        labels = [label for label in self.labels if label]
        asked = {"quantity": self.asked.quantity, "unit": self.asked.unit}
        return TableLookOut(
            n_rows=len(self.table.rows),
            n_without_value=sum(row.value is None for row in self.table.rows),
            quantity=(said and said.quantity) or self.asked.quantity,
            unit=(said and said.unit) or self.asked.unit,
            reasons=list(said.reasons) if said else [],
            must_ask=[half for half in (said.must_ask if said else ()) if asked[half] is None],
            dose_unit=self.table.dose_unit,
            labels=labels,
            label=self.label or None,
            ignored_columns=list(self.table.ignored_columns),
            first_rows=first,
        )


def _label(row: TableRow) -> str:
    time = "" if row.time_h is None else f"{row.time_h:g} h"
    return " at ".join(part for part in (row.channel or "", time) if part)


def _folded(well: WellRow) -> tuple[str, ...]:
    """What identifies a row, as for submitted tables; the sheet's own labels fold like names."""
    labels = (well.plate, well.well, well.replicate, well.block)
    folded = [fold_name(label) if label else "" for label in labels]
    folded[1] = plain_well(folded[1])
    names = (fold_name(name) for name, _ in well.components)
    return (fold_name(well.cell_line), *folded, *names)


def _shown(row: TableRow) -> dict[str, Any]:
    return {
        "line": row.line,
        "cell_line": row.cell_line,
        "doses": [{"compound": name, "dose_um": dose} for name, dose in row.components],
        "value": row.value,
        "flag": row.flag,
        "replicate": row.replicate,
    }
