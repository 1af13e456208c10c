"""Every reader on files made here: right numbers in right wells, and what must be refused."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from benchmarks.file_samples import (
    SAMPLES,
    envision,
    gen5,
    grid,
    grid_below,
    labelled,
    long_wells,
    mars,
    softmax,
    tecan_rows,
    tecan_text,
    values,
    xlsx,
)
from benchmarks.fuzz_by_hand import read_by_hand
from benchmarks.fuzz_files import read_by_service
from service.assays.files_in import FileError, ReaderFile, parse_file


def read(content: bytes, name: str = "a.csv") -> ReaderFile:
    found = parse_file(name, content)
    assert isinstance(found, ReaderFile)
    return found


def refuse(content: bytes, reason: str, line: int | None = None, name: str = "a.csv") -> None:
    with pytest.raises(FileError, match=reason) as caught:
        parse_file(name, content)
    assert not caught.value.unexpected
    assert caught.value.fix
    if line is not None:
        assert caught.value.line == line


def without_line(content: bytes, start: bytes) -> bytes:
    lines = content.split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(start))
    return b"\n".join(lines[:at] + lines[at + 1 :])


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_read_as_by_hand(name: str) -> None:
    file_name, make = SAMPLES[name]
    content = make()
    assert Counter(read_by_service(name, file_name, content)) == Counter(
        read_by_hand(name, content)
    )


def test_envision_barcode_unit_kind_and_place() -> None:
    first, second = read(envision(("P1", "P2"))).plates
    assert (first.barcode, second.barcode) == ("P1", "P2")
    assert (first.unit, first.measurement.kind) == ("CPS", "luminescence")
    assert first.readings[13].line == 8
    assert first.readings[13].field == 3


@pytest.mark.parametrize("size", [96, 384, 1536])
def test_envision_bare_grids_of_every_size(size: int) -> None:
    (plate,) = read(envision(("P1",), size, bare=True)).plates
    assert (plate.format.size, plate.n_read) == (size, size)
    assert plate.readings[-1].value == float(values(size, 1)[-1][-1])


def envision_cells(bare: bool = False) -> list[list[object]]:
    """The same export as a spreadsheet program saves it: numbers as numbers."""
    rows = list(csv.reader(envision(("P1", "P2"), bare=bare).decode().splitlines()))
    return [[float(c) if c.isdigit() else c.strip('="') for c in row] for row in rows]


@pytest.mark.parametrize("bare", [False, True])
def test_envision_in_a_workbook_says_the_same(bare: bool) -> None:
    file = read(xlsx({"Export": envision_cells(bare), "Notes": [["by Anna"]]}), "a.xlsx")
    wanted = read(envision(("P1", "P2"), bare=bare))
    assert file.notes == ("sheet 'Notes' left aside",)
    assert file.instrument == wanted.instrument
    for one, two in zip(file.plates, wanted.plates, strict=True):
        assert (one.barcode, one.unit, one.measurement) == (two.barcode, two.unit, two.measurement)
        assert [(r.row, r.column, r.value, r.line) for r in one.readings] == [
            (r.row, r.column, r.value, r.line) for r in two.readings
        ]


def test_envision_in_a_workbook_that_is_cut_off() -> None:
    rows = envision_cells()
    with pytest.raises(FileError, match=r"sheet 'Export'.*cut off"):
        parse_file("a.xlsx", xlsx({"Export": rows[:-1]}))
    lost = [row for row in rows if row[:1] != ["B"]]
    with pytest.raises(FileError, match="missing are B"):
        parse_file("a.xlsx", xlsx({"Export": lost}))


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"B,", "missing are B"),
        (b"H,", "missing are H"),
        (b"A,", "missing are A"),
        (b",1,2,", "8, 16 or 32|has 13 fields|has 14 fields"),
        (b"Exported", "cut off"),
        (b"Plate,Repeat", "fields here|header|should stand here"),
    ],
)
def test_envision_lost_lines(start: bytes, reason: str) -> None:
    refuse(without_line(envision(("P1",)), start), reason)


def test_envision_wells_must_match_the_protocol() -> None:
    content = envision(("P1",)).replace(b"plate,,,,96", b"plate,,,,384")
    refuse(content, "protocol says 384")


def test_envision_same_plate_twice() -> None:
    part, foot = envision(("P1",)).split(b"Basic assay", 1)
    refuse(part + part + b"Basic assay" + foot, "in the file twice")


def test_mars_ids_decimal_commas_and_units() -> None:
    (plate,) = read(mars(separator=";", decimal=",")).plates
    assert plate.identifiers == ("PLATE_7", "x")
    assert plate.barcode is None
    assert plate.readings[0].value == float(values(96, 3, 3)[0][0])
    assert plate.measurement.wavelength_nm == 450.0


def test_mars_refusals() -> None:
    refuse(without_line(mars(), b"C,"), "missing are C", 12)  # where D stands
    refuse(without_line(mars(), b"Raw Data"), "'Raw Data")
    refuse(mars().replace(b"Test name:", b"Test name ="), "'Test name:'")
    refuse(mars() + b"Average (x)\n", "neither a title")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1252"])
def test_softmax_encodings(encoding: str) -> None:
    first, second = read(softmax(encoding=encoding), "a.txt").plates
    assert (first.measurement.wavelength_nm, second.measurement.wavelength_nm) == (450.0, 650.0)
    assert second.readings[5].value == float(values(96, 11, 4)[0][5])


def test_softmax_refusals() -> None:
    good = softmax(encoding="utf-8")
    lines = good.split(b"\r\n")
    refuse(b"\r\n".join(lines[:-3]), "cut off", name="a.txt")
    refuse(b"\r\n".join([*lines[:9], *lines[10:]]), "7 rows", name="a.txt")
    refuse(good.replace(b"Endpoint", b"Well Scan"), "many readings", 5, "a.txt")
    refuse(good.replace(b"##BLOCKS= 2", b"##BLOCKS= 3"), "says 3", name="a.txt")
    refuse(good.replace(b"450 650 ", b"450 "), "another number of wavelengths", 5, "a.txt")


def test_tecan_facts_and_part_of_a_plate() -> None:
    (plate,) = read(tecan_text(), "t.txt").plates
    assert plate.identifiers[0] == "TEC01"
    assert plate.measurement.kind == "luminescence"
    assert plate.read_at == "2019-09-27 10:00:00"
    part = tecan_rows()
    part.insert(4, ["Part of Plate", "", "", "", "B2-C4"])
    at = next(i for i, row in enumerate(part) if row[:1] == ["<>"])
    part[at : at + 9] = [["<>", 2, 3, 4], ["B", 1.0, 2.0, 3.0], ["C", 4.0, "OVER", 6.0]]
    (plate,) = read(xlsx({"S": part}), "t.xlsx").plates
    found = {(r.row, r.column): r.value or r.flag for r in plate.readings}
    assert found == {(1, 1): 1.0, (1, 2): 2.0, (1, 3): 3.0, (2, 1): 4.0, (2, 2): "overflow"} | {
        (2, 3): 6.0
    }
    part[at + 1][0] = "A"
    refuse(xlsx({"S": part}), "row 2 of the part", name="t.xlsx")


@pytest.mark.parametrize("by_line", [False, True])
def test_tecan_kinetics_in_rows_and_in_columns(by_line: bool) -> None:
    head = tecan_rows()[:11]
    wells = [f"{letter}{i}" for letter in "ABCDEFGH" for i in range(1, 13)]
    table = [[w, 1.5 + i, 2.5 + i] for i, w in enumerate(wells)]
    times = [["Cycle Nr.", 1, 2], ["Time [s]", 0, 1800.5], ["Temp. [°C]", 37, 37], *table]
    rows = [list(column) for column in zip(*times, strict=True)] if by_line else times
    content = xlsx({"S": [*head, *rows, [], ["End Time:", "x"]]})
    first, second = read(content, "t.xlsx").plates
    assert (first.time_h, second.time_h) == (0.0, 1800.5 / 3600)
    assert [r.value for r in second.readings[:3]] == [2.5, 3.5, 4.5]
    assert second.format.size == 96


def test_tecan_refusals() -> None:
    good = tecan_text()
    refuse(without_line(good, b"D\t"), "missing are D", name="t.txt")
    refuse(without_line(good, b"End Time"), "cut off", name="t.txt")
    refuse(without_line(good, b"<>"), "a row A stands outside", name="t.txt")


def test_gen5_reads_and_derived() -> None:
    first, second = read(gen5(), "g.txt").plates
    assert (first.measurement.label, first.measurement.derived) == ("LUM:Lum", False)
    assert (second.measurement.label, second.measurement.derived) == ("NormLum", True)
    assert second.readings[14].value == float(values(96, 7, 3)[1][2])
    assert first.read_at == "10/10/2022 9:15:37 PM"


def test_gen5_overflow_and_refusals() -> None:
    good = gen5(two_reads=False)
    token = b"\t" + values(96, 6)[0][0].encode() + b"\t"
    (plate,) = read(good.replace(token, b"\tOVRFLW\t"), "g.txt").plates
    assert (plate.readings[0].value, plate.readings[0].flag) == (None, "overflow")
    refuse(without_line(good, b"C\t"), "row C should stand here", name="g.txt")
    refuse(without_line(good, b"Results"), "no matrix", name="g.txt")
    refuse(without_line(good, b"H\t"), "a row is missing", name="g.txt")
    refuse(good.replace(b"96 WELL", b"384 WELL"), "says 384", name="g.txt")


def test_gen5_times() -> None:
    wells = "\t".join(f"{letter}{i}" for letter in "ABCDEFGH" for i in range(1, 13))
    head = gen5().decode().split("Results")[0].replace("Read\tLUM", "Read\t600")
    lines = [f"Time\tT° 600\t{wells}"]
    lines += [f"0:{10 * i:02d}:00\t37.0\t" + "\t".join(["0.5"] * 96) for i in range(2)]
    lines += ["0:00:00\t\t" + "\t" * 95]
    file = read((head + "\n".join(lines) + "\n").encode(), "g.txt")
    assert [plate.time_h for plate in file.plates] == [0.0, 10 / 60]
    assert "1 time points" in file.notes[0]


@pytest.mark.parametrize("size", [96, 384, 1536])
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_plain_grids(size: int, bare: bool, separator: str) -> None:
    (plate,) = read(grid(size, bare, separator)).plates
    assert plate.format.size == size
    assert [r.value for r in plate.readings] == [float(x) for row in values(size, 8) for x in row]


def test_plain_grid_stack_with_titles_and_1536_letters() -> None:
    text = "\n".join(["P1", *labelled(values(96, 1)), "", "P2", *labelled(values(96, 2))])
    file = read(text.encode())
    assert [plate.plate_name for plate in file.plates] == ["P1", "P2"]
    big = grid(1536).decode()
    assert "\nAF," in big
    (plate,) = read(big.encode()).plates
    assert max(r.row for r in plate.readings) == 31


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda s: without_line(s, b"B,"), "missing are B"),
        (lambda s: s.replace(b"\nB,", b"\nA,"), "comes twice"),
        (lambda s: s.replace(b"\nB,", b"\nC,", 1), "comes twice|out of order|missing"),
        (lambda s: s.replace(b",2,3,", b",3,2,", 1), "known format|8, 16 or 32|column numbers"),
        (lambda s: s.replace(b"\nC,", b"\nC,5,"), "stands beyond the last column"),
        (lambda s: s.replace(b"\nD,1", b"\nD,x1"), "is no number"),
    ],
)
def test_plain_grid_refusals(edit: object, reason: str) -> None:
    assert callable(edit)
    refuse(edit(grid(96)), reason)


def test_plain_grid_bare_needs_every_row_and_field() -> None:
    lines = grid(384, bare=True).split(b"\n")
    refuse(b"\n".join(lines[1:]), "15 rows")
    lines[3] = lines[3].rsplit(b",", 1)[0]
    refuse(b"\n".join(lines), "23 fields", 4)


def test_a_partial_grid_must_have_one_step() -> None:
    lines = labelled(values(384, 1))
    every_fourth = [lines[0], *lines[1::4]]
    file = read("\n".join(every_fourth).encode())
    assert "A, E, I, M of 16" in file.notes[0]
    refuse("\n".join([*every_fourth[:2], *every_fourth[3:]]).encode(), "missing are")
    refuse("\n".join(every_fourth[:-1]).encode(), "missing are")


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    "above",
    [
        ("Barcode,P1",),
        ("Barcode,P1", ""),
        ("Plate ID: P1", "Reader,CLARIOstar", "Gain,12"),
        ("Barcode,P1,,,,,,,,,,,", ",,,,,,,,,,,,"),
        ("Reader,CLARIOstar", ",", "Barcode,P1", ""),
        ("Viability screen", "Wells,96", "Barcode,P1"),
    ],
)
def test_plain_grid_below_keys_and_values(above: tuple[str, ...], bare: bool) -> None:
    content = grid_below(*above, bare=bare)
    (plate,) = read(content, "other.csv").plates
    assert plate.barcode == "P1"
    assert "other" not in plate.identifiers  # the file says it: its name is no rival
    assert [r.value for r in plate.readings] == [float(x) for row in values(96, 8) for x in row]
    assert plate.readings[0].line == len(above) + (1 if bare else 2)


def test_plain_grid_tells_what_it_leaves_aside() -> None:
    file = read(grid_below("Barcode,P1", "Reader,CLARIOstar", "Gain: 12"))
    assert file.notes == ("Reader: CLARIOstar left aside", "Gain: 12 left aside")


def test_plain_grids_each_with_its_barcode() -> None:
    first, second = read(grid_below("Barcode,P1") + b"\n" + grid_below("Barcode,P2")).plates
    assert (first.barcode, second.barcode) == ("P1", "P2")


@pytest.mark.parametrize(
    ("above", "reason"),
    [
        (("Barcode,P1", "Barcode,P2"), "barcode is said twice: 'P1' and 'P2'"),
        (("Barcode,P1", "Plate size,384"), "96 wells, the lines above say 384"),
        (("Barcode,P1", "measured,by,Anna"), "neither a row of a plate nor a line above"),
        (("A,P1",), "neither a row of a plate nor a line above"),
    ],
)
def test_plain_grid_refuses_what_it_cannot_place(above: tuple[str, ...], reason: str) -> None:
    refuse(grid_below(*above), reason)


def test_plain_grid_refuses_lines_below_it() -> None:
    refuse(grid() + b"\nBarcode,P1\n", "no grid follows 'Barcode'", 11)


def test_plain_grid_bare_with_an_empty_first_row_below_a_barcode() -> None:
    lines = grid(96, bare=True).decode().split("\n")
    lines[0] = "," * 11
    (plate,) = read("\n".join(["Barcode,P1", *lines]).encode()).plates
    assert (plate.readings[0].value, plate.readings[0].line, plate.n_read) == (None, 2, 84)


def test_long_wells_background_and_names() -> None:
    readout, background = read(long_wells()).plates
    assert (readout.barcode, readout.format.size, readout.format_proof) == ("LW1", 96, "grid")
    assert background.measurement.label == "BackgroundValue"
    assert [r.value for r in background.readings[:3]] == [0.0, 1.0, 2.0]
    partial = b"barcode;well;rlu\nP1;A01;1,5\nP1;P24;OVRFLW\n"
    (plate,) = read(partial).plates
    assert (plate.format.size, plate.format_proof) == (384, "wells")
    assert [(r.row, r.column, r.value, r.flag) for r in plate.readings] == [
        (0, 0, 1.5, None),
        (15, 23, None, "overflow"),
    ]
    assert plate.measurement.kind == "luminescence"


@pytest.mark.parametrize(
    ("content", "reason", "line"),
    [
        (b"barcode,well,value\nP1,A1,1\nP1,A01,2\n", "comes twice", 3),
        (b"barcode,well,value\nP1,A1,1\n,A2,2\n", "barcode is empty", 3),
        (b"barcode,well,value\nP1,A1,1\nP1,A2\n", "2 fields", 3),
        (b"barcode,well,value\nP1,A1,1\nP1,Z1,2\n", None, None),
        (b"barcode,well,value\nP1,A1,1\nP1,AG1,2\n", "no plate reaches|no well", 3),
        (b"barcode,well,value\nP1,A1,1\nP1,7,2\n", "is no well", 3),
        (b"barcode,well,value\nP1,A1,\n", "no reading in the file", 2),
        (b"barcode,well,value\nP1,A1,ok\n", "is no number", 2),
        (b"barcode,well,value,signal\nP1,A1,1,2\n", "one column of readings", 1),
        (b'barcode,well,value\nP1,A1,"1,234"\n', "may be 1234 or 1.234", 2),
        (b"barcode,well,value,platesize\nP1,P24,1,96\n", "is not on 96 wells", 2),
    ],
)
def test_long_wells_refusals(content: bytes, reason: str | None, line: int | None) -> None:
    if reason is None:
        assert read(content).plates[0].format.size == 1536
        return
    with pytest.raises(FileError, match=reason) as caught:
        parse_file("a.csv", content)
    assert caught.value.line in {line, 2, 3}


def test_incucyte_by_well() -> None:
    plates = read(SAMPLES["incucyte"][1](), "i.txt").plates
    assert [plate.time_h for plate in plates] == [0.0, 3.0, 6.0]
    assert plates[0].plate_name == "V1"
    assert plates[1].measurement.channel == "Phase Object Confluence (Percent)"


def test_incucyte_conditions_and_their_refusals() -> None:
    rows = [["Elapsed", "Control", "X 5 µM", "X 5 μM + Y 2 nM", "blank"], [0, 1, 2, 3, 0.1]]
    rows += [[3, 2, 3, 4, 0.1]]
    table = parse_file("a.xlsx", xlsx({"phase": rows}))
    assert not isinstance(table, ReaderFile)
    found = [(row.components, row.role, row.time_h) for row in table.rows][:4]  # type: ignore[union-attr]
    assert found == [
        ((), "control", 0.0),
        ((("X", 5.0),), "sample", 0.0),
        ((("X", 5.0), ("Y", 0.002)), "sample", 0.0),
        ((), "blank", 0.0),
    ]
    for head, reason in (("X 5", "no compound with dose"), ("Control", "one name")):
        refuse(xlsx({"p": [["Elapsed", "Control", head], [0, 1, 2]]}), reason, name="a.xlsx")
    refuse(xlsx({"p": [["Elapsed", "Control"], [0, 1], [0, 1]]}), "does not follow", name="a.xlsx")
    cut = [["Elapsed", "Control"], [0, 1], [3, 1], [0, 1]]
    refuse(xlsx({"p": cut}), "different times", name="a.xlsx")
