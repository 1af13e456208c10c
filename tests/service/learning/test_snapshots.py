"""Rows to tensors: what a model sees of a campaign, and that it is the same every time."""

import numpy as np
import pytest

from models.screen import ABSENT
from service.kit.auth.principal import Principal
from service.kit.unit import Unit
from service.learning.snapshots import (
    artifacts_of,
    load_snapshot,
    read_snapshot,
    store_snapshot,
)


def unit_of(lab, session):
    return Unit(session, Principal.of_job(lab.workspace_id, "job_test"), lab.parts)


def snapshot_of(lab, campaign):
    with lab.parts.database.reading() as session:
        return read_snapshot(unit_of(lab, session), campaign["id"])


def wells_of(snapshot):
    """(line, {compound: dose}, viability) of each well, by name."""
    screen, names = snapshot.screen, snapshot.names
    wells = screen.wells
    return [
        (
            names[screen.cell_lines.ids[line]],
            {
                names[screen.compounds.ids[c]]: dose
                for c, dose in zip(compounds, doses, strict=True)
                if c != ABSENT
            },
            viability,
        )
        for line, compounds, doses, viability in zip(
            wells.cell_line, wells.compounds, wells.doses_um, wells.viability, strict=True
        )
    ]


def features(lab, **lines):
    """Register cell lines with features; None for a line without."""
    body = [{"name": name, "features": values} for name, values in lines.items()]
    lab.ok(lab.post("/v1/cell-lines", {"cell_lines": body}))


class TestWells:
    def test_are_the_current_ones(self, lab):
        campaign = lab.campaign()
        lab.measure(campaign["id"], "X,A,1,,,0.9", "Y,B,1,A,2,0.5", "X,,,,,1", "X,C,1,,,0.7")
        wells = lab.wells(campaign["id"])
        fix, gone = {"value": 0.8, "reason": "typo"}, {"withdrawn": True, "reason": "dirt"}
        lab.ok(lab.post(f"/v1/measurements/{wells[0]['id']}/corrections", fix))
        lab.ok(lab.post(f"/v1/measurements/{wells[3]['id']}/corrections", gone))
        assert wells_of(snapshot_of(lab, campaign)) == [
            ("Y", {"A": 2.0, "B": 1.0}, 0.5),
            ("X", {}, 1.0),
            ("X", {"A": 1.0}, 0.8),
        ]

    def test_of_an_empty_campaign(self, lab):
        snapshot = snapshot_of(lab, lab.campaign())
        assert len(snapshot.screen.wells) == 0
        assert len(snapshot.screen.compounds) == 3

    def test_of_three_compounds(self, lab):
        campaign = lab.campaign()
        header = "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,compound_3,dose_3_um"
        lab.ok(lab.submit(campaign["id"], f"{header},viability_fraction\nX,C,3,B,2,A,1,0.1\n"))
        assert wells_of(snapshot_of(lab, campaign)) == [("X", {"A": 1.0, "B": 2.0, "C": 3.0}, 0.1)]

    def test_of_this_campaign_and_no_other(self, lab, other_lab):
        campaign, other, theirs = lab.campaign(), lab.campaign(), other_lab.campaign()
        lab.measure(other["id"], "X,A,1,,,0.9")
        other_lab.measure(theirs["id"], "X,A,1,,,0.9")
        assert wells_of(snapshot_of(lab, campaign)) == []
        with lab.parts.database.reading() as session:
            stolen = read_snapshot(unit_of(other_lab, session), other["id"])
        assert len(stolen.screen.compounds) == len(stolen.screen.wells) == 0


class TestFeatures:
    def test_those_that_all_described_lines_share(self, lab):
        lab.compounds("A", "B")
        features(lab, X={"EGFR": 1.5, "TP53": 2.0, "only X": 9.0}, Y={"TP53": -1.0, "EGFR": 0.0},
                 Z=None)  # fmt: skip
        campaign = lab.campaign(compounds=["A", "B"], cell_lines=["X", "Y", "Z"])
        snapshot = snapshot_of(lab, campaign)
        assert snapshot.feature_names == ("EGFR", "TP53")
        table = snapshot.screen.cell_lines
        assert table.features.tolist() == [[1.5, 2.0], [0.0, -1.0], [0.0, 0.0]]
        assert table.has_features.tolist() == [True, True, False]

    def test_a_line_whose_features_were_taken_away_does_not_take_those_of_others(self, lab):
        lab.compounds("A", "B")
        features(lab, X={"EGFR": 1.5}, Y={"EGFR": 2.5})
        campaign = lab.campaign(compounds=["A", "B"])
        line = campaign["cell_lines"][1]["id"]
        lab.ok(lab.patch(f"/v1/cell-lines/{line}", {"features": {}}, 1))
        snapshot = snapshot_of(lab, campaign)
        assert snapshot.feature_names == ("EGFR",)
        assert snapshot.screen.cell_lines.has_features.tolist() == [True, False]

    def test_fingerprints_of_structures(self, lab):
        body = [{"name": "A", "smiles": "CCO"}, {"name": "B"}, {"name": "C", "smiles": "CCN"}]
        lab.ok(lab.post("/v1/compounds", {"compounds": body}))
        lab.cell_lines("X", "Y")
        table = snapshot_of(lab, lab.campaign()).screen.compounds
        assert table.has_structure.tolist() == [True, False, True]
        assert table.fingerprints[0].any()
        assert not table.fingerprints[1].any()
        assert (table.fingerprints[0] != table.fingerprints[2]).any()


class TestStoring:
    def test_what_is_stored_comes_back(self, lab):
        lab.compounds("A", "B", "C")
        features(lab, X={"EGFR": 1.5}, Y=None)
        campaign = lab.campaign()
        lab.measure(campaign["id"], "X,A,1,,,0.9", "Y,B,1,A,2,0.5")
        snapshot = snapshot_of(lab, campaign)
        name = store_snapshot(snapshot, lab.parts.artifacts)
        back = load_snapshot(name, lab.parts.artifacts)
        assert wells_of(back) == wells_of(snapshot)
        assert (back.names, back.doses_um) == (snapshot.names, snapshot.doses_um)
        assert back.feature_names == ("EGFR",)
        for table in ("compounds", "cell_lines"):
            assert getattr(back.screen, table).ids == getattr(snapshot.screen, table).ids
        assert np.array_equal(back.screen.cell_lines.features, snapshot.screen.cell_lines.features)
        assert all(map(lab.parts.artifacts.exists, artifacts_of(name, lab.parts.artifacts)))

    @pytest.mark.parametrize("change", ["nothing", "a well", "a name"])
    def test_the_name_is_the_hash_of_what_the_model_saw(self, lab, change):
        campaign = lab.campaign()
        lab.measure(campaign["id"], "X,A,1,,,0.9")
        before = store_snapshot(snapshot_of(lab, campaign), lab.parts.artifacts)
        if change == "a well":
            lab.measure(campaign["id"], "X,A,2,,,0.8")
        if change == "a name":
            lab.ok(lab.patch(f"/v1/compounds/{campaign['compounds'][0]['id']}", {"name": "Ay"}, 1))
        after = store_snapshot(snapshot_of(lab, campaign), lab.parts.artifacts)
        assert (after == before) == (change == "nothing")
