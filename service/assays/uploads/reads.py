"""One plate in a file with all its reads, and which plate of ours it is. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from service.assays.files_in import ReaderPlate, Reading
from service.plates.geometry import WellAt, well_name
from service.plates.plate_map import PlateMap, Role

MAX_LABEL = 200
_SHOWN = 12

COUNTED = frozenset({Role.SAMPLE, Role.SINGLE, Role.VEHICLE})
"""Roles whose wells become measurements. Positive controls, blanks and the reference pair judge
the plate: they are kept as readings."""


@dataclass(frozen=True)
class Read:
    """One channel and time point of a plate."""

    label: str
    unit: str | None
    readings: tuple[Reading, ...]
    kind: str | None = None
    time_h: float | None = None
    derived: bool = False
    wells: int | None = None
    """How many wells the plate has, where the file proves it."""

    @property
    def by_well(self) -> dict[WellAt, Reading]:
        return {(each.row, each.column): each for each in self.readings}

    @property
    def n_read(self) -> int:
        """Wells with a number."""
        return sum(each.value is not None for each in self.readings)


@dataclass(frozen=True)
class FoundPlate:
    """A plate of a file: what the file calls it, and its reads."""

    index: int
    names: tuple[str, ...]
    reads: tuple[Read, ...]


@dataclass
class Whose:
    """Which plate it is, where that was said, and what is in the way."""

    barcode: str | None = None
    said_by: str | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


def plates_in(plates: Sequence[ReaderPlate]) -> list[FoundPlate]:
    """The plates of a file in their order, several reads of one plate together."""
    grouped: dict[tuple[str, ...], list[ReaderPlate]] = {}
    for each in plates:
        names = _names(each)
        grouped.setdefault(names or ("", each.sheet or ""), []).append(each)
    return [
        FoundPlate(index, tuple(name for name in key if name), _reads(listed))
        for index, (key, listed) in enumerate(grouped.items())
    ]


def _names(plate: ReaderPlate) -> tuple[str, ...]:
    listed = [plate.barcode, *plate.identifiers]
    if not any(listed):
        listed.append(plate.plate_name)
    return tuple(dict.fromkeys(name.strip() for name in listed if name and name.strip()))


def _reads(plates: Sequence[ReaderPlate]) -> tuple[Read, ...]:
    labels = [_label(each) for each in plates]
    for more in ("sheet", "plate_name", "read_at"):
        labels = [
            f"{label} ({text})"
            if labels.count(label) > 1 and (text := getattr(each, more))
            else label
            for label, each in zip(labels, plates, strict=True)
        ]
    labels = [
        f"{label[: MAX_LABEL - 8]} #{labels[:place].count(label) + 1}"
        if labels.count(label) > 1
        else label[:MAX_LABEL]
        for place, label in enumerate(labels)
    ]
    return tuple(
        Read(
            label,
            each.unit,
            each.readings,
            each.measurement.kind,
            each.time_h,
            each.measurement.derived,
            None if each.format_proof == "wells" else each.format.size,
        )
        for label, each in zip(labels, plates, strict=True)
    )


def _label(plate: ReaderPlate) -> str:
    said = plate.measurement
    label = " ".join((said.label or said.channel or said.kind or "reading").split())
    return label if plate.time_h is None else f"{label} at {plate.time_h:g} h"


def whose(
    found: FoundPlate,
    known: Callable[[str], bool],
    near: Callable[[str], str],
    said: str | None,
    in_file_name: Sequence[str],
) -> Whose:
    """The plate's barcode: ``said`` by a person, else in the file, else in the file's name.

    ``known``: whether a plate has this barcode; ``near``: words on those that are alike.
    """
    inside = [name for name in found.names if known(name)]
    result = Whose()
    if said is not None:
        result.barcode, result.said_by = said, "request"
        other = [name for name in inside if name != said]
        if other:
            message = f"You say {said!r}, the file says {other[0]!r}, which is a plate as well."
            result.problems.append(("barcode_contradiction", f"{message} Check the file."))
        if not known(said):
            result.problems.append(("unknown_barcode", near(said)))
        return result
    if len(inside) > 1:
        listed = " and ".join(map(repr, inside))
        message = f"The file names several plates here, {listed}. Say which one it is."
        result.problems.append(("barcode_ambiguous", message))
        return result
    if inside:
        result.barcode, result.said_by = inside[0], "file"
        if in_file_name and inside[0] not in in_file_name:
            message = f"The file says {inside[0]!r}, its name says {in_file_name[0]!r}."
            result.problems.append(("barcode_contradiction", f"{message} Say which is right."))
        return result
    return _by_file_name(found, near, in_file_name, result)


def _by_file_name(
    found: FoundPlate, near: Callable[[str], str], in_file_name: Sequence[str], result: Whose
) -> Whose:
    if len(in_file_name) == 1:
        result.barcode, result.said_by = in_file_name[0], "file name"
        return result
    if len(in_file_name) > 1:
        listed = " and ".join(map(repr, in_file_name))
        message = f"The file's name holds the barcodes {listed}. Say which one it is."
        result.problems.append(("barcode_ambiguous", message))
    elif found.names:
        result.problems.append(("unknown_barcode", near(found.names[0])))
    else:
        message = "Neither the file nor its name has a barcode. Give it as barcode."
        result.problems.append(("barcode_missing", message))
    return result


def barcodes_in_name(file_name: str, barcodes: Iterable[str]) -> list[str]:
    """The barcodes that stand in a file's name as whole words; not one inside of another."""
    left, found = PurePath(file_name).name, []
    for code in sorted(set(barcodes), key=len, reverse=True):
        word = rf"(?<![A-Za-z0-9]){re.escape(code)}(?![A-Za-z0-9])"
        if code in left and re.search(word, left):
            found.append(code)
            left = re.sub(word, "\0", left)
    return sorted(found)


def choose_read(
    reads: Sequence[Read], label: str | None
) -> tuple[Read | None, tuple[str, str] | None]:
    """The read that counts: the one named, or the only one that the instrument measured."""
    listed = ", ".join(repr(each.label) for each in reads)
    if label is not None:
        named = [each for each in reads if each.label.casefold() == label.strip().casefold()]
        if len(named) == 1:
            return named[0], None
        return None, ("unknown_label", f"There is no read {label!r}; there are {listed}.")
    measured = [each for each in reads if not each.derived] or list(reads)
    if len(measured) == 1:
        return measured[0], None
    return None, ("label_missing", f"The plate was read several times: {listed}. Name one, label=.")


@dataclass(frozen=True)
class Fit:
    """How the wells of a read and of a map agree."""

    missing: tuple[WellAt, ...]
    outside: tuple[WellAt, ...]
    unread: Mapping[WellAt, str]
    """Wells of the map that the instrument has no number for, with its own words."""
    problems: tuple[tuple[str, str, bool], ...]


def fit(read: Read, plate: PlateMap) -> Fit:
    """Compare what was read with what is on the plate."""
    readings, size = read.by_well, plate.format.size
    if read.wells is not None and read.wells != size:
        message = f"The file is of a plate of {read.wells} wells, {plate.barcode} has {size}."
        return Fit((), (), {}, (("format", message, True),))
    off = sorted(at for at in readings if not plate.format.has(at))
    used = {well.at for well in plate.used}
    missing = tuple(at for at in sorted(used) if at not in readings)
    outside = tuple(
        at for at, each in sorted(readings.items()) if at not in used and each.value is not None
    )
    unread = {at: str(readings[at].flag) for at in sorted(used & set(readings))
              if readings[at].value is None}  # fmt: skip
    problems = []
    if off:
        message = f"The file has wells that {plate.barcode} does not: {listed_wells(off)}."
        problems.append(("off_plate", message, True))
    if missing:
        message = f"{len(missing)} wells of the map are not in the file: {listed_wells(missing)}."
        problems.append(("missing_wells", message, len(missing) == len(used)))
    if unread:
        message = f"{len(unread)} wells have no number: {listed_wells(list(unread))}."
        problems.append(("unread_wells", message, len(unread) == len(used)))
    if outside:
        message = (
            f"{len(outside)} wells were read that are empty on the map: {listed_wells(outside)}. "
            "They are kept as readings and not counted."
        )
        problems.append(("outside_wells", message, False))
    return Fit(missing, outside, unread, tuple(problems))


def listed_wells(wells: Sequence[WellAt]) -> str:
    """``B3, B4, ... (200 in all)``."""
    names = ", ".join(well_name(*at) for at in wells[:_SHOWN])
    return names if len(wells) <= _SHOWN else f"{names}, ... ({len(wells)} in all)"
