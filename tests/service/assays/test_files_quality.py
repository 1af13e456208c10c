"""Flags, re-normalising and limits of quality: everything stays, and what counts follows."""

from __future__ import annotations

import csv
import io

import pytest

from models.quality.normalise import RULES
from models.quality.simulate import ReaderModel
from service.assays.uploads.schemas import QualityLimitsIn, RuleName
from tests.lab import Lab
from tests.service.assays.files_bench import (
    CLEAN,
    commit,
    envision,
    give_plate,
    map_csv,
    plate_wells,
    read_plate,
    section,
    send,
)
from tests.service.batches.plates_bench import put
from tests.service.learning.bench import short_training

WELLS = plate_wells()
VALUES = read_plate(WELLS)
FILE = envision(section("P1", VALUES))
COUNTED = [well for well in WELLS if well.role in ("vehicle", "single", "sample")]
PAIR = next(well for well in WELLS if well.role == "sample")
WHY = {"reason": "Bubble in the well"}


def padded(name: str) -> str:
    return f"{name[0]}{int(name[1:]):02d}"


@pytest.fixture
def campaign(lab: Lab) -> dict:
    made = lab.campaign()
    give_plate(lab, made, map_csv("P1", WELLS))
    return made


@pytest.fixture
def plate(lab: Lab, campaign: dict) -> dict:
    """A committed plate."""
    upload = lab.ok(send(lab, campaign, FILE, commit="auto"))
    assert upload["state"] == "committed"
    (found,) = lab.every("/v1/plates", barcode="P1")
    return found


def wells(lab: Lab, plate: dict, **params: str) -> dict:
    return {row["well"]: row for row in lab.wells(plate["campaign_id"], **params)}


def quality(lab: Lab, plate: dict) -> dict:
    found: dict = lab.ok(lab.get(f"/v1/plates/{plate['id']}/quality"))
    return found


class TestFlags:
    def test_take_a_well_out_and_in_again(self, lab, plate):
        before = wells(lab, plate)
        (flag,) = lab.ok(lab.post(f"/v1/plates/{plate['id']}/flags", {"wells": [PAIR.name], **WHY}))
        name = padded(PAIR.name)
        after = wells(lab, plate)
        assert set(before) - set(after) == {name}
        assert {k: v for k, v in before.items() if k != name} == after
        gone = lab.wells(plate["campaign_id"], versions="all")[-1]
        assert (gone["withdrawn"], gone["corrects"]) == (True, before[name]["id"])
        assert "Bubble" in gone["reason"]
        assert quality(lab, plate)["flags"] == [flag]
        lifted = lab.ok(lab.post(f"/v1/flags/{flag['id']}/lift", {"reason": "Wrong plate"}))
        assert lifted["lifted_by"] is not None
        restored = wells(lab, plate)
        assert restored[name]["viability"] == before[name]["viability"]
        assert restored[name]["version"] == 3
        assert "Wrong plate" in restored[name]["reason"]
        assert {k: v["id"] for k, v in restored.items() if k != name} == {
            k: v["id"] for k, v in before.items() if k != name
        }
        lab.refused(lab.post(f"/v1/flags/{flag['id']}/lift", {"reason": "Again"}), 409)
        reasons = [event["reason"] for event in lab.events("submission.revised")]
        assert len(reasons) == 2
        actions = {event["action"] for event in lab.events() if event["subject_id"] == flag["id"]}
        assert actions == {"well_flag.created", "well_flag.changed"}

    def test_of_a_whole_plate(self, lab, plate):
        before = wells(lab, plate)
        (flag,) = lab.ok(lab.post(f"/v1/plates/{plate['id']}/flags", WHY))
        assert flag["well"] is None
        assert wells(lab, plate) == {}
        lab.ok(lab.post(f"/v1/flags/{flag['id']}/lift", WHY))
        after = wells(lab, plate)
        assert {k: v["viability"] for k, v in after.items()} == {
            k: v["viability"] for k, v in before.items()
        }

    def test_of_a_control_changes_what_it_was_measured_by(self, lab, plate):
        before = wells(lab, plate)
        controls = [well.name for well in WELLS if well.role == "vehicle"][:8]
        lab.ok(lab.post(f"/v1/plates/{plate['id']}/flags", {"wells": controls, **WHY}))
        after = wells(lab, plate)
        assert not set(map(padded, controls)) & set(after)
        name = padded(PAIR.name)
        assert after[name]["viability"] != before[name]["viability"]
        assert after[name]["viability"] == pytest.approx(before[name]["viability"], rel=0.05)
        assert after[name]["raw_value"] == before[name]["raw_value"]

    def test_what_cannot_be_flagged(self, lab, plate):
        path = f"/v1/plates/{plate['id']}/flags"
        with lab.untouched():
            assert (
                "ends at P24"
                in lab.refused(lab.post(path, {"wells": ["Q1"], **WHY}), 422)["detail"]
            )
            lab.refused(lab.post(path, {"wells": ["B3", "B03"], **WHY}), 422)
            every = [well.name for well in WELLS if well.role == "vehicle"]
            problem = lab.refused(lab.post(path, {"wells": every, **WHY}), 409)
        assert "Flag the whole plate" in problem["detail"]
        lab.ok(lab.post(path, {"wells": ["B3"], **WHY}))
        lab.refused(lab.post(path, {"wells": ["B3"], **WHY}), 409)

    def test_before_the_plate_is_read(self, lab, campaign):
        (found,) = lab.every("/v1/plates", barcode="P1")
        lab.ok(lab.post(f"/v1/plates/{found['id']}/flags", {"wells": [PAIR.name], **WHY}))
        lab.ok(send(lab, campaign, FILE, commit="auto"))
        assert padded(PAIR.name) not in wells(lab, found)
        assert len(wells(lab, found)) == len(COUNTED) - 1

    def test_that_are_proposed_are_accepted_with_the_commit(self, lab, campaign):
        values = dict(VALUES)
        vehicle = next(well for well in WELLS if well.role == "vehicle")
        values[vehicle.at] = 40_000.0
        upload = lab.ok(send(lab, campaign, envision(section("P1", values))))
        (shown,) = upload["preview"]["plates"]
        assert [flag["well"] for flag in shown["proposed_flags"]] == [vehicle.name]
        assert shown["n_counted"] == len(COUNTED)
        lab.ok(commit(lab, upload, accept_flags=True))
        (found,) = lab.every("/v1/plates", barcode="P1")
        (flag,) = quality(lab, found)["flags"]
        assert (flag["well"], flag["rule"]) == (vehicle.name, "outlier/1")
        assert padded(vehicle.name) not in wells(lab, found)
        lab.ok(lab.post(f"/v1/flags/{flag['id']}/lift", WHY))
        assert wells(lab, found)[padded(vehicle.name)]["version"] == 1

    def test_wells_of_plates_are_not_corrected_by_hand(self, lab, plate):
        well = next(iter(wells(lab, plate).values()))
        path = f"/v1/measurements/{well['id']}/corrections"
        problem = lab.refused(lab.post(path, {"withdrawn": True, "reason": "bad"}), 422)
        assert "flags" in problem["detail"]


class TestNormalising:
    def test_by_another_rule_writes_versions_and_leaves_the_readings(self, lab, campaign):
        steep = ReaderModel(noise_cv=0.02, row_gradient=0.4)
        content = envision(section("P1", read_plate(WELLS, steep)))
        upload = lab.ok(send(lab, campaign, content))
        lab.ok(commit(lab, upload, accept_failed=True))
        (plate,) = lab.every("/v1/plates", barcode="P1")
        before, path = wells(lab, plate), f"/v1/plates/{plate['id']}"
        table = lab.get(f"{path}/readings.csv").text
        result = lab.ok(lab.post(f"{path}/normalise", {"rule": "plate-effect/1"}))
        assert result["rule"] == "plate-effect/1"
        after = wells(lab, plate)
        truth = {padded(well.name): well.truth for well in COUNTED}

        def error(found: dict) -> float:
            return sum((found[k]["viability"] - truth[k]) ** 2 for k in truth)

        assert error(after) < 0.5 * error(before)
        changed = [row for k, row in after.items() if row["id"] != before[k]["id"]]
        assert len(changed) > len(COUNTED) / 2
        assert {row["version"] for row in changed} == {2}
        assert all("plate-effect/1" in row["reason"] for row in changed)
        assert {k: row["raw_value"] for k, row in after.items()} == {
            k: row["raw_value"] for k, row in before.items()
        }

        def values(text: str) -> list:
            return [(r["well"], r["value"]) for r in csv.DictReader(io.StringIO(text, newline=""))]

        assert values(lab.get(f"{path}/readings.csv").text) == values(table)
        assert [row["rule"] for row in quality(lab, plate)["results"]] == [
            "controls-median/1", "plate-effect/1"]  # fmt: skip
        lab.ok(lab.post(f"{path}/normalise", {"rule": "controls-median/1"}))
        back = wells(lab, plate)
        assert {k: v["viability"] for k, v in back.items()} == {
            k: v["viability"] for k, v in before.items()
        }

    def test_the_same_rule_again_changes_no_well(self, lab, plate):
        before = wells(lab, plate)
        lab.ok(lab.post(f"/v1/plates/{plate['id']}/normalise", {"rule": "controls-median/1"}))
        assert wells(lab, plate) == before

    def test_makes_the_next_model_learn_from_other_data(self, lab, campaign, plate):
        lab.compounds("D")
        more = {"add_compounds": [{"compound": "D", "doses_um": [0.1, 1.0]}]}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", more, 1))
        others = plate_wells(seed=2)
        give_plate(lab, campaign, map_csv("P2", others, line="Y"))
        tilted = read_plate(others, ReaderModel(noise_cv=0.02, row_gradient=0.3))
        upload = lab.ok(send(lab, campaign, envision(section("P2", tilted))))
        lab.ok(commit(lab, upload, accept_failed=True))
        (second,) = lab.every("/v1/plates", barcode="P2")
        with short_training():
            first = lab.train(campaign["id"])
            again = lab.train(campaign["id"])
            lab.ok(lab.post(f"/v1/plates/{second['id']}/normalise", {"rule": "plate-effect/1"}))
            anew = lab.train(campaign["id"])
            lab.ok(lab.post(f"/v1/plates/{plate['id']}/flags", {"wells": [PAIR.name], **WHY}))
            flagged = lab.recommend(campaign["id"])
        assert first["snapshot"] == again["snapshot"]
        model = lab.ok(lab.get(f"/v1/models/{flagged['model_id']}"))
        assert len({first["snapshot"], anew["snapshot"], model["snapshot"]}) == 3
        assert anew["n_wells"] == first["n_wells"]
        assert model["n_wells"] == first["n_wells"] - 1

    def test_growth_rates_need_a_plate_at_time_zero(self, lab, campaign):
        at_zero = {at: value / 4 for at, value in read_plate(
            [w for w in WELLS if w.role == "vehicle"], CLEAN).items()}  # fmt: skip
        content = envision(section("P1", VALUES), section("P1", at_zero, label="zero(2)"))
        upload = lab.ok(send(lab, campaign, content))
        asked = {"label": "LUM(1)", "rule": "growth-rate/1"}
        problem = lab.refused(commit(lab, upload, **asked), 422)
        assert "time_zero" in problem["detail"]
        zero = {"barcode": "P1", "label": "zero(2)"}
        lab.ok(commit(lab, upload, **asked, time_zero=zero))
        (plate,) = lab.every("/v1/plates", barcode="P1")
        found = wells(lab, plate)
        vehicles = [padded(well.name) for well in WELLS if well.role == "vehicle"]
        values = [found[name]["viability"] for name in vehicles]
        assert sum(values) / len(values) == pytest.approx(1.0, abs=0.03)
        (result,) = quality(lab, plate)["results"]
        assert (result["rule"], result["scale"]) == ("growth-rate/1", "growth rate")
        lab.ok(lab.post(f"/v1/plates/{plate['id']}/normalise", {"rule": "controls-median/1"}))
        asked = {"rule": "growth-rate/1", "time_zero": zero}
        again = lab.ok(lab.post(f"/v1/plates/{plate['id']}/normalise", asked))
        assert again["scale"] == "growth rate"

    def test_growth_rates_beside_viabilities_have_to_be_declared(self, lab, campaign):
        """One model cannot learn from both; the campaign's first plate holds viabilities."""
        lab.ok(send(lab, campaign, FILE, commit="auto"))
        give_plate(lab, campaign, map_csv("P2", WELLS))
        at_zero = {at: value / 4 for at, value in read_plate(
            [w for w in WELLS if w.role == "vehicle"], CLEAN).items()}  # fmt: skip
        content = envision(section("P2", VALUES), section("P2", at_zero, label="zero(2)"))
        zero = {"barcode": "P2", "label": "zero(2)"}
        upload = lab.ok(send(lab, campaign, content))
        asked = {"label": "LUM(1)", "rule": "growth-rate/1", "time_zero": zero}
        problem = lab.refused(commit(lab, upload, **asked), 422)
        assert [error["code"] for error in problem["errors"]] == ["mixed_scales"]
        assert "hold values of viability, this one would be of growth rate" in problem["detail"]
        assert lab.ok(commit(lab, upload, dry_run=True, **asked, accept_mixed_scales=True))
        done = lab.ok(commit(lab, upload, **asked, accept_mixed_scales=True))
        assert done["state"] == "committed"

    def test_the_same_plate_on_another_scale_mixes_nothing(self, lab, campaign):
        lab.ok(send(lab, campaign, FILE, commit="auto"))
        at_zero = {at: value / 4 for at, value in read_plate(
            [w for w in WELLS if w.role == "vehicle"], CLEAN).items()}  # fmt: skip
        content = envision(section("P1", VALUES), section("P1", at_zero, label="zero(2)"))
        upload = lab.ok(send(lab, campaign, content))
        zero = {"barcode": "P1", "label": "zero(2)"}
        asked = {"label": "LUM(1)", "rule": "growth-rate/1", "replace_earlier": True}
        assert lab.ok(commit(lab, upload, **asked, time_zero=zero))["state"] == "committed"

    def test_of_a_plate_that_nobody_read(self, lab, campaign):
        (found,) = lab.every("/v1/plates", barcode="P1")
        path = f"/v1/plates/{found['id']}/normalise"
        lab.refused(lab.post(path, {"rule": "plate-effect/1"}), 409)


class TestLimits:
    def test_are_read_and_replaced(self, lab):
        answer = lab.get("/v1/quality-limits")
        limits = lab.ok(answer)
        assert (limits["version"], answer.headers["etag"]) == (0, '"0"')
        assert limits["edge"] == {"warn": 0.1, "fail": 0.3}
        body = {"edge": {"warn": 0.05, "fail": None}}
        lab.refused(lab.request("PUT", "/v1/quality-limits", json=body), 428)
        changed = lab.ok(put(lab, "/v1/quality-limits", body, 0))
        assert (changed["version"], changed["edge"]) == (1, body["edge"])
        assert changed["trend"] == limits["trend"]
        lab.refused(put(lab, "/v1/quality-limits", body, 0), 412)
        wrong = {"edge": {"warn": 0.5, "fail": 0.1}}
        assert "wrong way" in lab.refused(put(lab, "/v1/quality-limits", wrong, 1), 422)["detail"]

    def test_decide_the_verdict(self, lab, campaign):
        strict = {"robust_z_prime": {"warn": 0.99, "fail": 0.98}}
        lab.ok(put(lab, "/v1/quality-limits", strict, 0))
        upload = lab.ok(send(lab, campaign, FILE, commit="auto"))
        (shown,) = upload["preview"]["plates"]
        assert (upload["state"], shown["verdict"]) == ("parsed", "fail")
        assert "below 0.98" in shown["reasons"][0]

    def test_are_those_that_models_know(self):
        from models.quality.limits import QcLimits

        assert set(QualityLimitsIn.model_fields) == set(QcLimits().to_dict())
        assert set(RuleName.__args__) == set(RULES)


def test_readings_say_what_became_of_each(lab, plate):
    lab.ok(lab.post(f"/v1/plates/{plate['id']}/flags", {"wells": [PAIR.name], "reason": "=1+1"}))
    text = lab.get(f"/v1/plates/{plate['id']}/readings.csv").text
    rows = {row["well"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert {name for name, row in rows.items() if row["value"]} == {padded(w.name) for w in WELLS}
    flagged = rows[padded(PAIR.name)]
    assert (flagged["counted"], flagged["flags"]) == ("no", "'=1+1")
    assert float(flagged["value"]) == VALUES[PAIR.at]
    counted = [name for name, row in rows.items() if row["counted"] == "yes"]
    assert len(counted) == len(COUNTED) - 1
