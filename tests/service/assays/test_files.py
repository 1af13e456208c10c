"""Reader files: barcode and readings are a whole submission, and nothing is ever guessed."""

from __future__ import annotations

import hashlib
import time
from statistics import median

import pytest

from models.quality.simulate import ReaderModel
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

WELLS = plate_wells()
VALUES = read_plate(WELLS)
FILE = envision(section("P1", VALUES))
COUNTED = [well for well in WELLS if well.role in ("vehicle", "single", "sample")]


@pytest.fixture
def campaign(lab: Lab) -> dict:
    made = lab.campaign()
    give_plate(lab, made, map_csv("P1", WELLS, real=0.97))
    return made


def by_well(lab: Lab, campaign: dict) -> dict:
    return {row["well"]: row for row in lab.wells(campaign["id"])}


class TestPreview:
    def test_shows_what_was_found_and_stores_nothing_that_counts(self, lab, campaign):
        started = time.monotonic()
        upload = lab.ok(send(lab, campaign, FILE, filename="run 7.csv"))
        assert time.monotonic() - started < 5
        assert (upload["state"], upload["format"], upload["outcome"]) == (
            "parsed", "envision", "stored")  # fmt: skip
        assert upload["open"] == []
        (plate,) = upload["preview"]["plates"]
        assert (plate["barcode"], plate["barcode_from"]) == ("P1", "file")
        assert (plate["label"], plate["unit"], plate["verdict"]) == ("LUM(1)", "CPS", "pass")
        assert (plate["n_read"], plate["n_counted"]) == (len(WELLS), len(COUNTED))
        assert plate["groups"][0]["levels"]["untreated"] == pytest.approx(500_000, rel=0.02)
        first = plate["first_wells"][0]
        assert first["line"] > 6
        assert first["reading"] in VALUES.values()
        assert lab.wells(campaign["id"]) == []
        kept = lab.get(f"/v1/uploads/{upload['id']}/original").content
        assert kept == FILE
        assert upload["sha256"] == hashlib.sha256(FILE).hexdigest()
        listed = lab.every("/v1/uploads", campaign=campaign["id"])
        assert [row["id"] for row in listed] == [upload["id"]]

    def test_says_which_wells_are_missing_or_empty_on_the_map(self, lab, campaign):
        values = dict(VALUES)
        del values[COUNTED[0].at], values[COUNTED[1].at]
        values[0, 0] = 77.0
        (plate,) = lab.ok(send(lab, campaign, envision(section("P1", values))))["preview"]["plates"]
        gone = {well["well"] for well in plate["unread_wells"]} | set(plate["missing_wells"])
        assert gone == {COUNTED[0].name, COUNTED[1].name}
        assert plate["outside_wells"] == ["A1"]
        assert plate["n_counted"] == len(COUNTED) - 2
        words = " ".join(note["message"] for note in plate["problems"])
        assert "A1" in words
        assert COUNTED[0].name in words


class TestBarcode:
    def test_unknown_ones_name_those_alike(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, envision(section("P11", VALUES)), commit="auto"))
        assert upload["state"] == "parsed"
        assert "Did you mean 'P1'" in upload["open"][0]
        problem = lab.refused(commit(lab, upload), 422)
        assert problem["errors"][0]["code"] == "unknown_barcode"
        assert lab.wells(campaign["id"]) == []
        done = lab.ok(commit(lab, upload, plates=[{"index": 0, "barcode": "P1"}]))
        assert done["state"] == "committed"

    def test_in_the_name_of_the_file(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, envision(section("", VALUES)), filename="x_P1_ctg.csv"))
        (plate,) = upload["preview"]["plates"]
        assert (plate["barcode"], plate["barcode_from"]) == ("P1", "file name")

    def test_nowhere(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, envision(section("", VALUES)), commit="auto"))
        assert (upload["state"], len(upload["open"])) == ("parsed", 1)
        assert lab.ok(commit(lab, upload, barcode="P1"))["state"] == "committed"

    def test_that_contradict_each_other(self, lab, campaign):
        give_plate(lab, campaign, map_csv("P2", WELLS))
        for params in ({"filename": "P2.csv"}, {"barcode": "P2"}):
            content = FILE + b"\r\n" * len(params.get("barcode", ""))
            upload = lab.ok(send(lab, campaign, content, commit="auto", **params))
            assert upload["state"] == "parsed"
            codes = [note["code"] for note in upload["preview"]["plates"][0]["problems"]]
            assert codes == ["barcode_contradiction"]

    def test_of_another_campaign(self, lab, campaign):
        other = lab.campaign(name="Other")
        upload = lab.ok(send(lab, other, FILE, commit="auto"))
        assert "another campaign" in upload["open"][0]


class TestOurOwnFiles:
    def test_a_plate_map_is_no_reading(self, lab, campaign):
        (plate,) = lab.every("/v1/plates", campaign=campaign["id"])
        for path in ("map.csv", "grid.csv"):
            ours = lab.get(f"/v1/plates/{plate['id']}/{path}").content
            problem = lab.refused(send(lab, campaign, ours, filename=path, commit="auto"), 422)
            assert "is the plate map that we issued" in problem["errors"][0]["message"]
        assert lab.wells(campaign["id"]) == []

    def test_a_grid_of_readings_with_the_barcode_above(self, lab, campaign):
        rows = [
            ",".join(str(VALUES.get((row, column), "")) for column in range(24))
            for row in range(16)
        ]
        content = "\n".join(["Barcode,P1", "Gain,12", *rows, ""]).encode()
        upload = lab.ok(send(lab, campaign, content, filename="export.csv", commit="auto"))
        assert (upload["state"], upload["format"]) == ("committed", "plate_grid")
        assert len(lab.wells(campaign["id"])) == len(COUNTED)


class TestCommit:
    def test_measurements_are_the_truth_within_noise(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, FILE, commit="auto"))
        assert (upload["state"], upload["open"]) == ("committed", [])
        found = by_well(lab, campaign)
        assert len(found) == len(COUNTED)
        ids = {row["name"]: row["id"] for row in campaign["compounds"]}
        for well in COUNTED:
            name = f"{well.name[0]}{int(well.name[1:]):02d}"
            row = found[name]
            assert row["viability"] == pytest.approx(well.truth, abs=0.16), name
            assert row["raw_value"] == VALUES[well.at]
            assert (row["plate"], row["replicate"]) == ("P1", "1")
            real = {ids[each]: pytest.approx(dose * 0.97) for each, dose in well.doses}
            assert {each["compound"]: each["dose_um"] for each in row["doses"]} == real
        errors = [abs(found[f"{w.name[0]}{int(w.name[1:]):02d}"]["viability"] - w.truth)
                  for w in COUNTED]  # fmt: skip
        assert median(errors) < 0.03
        submission = lab.ok(lab.get(f"/v1/submissions/{upload['submission_id']}"))
        assert submission["n_measurements"] == len(COUNTED)
        assert submission["quantity"] == "raw"
        for word in ("controls-median/1", upload["id"], "P1"):
            assert word in submission["note"]
        (plate,) = lab.every("/v1/plates", barcode="P1")
        assert plate["status"] == "measured"

    def test_the_same_file_twice_changes_nothing(self, lab, campaign):
        first = lab.ok(send(lab, campaign, FILE, commit="auto"))
        with lab.untouched():
            answer = send(lab, campaign, FILE, commit="auto", filename="again.csv")
        assert answer.status_code == 200
        assert (answer.json()["id"], answer.json()["outcome"]) == (first["id"], "existing")
        assert "was committed" in lab.refused(commit(lab, first), 409)["detail"]

    def test_a_waiting_file_is_committed_when_it_comes_again(self, lab, campaign):
        waiting = lab.ok(send(lab, campaign, FILE))
        assert lab.ok(send(lab, campaign, FILE))["state"] == "parsed"
        again = lab.ok(send(lab, campaign, FILE, commit="auto"))
        assert (again["id"], again["state"]) == (waiting["id"], "committed")

    def test_a_bad_plate_is_not_committed_by_itself(self, lab, campaign):
        bad = envision(section("P1", read_plate(WELLS, ReaderModel(noise_cv=0.5))))
        upload = lab.ok(send(lab, campaign, bad, commit="auto"))
        (plate,) = upload["preview"]["plates"]
        assert (upload["state"], plate["verdict"]) == ("parsed", "fail")
        assert plate["reasons"]
        assert "robust" in upload["open"][0]
        lab.refused(commit(lab, upload), 422)
        assert lab.wells(campaign["id"]) == []
        done = lab.ok(commit(lab, upload, accept_failed=True))
        assert done["state"] == "committed"
        quality = lab.ok(lab.get(f"/v1/plates/{plate['plate_id']}/quality"))
        assert quality["results"][0]["verdict"] == "fail"

    def test_failed_transfers_do_not_count(self, lab):
        campaign = lab.campaign()
        failed = {well.name: "transfer failed" for well in COUNTED[40:45]}
        give_plate(lab, campaign, map_csv("P1", WELLS, failed))
        lab.ok(send(lab, campaign, FILE, commit="auto"))
        names = {f"{name[0]}{int(name[1:]):02d}" for name in failed}
        assert not names & set(by_well(lab, campaign))
        assert len(by_well(lab, campaign)) == len(COUNTED) - 5

    def test_a_dry_run_looks_again_and_stores_nothing(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, FILE))
        with lab.untouched():
            seen = lab.ok(commit(lab, upload, dry_run=True, rule="plate-effect/1"))
        assert seen["preview"]["plates"][0]["rule"] == "plate-effect/1"
        assert (seen["state"], seen["outcome"]) == ("parsed", "checked")

    def test_two_files_of_one_plate(self, lab, campaign):
        lab.ok(send(lab, campaign, FILE, commit="auto"))
        values = read_plate(WELLS, seed=6)
        again = lab.ok(send(lab, campaign, envision(section("P1", values)), commit="auto"))
        assert again["state"] == "parsed"
        assert "replace_earlier" in again["open"][0]
        before = by_well(lab, campaign)
        lab.ok(commit(lab, again, replace_earlier=True))
        after = by_well(lab, campaign)
        assert set(after) == set(before)
        assert {row["submission_id"] for row in after.values()} != {
            row["submission_id"] for row in before.values()
        }
        every = lab.wells(campaign["id"], versions="all")
        assert len(every) == 3 * len(COUNTED)
        assert "read again" in next(row for row in every if row["withdrawn"])["reason"]

    def test_several_plates_in_one_file(self, lab, campaign):
        others = plate_wells(seed=2)
        give_plate(lab, campaign, map_csv("P2", others))
        both = envision(section("P1", VALUES), section("P2", read_plate(others)))
        upload = lab.ok(send(lab, campaign, both, commit="auto"))
        assert upload["state"] == "committed"
        assert [plate["barcode"] for plate in upload["preview"]["plates"]] == ["P1", "P2"]
        plates = [row["plate"] for row in lab.wells(campaign["id"])]
        assert plates.count("P1") == plates.count("P2") == len(COUNTED)

    def test_a_skipped_plate_stays_out(self, lab, campaign):
        both = envision(section("P1", VALUES), section("nobody's", VALUES))
        upload = lab.ok(send(lab, campaign, both, commit="auto"))
        assert upload["state"] == "parsed"
        lab.ok(commit(lab, upload, plates=[{"index": 1, "skip": True}]))
        assert len(lab.wells(campaign["id"])) == len(COUNTED)

    def test_choices_for_plates_that_are_not_there(self, lab, campaign):
        upload = lab.ok(send(lab, campaign, FILE, quantity="viability"))
        (note,) = upload["preview"]["problems"]
        assert (note["code"], note["blocking"]) == ("not_used", False)
        choices = [{"index": 3, "skip": True}, {"index": 0}, {"index": 0}]
        problem = lab.refused(commit(lab, upload, plates=choices), 422)
        assert [error["code"] for error in problem["errors"]] == ["no_such_plate"] * 2

    def test_several_reads_of_one_plate_are_told_apart(self, lab, campaign):
        dim = {at: value / 10 for at, value in VALUES.items()}
        content = envision(section("P1", VALUES), section("P1", dim, label="LUM 2(2)"))
        upload = lab.ok(send(lab, campaign, content, commit="auto"))
        (plate,) = upload["preview"]["plates"]
        assert (upload["state"], plate["label"]) == ("parsed", None)
        assert [read["label"] for read in plate["reads"]] == ["LUM(1)", "LUM 2(2)"]
        assert "LUM 2(2)" in upload["open"][0]
        lab.ok(commit(lab, upload, label="lum 2(2)"))
        row = lab.wells(campaign["id"])[0]
        assert row["raw_value"] in dim.values()
        quality = lab.ok(lab.get(f"/v1/plates/{plate['plate_id']}/quality"))
        assert {read["label"] for read in quality["reads"]} == {"LUM(1)", "LUM 2(2)"}

    def test_a_closed_campaign_takes_nothing(self, lab, campaign):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        with lab.untouched():
            lab.refused(send(lab, campaign, FILE), 409)


class TestRefused:
    def test_says_format_line_reason_and_fix_and_keeps_the_original(self, lab, campaign):
        broken = FILE.replace(b"\r\nC,", b"\r\nC,x,", 1)
        problem = lab.refused(send(lab, campaign, broken, commit="auto"), 422)
        (error,) = problem["errors"]
        assert error["row"] == 9
        assert error["message"].startswith("PerkinElmer EnVision, line 9: ")
        (upload,) = lab.every("/v1/uploads", state="refused")
        assert upload["id"] in problem["detail"]
        assert lab.get(f"/v1/uploads/{upload['id']}/original").content == broken
        assert lab.wells(campaign["id"]) == []
        events = [e for e in lab.events("upload.created") if e["subject_id"] == upload["id"]]
        assert len(events) == 1
        with lab.untouched():
            lab.refused(send(lab, campaign, broken), 422)
        assert "could not be read" in lab.refused(commit(lab, upload), 409)["detail"]

    def test_with_an_idempotency_key(self, lab, campaign):
        for _ in range(2):
            answer = lab.request(
                "POST", f"/v1/campaigns/{campaign['id']}/files", content=b"nothing at all",
                headers={"Idempotency-Key": "one", "Content-Type": "text/plain"},
            )  # fmt: skip
            lab.refused(answer, 422)
        assert len(lab.every("/v1/uploads", state="refused")) == 1

    def test_a_format_that_it_is_not(self, lab, campaign):
        problem = lab.refused(send(lab, campaign, FILE, format="gen5"), 422)
        assert "Gen5" in problem["detail"]
        assert lab.ok(send(lab, campaign, FILE))["state"] == "parsed"
