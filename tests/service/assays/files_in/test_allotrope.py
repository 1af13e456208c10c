from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from benchmarks.file_samples import LETTERS, xlsx
from service.assays.files_in import FileError, ReaderFile, parse_file


def measurement(well: str, value: Any, wave: int = 450, plate: str = "P1") -> dict[str, Any]:
    return {
        "measurement identifier": f"m-{well}-{wave}",
        "sample document": {"location identifier": well, "well plate identifier": plate},
        "device control aggregate document": {
            "device control document": [
                {"detector wavelength setting": {"value": wave, "unit": "nm"}}
            ]
        },
        "absorbance": {"value": value, "unit": "mAU"},
    }


def document(wells: list[list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "$asm.manifest": "http://purl.allotrope.org/manifests/plate-reader/REC/2024/06/x.manifest",
        "plate reader aggregate document": {
            "plate reader document": [
                {
                    "measurement aggregate document": {
                        "measurement time": "2024-01-15T10:30:00+00:00",
                        "plate well count": {"value": 288, "unit": "#"},
                        "measurement document": entries,
                    }
                }
                for entries in wells
            ],
            "device system document": {"model number": "EnSight"},
        },
    }


def full(value: float = 0.5) -> dict[str, Any]:
    names = [f"{letter}{i}" for letter in LETTERS[:8] for i in range(1, 13)]
    return document(
        [[measurement(n, value + i, 450), measurement(n, 0.04, 650)] for i, n in enumerate(names)]
    )


def read(value: Any) -> ReaderFile:
    found = parse_file("a.json", json.dumps(value).encode())
    assert isinstance(found, ReaderFile)
    return found


def test_wells_units_wavelengths_and_time() -> None:
    file = read(full())
    first, second = file.plates
    assert (first.unit, first.measurement.kind, first.n_read) == ("mAU", "absorbance", 96)
    assert (first.measurement.wavelength_nm, second.measurement.wavelength_nm) == (450.0, 650.0)
    assert first.readings[13].value == 13.5
    assert (first.readings[13].row, first.readings[13].column) == (1, 1)
    assert first.identifiers == ("P1",)
    assert first.read_at == "2024-01-15T10:30:00+00:00"
    assert file.instrument == "EnSight"


def test_well_count_never_decides_the_format() -> None:
    file = read(document([[measurement("P24", 1.0)]]))
    assert file.plates[0].format.size == 384
    assert file.plates[0].format_proof == "wells"


def test_missing_values_are_flagged() -> None:
    file = read(document([[measurement("A1", None)], [measurement("A2", 1.0)]]))
    assert [(r.value, r.flag) for r in file.plates[0].readings] == [
        (None, "no reading"),
        (1.0, None),
    ]


def edited(edit: Any) -> dict[str, Any]:
    value = full()
    edit(value["plate reader aggregate document"]["plate reader document"])
    return value


def inner(documents: Any, at: int) -> Any:
    return documents[at]["measurement aggregate document"]["measurement document"]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda d: d.append(d[0]), "comes twice"),
        (lambda d: inner(d, 0)[0]["absorbance"].pop("unit"), "no unit"),
        (lambda d: inner(d, 1)[0]["absorbance"].update(unit="AU"), "changes within one plate"),
        (lambda d: inner(d, 0)[0]["absorbance"].update(value="x"), "is no number"),
        (lambda d: inner(d, 0)[0]["absorbance"].update(value=True), "is no number"),
        (lambda d: inner(d, 0)[0]["absorbance"].update(value=10**400), "too large"),
        (lambda d: inner(d, 0)[0]["sample document"].update({"location identifier": "7"}), "well"),
        (lambda d: inner(d, 0)[0].pop("sample document"), "sample document is missing"),
        (lambda d: d[0].clear(), "is missing"),
        (lambda d: d.clear(), "no measurement has a value"),
    ],
)
def test_refusals(edit: Any, reason: str) -> None:
    with pytest.raises(FileError, match=reason) as caught:
        read(edited(edit))
    assert not caught.value.unexpected


@pytest.mark.parametrize(
    "value", [[], {"$asm.manifest": "x"}, {"plate reader aggregate document": 3}]
)
def test_other_json_is_refused(value: Any) -> None:
    with pytest.raises(FileError):
        read(value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.csv", b"EnSight Results from 96 well\nx,y\n"),
        ("m.xlsx", xlsx({"Sheet": [["x"], ["Tecan Magellan"]]})),
        ("s.xlsx", xlsx({"S": [["SkanIt Software 5.0"]]})),
    ],
)
def test_vendors_without_allotropy_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.setitem(sys.modules, "allotropy", None)
    monkeypatch.setitem(sys.modules, "allotropy.parser_factory", None)
    with pytest.raises(FileError, match="need the package allotropy"):
        parse_file(name, content)


def test_vendor_through_allotropy(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    def convert(stream: Any, name: str, vendor: str) -> dict[str, Any]:
        assert (stream.read(7), name, vendor) == (b"EnSight", "k.csv", "kaleido vendor")
        return full()

    factory = SimpleNamespace(Vendor=SimpleNamespace(REVVITY_KALEIDO="kaleido vendor"))
    monkeypatch.setitem(sys.modules, "allotropy.parser_factory", factory)
    monkeypatch.setitem(
        sys.modules, "allotropy.to_allotrope", SimpleNamespace(allotrope_from_io=convert)
    )
    found = parse_file("k.csv", b"EnSight Results from 96 well\nx,y\n")
    assert isinstance(found, ReaderFile)
    assert found.plates[0].n_read == 96
