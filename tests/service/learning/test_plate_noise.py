"""The noise of a plate's own controls reaches the model, and changes with the plate's result."""

from __future__ import annotations

import json
from types import MappingProxyType

import numpy as np
import pytest

from models.pharmacology.plate_noise import well_scales
from models.quality.simulate import ReaderModel
from models.screen import ABSENT
from service.assays.uploads.judging import ToldNoise, told_noise
from service.learning.plate_noise import ControlNoise, plates_of
from service.learning.snapshots import load_snapshot, store_snapshot
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
from tests.service.learning.bench import short_training
from tests.service.learning.test_snapshots import snapshot_of

NOISY = ReaderModel(noise_cv=0.13, floor_sd=0.001)
VEHICLES = 24
DOF = 0.9
"""Degrees of freedom for each well more, in the scatter of many vehicles."""
WHY = {"reason": "Bubble in the well"}
NOISE = {
    ("sub", "P1", None): ControlNoise(ToldNoise(0.05, 6.0, 0.01), "P1"),
    ("sub", "P2", "X"): ControlNoise(ToldNoise(0.06, 3.0, 0.02), "P2, line X"),
    ("sub", "P2", "Y"): ControlNoise(ToldNoise(0.07, 4.0, 0.03), "P2, line Y"),
    ("again", "P1", None): ControlNoise(ToldNoise(0.08, 6.0, 0.04), "P1"),
    ("sub", "P9", None): ControlNoise(ToldNoise(0.09, 6.0, 0.05), "P9"),
}
"""What controls say, by submission, barcode and cell line."""


def measured_plate(lab, campaign, barcode, line, reader, seed):
    """A plate of the bench that was read with this much noise, and what became of it."""
    wells = plate_wells(seed=seed, vehicles=VEHICLES)
    give_plate(lab, campaign, map_csv(barcode, wells, line=line))
    content = envision(section(barcode, read_plate(wells, reader, seed=seed)))
    lab.ok(commit(lab, lab.ok(send(lab, campaign, content)), accept_failed=True))
    (plate,) = lab.every("/v1/plates", barcode=barcode)
    return plate, wells


@pytest.fixture
def campaign(lab):
    return lab.campaign()


@pytest.fixture
def plates(lab, campaign):
    """A clean plate and a noisy one, which quality control warns of but lets pass."""
    quiet, _ = measured_plate(lab, campaign, "P1", "X", CLEAN, 1)
    noisy, wells = measured_plate(lab, campaign, "P2", "Y", NOISY, 2)
    return quiet, noisy, wells


def result_of(lab, plate):
    return lab.ok(lab.get(f"/v1/plates/{plate['id']}/quality"))["results"][-1]


class TestSnapshots:
    def test_hold_the_noise_of_each_wells_plate(self, lab, campaign, plates):
        quiet, noisy, _ = plates
        wells = snapshot_of(lab, campaign).screen.wells
        assert wells.plates.ids == ("P1", "P2")
        said = [result_of(lab, plate)["groups"][0] for plate in (quiet, noisy)]
        sd, dof = zip(*[group["well_noise"] for group in said], strict=True)
        assert wells.plates.control_sd.tolist() == list(sd)
        assert wells.plates.control_dof.tolist() == list(dof) == [DOF * (VEHICLES - 1)] * 2
        assert wells.plates.level_sd.tolist() == [group["shared_sd"] for group in said]
        assert sd[0] == pytest.approx(CLEAN.noise_cv, rel=0.4)
        assert said[0]["shared_sd"] == pytest.approx(1.2 * sd[0] / np.sqrt(VEHICLES), rel=0.1)
        assert np.array_equal(wells.plate, wells.cell_line)  # P1 holds X, P2 holds Y
        scale = well_scales(wells)
        assert scale[wells.plate == 1].min() > 1.5 > 1.0 > scale[wells.plate == 0].max()
        warned = result_of(lab, noisy)
        assert warned["verdict"] == "warn"
        assert np.sum(wells.plate == 1) == warned["n_counted"]
        lab.measure(campaign["id"], "X,A,1,,,0.9")
        more = snapshot_of(lab, campaign).screen.wells
        assert more.plate.tolist() == [*wells.plate.tolist(), ABSENT]

    def test_come_back_from_the_store(self, lab, campaign, plates):
        snapshot = snapshot_of(lab, campaign)
        name = store_snapshot(snapshot, lab.parts.artifacts)
        back = load_snapshot(name, lab.parts.artifacts).screen.wells
        wells = snapshot.screen.wells
        assert back.plates.ids == wells.plates.ids
        assert np.array_equal(back.plate, wells.plate)
        for column in ("control_sd", "control_dof", "level_sd"):
            assert np.array_equal(getattr(back.plates, column), getattr(wells.plates, column))
        wells.plates.control_sd[0] *= 1.01
        assert store_snapshot(snapshot, lab.parts.artifacts) != name

    def test_without_plates_are_what_they_always_were(self, lab, campaign):
        lab.measure(campaign["id"], "X,A,1,,,0.9", "Y,B,1,A,2,0.5")
        snapshot = snapshot_of(lab, campaign)
        assert snapshot.screen.wells.plate is None
        name = store_snapshot(snapshot, lab.parts.artifacts)
        description = json.loads(lab.parts.artifacts.get(name))
        assert description["format"] == "nextround-snapshot/1"
        assert "plates" not in description
        assert load_snapshot(name, lab.parts.artifacts).screen.wells.plates is None

    def test_change_with_the_result_of_a_plate(self, lab, campaign, plates):
        _, noisy, wells = plates
        artifacts = lab.parts.artifacts
        before = snapshot_of(lab, campaign)
        path = f"/v1/plates/{noisy['id']}"
        lab.ok(lab.post(f"{path}/normalise", {"rule": "controls-median/1"}))
        same = snapshot_of(lab, campaign)
        assert store_snapshot(same, artifacts) == store_snapshot(before, artifacts)
        vehicle = next(well.name for well in wells if well.role == "vehicle")
        lab.ok(lab.post(f"{path}/flags", {"wells": [vehicle], **WHY}))
        after = snapshot_of(lab, campaign)
        assert len(after.screen.wells) == len(before.screen.wells) - 1
        table = after.screen.wells.plates
        assert table.control_dof.tolist() == [DOF * (VEHICLES - 1), DOF * (VEHICLES - 2)]
        assert table.control_sd[0] == before.screen.wells.plates.control_sd[0]
        assert store_snapshot(after, artifacts) != store_snapshot(before, artifacts)


class TestModels:
    def test_say_which_plate_is_noisy_and_learn_without_flagged_wells(self, lab, campaign, plates):
        _, _, wells = plates
        pair = next(well.name for well in wells if well.role == "sample")
        lab.compounds("D")
        more = {"add_compounds": [{"compound": "D", "doses_um": [0.1, 1.0]}]}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", more, 1))
        with short_training():
            first = lab.recommend(campaign["id"])
            lab.ok(lab.post(f"/v1/plates/{plates[1]['id']}/flags", {"wells": [pair], **WHY}))
            second = lab.recommend(campaign["id"])
        models = [lab.ok(lab.get(f"/v1/models/{one['model_id']}")) for one in (first, second)]
        assert models[1]["n_wells"] == models[0]["n_wells"] - 1
        assert models[1]["snapshot"] != models[0]["snapshot"]
        said = models[0]["evidence"]["plates"]
        assert [one["plate"] for one in said["noisy"]] == ["P2"]
        assert said["noisy"][0]["scale"] > 1.5
        assert "P2 (" in first["reason"]
        assert "P1" not in first["reason"]


class TestVehicles:
    GROUP = MappingProxyType({"vehicle_sd": 0.05, "metrics": {"wells": {"vehicle": 5}}})

    def test_say_how_much_they_scatter_and_what_their_wells_share(self):
        group = {**self.GROUP, "well_noise": [0.04, 13.5], "shared_sd": 0.02}
        assert told_noise(group) == (0.04, 13.5, 0.02)
        assert told_noise({**group, "well_noise": None, "shared_sd": None}) is None

    def test_of_earlier_results_say_how_much_they_scatter_and_by_how_many(self):
        assert told_noise(self.GROUP) == (0.05, 4.0, 0.0)

    @pytest.mark.parametrize("sd", [None, 0.0])
    def test_that_do_not_scatter_say_nothing(self, sd):
        assert told_noise({**self.GROUP, "vehicle_sd": sd}) is None

    def test_of_a_single_well_say_nothing(self):
        assert told_noise({**self.GROUP, "metrics": {"wells": {"vehicle": 1}}}) is None


class TestPlates:
    def test_of_several_lines_are_told_by_line(self):
        wells = [("sub", "P2", "Y"), ("sub", "P2", "X"), ("sub", "P2", "Z"), ("sub", "P1", "Z")]
        at, table = plates_of(wells, NOISE)
        assert at.tolist() == [0, 1, ABSENT, 2]
        assert table.ids == ("P2, line Y", "P2, line X", "P1")
        assert table.control_sd.tolist() == [0.07, 0.06, 0.05]
        assert table.control_dof.tolist() == [4.0, 3.0, 6.0]
        assert table.level_sd.tolist() == [0.03, 0.02, 0.01]

    def test_read_twice_are_two(self):
        at, table = plates_of([("sub", "P1", "X"), ("again", "P1", "X")], NOISE)
        assert at.tolist() == [0, 1]
        assert table.ids == ("P1", "P1 (read 2)")

    def test_without_a_name_or_a_result_are_unknown(self):
        wells = [("sub", None, "X"), ("sub", "other", "X"), ("other", "P1", "X")]
        assert plates_of(wells, NOISE) == (None, None)
        assert plates_of([], NOISE) == (None, None)
