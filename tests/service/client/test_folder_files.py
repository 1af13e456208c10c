"""Reader files and transfer reports in a watched folder: each goes its own way, and once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models.quality.simulate import ReaderModel
from service.client import Nextround
from service.client.folder import WatchedFolder
from service.client.folder_sending import is_transfer_report
from service.kit.jobs import run_inline
from tests.lab import Lab
from tests.service.assays.files_bench import (
    commit,
    envision,
    give_plate,
    map_csv,
    plate_wells,
    read_plate,
    section,
)
from tests.service.batches.plates_bench import (
    SIZE,
    a_batch,
    lay_out,
    model_echo,
    text,
)
from tests.service.client.test_folder import files, verdicts

WELLS = plate_wells()
FILE = envision(section("P1", read_plate(WELLS)))
COUNTED = [well for well in WELLS if well.role in ("vehicle", "single", "sample")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "share"


@pytest.fixture
def campaign(lab: Lab) -> dict[str, Any]:
    made = lab.campaign(name="Screen 7")
    give_plate(lab, made, map_csv("P1", WELLS))
    return made


def watching(root: Path, client: Nextround, campaign: str = "Screen 7") -> WatchedFolder:
    return WatchedFolder(root, client, campaign=campaign, settle_s=0.0)


@pytest.fixture
def watched(root: Path, client: Nextround, campaign: dict[str, Any]) -> WatchedFolder:
    return watching(root, client)


def drop(root: Path, name: str, content: bytes) -> None:
    (root / "inbox" / name).write_bytes(content)


def said(root: Path, **settings: Any) -> None:
    (root / "inbox" / "nextround.json").write_text(json.dumps(settings))


def error_of(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "errors" / f"{name}.error.json").read_text())
    return found


class TestReaderFiles:
    def test_barcode_and_readings_are_enough(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        drop(root, "run.csv", FILE)
        (outcome,) = watched.look()
        assert (outcome.verdict, "P1 pass" in outcome.detail) == ("stored", True)
        assert files(root, "archive") == ["run.csv"]
        receipt = json.loads((root / "archive" / "run.csv.receipt.json").read_text())
        (upload,) = lab.every("/v1/uploads")
        assert (receipt["upload"], receipt["submission"]) == (
            upload["id"],
            upload["submission_id"],
        )
        assert receipt["verdicts"] == {"P1": "pass"}
        assert upload["file_name"] == "run.csv"
        assert len(lab.wells(campaign["id"])) == len(COUNTED)

    def test_repeats_are_harmless(self, lab: Lab, root: Path, watched: WatchedFolder) -> None:
        drop(root, "run.csv", FILE)
        watched.look()
        before = lab.rows()
        for name in ("run.csv", "copy.csv"):
            drop(root, name, FILE)
        assert verdicts(watched.look()) == ["existing", "existing"]
        after = lab.rows()
        for table in ("measurement", "submission", "upload", "plate_reading", "plate_result"):
            assert after[table] == before[table]
        assert files(root, "archive") == ["copy.csv", "run.csv"]

    def test_a_bad_plate_waits_for_somebody(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        noisy = envision(section("P1", read_plate(WELLS, ReaderModel(noise_cv=0.5))))
        drop(root, "run.csv", noisy)
        (outcome,) = watched.look()
        assert (outcome.verdict, "robust" in outcome.detail) == ("refused", True)
        error = error_of(root, "run.csv")
        (upload,) = lab.every("/v1/uploads", state="parsed")
        assert (error["upload"], error["link"]) == (upload["id"], f"/v1/uploads/{upload['id']}")
        assert (error["errors"][0]["code"], error["errors"][0]["verdict"]) == ("failed", "fail")
        assert lab.wells(campaign["id"]) == []
        words = (root / "errors" / "run.csv.error.txt").read_text()
        assert upload["id"] in words
        assert "plate P1" in words
        lab.ok(commit(lab, upload, accept_failed=True))
        drop(root, "run.csv", noisy)
        assert verdicts(watched.look()) == ["existing"]

    def test_what_is_open_is_said(self, root: Path, watched: WatchedFolder) -> None:
        drop(root, "run.csv", envision(section("P11", read_plate(WELLS))))
        assert verdicts(watched.look()) == ["refused"]
        assert "Did you mean 'P1'" in error_of(root, "run.csv")["errors"][0]["message"]

    def test_a_broken_file_is_told_by_its_line(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        drop(root, "run.csv", FILE.replace(b"\r\nC,", b"\r\nC,x,", 1))
        drop(root, "run.dat", FILE)
        assert verdicts(watched.look()) == ["refused", "stored"]
        assert error_of(root, "run.csv")["errors"][0]["row"] == 9
        assert len(lab.wells(campaign["id"])) == len(COUNTED)

    def test_a_plate_that_is_mended_lets_the_same_file_in(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        other = envision(section("P2", read_plate(plate_wells(seed=2))))
        drop(root, "run.csv", other)
        assert verdicts(watched.look()) == ["refused"]
        give_plate(lab, campaign, map_csv("P2", plate_wells(seed=2)))
        drop(root, "run.csv", other)
        assert verdicts(watched.look()) == ["existing"]
        assert len(lab.wells(campaign["id"])) == len(COUNTED)


class TestSettings:
    def test_rule_and_read_are_said_once(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        values = read_plate(WELLS)
        dim = {at: value / 10 for at, value in values.items()}
        said(root, label="LUM 2(2)", rule="plate-effect/1", unit="percent")
        drop(root, "run.csv", envision(section("P1", values), section("P1", dim, "LUM 2(2)")))
        assert verdicts(watched.look()) == ["stored"]
        assert lab.wells(campaign["id"])[0]["raw_value"] in dim.values()
        (plate,) = lab.every("/v1/plates", barcode="P1")
        (result,) = lab.ok(lab.get(f"/v1/plates/{plate['id']}/quality"))["results"]
        assert (result["rule"], result["label"]) == ("plate-effect/1", "LUM 2(2)")

    def test_read_as(self, lab: Lab, root: Path, watched: WatchedFolder) -> None:
        """A person may overrule what the content looks like."""
        table = b"cell_line,compound_1,dose_1_um,viability_fraction\nX,A,0.1,0.5\n"
        said(root, read_as="table")
        drop(root, "run.csv", FILE)
        assert verdicts(watched.look()) == ["refused"]
        assert lab.every("/v1/uploads") == []
        said(root, read_as="file")
        drop(root, "table.csv", table)
        watched.look()
        assert len(lab.every("/v1/uploads")) == 1
        said(root, read_as="both")
        drop(root, "run.csv", FILE)
        (outcome,) = watched.look()
        assert (outcome.verdict, "read_as" in outcome.detail) == ("waiting", True)


class TestWorkers:
    def test_a_file_that_a_worker_reads_waits_for_it(
        self, lab: Lab, root: Path, watched: WatchedFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("service.assays.uploads.parsing.HEAVY", {"envision"})
        drop(root, "run.csv", FILE)
        for _ in range(2):
            (outcome,) = watched.look()
            assert (outcome.verdict, files(root, "inbox")) == ("waiting", ["run.csv"])
        (job,) = lab.every("/v1/jobs")
        run_inline(lab.parts.database, lab.parts.artifacts, lab.parts.settings, job["id"])
        assert verdicts(watched.look()) == ["existing"]
        assert files(root, "archive") == ["run.csv"]


@pytest.fixture
def batch(lab: Lab) -> dict[str, Any]:
    made = a_batch(lab, name="Screen 7", dispensing={**SIZE, "fraction": 0.004})
    lab.ok(lay_out(lab, made))
    return made


def report_of(lab: Lab, batch: Mapping[str, Any]) -> bytes:
    return model_echo(text(lab, f"/v1/batches/{batch['id']}/picklist"), seed=3)


def reading_of(barcode: str, lab: Lab, batch: Mapping[str, Any]) -> bytes:
    """A clean reading of a plate that we issued: vehicle shines, positive controls do not."""
    table = csv.DictReader(io.StringIO(text(lab, f"/v1/batches/{batch['id']}/plates.csv")))
    levels = {"vehicle": 500_000.0, "positive": 2_000.0, "blank": 2_000.0}
    values = {
        (ord(row["row"]) - ord("A"), int(row["column"]) - 1): levels.get(row["role"], 250_000.0)
        * (1 + 0.01 * (number % 7 - 3))
        for number, row in enumerate(row for row in table if row["barcode"] == barcode)
    }
    return envision(section(barcode, values))


class TestTransferReports:
    def test_find_their_batch(
        self, lab: Lab, root: Path, client: Nextround, batch: dict[str, Any]
    ) -> None:
        watched = watching(root, client, campaign="nobody's")
        content = report_of(lab, batch)
        assert is_transfer_report(content)
        for name in ("transfers.csv", "again.csv"):
            drop(root, name, content)
        assert verdicts(watched.look()) == ["stored", "existing"]
        (kept,) = lab.ok(lab.get(f"/v1/batches/{batch['id']}/plates"))["reports"]
        receipt = json.loads((root / "archive" / "transfers.csv.receipt.json").read_text())
        assert (receipt["transfer_report"], receipt["batch"]) == (kept["id"], batch["id"])
        assert receipt["failed"] == kept["n_failed"] > 0

    def test_go_before_the_readings_of_their_plates(
        self, lab: Lab, root: Path, client: Nextround, batch: dict[str, Any]
    ) -> None:
        watched = watching(root, client)
        barcode = lab.every("/v1/plates", batch=batch["id"])[0]["barcode"]
        drop(root, "a reading.csv", reading_of(barcode, lab, batch))
        drop(root, "z transfers.csv", report_of(lab, batch))
        assert verdicts(watched.look()) == ["stored", "stored"]
        (plate,) = lab.every("/v1/plates", barcode=barcode)
        failed = {
            well["well"]
            for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]
            if well["excluded"]
        }
        counted = {f"{row['well'][0]}{int(row['well'][1:])}"
                   for row in lab.wells(batch["campaign_id"])}  # fmt: skip
        assert failed
        assert counted
        assert not failed & counted

    def test_that_come_after_the_readings_put_them_right(
        self, lab: Lab, root: Path, client: Nextround, batch: dict[str, Any]
    ) -> None:
        watched = watching(root, client)
        barcode = lab.every("/v1/plates", batch=batch["id"])[0]["barcode"]
        drop(root, "reading.csv", reading_of(barcode, lab, batch))
        assert verdicts(watched.look()) == ["stored"]
        before = {row["well"]: row for row in lab.wells(batch["campaign_id"])}
        drop(root, "transfers.csv", report_of(lab, batch))
        assert verdicts(watched.look()) == ["stored"]
        after = {row["well"]: row for row in lab.wells(batch["campaign_id"])}
        (plate,) = lab.every("/v1/plates", barcode=barcode)
        wells = {
            f"{well['well'][0]}{int(well['well'][1:]):02d}": well
            for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]
        }
        failed = {name for name in before if wells[name]["excluded"]}
        assert failed
        assert set(after) == set(before) - failed
        for name, row in after.items():
            real = {each["compound"]: each["real_um"] for each in wells[name]["contents"]}
            assert {each["compound"]: each["dose_um"] for each in row["doses"]} == real
        every = lab.wells(batch["campaign_id"], versions="all")
        withdrawn = [row for row in every if row["withdrawn"]]
        assert {row["well"] for row in withdrawn} == failed
        assert "transfers.csv" in withdrawn[0]["reason"]
        results = lab.ok(lab.get(f"/v1/plates/{plate['id']}/quality"))["results"]
        assert [row["n_counted"] for row in results] == [len(before), len(after)]
        drop(root, "transfers again.csv", report_of(lab, batch))
        assert verdicts(watched.look()) == ["existing"]
        assert len(lab.wells(batch["campaign_id"], versions="all")) == len(every)

    def test_of_plates_that_nobody_issued(
        self, lab: Lab, root: Path, client: Nextround, batch: dict[str, Any]
    ) -> None:
        watched = watching(root, client)
        content = report_of(lab, batch)
        barcode = lab.every("/v1/plates", batch=batch["id"])[0]["barcode"]
        drop(root, "strange.csv", content.replace(barcode.encode(), b"STRANGE"))
        assert verdicts(watched.look()) == ["refused"]
        assert "'STRANGE'" in error_of(root, "strange.csv")["detail"]

    def test_a_broken_one_is_told_by_its_line(
        self, lab: Lab, root: Path, client: Nextround, batch: dict[str, Any]
    ) -> None:
        watched = watching(root, client)
        drop(root, "cut.csv", report_of(lab, batch)[:-70])
        assert verdicts(watched.look()) == ["refused"]
        assert "ine " in json.dumps(error_of(root, "cut.csv"))
        assert lab.ok(lab.get(f"/v1/batches/{batch['id']}/plates"))["reports"] == []

    def test_look_like_nothing_else(self) -> None:
        assert not is_transfer_report(FILE)
        assert not is_transfer_report(b"Source Plate Barcode,Destination Plate Barcode\r\nS,D\r\n")
        assert is_transfer_report(
            "\ufeffRun ID,1\n\n[DETAILS]\nDestination Plate Barcode\n".encode("utf-16")
        )


def test_plate_maps_are_taken_as_well(
    lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
) -> None:
    layout = b"barcode,cell_line,well,agent1,concentration1\nP9,X,A01,A,1.0\n"
    drop(root, "layout.csv", layout)
    (outcome,) = watched.look()
    assert (outcome.verdict, "plate maps" in outcome.detail) == ("stored", True)
    assert [plate["barcode"] for plate in lab.every("/v1/plates", barcode="P9")] == ["P9"]
