"""Transfer reports: real ones count up, ours cover each path, bad ones name the line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plates.echo_report import Outcome, read_echo_report
from service.plates.problems import PlateError

HEADER = (
    "Date Time Point,Source Plate Name,Source Plate Barcode,Source Plate Type,Source Well,"
    "Destination Plate Name,Destination Plate Barcode,Destination Plate Type,Destination Well,"
    "Sample ID,Sample Name,Transfer Volume,Actual Volume,Survey Fluid Volume,"
    "Current Fluid Volume,Transfer Status"
)


def row(source="A1", destination="B2", asked="25", actual="25", status="", plate="D1") -> str:
    return (
        f"10:00:00,Source[1],S1,384PP_DMSO2,{source},Dest[1],{plate},Corning,{destination},"
        f"cpd,Compound,{asked},{actual},50.1,49.9,{status}"
    )


def report(details=(), exceptions=(), run="17") -> str:
    text = f"Run ID,{run}\r\nApplication Name,Echo Cherry Pick\r\nUser Name,\r\n\r\n"
    if exceptions:
        text += "\r\n".join(["[EXCEPTIONS]", HEADER, *exceptions, "", ""])
    if details:
        text += "\r\n".join(["[DETAILS]", HEADER, *details, "", ""])
    return text + "Instrument Name,E5XX-1\r\nInstrument Model,Echo 650\r\n"


def test_details_and_exceptions() -> None:
    failed = row("C3", "AF48", "50", "0", "MM0202001: Current fluid height below minimum")
    partial = row("C4", "P24", "50", "22.5")
    read = read_echo_report(report([row(), partial], [failed]).encode())
    assert read.run == "17"
    assert read.about["Instrument Model"] == "Echo 650"
    assert read.about["User Name"] == ""
    first, second, third = read.transfers
    assert (first.outcome, first.exception, first.line) == (Outcome.FAILED, True, 7)
    assert first.reason == "MM0202001: Current fluid height below minimum"
    assert first.destination_well == (31, 47)
    assert (second.outcome, second.actual_nl, second.sample) == (Outcome.DONE, 25, "cpd")
    assert (second.source_plate, second.source_well, second.destination) == ("S1", (0, 0), "D1")
    assert (second.source_ul, second.survey_ul) == (49.9, 50.1)
    assert third.outcome is Outcome.PARTIAL
    assert third.reason == "22.5 of 50 nL dispensed"
    assert read.of(Outcome.PARTIAL) == (third,)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_encodings_and_line_ends(encoding: str, newline: str) -> None:
    text = report([row(status="µ: ok")]).replace("\r\n", newline)
    read = read_echo_report(text.encode(encoding))
    assert read.transfers[0].status == "µ: ok"


def test_a_report_that_went_through_a_spreadsheet() -> None:
    """Empty cells on the right, blank lines full of commas, text behind an apostrophe."""
    lines = report([row(plate="'-D1")]).split("\r\n")
    wide = "\r\n".join(line + "," * (18 - line.count(",")) for line in lines)
    read = read_echo_report(wide.encode())
    assert [each.destination for each in read.transfers] == ["-D1"]


def test_an_exception_that_the_details_repeat_counts_once() -> None:
    partial = row(actual="10", status="MM1")
    read = read_echo_report(report([partial], [partial]).encode())
    assert [each.actual_nl for each in read.transfers] == [10]


def test_columns_may_be_in_any_order_and_some_missing() -> None:
    names = HEADER.split(",")
    cells = row().split(",")
    keep = [i for i, name in enumerate(names) if "Fluid" not in name and "Sample" not in name]
    keep.reverse()
    text = report([",".join(cells[i] for i in keep)])
    text = text.replace(HEADER, ",".join(names[i] for i in keep))
    (found,) = read_echo_report(text.encode()).transfers
    assert (found.asked_nl, found.source_ul, found.sample) == (25, None, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no Echo transfer report"),
        ("a,b\r\n1,2\r\n", "no Echo transfer report"),
        (report([row(source="A0")]), "line 7: Source Well: 'A0' is no well"),
        (report([row(destination="")]), "line 7: Destination Well"),
        (report([row(plate="")]), "line 7: Destination Plate Barcode is empty"),
        (report([row(asked="x")]), "line 7: Transfer Volume is 'x'"),
        (report([row(actual="-5")]), "line 7: Actual Volume is '-5'"),
        (report([row(actual="2,5")]), "line 7 has 17 cells, its header 16"),
        (report([row(actual="nan")]), "line 7: Actual Volume is 'nan'"),
        (report([row(actual="")]), "line 7: a transfer needs Transfer Volume and Actual"),
        (report([row(), row()[:40]]), "line 8 has .* cells"),
        (report([row()]).replace(",Transfer Status", ",Status"), "lacks the columns Transfer St"),
        (report([row()]).replace(",Sample ID", ",Sample Name"), "names a column twice"),
        (report([row()]).replace("[DETAILS]", "[SURVEY]"), r"line 5: section \[SURVEY\]"),
        (report([row()], [row()]).replace("EXCEPTIONS", "DETAILS"), "twice"),
        ("Run ID,1\n\n[DETAILS]\n\nx,y\n", "line 3: the section has no header"),
        ("Run ID,1\n\n[DETAILS]\n", "no header"),
        (report([row(), "", row()]), "line 9 looks like a transfer but stands outside"),
        (report([row()], [row()]).replace("[DETAILS]", "DETAILS"), "outside of any table"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(PlateError, match=words):
        read_echo_report(text.encode())


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x80abc", b"PK\x03\x04\x00\x00"])
def test_what_is_no_text(data: bytes) -> None:
    with pytest.raises(PlateError):
        read_echo_report(data)


@given(st.data())
def test_a_damaged_report_is_read_or_refused(data: st.DataObject) -> None:
    good = report([row(), row("A2", "B3")], [row("A3", "B4", actual="0", status="MM1")]).encode()
    place = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(0, 8))
    bad = good[:place] + data.draw(st.binary(max_size=4)) + good[place + cut :]
    try:
        read_echo_report(bad)
    except PlateError as problem:
        assert str(problem)  # noqa: PT017 - any words will do, any other exception will not


REAL = {
    # file: lines with a transfer, of them failed, nL dispensed in all
    "cherry_pick/CherryPick_Transfer_Complete.csv": (532, 0, None),
    "plate_reformat/ExceptionsOnly.csv": (4, 4, 0),
    "plate_reformat/PartialTransfer.csv": (4, 2, 200),
    "plate_reformat/SurveyVolumeExamples.csv": (None, None, 0),
    "plate_reformat/TransferOnly.csv": (4, 0, 400),
}


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_reports(data_folder: Path, name: str) -> None:
    path = data_folder / "instruments" / f"beckman_echo_{name}"
    if not path.is_file():
        pytest.skip("the Echo reports are not here")
    data = path.read_bytes()
    read = read_echo_report(data)
    # Counted without our reader: a transfer is a line that names a source plate type.
    lines = [line for line in data.decode().splitlines() if ",384PP_AQ_BP," in line]
    count, failed, total = REAL[name]
    assert len(read.transfers) == len(lines) == (count or len(lines))
    assert len(read.of(Outcome.FAILED)) == (len(lines) if failed is None else failed)
    dispensed = sum(each.actual_nl for each in read.transfers)
    if total is None:
        wells = Counter(line.split(",")[14] for line in lines)
        total = sum(float(volume) * times for volume, times in wells.items())
    assert dispensed == total
    assert read.run == read.about["Run ID"]
    assert read.about["Instrument Model"] == "Echo 525"
    assert all(each.source_plate and each.destination for each in read.transfers)
