"""Rules are data: checked when made, the same after JSON, wells and money counted right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.acquisition.lab_rules import NO_LIMIT, LabRules
from models.screen import ScreenError


def test_rules_survive_json() -> None:
    rules = LabRules(
        plates=8,
        blocks_per_plate=24,
        never_together=(frozenset({4, 1}), frozenset({2, 9, 7})),
        stock={7: 3, 2: 0},
        budget=1000.0,
    )
    again = LabRules.from_dict(json.loads(json.dumps(rules.as_dict())))
    assert again == rules
    assert hash(again) == hash(rules)
    assert rules.never_together == ((1, 4), (2, 7, 9))
    with pytest.raises(ScreenError, match="no such laboratory rule: colour"):
        LabRules.from_dict({"colour": "red"})


@pytest.mark.parametrize(
    ("asked", "wells", "capacity"),
    [
        ({"block_shape": "matrix", "doses": 4, "wells_per_plate": 384}, 16, 24),
        (
            {
                "block_shape": "matrix",
                "doses": 4,
                "wells_per_plate": 384,
                "controls_per_plate": 32,
                "replicates": 2,
            },
            32,
            11,
        ),
        ({"block_shape": "diagonal", "doses": 5, "wells_per_plate": 96}, 5, 19),
        (
            {"block_shape": "informed", "doses": 4, "block_wells": 6, "wells_per_plate": 96},
            6,
            16,
        ),
        ({"wells_per_plate": 96, "controls_per_plate": 6}, 1, 90),
        (
            {
                "block_shape": "matrix",
                "doses": 4,
                "wells_per_plate": 384,
                "single_agents": "per_plate",
                "compounds_per_plate": 12,
            },
            16,
            21,
        ),
        (
            {
                "block_shape": "matrix",
                "doses": 4,
                "wells_per_plate": 384,
                "single_agents": "per_block",
            },
            24,
            16,
        ),
        ({"wells_per_plate": 96, "blocks_per_plate": 20}, 1, 20),
        ({"wells_per_plate": 10, "blocks_per_plate": 20}, 1, 10),
    ],
)
def test_wells_say_how_many_blocks_a_plate_holds(
    asked: dict[str, Any], wells: int, capacity: int
) -> None:
    rules = LabRules(plates=2, **asked)
    assert rules.wells_per_block == wells
    assert rules.plate_capacity == capacity
    assert rules.asked == 2 * capacity


def test_costs_add_up() -> None:
    rules = LabRules(
        plates=3,
        wells_per_plate=96,
        controls_per_plate=8,
        block_shape="diagonal",
        doses=4,
        cost_per_plate=50.0,
        cost_per_block=1.0,
        cost_per_well=0.5,
        budget=120.0,
    )
    assert rules.plate_cost == 54.0
    assert rules.block_cost == 3.0
    limits = rules.limits()
    assert [limits.payable(plates) for plates in (1, 2, 3)] == [22, 4, -1]


def test_a_sum_of_prices_that_meets_the_budget_is_paid() -> None:
    rules = LabRules(batch_size=9, cost_per_block=0.1, budget=0.3)
    assert rules.limits().payable(1) == 3


def test_plates_follow_from_the_batch() -> None:
    limits = LabRules(batch_size=50, blocks_per_plate=24).limits()
    assert (limits.plates, limits.blocks, limits.batch) == (3, 24, 50)
    free = LabRules(batch_size=50).limits()
    assert (free.plates, free.blocks, free.compounds) == (1, 50, NO_LIMIT)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"plates": 0}, "plates is 0"),
        ({"batch_size": True}, "batch size is True"),
        ({"compounds_per_plate": 1}, "needs 2 compounds"),
        ({"never_together": ((1,),)}, "two different compounds"),
        ({"never_together": ((1, 1),)}, "two different compounds"),
        ({"never_together": ((-1, 1),)}, "below 0"),
        ({"stock": {3: -1}}, "stock of compound 3 is -1"),
        ({"block_shape": "cube"}, "block shape 'cube'"),
        ({"doses": 4}, "1 dose"),
        ({"single_agents": "sometimes"}, "single agents 'sometimes'"),
        ({"single_agents": "per_plate"}, "limit of compounds per plate"),
        ({"wells_per_plate": 10, "controls_per_plate": 10}, "keeps 10"),
        ({"controls_per_plate": -1}, "controls per plate is -1"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"cost_per_block": -1.0}, "cost per block is -1"),
    ],
)
def test_rules_that_cannot_be_are_errors(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ScreenError, match=words):
        LabRules(**asked)


def test_nobody_guesses_the_size_of_a_batch() -> None:
    with pytest.raises(ScreenError, match="name a batch size"):
        LabRules(plates=3).limits()
    with pytest.raises(ScreenError, match="number of plates"):
        LabRules(batch_size=9, lines_per_plate=1).limits()
