"""Which plate a file is of, which read counts, and how the wells agree."""

from __future__ import annotations

from dataclasses import replace

from service.assays.files_in import Measurement, ReaderPlate, Reading
from service.assays.uploads.reads import barcodes_in_name, choose_read, fit, plates_in, whose
from service.plates.geometry import PLATE_96, PLATE_384
from service.plates.plate_map import Role, Well, empty_plate


def plate(barcode: str | None = "P1", label: str = "LUM", **more: object) -> ReaderPlate:
    readings = (Reading(0, 0, 5.0, None, 7, 2), Reading(0, 1, None, "OVER", 7, 3))
    made = ReaderPlate(barcode, None, PLATE_96, readings, Measurement(label))
    return replace(made, **more)


def test_reads_of_one_plate_are_told_apart_by_label_and_time():
    (found,) = plates_in([plate(time_h=0.0), plate(time_h=72.0), plate(label="ABS")])
    assert [read.label for read in found.reads] == ["LUM at 0 h", "LUM at 72 h", "ABS"]


def test_equal_labels_are_told_apart_by_sheet_or_number():
    (found,) = plates_in([plate(sheet="one"), plate(sheet="two")])
    assert [read.label for read in found.reads] == ["LUM (one)", "LUM (two)"]
    (found,) = plates_in([plate(), plate()])
    assert [read.label for read in found.reads] == ["LUM #1", "LUM #2"]


def test_plates_without_a_name_are_not_one_plate():
    assert len(plates_in([plate(None, sheet="1"), plate(None, sheet="2")])) == 2


def test_the_only_measured_read_counts():
    derived = plate(label="ratio", measurement=Measurement("ratio", derived=True))
    (found,) = plates_in([plate(), derived])
    read, wrong = choose_read(found.reads, None)
    assert read is not None
    assert (read.label, wrong) == ("LUM", None)
    assert choose_read(found.reads, "RATIO")[0] == found.reads[1]
    assert choose_read(found.reads, "x")[1] is not None


def test_barcodes_stand_in_file_names_as_whole_words():
    known = ["P1", "P11", "AB-7", "7"]
    assert barcodes_in_name("run_P11_ctg.csv", known) == ["P11"]
    assert barcodes_in_name("AB-7.csv", known) == ["AB-7"]
    assert barcodes_in_name("xP1x.csv", known) == []
    assert barcodes_in_name("P1 and P11.csv", known) == ["P1", "P11"]


def test_whose_plate_it_is():
    (found,) = plates_in([plate(identifiers=("P1", "P2"))])

    def ask(known: set[str], said: str | None = None, named: tuple[str, ...] = ()) -> object:
        answer = whose(found, known.__contains__, str.lower, said, named)
        return answer.barcode, answer.said_by, [code for code, _ in answer.problems]

    assert ask({"P2"}) == ("P2", "file", [])
    assert ask({"P1", "P2"}) == (None, None, ["barcode_ambiguous"])
    assert ask(set()) == (None, None, ["unknown_barcode"])
    assert ask(set(), named=("P9",)) == ("P9", "file name", [])
    assert ask(set(), named=("P8", "P9")) == (None, None, ["barcode_ambiguous"])
    assert ask({"P1"}, named=("P9",)) == ("P1", "file", ["barcode_contradiction"])
    assert ask({"P1", "P9"}, "P9") == ("P9", "request", ["barcode_contradiction"])
    assert ask(set(), "P9") == ("P9", "request", ["unknown_barcode"])


def test_how_the_wells_of_a_read_and_a_map_agree():
    wells = [Well((0, at), Role.VEHICLE, cell_line="X") for at in (1, 2)]
    mapped = empty_plate("P1", 1, PLATE_96, 0.0).changed(wells)
    (found,) = plates_in([plate()])
    fitted = fit(found.reads[0], mapped)
    assert (fitted.missing, fitted.outside, fitted.unread) == (
        ((0, 2),), ((0, 0),), {(0, 1): "OVER"})  # fmt: skip
    other = empty_plate("P1", 1, PLATE_384, 0.0)
    assert [code for code, _, _ in fit(found.reads[0], other).problems] == ["format"]
    small = replace(found.reads[0], wells=None)
    assert "off_plate" not in [code for code, _, _ in fit(small, other).problems]


def test_wells_off_the_plate_are_refused():
    wide = plate(format=PLATE_384, format_proof="wells", readings=(Reading(9, 0, 1.0, None, 1, 1),))
    (found,) = plates_in([wide])
    problems = fit(found.reads[0], empty_plate("P1", 1, PLATE_96, 0.0)).problems
    assert ("off_plate", True) in [(code, blocking) for code, _, blocking in problems]
