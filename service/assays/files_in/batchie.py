"""BATCHIE ``screen.h5``: treatments, doses and observations as arrays. Needs h5py (an extra)."""

from __future__ import annotations

import importlib
import io
import math
from dataclasses import dataclass
from typing import Any

from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import is_vehicle, treatment
from service.assays.files_in.grid import Decimal
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import ScaleEvidence, TableFile, TableRow
from service.assays.files_in.scale import prove_scale
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.assays.tables_in.rules import MAX_DOSE_UM, MIN_DOSE_UM

NAME = "batchie"
_ARRAYS = ("treatment_names", "treatment_doses", "observations", "sample_names", "plate_names")
_AGAIN = "write the screen again with BATCHIE"


def recognise(source: Source) -> Certainty:
    """Any HDF5 file; the arrays are looked for when it is read."""
    return Certainty(0.7, "is an HDF5 file") if source.kind == "hdf5" else NO


def parse(source: Source, decimal: Decimal = None) -> TableFile:
    """Every experiment; those not yet observed have the flag ``not measured``."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        message = "HDF5 files need the package h5py, which is not installed here"
        raise FileError(NAME, None, message, "install it, or send the screen as CSV") from None
    arrays = _arrays(h5py, source)
    shape = arrays["treatment_names"].shape
    if len(shape) != 2:
        raise FileError(NAME, None, "treatment_names is no table", _AGAIN)
    count = shape[0]
    if arrays["treatment_doses"].shape != shape:
        raise FileError(NAME, None, "names and doses of treatments differ in shape", _AGAIN)
    for name in ("observations", "sample_names", "plate_names", "observation_mask"):
        if name in arrays and arrays[name].shape != (count,):
            raise FileError(NAME, None, f"{name} has not {count} entries", _AGAIN)
    rows = tuple(_row(arrays, index) for index in range(count))
    if not any(row.value is not None for row in rows):
        raise FileError(NAME, None, "the screen has no observation", _AGAIN)
    proved = prove_scale(rows, "viability", "fraction", "the BATCHIE format")
    scale = ScaleEvidence(proved.quantity, proved.unit, proved.reasons)
    note = "doses are taken as micromolar, as BATCHIE defines them"
    return TableFile(NAME, rows, scale, "uM", (note,))


@dataclass(frozen=True)
class _Array:
    """One array of the file, as nested lists."""

    shape: tuple[int, ...]
    values: list[Any]


def _arrays(h5py: Any, source: Source) -> dict[str, _Array]:
    arrays: dict[str, _Array] = {}
    try:
        with h5py.File(io.BytesIO(source.content), "r") as file:
            for name in (*_ARRAYS, "observation_mask"):
                if name not in file:
                    if name in _ARRAYS:
                        raise FileError(NAME, None, f"the array {name!r} is missing", _AGAIN)
                    continue
                link = file.get(name, getlink=True)
                data = file[name]
                # A link or an external array would read another file of this machine.
                if (
                    not isinstance(link, h5py.HardLink)
                    or not isinstance(data, h5py.Dataset)
                    or data.external
                    or data.is_virtual
                ):
                    raise FileError(NAME, None, f"{name!r} is no plain array", _AGAIN)
                if data.size > source.limits.rows * 4:
                    raise FileError(NAME, None, f"{name!r} is too large", "split the screen")
                values = data[()]
                arrays[name] = _Array(tuple(values.shape), values.tolist())
    except FileError:
        raise
    except Exception as error:
        raise FileError(NAME, None, f"the HDF5 file is damaged ({error})"[:200], _AGAIN) from None
    return arrays


def _row(arrays: dict[str, _Array], index: int) -> TableRow:
    parts = []
    for name, dose in zip(
        arrays["treatment_names"].values[index],
        arrays["treatment_doses"].values[index],
        strict=True,
    ):
        word = _text(name).strip()
        number = _number(dose, index)
        if is_vehicle(word) or not word:
            if number > 0:
                raise FileError(NAME, index + 1, "the control has a dose", _AGAIN)
            continue
        if not (number == 0.0 or MIN_DOSE_UM <= number <= MAX_DOSE_UM):
            raise FileError(NAME, index + 1, f"dose {number:g} is not plausible", _AGAIN)
        parts.append((word, number))
    measured = "observation_mask" not in arrays or bool(arrays["observation_mask"].values[index])
    components = treatment(NAME, _PLACE, index, parts)
    return TableRow(
        line=index + 1,
        field=1,
        cell_line=_text(arrays["sample_names"].values[index]),
        components=components,
        value=_number(arrays["observations"].values[index], index) if measured else None,
        flag=None if measured else "not measured",
        role="sample" if components else "control",
        plate=_text(arrays["plate_names"].values[index]),
    )


class _Entries(Sheet):
    """Gives errors their entry number."""

    def line(self, row: int) -> int:
        return row + 1


_PLACE = _Entries(None, (), ())


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: object, index: int) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise FileError(NAME, index + 1, f"{str(value)[:20]!r} is no number", _AGAIN) from None
    if not math.isfinite(number):
        raise FileError(NAME, index + 1, "a number is not finite", _AGAIN)
    return number
