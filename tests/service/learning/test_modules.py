"""Attached data sets that were fitted, in the models of a campaign."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from service.datasets.tables import Dataset, DatasetFit
from service.kit.auth.principal import Principal
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.unit import Unit
from service.learning.snapshots import load_snapshot, read_snapshot, store_snapshot
from tests.lab import Lab
from tests.service.datasets.files import RESPONSES, read, send
from tests.service.learning.bench import COMPOUNDS, start_campaign

FEATURES = {
    "format": "nextround-module/1",
    "name": "proteins",
    "skill": 0.4,
    "perturbations": ["b", "Stranger", "A", "E"],
    "columns": ["one", "two"],
    "compounds": [[1.0, None], [9.0, 9.0], [2.0, 3.0], [None, None]],
    "pair_columns": ["mean", "sd"],
    "pairs": [[0, 2, [0.5, 0.1]], [1, 2, [9.0, 9.0]], [2, 3, [-1.5, 0.2]]],
}


def attach(lab: Lab, campaign: Any, features: dict[str, Any], content: str = RESPONSES) -> str:
    """Attach a data set with a fit of these features; the id of the fit."""
    dataset = read(lab, send(lab, content))
    body = {"dataset_id": dataset["id"]}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/datasets", body))
    return add_fit(lab, dataset["id"], features)


def add_fit(lab: Lab, dataset_id: str, features: dict[str, Any]) -> str:
    artifact = lab.parts.artifacts.put(dump_json(features).encode(), "json")
    nothing = lab.parts.artifacts.put(b"{}", "json")
    identifier = new_id("dfit")
    with lab.parts.database.writing() as session:
        dataset = session.get(Dataset, dataset_id)
        assert dataset is not None
        session.add(
            DatasetFit(
                id=identifier, workspace_id=dataset.workspace_id, dataset_id=dataset_id,
                job_id=new_id("job"), model="stack", skill=features["skill"], report={},
                features=artifact, results=nothing, weights=nothing, metadata_artifact=nothing,
                seed=1, device="cpu", versions={},
            )
        )  # fmt: skip
    return identifier


def snapshot_of(lab: Lab, campaign: Any) -> Any:
    with lab.parts.database.reading() as session:
        unit = Unit(session, Principal.of_job(lab.workspace_id, "job_test"), lab.parts)
        return read_snapshot(unit, campaign["id"])


def stored(lab: Lab, campaign: Any) -> str:
    return store_snapshot(snapshot_of(lab, campaign), lab.parts.artifacts)


@pytest.fixture
def found(lab, campaign):
    """The module of the snapshot, and rows of compounds by name."""
    attach(lab, campaign, FEATURES)
    snapshot = snapshot_of(lab, campaign)
    (module,) = snapshot.modules
    ids = snapshot.screen.compounds.ids
    return module, {snapshot.names[one]: row for row, one in enumerate(ids)}


class TestSnapshots:
    def test_perturbations_are_compounds_by_name(self, found):
        module, row = found
        assert (module.name, module.skill) == ("proteins", 0.4)
        known = {name for name in COMPOUNDS if module.known_compounds[row[name]]}
        assert known == {"A", "B"}, "of E nothing is known, and nothing of C and D"
        assert np.array_equal(module.compounds[row["B"]], [1.0, np.nan], equal_nan=True)
        assert module.pairs[row["A"], row["B"]].tolist() == [0.5, 0.1]
        assert module.pairs[row["E"], row["A"]].tolist() == [-1.5, 0.2]
        assert module.known_pairs.sum() == 4, "a stranger is in no pair"

    def test_it_comes_back_as_it_was_stored(self, lab, campaign, found):
        module, _ = found
        name = stored(lab, campaign)
        (back,) = load_snapshot(name, lab.parts.artifacts).modules
        assert (back.name, back.skill, back.source) == (module.name, 0.4, module.source)
        assert np.array_equal(back.compounds, module.compounds, equal_nan=True)
        assert np.array_equal(back.pairs, module.pairs, equal_nan=True)
        assert json.loads(lab.parts.artifacts.get(name))["format"] == "nextround-snapshot/3"

    def test_without_a_fit_nothing_changes(self, lab, campaign):
        before = stored(lab, campaign)
        dataset = read(lab, send(lab, RESPONSES))
        lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/datasets", {"dataset_id": dataset["id"]}))
        assert stored(lab, campaign) == before
        assert json.loads(lab.parts.artifacts.get(before))["format"] == "nextround-snapshot/1"

    def test_the_newest_fit_counts_and_detaching_ends_it(self, lab, campaign):
        before = stored(lab, campaign)
        first = attach(lab, campaign, FEATURES)
        (module,) = snapshot_of(lab, campaign).modules
        assert module.source == first
        dataset = lab.ok(lab.get("/v1/datasets"))["items"][0]["id"]
        second = add_fit(lab, dataset, {**FEATURES, "skill": 0.0})
        (module,) = snapshot_of(lab, campaign).modules
        assert (module.source, module.skill) == (second, 0.0)
        gone = lab.delete(f"/v1/campaigns/{campaign['id']}/datasets/{dataset}")
        assert gone.status_code == 204
        assert stored(lab, campaign) == before

    def test_two_of_the_same_name_are_told_apart(self, lab, campaign):
        attach(lab, campaign, FEATURES)
        attach(lab, campaign, FEATURES, RESPONSES.replace("-0.8", "-0.9"))
        names = [module.name for module in snapshot_of(lab, campaign).modules]
        assert names[0] == "proteins"
        assert names[1].startswith("proteins (dst")


class TestModels:
    @pytest.fixture
    def always(self, monkeypatch):
        """Any gain is real: what the service says is tested here, not what is beyond noise."""
        monkeypatch.setattr("models.synergy.judging.Gain.is_real", property(lambda own: True))

    def test_training_uses_the_module_and_says_so(self, lab, always):
        campaign = start_campaign(lab, learning={"model": "gp_pairs"})
        bare = lab.train(campaign["id"], seed=3)
        assert "modules" not in bare["evidence"]
        fit = attach(lab, campaign, FEATURES)
        model = lab.train(campaign["id"], seed=3)
        (said,) = model["evidence"]["modules"]
        assert (said["name"], said["source"], said["skill"]) == ("proteins", fit, 0.4)
        assert (said["n_compounds"], said["n_pairs"]) == (2, 2)
        assert (said["used"], said["weight"]) == (True, 0.4)
        assert list(model["evidence"]["convergence"]["modules"]) == ["proteins"]
        assert forecasts(lab, bare) != forecasts(lab, model), "the model that is kept has it"

    def test_a_recommendation_names_it(self, lab, always):
        campaign = start_campaign(lab, learning={"model": "gp_pairs"})
        attach(lab, campaign, FEATURES)
        reason = lab.recommend(campaign["id"], seed=3)["reason"]
        assert "Module proteins (skill 0.40, knows 2 of 5 compounds and 2 pairs) is used" in reason

    def test_without_skill_it_is_the_model_without(self, lab):
        campaign = start_campaign(lab, learning={"model": "gp_pairs"})
        bare = lab.train(campaign["id"], seed=3)
        attach(lab, campaign, {**FEATURES, "skill": 0.0})
        model = lab.train(campaign["id"], seed=3)
        assert forecasts(lab, bare) == forecasts(lab, model)
        (said,) = model["evidence"]["modules"]
        assert not said["used"]
        assert "no skill" in said["words"]

    def test_features_of_another_format_fail_with_the_fix(self, lab, campaign):
        attach(lab, campaign, {**FEATURES, "format": "nextround-module/9"})
        failed = lab.run(lab.post(f"/v1/campaigns/{campaign['id']}/models", {}))
        assert failed["status"] == "failed"
        assert "fit the data set again" in failed["problem"]["detail"]


def forecasts(lab: Lab, model: Any) -> list[float]:
    """Of a few blocks by one model."""
    items = [
        {"cell_line": line, "doses": [{"compound": one} for one in pair]}
        for pair, line in ((("A", "B"), "X"), (("D", "E"), "Y"))
    ]
    path = f"/v1/campaigns/{model['campaign_id']}/predictions"
    asked = lab.post(path, {"model_id": model["id"], "items": items})
    return [row["mean"] for row in lab.result(asked, "prediction")["items"]]
