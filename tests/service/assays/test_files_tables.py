"""Tables of other programs through the same door, and files that a worker reads."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest

from service.assays.files_in import (
    FileError,
    ReaderFile,
    ScaleEvidence,
    TableFile,
    TableRow,
    parse_file,
)
from service.assays.tables_in import TableError
from service.assays.uploads import parsing
from service.assays.uploads.parsing import ReadFile, dump_reader, load_reader, read_file
from service.assays.uploads.schemas import AskedIn
from service.assays.uploads.tables_of_files import TableReading
from tests.lab import Lab
from tests.service.assays.files_bench import (
    commit,
    envision,
    give_plate,
    map_csv,
    plate_wells,
    read_plate,
    section,
    send,
)

HEADER = "block_id,drug_row,drug_col,conc_r,conc_c,response,conc_r_unit,conc_c_unit,cell_line_name"
DOSES = (0.0, 0.1, 1.0)


def synergy_table(
    unit: str = "uM", scale: float = 100.0, name: str = "A", line: str = "X", column: str = ""
) -> bytes:
    """A SynergyFinder table of one block."""
    rows = [HEADER.replace("response", column or "response")]
    for one in DOSES:
        for two in DOSES:
            value = scale / (1 + one) / (1 + two)
            rows.append(f"1,{name},B,{one:g},{two:g},{value:g},{unit},{unit},{line}")
    return ("\n".join(rows) + "\n").encode()


@pytest.fixture
def campaign(lab: Lab) -> dict:
    return lab.campaign()


class TestTables:
    def test_proved_ones_are_committed_at_once(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, synergy_table(column="viability"), commit="auto"))
        table = upload["preview"]["table"]
        assert (upload["state"], upload["open"]) == ("committed", [])
        assert (table["quantity"], table["unit"], table["n_rows"]) == ("viability", "percent", 9)
        wells = lab.wells(campaign["id"])
        assert len(wells) == 9
        found = {tuple(d["dose_um"] for d in row["doses"]): row["viability"] for row in wells}
        assert found[()] == 1.0
        assert found[1.0, 0.1] == pytest.approx(1 / 2 / 1.1, abs=1e-4)
        submission = lab.ok(lab.get(f"/v1/submissions/{upload['submission_id']}"))
        assert (submission["quantity"], submission["unit"]) == ("viability", "percent")
        with lab.untouched():
            again = send(lab, campaign, synergy_table(column="viability"), commit="auto")
        assert again.json()["outcome"] == "existing"

    def test_a_scale_that_is_not_proved_is_asked(self, lab, campaign):
        content = synergy_table(scale=0.9).replace(b"1,A,B,0,0,0.9,uM,uM,X\n", b"")
        upload = lab.ok(send(lab, campaign, content, commit="auto"))
        assert upload["state"] == "parsed"
        assert upload["preview"]["table"]["must_ask"] == ["quantity", "unit"]
        codes = {error["code"] for error in lab.refused(commit(lab, upload), 422)["errors"]}
        assert codes == {"quantity_missing", "unit_missing"}
        assert lab.wells(campaign["id"]) == []
        done = lab.ok(commit(lab, upload, quantity="inhibition", unit="fraction"))
        assert done["state"] == "committed"
        row = lab.wells(campaign["id"])[0]
        assert row["viability"] == pytest.approx(1 - row["raw_value"])

    def test_a_wrong_declaration_is_contradicted(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, synergy_table(column="viability"), unit="fraction"))
        (note,) = upload["preview"]["problems"]
        assert note["code"] == "unit_contradiction"

    def test_rows_with_errors_are_named_and_nothing_is_stored(self, lab, campaign):
        content = synergy_table(column="viability").replace(b"1,A,B,1,", b"1,Aa,B,1,")
        upload = lab.ok(send(lab, campaign, content, commit="auto"))
        assert upload["state"] == "parsed"
        notes = upload["preview"]["problems"]
        assert [note["row"] for note in notes] == [8, 9, 10]
        assert {note["code"] for note in notes} == {"unknown_compound"}
        lab.refused(commit(lab, upload), 422)
        assert lab.wells(campaign["id"]) == []

    def test_what_the_reader_decided_is_said(self, lab, campaign):
        table = synergy_table(column="viability")
        twice = table + table.partition(b"\n")[2]
        upload = lab.ok(send(lab, campaign, twice, commit="auto"))
        assert "numbered as replicates" in upload["preview"]["notes"][0]
        assert {row["replicate"] for row in lab.wells(campaign["id"])} == {"1", "2"}

    def test_several_times_are_told_apart(self):
        rows = tuple(
            TableRow(line, 1, "X", (("A", 1.0),), 0.5, time_h=float(time))
            for line, time in enumerate((0, 24, 24), start=2)
        )
        table = TableFile("made", rows, ScaleEvidence("viability", "fraction"))
        open_one = TableReading(table, AskedIn())
        assert open_one.labels == ("0 h", "24 h")
        with pytest.raises(TableError, match="name one as label"):
            list(open_one.read())
        (chunk,) = TableReading(table, AskedIn(label="24 H")).read()
        assert (len(chunk.rows), [p.code for p in chunk.problems]) == (1, ["duplicate_row"])
        (chunk,) = TableReading(table, AskedIn(label="24 h", repeats="replicates")).read()
        assert [row.replicate for row in chunk.rows] == ["1", "2"]

    def test_long_ones_take_time_in_proportion(self):
        rows = tuple(TableRow(n, 1, "X", (("A", 1.0 + n),), 0.5) for n in range(2, 20_002))
        table = TableFile("made", rows, ScaleEvidence("viability", "fraction"))
        started = time.monotonic()
        assert sum(len(chunk.rows) for chunk in TableReading(table, AskedIn()).read()) == 20_000
        assert time.monotonic() - started < 10  # row by row over all rows: minutes

    def test_raw_values_are_not_a_scale(self):
        row = TableRow(2, 1, "X", (), 51_000.0)
        table = TableFile("made", (row,), ScaleEvidence("raw", None))
        with pytest.raises(TableError, match="raw readings"):
            TableReading(table, AskedIn()).scale()

    def test_bytes_that_were_submitted_as_a_table_before(self, lab, campaign):
        table = "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_percent\n"
        table += "X,A,0.1,B,1,50\nX,A,1,B,1,40\n"
        lab.ok(lab.submit(campaign["id"], table))
        upload = lab.ok(send(lab, campaign, table.encode()))
        assert upload["state"] == "parsed"
        problem = lab.refused(commit(lab, upload), 409)
        assert "submitted before" in problem["detail"]


def test_an_archive_of_several_reader_files(lab, campaign):
    wells = plate_wells()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for seed, barcode in enumerate(("P1", "P2")):
            give_plate(lab, campaign, map_csv(barcode, wells))
            values = read_plate(wells, seed=seed)
            archive.writestr(f"{barcode}.csv", envision(section(barcode, values)))
    upload = lab.ok(send(lab, campaign, buffer.getvalue(), commit="auto", filename="run.zip"))
    assert upload["state"] == "committed"
    assert {row["plate"] for row in lab.wells(campaign["id"])} == {"P1", "P2"}


class TestSlowParsers:
    @pytest.fixture
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """EnVision files as if their parser were slow."""
        monkeypatch.setattr(parsing, "HEAVY", frozenset({"envision"}))

    def test_are_run_by_a_worker(self, lab, campaign, slow):
        wells = plate_wells()
        give_plate(lab, campaign, map_csv("P1", wells))
        content = envision(section("P1", read_plate(wells)))
        answer = send(lab, campaign, content, commit="auto")
        assert answer.status_code == 202
        upload = answer.json()
        assert (upload["state"], answer.headers["location"]) == (
            "queued", f"/v1/uploads/{upload['id']}")  # fmt: skip
        assert "worker" in lab.refused(commit(lab, upload), 409)["detail"]
        with lab.untouched():
            assert lab.ok(send(lab, campaign, content))["id"] == upload["id"]
        done = run(lab, upload)
        assert done["state"] == "committed"
        assert len(lab.wells(campaign["id"])) == 144

    def test_are_not_run_twice(self, lab, campaign, slow):
        wells = plate_wells()
        upload = send(lab, campaign, envision(section("P1", read_plate(wells)))).json()
        waiting = run(lab, upload)
        assert (waiting["state"], len(waiting["open"])) == ("parsed", 1)
        give_plate(lab, campaign, map_csv("P1", wells))
        assert lab.ok(commit(lab, waiting))["state"] == "committed"

    def test_refuse_as_others_do(self, lab, campaign, slow):
        broken = envision(section("P1", read_plate(plate_wells()))).replace(b"\r\nC,", b"\r\n,", 1)
        upload = send(lab, campaign, broken).json()
        job = lab.run(lab.get(f"/v1/jobs/{upload['job_id']}"))
        assert job["status"] == "failed"
        assert "line" in job["problem"]["detail"]
        refused = lab.ok(lab.get(f"/v1/uploads/{upload['id']}"))
        assert refused["state"] == "refused"
        assert refused["preview"]["problems"][0]["row"] is not None


def run(lab: Lab, upload: dict) -> dict:
    """Let a worker read the file; returns the upload as it is then."""
    job = lab.run(lab.get(f"/v1/jobs/{upload['job_id']}"))
    assert job["status"] == "succeeded", job["problem"]
    found: dict = lab.ok(lab.get(job["result"]["upload"]))
    return found


def test_what_a_parser_found_comes_back_from_json():
    content = envision(section("P1", read_plate(plate_wells())))
    parsed = parse_file("a.csv", content)
    assert isinstance(parsed, ReaderFile)
    assert load_reader(dump_reader(parsed)) == parsed


def test_every_instrument_file_is_read_or_refused_in_words(data_folder: Path):
    """Through the door of this room: no reader's fault is ever an exception of another kind."""
    files = [*(data_folder / "instruments").rglob("*"), *(data_folder / "envision_run").glob("*")]
    seen = 0
    for path in files:
        if path.is_file() and path.suffix.lower() in (".csv", ".txt", ".xlsx"):
            found = read_or_refuse(path)
            seen += isinstance(found, ReadFile)
            assert isinstance(found, ReadFile) or (found.fix and not found.unexpected)
    assert seen > 30


def read_or_refuse(path: Path) -> ReadFile | FileError:
    try:
        return read_file(path.name, path.read_bytes(), None, None)
    except FileError as error:
        return error
