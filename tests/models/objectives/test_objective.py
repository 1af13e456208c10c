"""Objectives as data: what they refuse, their weights, their way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from models.objectives.objective import (
    BLOCK,
    PAIR,
    Efficacy,
    Objective,
    Pareto,
    Score,
    Selectivity,
    WeightedSum,
    candidate_unit,
    describe,
    line_weights,
    lines_of,
    objective_from_dict,
)
from models.screen import ScreenError

SELECTIVE = Selectivity(kill=(("a", 1.0), ("b", 3.0)), spare=(("c", 2.0),))
SYNERGY_IN_ALL = Selectivity(kill=(("a", 1.0), ("c", 1.0)), of=Score("hsa_max"))
ALL: list[Objective] = [
    Score("hsa_mean"),
    Efficacy("max"),
    SELECTIVE,
    WeightedSum(((1.0, Score()), (-0.5, Efficacy()))),
    WeightedSum(((1.0, SELECTIVE), (0.25, SYNERGY_IN_ALL))),
    Pareto((Score(), Efficacy()), (0.0, 20.0)),
    Pareto((SELECTIVE, SYNERGY_IN_ALL, WeightedSum(((2.0, SELECTIVE),)))),
]


@pytest.mark.parametrize("objective", ALL)
def test_json_and_back(objective: Objective) -> None:
    data = json.loads(json.dumps(dataclasses.asdict(objective)))
    assert objective_from_dict(data) == objective
    assert describe(objective)


def test_units_and_lines() -> None:
    assert [candidate_unit(objective) for objective in ALL] == [
        BLOCK,
        BLOCK,
        PAIR,
        BLOCK,
        PAIR,
        BLOCK,
        PAIR,
    ]
    assert lines_of(ALL[6]) == ("a", "b", "c")
    assert lines_of(ALL[3]) == ()


def test_weights_of_lines_are_means_and_their_difference() -> None:
    weights = line_weights(SELECTIVE, ("c", "b", "a"))
    assert weights[Efficacy()].tolist() == [-1.0, 0.75, 0.25]
    mixed = line_weights(ALL[4], ("a", "b", "c"))  # type: ignore[arg-type]
    assert mixed[Efficacy()].tolist() == [0.25, 0.75, -1.0]
    assert mixed[Score("hsa_max")].tolist() == [0.125, 0.0, 0.125]


def test_terms_of_one_quantity_add_up() -> None:
    twice = WeightedSum(((1.0, Score()), (0.5, Score()), (-1.0, Efficacy())))
    assert {q.kind: w.tolist() for q, w in line_weights(twice, ()).items()} == {
        "score": [1.5],
        "efficacy": [-1.0],
    }


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ScreenError, match="unknown score"):
        Score("zip")
    with pytest.raises(ScreenError, match="unknown summary"):
        Efficacy("median")
    with pytest.raises(ScreenError, match="at least one cell line to kill"):
        Selectivity(kill=())
    with pytest.raises(ScreenError, match="named twice"):
        Selectivity(kill=(("a", 1.0),), spare=(("a", 1.0),))
    with pytest.raises(ScreenError, match="must be positive"):
        Selectivity(kill=(("a", 0.0),))
    with pytest.raises(ScreenError, match="must not be 0"):
        WeightedSum(((0.0, Score()),))
    with pytest.raises(ScreenError, match="do not mix"):
        WeightedSum(((1.0, Score()), (1.0, SELECTIVE)))
    with pytest.raises(ScreenError, match="needs 2 to 4"):
        Pareto((Score(),))
    with pytest.raises(ScreenError, match="listed twice"):
        Pareto((Score(), Score()))
    with pytest.raises(ScreenError, match="2 finite values"):
        Pareto((Score(), Efficacy()), (0.0,))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "wish"},
        {"kind": "score", "threshold": 3},
        {"kind": "efficacy", "summary": "none"},
        {"kind": "selectivity", "spare": [["a", 1]]},
        {"kind": "selectivity", "kill": [["a", "much"]]},
        {"kind": "weighted_sum"},
        {"kind": "weighted_sum", "terms": [[1, {"kind": "pareto", "objectives": []}]]},
        {"kind": "pareto", "objectives": 3},
    ],
)
def test_broken_settings_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ScreenError):
        objective_from_dict(data)
