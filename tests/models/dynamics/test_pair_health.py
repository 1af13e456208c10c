"""The report on a fit of a drug pair: replicates that contradict each other, chains, counts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.dynamics import pair_health
from models.dynamics.drug_pair import PairData, PairModel, PairOptions
from models.dynamics.pair_health import contradictions, describe_pair_health, distances
from models.dynamics.pair_posterior import Correction, DrugPairPosterior
from models.dynamics.simulate_pair import template

FINE = {"rhat_max": 1.01, "ess_bulk_min": 900.0, "ess_tail_min": 500.0, "divergent": 0.0}


def posterior(odd: int | None = None, **diagnostics: Any) -> DrugPairPosterior:
    """A posterior whose draws say nothing, of readings that do."""
    series = template()
    rng = np.random.default_rng(0)
    noise = np.exp(0.05 * rng.normal(size=series.values.shape))
    values = series.values * noise * np.exp(0.03 * rng.normal(size=(len(series), 1, 1)))
    if odd is not None:
        values[odd, 0] *= 2.0
    model = PairModel(PairData.of(replace(series, values=values)), PairOptions())
    draws, wells = 3, len(series)
    empty = Correction(np.zeros((0, 3, 9)), np.zeros((3, 0, 3, 9)), np.ones(2), (None,) * 3)
    return DrugPairPosterior(
        model, model.centre.expand(draws, -1), torch.zeros(draws, 3, 9).double(),
        torch.zeros(draws, wells, len(model.hierarchy.individual)).double(),
        {**FINE, **diagnostics}, ("A", "B"), empty,
    )  # fmt: skip


def test_replicates_that_agree_are_no_warning() -> None:
    report = describe_pair_health(posterior())
    assert report["replicates"] == {"groups": 9, "wells": []}
    assert report["warnings"] == []
    assert report["counts"]["readings"] == 27 * 3 * 9
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_well_unlike_its_replicates_is_to_be_measured_again() -> None:
    fitted = posterior(odd=13)
    (well, *others) = sorted(contradictions(fitted)["wells"], key=lambda row: -abs(row["z"]))
    assert (well["name"], well["channel"]) == ("well 13", "phase")
    assert well["z"] > 5
    # Its replicates stand on the other side of their mean, at half the distance.
    assert {row["name"] for row in others} <= {"well 12", "well 14"}
    assert all(row["z"] < 0 for row in others)
    (said,) = describe_pair_health(fitted)["warnings"]
    assert "measure again" in said
    assert "well 13" in said


def test_distances_are_those_of_replicates_alone() -> None:
    rng = np.random.default_rng(1)
    cell = np.repeat(np.arange(300), 2)
    values = rng.normal(size=(600, 3, 1)) + 10.0 * rng.normal(size=(300, 3, 1))[cell]
    values[:2, 2] = np.nan
    # So wide a bend leaves readings as they are, up to a factor.
    found = distances(values, np.full((3, 1), 1e6), cell)
    assert np.isnan(found[:2, 2]).all()
    assert np.nanstd(found) == pytest.approx(1.0, abs=0.08)
    assert np.isnan(distances(values, np.ones((3, 1)), np.arange(600))).all()


@pytest.mark.parametrize(
    ("diagnostics", "says"),
    [
        ({"rhat_max": 1.2}, "do not agree"),
        ({"rhat_max": float("nan")}, "do not agree"),
        ({"ess_bulk_min": 30.0}, "count for 30"),
        ({"divergent": 0.05}, "5.0% of the trajectories"),
    ],
)
def test_chains_that_did_not_settle_say_so(diagnostics: dict[str, float], says: str) -> None:
    report = describe_pair_health(posterior(**diagnostics))
    assert not report["chains"]["agree"]
    assert says in report["warnings"][0]


def test_few_readings_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert posterior().model.readings.observed.sum() == 729
    monkeypatch.setattr(pair_health, "FEW_READINGS", 1e3)
    assert "priors speak" in describe_pair_health(posterior())["warnings"][0]
