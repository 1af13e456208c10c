from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.file_samples import (
    as_csv,
    combenefit,
    datarail,
    matrix_rows,
    synergy,
    synergy_rows,
)
from service.assays.files_in import (
    FileError,
    LayoutFile,
    TableFile,
    parse_file,
    parse_files,
)
from service.assays.files_in.results import TableRow
from service.assays.files_in.scale import prove_scale


def read(content: bytes, name: str = "a.csv") -> TableFile:
    found = parse_file(name, content)
    assert isinstance(found, TableFile)
    return found


def refuse(content: bytes, reason: str, line: int | None = None, name: str = "a.csv") -> None:
    with pytest.raises(FileError, match=reason) as caught:
        parse_file(name, content)
    assert not caught.value.unexpected
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ","), ("\t", ",")])
def test_synergy_long_units_and_decimal_marks(separator: str, decimal: str) -> None:
    table = read(synergy(separator, decimal))
    assert len(table.rows) == 25
    for row, (a, b, value) in zip(table.rows, synergy_rows(), strict=True):
        doses = {"MK-1": a, "MK-2": b}  # the second is written in nM
        assert dict(row.components) == pytest.approx({n: x for n, x in doses.items() if x})
        assert row.value == pytest.approx(value, abs=5e-5)
        assert (row.cell_line, row.block) == ("A375", "1")
    assert table.scale is not None
    assert table.scale.quantity == "inhibition"


def synergy_with(*edits: tuple[str, str]) -> bytes:
    text = synergy().decode("cp1252")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode("cp1252")


@pytest.mark.parametrize(
    ("old", "new", "reason", "line"),
    [
        ("conc_r_unit,", "note,", "no column says the unit of 'conc_r'", 1),
        ("µM,", ",", "the unit is empty", 2),
        ("µM,", "mg/ml,", "is no molar unit", 2),
        ("MK-1,MK-2,0,100", "MK-1,MK-2,0,", "has no dose", 3),
        ("MK-1,MK-2,0,100", "MK-1,,0,100", "dose stands without a compound", 3),
        ("MK-1,MK-2,0,100", "MK-1,MK-2,0,-5", "not plausible", 3),
        ("MK-1,MK-2,0,100", "MK-1,MK-2,0,1e12", "not plausible", 3),
        ("MK-1,MK-2,0.1,100", "MK-2,MK-2,0.1,100", "twice", None),
        ("16.6667", "ok", "is no number", 3),
        ("16.6667", "1,6667", "10 fields", 3),
        ("16.6667", "", "is no number", 3),
        ("nM,A375\n", "nM,\n", "cell line is empty", 2),
        ("cell_line_name", "drug_row", "mean the same", 1),
        ("response", "note", "known format|response is missing", 1),
        ("drug_col", "drug4", "fourth compound", 1),
        ("MK-2,0,0", "MK-\u00ad2,0,0", "invisible", 2),
    ],
)
def test_synergy_long_refusals(old: str, new: str, reason: str, line: int | None) -> None:
    refuse(synergy_with((old, new)), reason, line)


def test_a_copied_row_is_refused_and_balanced_repeats_are_numbered() -> None:
    lines = synergy().split(b"\n")
    refuse(b"\n".join([*lines[:3], lines[2], *lines[3:]]), "was a row copied or lost")
    twice = read(b"\n".join([*lines[:-1], *lines[1:]]))
    assert [row.replicate for row in twice.rows] == ["1"] * 25 + ["2"] * 25
    assert "numbered as replicates" in twice.notes[0]


def test_a_repeat_with_a_replicate_is_refused() -> None:
    text = "drug1,drug2,conc1_um,conc2_um,viability_percent,replicate\n"
    refuse((text + "A,B,1,1,50,1\nA,B,1,1,60,1\n").encode(), "repeats an earlier", 3)


def rows_of(*values: tuple[bool, float]) -> list[TableRow]:
    part = (("A", 1.0),)
    return [TableRow(1, 1, None, part if dosed else (), value) for dosed, value in values]


@pytest.mark.parametrize(
    ("rows", "quantity", "unit"),
    [
        ([(False, 100.0), (True, 20.0)], "viability", "percent"),
        ([(False, 1.0), (True, 0.2)], "viability", "fraction"),
        ([(False, 0.5), (True, 80.0)], "inhibition", "percent"),
        ([(False, 0.01), (True, 0.8)], "inhibition", None),  # 0.8 percent, or 80?
        ([(True, 80.0), (True, 20.0)], None, "percent"),
        ([(True, 0.8), (True, 0.2)], None, None),
        ([(False, 50.0), (True, 80.0)], None, "percent"),
        ([(False, 100.0), (True, 99.0)], None, "percent"),  # nothing happened: no proof
    ],
)
def test_scale_is_proved_or_asked(
    rows: list[tuple[bool, float]], quantity: str | None, unit: str | None
) -> None:
    scale = prove_scale(rows_of(*rows))
    assert (scale.quantity, scale.unit) == (quantity, unit)
    assert set(scale.must_ask) == {
        half for half, known in (("quantity", quantity), ("unit", unit)) if known is None
    }


def test_a_name_that_the_controls_contradict_is_withdrawn() -> None:
    rows = rows_of((False, 98.0), (True, 10.0))
    scale = prove_scale(rows, "inhibition", "percent", "column 'inhibition'")
    assert scale.must_ask == ("quantity",)
    assert "which is no inhibition" in scale.reasons[-1]
    flipped = prove_scale(rows_of((False, 1.0), (True, 95.0)), "viability", "fraction", "x")
    assert "quantity" in flipped.must_ask
    assert "unit" not in flipped.must_ask or "no fraction" in flipped.reasons[2]


def test_matrix_refusals() -> None:
    good = as_csv(matrix_rows()).decode()
    for old, new, reason in (
        ("Drug1:", "Drug2:", "first line should be|known format"),
        ("ConcUnit:,uM", "ConcUnit:,", "missing or empty"),
        ("ConcUnit:,uM", "ConcUnit:,x", "no molar unit"),
        ("0.3,", "0.1,", "different doses"),
        ("\n0.3,", "\n0.1,", "there twice"),
        ("16.6667", "OVER", "is no number"),
        ("16.6667", "", "is no number"),
    ):
        refuse(good.replace(old, new, 1).encode(), reason)
    refuse((good + "\nremark,,,,,\n").encode(), "text follows|is no number")


def test_combenefit() -> None:
    table = read(combenefit(), "A.B.A375.Rep2.csv")
    assert len(table.rows) == 25
    assert {row.replicate for row in table.rows} == {"2"}
    assert table.rows[6].components == (("MK-1", 0.1), ("MK-2", 0.1))
    assert table.scale is not None
    assert (table.scale.quantity, table.scale.unit) == ("viability", "percent")
    lines = combenefit().split(b"\n")
    refuse(b"\n".join([lines[0], *lines[2:]]), "start at 0")
    refuse(combenefit().replace(b"Unit2", b"Unit1"), "there twice")
    refuse(combenefit().replace(b"Title", b"Other"), "none of them|missing")


META = (
    "AssayId,BlockId,Size,RowName,ColName,RowConcs,ColConcs,RowConcUnit,ColConcUnit\n"
    '1,1,2,A,B,"0.5,0.0","200,0.0",uM,nM\n'
)
RESPONSES = "BlockId,Col,Row,Value,Replicate,Layer\n1,1,1,20,1default\n1,2,1,60,1default\n"
RESPONSES += "1,1,2,70,1default\n1,2,2,100.5,1default\n"


def ncats(meta: str = META, responses: str = RESPONSES) -> TableFile:
    files = [("metadata.csv", meta.encode()), ("responses.csv", responses.encode())]
    ((name, table),) = parse_files(files)
    assert name == "responses.csv"
    assert isinstance(table, TableFile)
    return table


def test_ncats_three_files() -> None:
    table = ncats()
    assert [(row.components, row.value) for row in table.rows] == [
        ((("A", 0.5), ("B", 0.2)), 20.0),
        ((("A", 0.5),), 60.0),
        ((("B", 0.2),), 70.0),
        ((), 100.5),
    ]
    assert {(row.replicate, row.channel) for row in table.rows} == {("1", "default")}
    assert table.scale is not None
    assert (table.scale.quantity, table.scale.unit) == ("viability", "percent")


@pytest.mark.parametrize(
    ("meta", "responses", "reason"),
    [
        (META, RESPONSES.replace("1,2,2,100.5,1default\n", ""), "3 of 4 wells"),
        (META, RESPONSES.replace("1,2,2,", "1,1,2,"), "there twice"),
        (META, RESPONSES.replace("1,2,2,", "1,3,2,"), "no place from 1 to 2"),
        (META, RESPONSES.replace("1,2,2,", "9,2,2,"), "not in the metadata"),
        (META.replace('"0.5,0.0"', '"0.5,0.5"'), RESPONSES, "list twice"),
        (META.replace("nM", "ng"), RESPONSES, "no molar unit"),
        (META, RESPONSES.replace("20,1default", "20"), "4 fields"),
    ],
)
def test_ncats_refusals(meta: str, responses: str, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        ncats(meta, responses)


def test_ncats_file_alone_says_what_is_missing() -> None:
    refuse(RESPONSES.encode(), "responses file of an NCATS export")


def test_datarail() -> None:
    design = parse_file("d.csv", datarail())
    assert isinstance(design, LayoutFile)
    (plate,) = design.plates
    assert (plate.barcode, plate.cell_line, plate.time_h) == ("D1", "A375", 72.0)
    assert plate.wells[12].components == (("MK-1", 0.1),)
    assert (plate.wells[12].row, plate.wells[12].column) == (1, 0)
    refuse(datarail().replace(b"A02", b"A01"), "there twice")
    refuse(datarail().replace(b"A375", b"HeLa", 1), "two cell lines")
    refuse(datarail().replace(b"MK-1,0.1", b",0.1", 1), "dose without an agent", 2)


COMBOCAT = "drug1_name,drug1_conc,drug2_name,drug2_conc,units,sample_name,filename\n"


def test_combocat_meta_refusals() -> None:
    refuse((COMBOCAT + "A,1,B,1,uM,X,f\nA,1,B,1,uM,X,f\n").encode(), "there twice", 3)
    refuse((COMBOCAT + "A,1,,1,uM,X,f\n").encode(), "dose without a compound", 2)


HDF = b"\x89HDF\r\n\x1a\n" + b"0" * 64


def test_batchie_without_h5py_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    refuse(HDF, "need the package h5py", name="screen.h5")


class FakeDataset:
    """An array that behaves like one of h5py's."""

    external = None
    is_virtual = False

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.size = values, values.size

    def __getitem__(self, key: object) -> np.ndarray:
        return self.values


class FakeLink:
    pass


class FakeFile(dict):
    def __enter__(self) -> FakeFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, name: str, getlink: bool = False) -> object:  # type: ignore[override]
        return FakeLink()


def screen(**changes: np.ndarray) -> FakeFile:
    arrays = {
        "treatment_names": np.array([[b"B", b"A"], [b"A", b"control"], [b"control", b"control"]]),
        "treatment_doses": np.array([[0.5, 1.0], [1.0, 0.0], [0.0, 0.0]]),
        "observations": np.array([0.2, 0.6, 1.01]),
        "observation_mask": np.array([True, False, True]),
        "sample_names": np.array([b"A375"] * 3),
        "plate_names": np.array([b"P1"] * 3),
    }
    return FakeFile({name: FakeDataset(x) for name, x in (arrays | changes).items()})


def pretend(monkeypatch: pytest.MonkeyPatch, file: FakeFile) -> None:
    fake = SimpleNamespace(File=lambda *_: file, HardLink=FakeLink, Dataset=FakeDataset)
    monkeypatch.setitem(sys.modules, "h5py", fake)


def test_batchie_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, screen())
    table = read(HDF, "screen.h5")
    assert [(r.components, r.value, r.flag) for r in table.rows] == [
        ((("A", 1.0), ("B", 0.5)), 0.2, None),
        ((("A", 1.0),), None, "not measured"),
        ((), 1.01, None),
    ]
    assert table.scale is not None
    assert (table.scale.quantity, table.scale.unit) == ("viability", "fraction")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"observations": np.array([0.2])}, "observations has not 3 entries"),
        ({"observations": np.array([np.nan, 0.5, 1.0])}, "not finite"),
        ({"treatment_doses": np.array([[0.5, 1.0]])}, "differ in shape"),
        ({"treatment_doses": np.full((3, 2), -1.0)}, "not plausible"),
        ({"observation_mask": np.array([False] * 3)}, "no observation"),
    ],
)
def test_batchie_refusals(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, np.ndarray], reason: str
) -> None:
    pretend(monkeypatch, screen(**changes))
    refuse(HDF, reason, name="screen.h5")


def test_real_h5py_if_it_is_here() -> None:
    h5py = pytest.importorskip("h5py")
    import io

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, data in screen().items():
            file[name] = data.values
    assert len(read(out.getvalue(), "screen.h5").rows) == 3
    linked = io.BytesIO()
    with h5py.File(linked, "w") as file:
        for name, data in screen().items():
            file[name] = data.values
        del file["observations"]
        file["observations"] = h5py.ExternalLink("/etc/hostname", "/x")
    refuse(linked.getvalue(), "damaged|no plain array", name="screen.h5")
