"""The types of this room: what a table was declared to be, its rows, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from service.assays.tables_in.units import UNIT_NAMES, parse_unit

Quantity = Literal["viability", "inhibition"]
ScaleUnit = Literal["fraction", "percent"]
Repeats = Literal["refuse", "replicates"]

MAX_PROBLEMS = 100
"""Problems that are kept word for word; all are counted."""

_CHOICES: dict[str, tuple[object, ...]] = {
    "quantity": (None, "viability", "inhibition"),
    "unit": (None, "fraction", "percent"),
    "decimal": (None, ".", ","),
    "repeats": ("refuse", "replicates"),
}


@dataclass(frozen=True)
class Declaration:
    """What the uploader says about a table, for what its header does not say itself.

    ``confirm_scale`` accepts values that look like another scale. ``repeats="replicates"``
    numbers equal rows without well and replicate as replicates 1, 2, ... in file order.
    Raises :class:`TableError` for a word that is not one of the choices.
    """

    quantity: Quantity | None = None
    unit: ScaleUnit | None = None
    dose_unit: str | None = None
    decimal: Literal[".", ","] | None = None
    cell_line: str | None = None
    confirm_scale: bool = False
    repeats: Repeats = "refuse"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                words = ", ".join(repr(choice) for choice in choices if choice)
                raise TableError.single("declaration", f"{name} is {value!r}; choose {words}", name)
        if self.dose_unit is not None and parse_unit(self.dose_unit) is None:
            raise TableError.single(
                "dose_unit_unknown",
                f"the declared dose unit {shorten(self.dose_unit)} is unknown; use {UNIT_NAMES}",
                "dose_unit",
            )


@dataclass(frozen=True, slots=True)
class WellRow:
    """One measured well. ``row`` is its 1-based line in the file, or its 0-based list index.

    ``components``: ``(name, dose in micromolar)`` without zero doses, sorted by folded name;
    empty for a vehicle control. ``viability`` is a fraction of the vehicle control;
    ``raw_value`` is the number as it was written.
    """

    row: int
    cell_line: str
    components: tuple[tuple[str, float], ...]
    viability: float
    raw_value: float
    plate: str | None = None
    well: str | None = None
    replicate: str | None = None
    block: str | None = None


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing that is wrong: where, what was found, and in ``message`` also how to fix it."""

    row: int | None
    column: str | None
    value: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to 2,000 good rows, and the problems met since the last chunk.

    ``problem_count`` counts all of them, ``problems`` keeps the first 100 of a table.
    """

    rows: tuple[WellRow, ...]
    problems: tuple[RowProblem, ...] = ()
    problem_count: int = 0


class TableError(ValueError):
    """A table that cannot be read at all: header, encoding, scale or size. Has ``problems``."""

    def __init__(self, problems: Iterable[RowProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))

    @classmethod
    def single(
        cls, code: str, message: str, column: str | None = None, row: int | None = None
    ) -> TableError:
        return cls([RowProblem(row, column, None, code, message)])


@dataclass
class Problems:
    """Collects problems: the first 100 in full, all in ``total``."""

    first: list[RowProblem] = field(default_factory=list)
    total: int = 0

    def add(self, row: int, column: str, value: object, code: str, message: str) -> None:
        """Note one problem; ``message`` says what is wrong and the fix, without the place."""
        self.total += 1
        if len(self.first) < MAX_PROBLEMS:
            shown = None if value is None else shorten(value, quoted=False)
            self.first.append(RowProblem(row, column, shown, code, message))


def shorten(value: object, limit: int = 40, *, quoted: bool = True) -> str:
    """``value`` cut to ``limit`` characters, in quotes unless told otherwise."""
    text = value if isinstance(value, str) else _safe_text(value, limit)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return repr(text) if quoted else text


def _safe_text(value: object, limit: int) -> str:
    """Any object as text; containers and huge integers by their type only."""
    if value is None or isinstance(value, bool | float):
        return str(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 4 * limit else "a very long whole number"
    return f"a {type(value).__name__}"
