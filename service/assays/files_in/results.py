"""What a file says, in the service's own words. Every number keeps the place it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.plates.geometry import FORMATS, PlateFormat

Kind = Literal["luminescence", "absorbance", "fluorescence"]
Quantity = Literal["viability", "inhibition", "raw"]
ScaleUnit = Literal["percent", "fraction"]
FormatProof = Literal["stated", "grid", "wells"]
Origin = Literal["A1", "B2"]
Component = tuple[str, float]

SMALL_FORMATS = {n: PlateFormat(r, c) for n, r, c in ((6, 2, 3), (12, 3, 4), (24, 4, 6))}
SMALL_FORMATS[48] = PlateFormat(6, 8)
ALL_FORMATS = SMALL_FORMATS | FORMATS


@dataclass(frozen=True, slots=True)
class Reading:
    """One well of one reading. ``value`` is None exactly where ``flag`` says why.

    ``row`` and ``column`` count from 0; ``line`` and ``field`` (from 1) are the place in the file.
    """

    row: int
    column: int
    value: float | None
    flag: str | None
    line: int
    field: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, as far as the file says. ``derived``: computed by the instrument."""

    label: str
    kind: Kind | None = None
    channel: str | None = None
    wavelength_nm: float | None = None
    excitation_nm: float | None = None
    derived: bool = False


@dataclass(frozen=True)
class ReaderPlate:
    """One plate, one channel, one time point.

    ``identifiers``: every text of the file that may be the plate's barcode, best first.
    ``format_proof``: ``stated`` in words, a whole ``grid``, or only the smallest plate that holds
    the ``wells``. Wells that the file does not list at all are not in ``readings``.
    """

    barcode: str | None
    plate_name: str | None
    format: PlateFormat
    readings: tuple[Reading, ...]
    measurement: Measurement
    unit: str | None = None
    read_at: str | None = None
    time_h: float | None = None
    identifiers: tuple[str, ...] = ()
    sheet: str | None = None
    format_proof: FormatProof = "grid"

    @property
    def n_read(self) -> int:
        """Wells with a number."""
        return sum(reading.value is not None for reading in self.readings)


@dataclass(frozen=True)
class ReaderFile:
    """A reader's export: plates, and notes on what was left aside."""

    format_name: str
    instrument: str | None
    plates: tuple[ReaderPlate, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScaleEvidence:
    """What proves the scale of the values; a half that is None must be declared."""

    quantity: Quantity | None
    unit: ScaleUnit | None
    reasons: tuple[str, ...] = ()

    @property
    def must_ask(self) -> tuple[str, ...]:
        """The halves that nothing proves: ``quantity``, ``unit``."""
        if self.quantity == "raw":
            return ()
        halves = {"quantity": self.quantity, "unit": self.unit}
        return tuple(half for half, known in halves.items() if known is None)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One value. ``components``: ``(compound, dose in uM)`` without zero doses, sorted by name."""

    line: int
    field: int
    cell_line: str | None
    components: tuple[Component, ...]
    value: float | None
    flag: str | None = None
    role: str = "sample"
    plate: str | None = None
    well: str | None = None
    replicate: str | None = None
    block: str | None = None
    time_h: float | None = None
    channel: str | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class TableFile:
    """A table of responses (or, with ``scale`` None, of doses only)."""

    format_name: str
    rows: tuple[TableRow, ...]
    scale: ScaleEvidence | None
    dose_unit: str | None = None
    notes: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayoutWell:
    """What a layout puts into a well."""

    row: int
    column: int
    components: tuple[Component, ...]
    role: str
    line: int
    field: int


@dataclass(frozen=True)
class PlateLayout:
    """The contents of one plate; ``barcode`` None for a template used by several plates.

    ``origin``: the spreadsheet cell that is well A1, where the layout is a template.
    """

    barcode: str | None
    format: PlateFormat
    wells: tuple[LayoutWell, ...]
    cell_line: str | None = None
    time_h: float | None = None
    template: str | None = None
    format_proof: FormatProof = "stated"
    origin: Origin | None = None


@dataclass(frozen=True)
class LayoutFile:
    """Plate contents without readings: templates and designs.

    A template that does not prove its origin holds one plate for each that is possible.
    """

    format_name: str
    plates: tuple[PlateLayout, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """Which template lies on a plate, for how long, and on which cell line."""

    barcode: str
    template: str
    time_h: float | None
    cell_line: str | None
    line: int


@dataclass(frozen=True)
class ManifestFile:
    """The list of a run's plates; ``join_manifest`` adds the templates."""

    format_name: str
    entries: tuple[ManifestEntry, ...]
    notes: tuple[str, ...] = ()


Parsed = ReaderFile | TableFile | LayoutFile | ManifestFile


def smallest_format(rows: int, columns: int) -> PlateFormat | None:
    """The smallest of 96, 384 and 1536 with at least so many rows and columns."""
    for each in sorted(FORMATS.values(), key=lambda plate: plate.size):
        if rows <= each.rows and columns <= each.columns:
            return each
    return None
