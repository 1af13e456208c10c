"""What a round makes of its pool: the step, the mended chances, the mixture."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from models.acquisition.hit_calibration import ForecastHistory, HitCalibration
from models.acquisition.pool import PoolRequest, PoolScores, summarise_pool
from models.acquisition.rules import RoundRules
from models.acquisition.schedule import BOTH, EXPLORE, FIND, mixed_values
from models.acquisition.valuing import FIXED, choose_step, step_without_model, value_pool
from models.evaluation.past_campaign import PastCampaign
from models.objectives.measured import MeasuredObjective, measured_scores
from models.objectives.scores import measure_blocks
from models.pharmacology.simulate import simulate_screen
from tests.models.acquisition.test_outlook import AT, USABLE, Scores

KNOWING = {
    "n_held_out": 200,
    "model": {"spearman": 0.6, "elpd": -3.0},
    "baselines": {"mean": {"elpd": -3.4}},
}
HELD_OUT = {"threshold": 10.0, "chance": [0.3] * 60, "hit": [1] * 9 + [0] * 51}
RULES = RoundRules(batch_size=10, draws=32, ranked=20, acquisition="auto", rounds_planned=5)


@cache
def measured() -> MeasuredObjective:
    campaign = PastCampaign.of_simulation(simulate_screen(6, 2, 2, 0.05, 3), "bliss_mean", 1, 3)
    return measured_scores(measure_blocks(campaign.reveal(np.arange(20)), "bliss_mean"))


def value(
    rules: RoundRules = RULES,
    number: int = 2,
    history: ForecastHistory | None = None,
    **evidence: Any,
) -> PoolScores:
    return value_pool(
        Scores(),
        {**KNOWING, **evidence},
        measured(),
        AT,
        USABLE,
        rules,
        4,
        round_number=number,
        history=history or ForecastHistory.none(),
    )


def plain(acquisition: str) -> PoolScores:
    request = PoolRequest(acquisition, 10.0, 1.0, 32, 4, 40)
    return summarise_pool(Scores(), AT, USABLE, request)


def test_a_step_that_the_rules_name() -> None:
    found = value(replace(RULES, acquisition="greedy"))
    assert np.array_equal(found.acquisition, plain("greedy").acquisition)
    assert found.step["phase"] == FIXED
    assert found.step["reason"] == "The rules ask for greedy."
    assert found.exploring is None
    assert found.calibration is None
    assert np.array_equal(found.raw_hit_probability, found.hit_probability)


def test_auto_mixes_finding_and_exploring() -> None:
    found = value()
    assert found.step["phase"] == BOTH
    assert found.step["explore_share"] == pytest.approx(0.1875)
    finding, exploring = plain("hit_probability"), plain("thompson")
    assert np.array_equal(found.exploring, exploring.acquisition)
    rows = np.flatnonzero(USABLE)
    mixed = mixed_values(
        finding.acquisition[rows], exploring.acquisition[rows], found.step["explore_share"], 40
    )
    assert np.array_equal(found.acquisition[rows], mixed)
    # The unit stays that of finding: a sum over the best is at most the expected hits.
    top = np.sort(found.acquisition[rows])[::-1][:10]
    assert top == pytest.approx(np.sort(finding.acquisition[rows])[::-1][:10])


def test_auto_explores_what_it_cannot_judge_and_finds_in_the_end() -> None:
    lost = value(model={"spearman": 0.0, "elpd": -3.0})
    assert lost.step["phase"] == EXPLORE
    assert np.array_equal(lost.acquisition, plain("thompson").acquisition)
    last = value(number=5)
    assert last.step["phase"] == FIND
    assert np.array_equal(last.acquisition, plain("hit_probability").acquisition)
    assert json.loads(json.dumps([lost.step, last.step])) == [lost.step, last.step]


def test_chances_are_mended_and_their_order_stays() -> None:
    rules = replace(RULES, acquisition="hit_probability")
    raw = value(rules)
    history = ForecastHistory(np.full(100, 0.5), np.arange(100) < 30)
    found = value(rules, history=history, hit_forecast=HELD_OUT)
    assert found.calibration is not None
    assert json.loads(json.dumps(found.calibration)) == found.calibration
    assert found.calibration["n_blocks"] == 160
    law = HitCalibration.from_dict(found.calibration)
    assert np.array_equal(found.raw_hit_probability, raw.hit_probability)
    assert np.array_equal(found.hit_probability, law.apply(raw.hit_probability))
    assert np.array_equal(found.acquisition, found.hit_probability)
    order, before = np.argsort(-found.acquisition), np.argsort(-raw.acquisition)
    assert np.array_equal(order, before)
    assert found.hit_probability.sum() < 0.8 * raw.hit_probability.sum()
    assert found.outlook is not None
    expected = found.hit_probability[USABLE].sum()
    assert found.outlook["expected_left"] == pytest.approx(expected)
    # The mean over worlds is near the best guess: laws that are not certain bend it.
    assert found.outlook["left"]["expected"] == pytest.approx(expected, rel=0.2)
    assert "160 forecasts" in found.outlook["reason"]
    assert found.outlook["found"] == int((measured().value > 10.0).sum())


def test_only_the_hit_probability_itself_is_an_acquisition_that_is_mended() -> None:
    found = value(replace(RULES, acquisition="greedy"), hit_forecast=HELD_OUT)
    assert np.array_equal(found.acquisition, plain("greedy").acquisition)


def test_the_same_to_the_bit() -> None:
    one, other = (value(hit_forecast=HELD_OUT) for _ in range(2))
    assert np.array_equal(one.acquisition, other.acquisition)
    assert (one.step, one.calibration, one.outlook) == (
        other.step,
        other.calibration,
        other.outlook,
    )


def test_without_a_model_the_step_says_why() -> None:
    random = step_without_model(replace(RULES, acquisition="random"), "as asked")
    assert (random["acquisition"], random["phase"], random["reason"]) == (
        "random",
        FIXED,
        "as asked",
    )
    spread = step_without_model(RULES, "too few blocks")
    assert (spread["acquisition"], spread["explore_share"]) == ("space_filling", 1.0)
    assert set(spread) == set(value().step)


def test_the_rules_name_kappa_and_the_schedule_its_own() -> None:
    assert choose_step(replace(RULES, acquisition="ucb", kappa=3.0), 1, None).kappa == 3.0
    assert choose_step(RULES, 1, KNOWING).kappa == 2.0
