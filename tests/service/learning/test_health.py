"""GET /v1/models/{id}/measure-again, and what else a fit says of its own health."""

from __future__ import annotations

from typing import Any

import pytest

from models import rounds
from service.learning.health import describe_again, warnings_of, with_names


def _block(first: int, second: int, line: int, score: float) -> dict[str, Any]:
    return {
        "compounds": [first, second], "cell_line": line, "score": score,
        "standard_error": 2.0, "expected": 5.0,
    }  # fmt: skip


PAIR = {
    "suspect": _block(0, 1, 1, 43.1), "other": _block(0, 2, 1, 3.2),
    "distance": 0.01, "z": 14.1, "p": 1e-9, "q": 3e-7,
}  # fmt: skip
AGAIN = {
    "data_slope": 9.0, "fitted_slope": 2.0, "near": 0.1, "tested": 12, "flagged": 1,
    "error_spread": 1.0, "pairs": [PAIR],
}  # fmt: skip


@pytest.fixture
def doubtful(monkeypatch):
    """A fit with a contradiction and a warning, whatever the data."""
    real = rounds.describe_health

    def describe(posterior: Any, training: Any, seed: int, *more: Any) -> dict[str, Any]:
        return {
            **real(posterior, training, seed, *more),
            "measure_again": AGAIN,
            "warnings": ["3 of 16 channels have collapsed."],
        }

    monkeypatch.setattr(rounds, "describe_health", describe)


class TestTheModel:
    def test_has_a_report_on_its_health(self, lab, campaign):
        health = lab.train(campaign["id"])["evidence"]["health"]
        memory = health["memorisation"]
        assert memory["n"] == 6
        assert memory["replicates"]["points"] == 0  # every treatment in one well
        assert "fewer than 30" in memory["words"]
        assert health["warnings"] == []

    def test_a_warning_is_told_and_logged(self, lab, campaign, doubtful, capsys):
        model = lab.train(campaign["id"])
        (event,) = lab.every("/v1/events", type="model.warned")
        assert (event["subject_id"], event["data"]) == (model["id"], {"warnings": 1})
        assert "3 of 16 channels" in "".join(capsys.readouterr())

    def test_without_a_warning_nothing_is_told(self, lab, campaign):
        lab.train(campaign["id"])
        assert lab.every("/v1/events", type="model.warned") == []


class TestMeasureAgain:
    def test_names_both_experiments_and_says_why(self, lab, campaign, doubtful):
        model = lab.train(campaign["id"])
        answer = lab.get(f"/v1/models/{model['id']}/measure-again").json()
        ids = {row["name"]: row["id"] for row in campaign["compounds"]}
        order = sorted(ids.values())
        names = {identifier: name for name, identifier in ids.items()}
        (item,) = answer["items"]
        assert item["suspect"]["compounds"] == order[:2]
        assert item["suspect"]["compound_names"] == [names[one] for one in order[:2]]
        assert item["suspect"]["cell_line_name"] in ("X", "Y")
        called = " + ".join(item["suspect"]["compound_names"])
        assert item["words"].startswith(f"Measure {called} in ")
        assert "scored 43.1 +- 2.0" in item["words"]
        assert (answer["tested"], answer["flagged"]) == (12, 1)
        assert "1 contradict each other" in answer["words"]

    def test_of_a_quiet_fit_says_so(self, lab, campaign):
        model = lab.train(campaign["id"])
        answer = lab.get(f"/v1/models/{model['id']}/measure-again").json()
        assert answer["items"] == []
        assert answer["words"]

    def test_of_nothing(self, lab):
        lab.refused(lab.get("/v1/models/mdl_00000000000000000000000000/measure-again"), 404)


class TestWords:
    def test_an_older_model_knows_nothing(self):
        found = describe_again({"n_train": 3})
        assert (found["tested"], found["items"]) == (0, [])
        assert "older" in found["words"]
        assert warnings_of({"n_train": 3}) == []
        assert with_names({"n_train": 3}, [], [], {}) == {"n_train": 3}

    def test_nothing_near_and_nothing_wrong_are_told_apart(self):
        quiet = {**AGAIN, "flagged": 0, "pairs": []}
        nowhere = {**quiet, "tested": 0}
        assert "none contradict" in describe_again({"health": {"measure_again": quiet}})["words"]
        assert "so near" in describe_again({"health": {"measure_again": nowhere}})["words"]

    def test_errors_that_were_widened_are_said(self):
        wide = {**AGAIN, "error_spread": 2.4, "pairs": []}
        assert "2.4 times" in describe_again({"health": {"measure_again": wide}})["words"]
