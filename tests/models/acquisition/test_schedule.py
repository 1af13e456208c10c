"""From exploring to finding, with the reason."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from models.acquisition.schedule import (
    BOTH,
    EXPLORE,
    FIND,
    ScheduleRules,
    judge_evidence,
    mixed_values,
    propose_step,
    rounds_within_budget,
)
from models.screen import ScreenError


def evidence(spearman: float | None = 0.5, gain: float = 0.2, n: int = 100) -> dict[str, Any]:
    return {
        "n_held_out": n,
        "model": {"spearman": spearman, "elpd": -3.0},
        "baselines": {"mean": {"elpd": -3.9}, "additive": {"elpd": -3.0 - gain}},
    }


def test_a_planned_campaign_moves_from_exploring_to_finding() -> None:
    steps = [propose_step(r, rounds_planned=5, evidence=evidence()) for r in range(1, 7)]
    assert [s.phase for s in steps] == [BOTH] * 4 + [FIND] * 2
    shares = [s.explore_share for s in steps]
    assert shares == pytest.approx([0.25, 0.1875, 0.125, 0.0625, 0.0, 0.0])
    assert [s.kappa for s in steps] == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0, 0.0])
    assert {s.acquisition for s in steps} == {"hit_probability"}
    assert "Round 2 of 5" in steps[1].reason
    assert "3 more can use what this one learns" in steps[1].reason
    assert "19 % of the batch explores by thompson" in steps[1].reason
    assert "Last of 5 planned rounds" in steps[4].reason


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (None, "no model has been checked"),
        ({"model": None, "n_held_out": 0}, "no model has been checked"),
        (evidence(0.05), "does not order blocks beyond chance"),
        (evidence(-0.8), "does not order blocks beyond chance"),
        (evidence(gain=-0.1), "a baseline forecasts as well"),
        (evidence(None), "cannot show an order"),
        (evidence(1.0, n=3), "cannot show an order"),
    ],
)
def test_a_model_that_knows_nothing_explores_until_the_last_round(
    seen: dict[str, Any] | None, words: str
) -> None:
    step = propose_step(2, rounds_planned=5, evidence=seen)
    assert (step.phase, step.acquisition, step.explore_share) == (EXPLORE, "thompson", 1.0)
    assert words in step.reason
    last = propose_step(5, rounds_planned=5, evidence=seen)
    assert (last.phase, last.acquisition, last.explore_share) == (FIND, "hit_probability", 0.0)
    assert words in last.reason


def test_without_an_end_a_fixed_share_explores() -> None:
    steps = [propose_step(r, rounds_planned=None, evidence=evidence()) for r in (1, 50)]
    assert [s.explore_share for s in steps] == [0.1, 0.1]
    assert steps[0].kappa == 1.0


def test_certainty_grows_with_the_held_out_blocks() -> None:
    few, many = judge_evidence(evidence(0.3, n=20)), judge_evidence(evidence(0.3, n=200))
    assert not few.good
    assert many.good
    bound = math.tanh(math.atanh(0.3) - 1.6448536 * math.sqrt(1.06 / 197))
    assert many.rank_low == pytest.approx(bound)
    assert many.gain == pytest.approx(0.2)
    assert judge_evidence(evidence(1.0)).good


def test_rules_choose_the_names_and_are_data() -> None:
    rules = ScheduleRules(finder="ucb", explorer="random", most_explored=0.5, most_kappa=1.0)
    step = propose_step(2, rounds_planned=3, evidence=evidence(), rules=rules)
    assert (step.acquisition, step.explorer) == ("ucb", "random")
    assert (step.explore_share, step.kappa) == (0.25, 0.5)
    assert ScheduleRules.from_dict(json.loads(json.dumps(dataclasses.asdict(rules)))) == rules
    for wrong in (
        {"finder": "luck"},
        {"most_explored": 1.5},
        {"open_ended": -0.1},
        {"most_kappa": math.nan},
        {"rounds": 3},
    ):
        with pytest.raises(ScreenError):
            ScheduleRules.from_dict(wrong)
    with pytest.raises(ScreenError, match="counted from 1"):
        propose_step(0, rounds_planned=3, evidence=None)


def test_a_budget_plans_the_rounds() -> None:
    assert rounds_within_budget(1, 96, 24) == 4
    assert rounds_within_budget(3, 25, 24) == 4
    assert rounds_within_budget(3, 24, 24) == 3
    with pytest.raises(ScreenError):
        rounds_within_budget(3, 0, 24)


def test_a_mixture_holds_in_every_prefix() -> None:
    finding, exploring = np.arange(20.0), np.random.default_rng(0).random(20)
    order = np.argsort(-mixed_values(finding, exploring, 0.25, 12), kind="stable")
    assert sorted(order.tolist()) == list(range(20))
    explored = order[[3, 7, 11]]
    found = np.delete(order[:12], [3, 7, 11])
    assert np.all(np.diff(finding[found]) < 0)
    best = np.argsort(-exploring)
    # The first explorer is the best that finding had not yet named.
    assert explored[0] == next(row for row in best if row not in order[:3])
    assert np.all(np.diff(finding[order[12:]]) < 0)


@pytest.mark.parametrize(("share", "wanted"), [(0.0, [2, 1, 0, 3]), (1.0, [0, 3, 1, 2])])
def test_a_mixture_of_one_is_that_one(share: float, wanted: list[int]) -> None:
    finding, exploring = np.array([2.0, 3.0, 4.0, 1.0]), np.array([9.0, 1.0, 0.0, 5.0])
    values = mixed_values(finding, exploring, share, 99)
    assert np.argsort(-values).tolist() == wanted
    with pytest.raises(ScreenError):
        mixed_values(finding, exploring[:2], share, 3)


def test_a_mixture_keeps_the_unit_of_finding_and_its_order_through_ties() -> None:
    rng = np.random.default_rng(1)
    for finding in (rng.random(30), np.round(rng.random(30), 1), np.full(30, 0.2)):
        exploring = rng.random(30)
        values = mixed_values(finding, exploring, 0.4, 20)
        assert np.sort(values) == pytest.approx(np.sort(finding), abs=1e-12)
        assert len(np.unique(values[np.argsort(-values)[:20]])) == 20
        spread = np.argsort(-mixed_values(finding + 1e-3 * rng.random(30), exploring, 0.4, 20))
        assert set(np.argsort(-values)[:1]) <= set(np.flatnonzero(finding == finding.max()))
        assert sorted(spread) == list(range(30))
    equal = mixed_values(np.full(6, 0.2), np.arange(6.0), 0.5, 4)
    assert np.argsort(-equal, kind="stable").tolist() == [0, 5, 1, 4, 2, 3]
