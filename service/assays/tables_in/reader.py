"""Reads a long table of measurements, row by row, in memory that does not grow with it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from service.assays.tables_in.duplicates import DuplicateGuard
from service.assays.tables_in.header import (
    Columns,
    DoseSlot,
    find_separator,
    read_header,
    split_line,
)
from service.assays.tables_in.rows import Chunk, Declaration, Problems, TableError, WellRow
from service.assays.tables_in.rules import (
    Component,
    Draft,
    RowRules,
    number_from_text,
    plain_well,
)
from service.assays.tables_in.scale import Scale, ScaleWatch
from service.assays.tables_in.text import TextLines

CHUNK_ROWS = 2_000
MAX_ROWS = 1_000_000

_Label = tuple[str, str]
Rename = Callable[[Sequence[str]], list[str]]
"""Somebody else's column names as ours."""


class TableReader:
    """One pass over one table.

    The header is read at once: ``columns``, ``scale`` and ``columns.ignored`` are known before
    the first row, and :class:`TableError` is raised for a header that cannot be used. ``rename``
    says what other names the columns have.
    :meth:`chunks` then yields the rows; they are provisional until it ends, because the scale
    is also judged over the whole table. ``problems`` fills up on the way.
    """

    def __init__(
        self,
        stream: BinaryIO,
        declared: Declaration,
        *,
        max_rows: int = MAX_ROWS,
        rename: Rename | None = None,
    ) -> None:
        self.declared = declared
        self.max_rows = max_rows
        self.problems = Problems()
        self._rename = rename
        self._lines = TextLines(stream)
        self.columns = self._read_header()
        self._builder = _RowBuilder(self.columns, declared, self.problems)
        self._reported = (0, 0)

    @property
    def scale(self) -> Scale:
        """The scale that header and declaration agree on."""
        return self.columns.scale

    def chunks(self) -> Iterator[Chunk]:
        """The good rows in file order, up to 2,000 at a time. Can be used once.

        Raises :class:`TableError` where the rest cannot be read (encoding, quotes, size) and at
        the end if there was no row, or if all values contradict the declared scale.
        """
        with DuplicateGuard(self.declared.repeats, self.problems) as guard:
            drafts: list[Draft] = []
            for row, cells in self._counted_records():
                draft = self._builder.build(row, cells)
                if draft is not None:
                    drafts.append(draft)
                if len(drafts) == CHUNK_ROWS:
                    yield self._chunk(guard.accept(drafts))
                    drafts = []
            self._builder.watch.finish(self.columns.names[self.columns.value])
            last = self._chunk(guard.accept(drafts))
            if last.rows or last.problem_count:
                yield last

    def _read_header(self) -> Columns:
        for line in self._lines:
            if line.strip(" \t\n,;"):
                separator = find_separator(line, self._lines.line)
                cells = split_line(line, separator)
                if self._rename is not None:
                    cells = self._rename(cells)
                return read_header(cells, separator, self._lines.line, self.declared)
            self._lines.start_record()
        raise TableError.single("empty", "the file is empty; upload a table with a header line")

    def _chunk(self, rows: tuple[WellRow, ...]) -> Chunk:
        kept, total = self._reported
        self._reported = (len(self.problems.first), self.problems.total)
        return Chunk(rows, tuple(self.problems.first[kept:]), self.problems.total - total)

    def _counted_records(self) -> Iterator[tuple[int, Sequence[str]]]:
        """Rows of the right width; the others are noted, the last one as a truncated file."""
        count, width = 0, len(self.columns.names)
        short: tuple[int, int] | None = None
        for row, cells in self._records():
            count += 1
            if count > self.max_rows:
                raise TableError.single(
                    "too_many_rows",
                    f"the table has more than {self.max_rows:,} rows; split it into several files",
                    row=row,
                )
            if short:
                self._note_short(*short, last=False)
            short = (row, len(cells)) if len(cells) < width else None
            if len(cells) > width:
                self._note_long(row, cells)
            elif not short:
                yield row, cells
        if short:
            self._note_short(*short, last=True)
        if not count:
            message = "the table has a header but no rows; add the measurements below it"
            raise TableError.single("no_rows", message)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """``(first line, cells)`` of every row that is not blank."""
        reader = csv.reader(self._lines, delimiter=self.columns.separator, strict=True)
        row = self._lines.start_record()
        try:
            for cells in reader:
                if "".join(cells).strip():
                    yield row, cells
                row = self._lines.start_record()
        except csv.Error as error:
            raise TableError.single(
                "quotes",
                f"the row that starts at line {row} cannot be read ({error}); look for a double "
                "quote that is never closed or stands inside a cell",
                row=row,
            ) from error

    def _note_short(self, row: int, found: int, last: bool) -> None:
        wanted = len(self.columns.names)
        fields = f"the row has {found} fields where the header has {wanted}"
        code, message = "too_few_fields", f"{fields}: a truncated line? Complete or delete it"
        if last:
            code = "truncated_file"
            message = f"the file seems truncated: in its last line {fields}; export it again"
        self.problems.add(row, self.columns.names[found], None, code, message)

    def _note_long(self, row: int, cells: Sequence[str]) -> None:
        wanted = len(self.columns.names)
        message = (
            f"the row has {len(cells)} fields where the header has {wanted}; put names and numbers "
            f"that contain a {self.columns.separator_name} in double quotes"
        )
        self.problems.add(row, self.columns.names[-1], cells[wanted], "too_many_fields", message)


class _RowBuilder:
    """Turns the cells of one row into a :class:`Draft`."""

    def __init__(self, columns: Columns, declared: Declaration, problems: Problems) -> None:
        self.columns = columns
        self.problems = problems
        self.watch = ScaleWatch(columns.scale, declared.confirm_scale)
        self.rules = RowRules(problems, self.watch)
        self.decimal = declared.decimal or "."
        self.declared_line = declared.cell_line or ""
        self.labels = (columns.plate, columns.well, columns.replicate, columns.block)

    def build(self, row: int, cells: Sequence[str]) -> Draft | None:
        """The row, or None after noting everything that is wrong with it."""
        before = self.problems.total
        line = self._cell_line(row, cells)
        parts = [self._component(row, cells, slot) for slot in self.columns.slots]
        labels = [self._label(row, cells, position) for position in self.labels]
        raw = self._number(row, cells, self.columns.value)
        if self.problems.total != before or raw is None or line is None:
            return None
        treatment = self.rules.treatment(row, [part for part in parts if part is not None])
        if treatment is None:
            return None
        column = self.columns.names[self.columns.value]
        viability = self.rules.viability(row, column, raw, vehicle=not treatment)
        if viability is None:
            return None
        return make_draft(row, line, treatment, viability, raw, labels)

    def _number(self, row: int, cells: Sequence[str], position: int) -> float | None:
        column = self.columns.names[position]
        return number_from_text(self.problems, row, column, cells[position], self.decimal)

    def _cell_line(self, row: int, cells: Sequence[str]) -> _Label | None:
        position = self.columns.cell_line
        if position is None:
            return self.rules.cell_line(row, "cell_line", self.declared_line)
        return self.rules.cell_line(row, self.columns.names[position], cells[position])

    def _label(self, row: int, cells: Sequence[str], position: int | None) -> _Label:
        if position is None or not cells[position]:
            return ("", "")
        return self.rules.label(row, self.columns.names[position], cells[position]) or ("", "")

    def _component(self, row: int, cells: Sequence[str], slot: DoseSlot) -> Component | None:
        names = self.columns.names
        label = self.rules.label(row, names[slot.compound], cells[slot.compound])
        if label is None or (not label[1] and not cells[slot.dose].strip()):
            return None
        dose_um = self._dose(row, cells, slot)
        if dose_um is None:
            return None
        if not label[1]:
            if dose_um > 0.0:
                self.rules.compound_for_dose(row, names[slot.compound], dose_um)
            return None
        return Component(label[1], label[0], dose_um, names[slot.compound])

    def _dose(self, row: int, cells: Sequence[str], slot: DoseSlot) -> float | None:
        number = self._number(row, cells, slot.dose)
        if number is None or number == 0.0:
            return number
        unit = slot.unit
        if slot.unit_column is not None:
            column = self.columns.names[slot.unit_column]
            unit = self.rules.unit(row, column, cells[slot.unit_column], slot.unit)
        if unit is None:
            return None
        return self.rules.dose(row, self.columns.names[slot.dose], number, unit)


def make_draft(
    row: int,
    line: _Label,
    treatment: Sequence[Component],
    viability: float,
    raw: float,
    labels: Sequence[_Label],
) -> Draft:
    """A finished row; ``labels`` are plate, well, replicate and block."""
    plate, well, replicate, block = (clean or None for clean, _ in labels)
    components = tuple((part.name, part.dose_um) for part in treatment)
    identity = (labels[0][1], plain_well(labels[1][1]), labels[2][1], labels[3][1])
    folded = (line[1], *(part.folded for part in treatment), *identity)
    return Draft(
        WellRow(row, line[0], components, viability, raw, plate, well, replicate, block), folded
    )


def read_table(stream: BinaryIO, declared: Declaration) -> Iterator[Chunk]:
    """The rows of a table in chunks, each with the problems met on the way.

    The header is read and :class:`TableError` raised at the call, not at the first chunk. Use
    :class:`TableReader` to see the columns and the scale too.
    """
    return TableReader(stream, declared).chunks()
