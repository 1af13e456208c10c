"""Plates that we issued come back: barcode and reader file are all that a lab has to send."""

from __future__ import annotations

import io
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from service.assays.files_in import LayoutFile, ReaderFile, parse_files
from service.plates.geometry import PlateFormat, parse_well, row_name, well_name
from tests.lab import Lab, at_once
from tests.service.assays.files_bench import (
    CLEAN,
    BenchWell,
    commit,
    envision,
    give_plate,
    map_csv,
    plate_wells,
    read_plate,
    section,
    send,
)
from tests.service.batches.plates_bench import (
    a_batch,
    give_stocks,
    lay_out,
    model_echo,
    report,
    stocks,
    text,
)
from tests.service.learning.bench import viability


def bench_wells(lab: Lab, plate: dict[str, Any], names: dict[str, str]) -> list[BenchWell]:
    """The wells of an issued plate with what they would show, failed ones as if untreated."""
    found = []
    for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]:
        doses = {names[each["compound"]]: each["real_um"] for each in well["contents"]}
        truth = {"positive": 0.0, "blank": 0.0}.get(well["role"], viability("X", doses))
        found.append(BenchWell(parse_well(well["well"]), well["role"], (), truth))
    return found


def test_plates_of_1536_wells_go_out_and_come_back(lab):
    """A small plate with a barcode above its grid; rows go on to AF."""
    batch = a_batch(lab)
    give_stocks(lab, stocks(levels=(2.0, 0.2)))
    asked = {"destination": "1536-well 6 uL", "tolerance": 0.2, "replicates": 1}
    positive = {"compound": "E", "dose_um": 2.0}
    (plate,) = lab.ok(lay_out(lab, batch, positive_control=positive, **asked))["plates"]
    names = {row["id"]: row["name"] for row in lab.every("/v1/compounds")}
    wells = bench_wells(lab, plate, names)
    assert max(well.at[0] for well in wells) > 26
    shine = random.Random(4)
    value = {well.at: 2e5 * well.truth * shine.gauss(1.0, 0.02) + 500 for well in wells}
    lines = [f"Barcode,{plate['barcode']}", ",".join(["", *map(str, range(1, 49))])]
    for row in range(32):
        cells = [f"{value[row, c]:.0f}" if (row, c) in value else "" for c in range(48)]
        lines.append(",".join([row_name(row), *cells]))
    campaign = {"id": batch["campaign_id"]}
    upload = lab.ok(send(lab, campaign, "\n".join(lines).encode(), commit="auto"))
    assert (upload["state"], upload["format"], upload["open"]) == ("committed", "plate_grid", [])
    found = {row["well"]: row for row in lab.wells(campaign["id"])}
    counted = [well for well in wells if well.role in ("vehicle", "single", "sample")]
    assert set(found) == {well_name(*well.at, padded=True) for well in counted}
    for well in counted:
        row = found[well_name(*well.at, padded=True)]
        assert row["raw_value"] == pytest.approx(value[well.at], abs=0.51)
        assert row["viability"] == pytest.approx(well.truth, abs=0.12)


def test_a_batch_goes_out_and_comes_back(lab):
    batch = a_batch(lab)
    give_stocks(lab)
    positive = {"compound": "E", "dose_um": 10.0}
    plates = lab.ok(lay_out(lab, batch, positive_control=positive, replicates=2))["plates"]
    lab.ok(report(lab, batch, model_echo(text(lab, f"/v1/batches/{batch['id']}/picklist"), 3)))
    campaign = {"id": batch["campaign_id"]}
    names = {row["id"]: row["name"] for row in lab.every("/v1/compounds")}
    expected: dict[tuple[str, str], dict[str, Any]] = {}
    for number, plate in enumerate(plates):
        content = envision(
            section(plate["barcode"], read_plate(bench_wells(lab, plate, names), CLEAN, number))
        )
        upload = lab.ok(send(lab, campaign, content, commit="auto"))
        assert (upload["state"], upload["open"]) == ("committed", []), upload
        for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]:
            if well["role"] in ("vehicle", "single", "sample") and not well["excluded"]:
                name = well_name(*parse_well(well["well"]), padded=True)
                expected[plate["barcode"], name] = well
    found = {(row["plate"], row["well"]): row for row in lab.wells(campaign["id"])}
    assert set(found) == set(expected)
    excluded = sum(lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["n_excluded"] for plate in plates)
    assert excluded > 0
    for key, well in expected.items():
        doses = {each["compound"]: each["real_um"] for each in well["contents"]}
        assert {d["compound"]: d["dose_um"] for d in found[key]["doses"]} == doses
        truth = viability("X", {names[name]: dose for name, dose in doses.items()})
        assert found[key]["viability"] == pytest.approx(truth, abs=0.2)
        assert found[key]["block"] == well["block"]
    items = lab.ok(lab.get(f"/v1/batches/{batch['id']}"))["items"]
    assert all(item["has_results"] for item in items)
    for number, status in enumerate(("running", "done"), start=batch["version"]):
        version = lab.ok(lab.get(f"/v1/batches/{batch['id']}"))["version"]
        assert number <= version
        lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": status}, version))
    items = lab.ok(lab.get(f"/v1/batches/{batch['id']}"))["items"]
    assert {item["status"] for item in items} == {"measured"}
    problem = lab.refused(
        lab.post(f"/v1/batches/{batch['id']}/plates/cancellation", {"reason": "too late"}), 409
    )
    assert "measured" in problem["detail"]


def test_a_report_that_comes_after_the_readings_takes_effect_when_normalised(lab):
    batch = a_batch(lab)
    give_stocks(lab)
    plate = lab.ok(lay_out(lab, batch))["plates"][0]
    campaign = {"id": batch["campaign_id"]}
    names = {row["id"]: row["name"] for row in lab.every("/v1/compounds")}
    values = read_plate(bench_wells(lab, plate, names))
    lab.ok(send(lab, campaign, envision(section(plate["barcode"], values)), commit="auto"))
    before = {row["well"]: row for row in lab.wells(campaign["id"]) if row["doses"]}
    picked = text(lab, f"/v1/batches/{batch['id']}/picklist")
    changed = lab.ok(report(lab, batch, model_echo(picked, 3)))["changed"]
    assert changed
    lab.ok(lab.post(f"/v1/plates/{plate['id']}/normalise", {"rule": "controls-median/1"}))
    after = {row["well"]: row for row in lab.wells(campaign["id"])}
    mapped = {
        well_name(*parse_well(well["well"]), padded=True): well
        for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]
    }
    failed = {name for name, well in mapped.items() if well["excluded"]} & set(before)
    assert failed
    assert failed == set(before) - set(after)
    for name in set(before) & set(after):
        doses = {each["compound"]: each["real_um"] for each in mapped[name]["contents"]}
        assert {d["compound"]: d["dose_um"] for d in after[name]["doses"]} == doses
    assert any(after[name]["version"] == 2 for name in set(before) & set(after))


def test_a_file_sent_twice_at_the_same_moment_counts_once(lab):
    campaign, wells = lab.campaign(), plate_wells()
    give_plate(lab, campaign, map_csv("P1", wells))
    content = envision(section("P1", read_plate(wells)))
    answers = at_once(*[lambda: send(lab, campaign, content, commit="auto")] * 3)
    assert {answer.json()["id"] for answer in answers if answer.status_code < 300}
    assert sorted(answer.status_code for answer in answers)[-1] in (200, 201, 409)
    assert len(lab.every(f"/v1/campaigns/{campaign['id']}/submissions")) == 1
    assert len(lab.wells(campaign["id"])) == 144


def test_drift_of_the_reference_pair_is_seen_against_earlier_plates(lab):
    campaign, base = lab.campaign(), plate_wells()
    free = [at for at in PlateFormat(16, 24).inner() if at not in {well.at for well in base}]
    pair = (("A", 0.2), ("B", 0.8))

    def plate(barcode: str, truth: float) -> dict:
        wells = [*base, *(BenchWell(at, "reference_pair", pair, truth) for at in free[:6])]
        give_plate(lab, campaign, map_csv(barcode, wells))
        values = read_plate(wells, seed=len(barcode) + int(barcode[1:]))
        return lab.ok(send(lab, campaign, envision(section(barcode, values)), commit="auto"))

    for number in range(1, 5):
        upload = plate(f"P{number}", 0.5)
        assert upload["state"] == "committed"
    drifted = plate("P9", 0.2)
    (shown,) = drifted["preview"]["plates"]
    assert (drifted["state"], shown["verdict"]) == ("parsed", "fail")
    assert "reference pair" in shown["reasons"][0]
    counted = [row["well"] for row in lab.wells(campaign["id"]) if row["plate"] == "P1"]
    assert len(counted) == 144


class TestRuns:
    """Manifest and templates say what is on plates, reader files what was read: one archive."""

    def test_a_real_one_comes_in_whole(self, lab, data_folder: Path):
        paths = [p for p in (data_folder / "envision_run").iterdir() if p.suffix != ".md"]
        found = dict(parse_files((path.name, path.read_bytes()) for path in paths))
        layout = found["Manifest.xlsx"]
        assert isinstance(layout, LayoutFile)
        names = sorted({name for p in layout.plates for w in p.wells for name, _ in w.components})
        lines = sorted({str(plate.cell_line) for plate in layout.plates})
        lab.compounds(*names)
        lab.cell_lines(*lines)
        campaign = lab.campaign(compounds=names, cell_lines=lines, doses_um=[1.0])
        started = time.monotonic()
        upload = lab.ok(send(lab, campaign, zipped(paths), filename="run.zip"))
        assert (upload["state"], upload["preview"]["kind"]) == ("parsed", "reader")
        assert len(upload["preview"]["layouts"]) == len(upload["preview"]["plates"]) == 28
        # The run's templates leave the vehicle wells of treated plates out, so those have no 1.
        skip = []
        for plate in upload["preview"]["plates"]:
            wrong = [note for note in plate["problems"] if note["code"] == "not_normalised"]
            assert bool(wrong) == plate["barcode"].endswith("D01")
            if wrong:
                assert "no usable vehicle well" in wrong[0]["message"]
                skip.append({"index": plate["index"], "skip": True})
        done = lab.ok(commit(lab, upload, accept_failed=True, plates=skip))
        assert done["state"] == "committed"
        assert time.monotonic() - started < 60
        assert len(lab.every("/v1/plates", limit=100)) == 28
        wells: dict[str, dict[str, float]] = {}
        for row in lab.wells(campaign["id"], limit=200):
            wells.setdefault(row["plate"], {})[row["well"]] = row["raw_value"]
        assert {code: len(each) for code, each in wells.items()} == {
            plate.barcode: len(plate.wells) for plate in layout.plates if plate.time_h == 0
        }
        for plate in (each for each in layout.plates if each.time_h == 0):
            parsed = found[f"{plate.barcode}.csv"]
            assert isinstance(parsed, ReaderFile)
            read = {well_name(r.row, r.column, padded=True): r.value
                    for r in parsed.plates[0].readings}  # fmt: skip
            assert all(read[name] == raw for name, raw in wells[str(plate.barcode)].items())

    def test_a_part_of_one_says_what_is_missing(self, lab, data_folder: Path):
        manifest = (data_folder / "envision_run" / "Manifest.xlsx").read_bytes()
        problem = lab.refused(send(lab, lab.campaign(), manifest), 422)
        assert "one zip" in problem["detail"]


class TestDesigns:
    DESIGN = (
        "barcode,cell_line,well,agent1,concentration1,role\n"
        "P9,X,A01,A,1.0,\nP9,X,A02,,,vehicle\nP9,X,A03,,,blank\n"
    )

    def test_tell_us_of_plates(self, lab):
        campaign = lab.campaign()
        upload = lab.ok(send(lab, campaign, self.DESIGN.encode(), commit="auto"))
        assert (upload["state"], upload["submission_id"]) == ("committed", None)
        (told,) = upload["preview"]["layouts"]
        assert told["roles"] == {"single": 1, "vehicle": 1, "blank": 1}
        (plate,) = lab.every("/v1/plates", barcode="P9")
        wells = lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]
        assert [well["role"] for well in wells] == ["single", "vehicle", "blank"]
        assert wells[0]["contents"][0]["real_um"] == 1.0
        again = self.DESIGN.replace("1.0", "1.00").encode()
        assert lab.ok(send(lab, campaign, again, commit="auto"))["preview"]["layouts"][0]["known"]
        other = self.DESIGN.replace("1.0", "2.0").encode()
        problem = lab.ok(send(lab, campaign, other, commit="auto"))["open"]
        assert "another map" in problem[0]

    def test_of_compounds_that_nobody_knows(self, lab):
        unknown = self.DESIGN.replace(",A,", ",Aa,").encode()
        upload = lab.ok(send(lab, lab.campaign(), unknown, commit="auto"))
        assert upload["state"] == "parsed"
        (note,) = upload["preview"]["problems"]
        assert (note["code"], note["row"]) == ("unknown_compound", 2)
        lab.refused(commit(lab, upload), 422)
        assert lab.every("/v1/plates") == []


def zipped(paths: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in paths:
            archive.writestr(path.name, path.read_bytes())
    return buffer.getvalue()
