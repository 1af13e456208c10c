from __future__ import annotations

import re

import pytest

from benchmarks.file_samples import Cell, envision, xlsx
from service.assays.files_in import (
    FileError,
    LayoutFile,
    ManifestFile,
    join_manifest,
    parse_file,
    parse_files,
)

HEAD: list[Cell] = ["Barcode", "Duration", "Template", "clid"]


def manifest(*rows: list[Cell]) -> bytes:
    return xlsx({"Sheet1": [HEAD, *rows]})


def template(offset: int, filled: int = 6, labels: bool = False) -> bytes:
    """Compound A in row 2 of the plate from column 2 on, doses 1, 2, 3..."""
    blank: list[Cell] = [None] * (offset + 1)
    names: list[list[Cell]] = [[] for _ in range(offset + 1)]
    doses: list[list[Cell]] = [list(row) for row in names]
    names.append([*blank, *["A"] * filled])
    doses.append([*blank, *(float(i) for i in range(1, filled + 1))])
    if labels:
        for sheet in (names, doses):
            sheet[0] = [None, *(str(i) for i in range(1, 13))]
            sheet[1] = ["A"]
            sheet[2][0] = "B"
    return xlsx({"Gnumber": names, "Concentration": doses})


def layout(content: bytes) -> LayoutFile:
    found = parse_file("t.xlsx", content)
    assert isinstance(found, LayoutFile)
    return found


def test_manifest_rows() -> None:
    found = parse_file("Manifest.xlsx", manifest(["P1", 72.0, "t.xlsx", "A375"]))
    assert isinstance(found, ManifestFile)
    (entry,) = found.entries
    assert (entry.barcode, entry.time_h, entry.template, entry.cell_line, entry.line) == (
        "P1",
        72.0,
        "t.xlsx",
        "A375",
        2,
    )


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["P1", 1.0, "t", "x"], ["P1", 2.0, "t", "x"]], "there twice"),
        ([["P1", 1.0, None, "x"]], "template is empty"),
        ([["P1", -1.0, "t", "x"]], "negative"),
        ([["P1", "long", "t", "x"]], "is no number"),
        ([], "no rows"),
    ],
)
def test_manifest_refusals(rows: list[list[Cell]], reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        parse_file("Manifest.xlsx", manifest(*rows))


def test_origin_is_proved_by_labels_or_contents_and_otherwise_open() -> None:
    (labelled,) = layout(template(1, labels=True)).plates
    assert labelled.origin == "B2"
    assert [(w.row, w.column, w.components) for w in labelled.wells][:2] == [
        (1, 1, (("A", 1.0),)),
        (1, 2, (("A", 2.0),)),
    ]
    both = layout(template(1))
    assert [plate.origin for plate in both.plates] == ["A1", "B2"]
    assert "not proved" in both.notes[0]
    rows: list[list[Cell]] = [["vehicle"] * 12 for _ in range(8)]
    (filled,) = layout(xlsx({"S": rows})).plates
    assert (filled.origin, len(filled.wells), filled.format.size) == ("A1", 96, 96)


def test_the_wells_that_were_read_decide_the_origin() -> None:
    entry = ("Manifest.xlsx", manifest(["P1", 72.0, "t.xlsx", "A375"]))
    # Only row B was measured: under A1 the template would fill row C.
    text = re.sub(r"\r\n([ACDEFGH]),[^\r]*", r"\r\n\1" + 13 * ",", envision(("P1",)).decode())
    reader = ("P1.csv", text.encode())
    found = dict(parse_files([entry, ("t.xlsx", template(1)), reader]))
    run = found["Manifest.xlsx"]
    assert isinstance(run, LayoutFile)
    (plate,) = run.plates
    assert (plate.origin, plate.barcode, plate.format.size) == ("B2", "P1", 96)
    assert {well.row for well in plate.wells} == {1}


def test_an_open_origin_is_refused_unless_declared() -> None:
    entries = parse_file("Manifest.xlsx", manifest(["P1", 72.0, "t.xlsx", "A375"]))
    assert isinstance(entries, ManifestFile)
    templates = {"t.xlsx": layout(template(1))}
    with pytest.raises(FileError, match="whether well A1 is cell A1 or cell B2"):
        join_manifest(entries, templates)
    assert join_manifest(entries, templates, origin="B2").plates[0].wells[0].row == 1
    assert join_manifest(entries, templates, origin="A1").plates[0].wells[0].row == 2


def test_run_refusals() -> None:
    entry = ("Manifest.xlsx", manifest(["P1", 72.0, "t.xlsx", "A375"]))
    good = ("t.xlsx", template(1, labels=True))
    with pytest.raises(FileError, match=r"'t\.xlsx' of plate 'P1' was not sent"):
        parse_files([entry])
    with pytest.raises(FileError, match="'P2' was read, but is not listed"):
        parse_files([entry, good, ("r.csv", envision(("P2",)))])
    with pytest.raises(FileError, match="two files are called"):
        parse_files([entry, good, good])
    empty = envision(("P1",)).replace(b"\r\nB,", b"\r\nB,,,,,,,,,,,,,\r\nX,")
    with pytest.raises(FileError) as caught:
        parse_files([entry, good, ("r.csv", empty)])
    assert caught.value.sheet == "r.csv"


@pytest.mark.parametrize(
    ("names", "doses", "reason"),
    [
        ([[], [], [None, None, "A"]], [[], []], "has no concentration"),
        ([[], []], [[], [], [None, None, 1.0]], "but no compound"),
        ([[], [], [None, None, "vehicle"]], [[], [], [None, None, 1.0]], "has a dose"),
        ([[], [], [None, None, "A"]], [[], [], [None, None, "x"]], "is no number"),
    ],
)
def test_template_refusals(names: list[list[Cell]], doses: list[list[Cell]], reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        parse_file("t.xlsx", xlsx({"Gnumber": names, "Concentration": doses}))
