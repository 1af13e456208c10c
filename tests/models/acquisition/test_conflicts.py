"""An impossible request says which wishes exclude each other, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.acquisition.conflicts import InfeasibleBatch, explain_conflict
from models.acquisition.lab_rules import LabRules
from models.acquisition.plates import choose_plates
from models.screen import Candidates

RULES = LabRules(
    plates=1,
    blocks_per_plate=8,
    compounds_per_plate=4,
    lines_per_plate=1,
    max_per_compound=20,
    max_per_cell_line=20,
    budget=1e6,
    cost_per_block=1.0,
)


def chain(n: int, lines: int = 1) -> Candidates:
    """Pairs (0, 1), (2, 3), ... of ``2 n`` compounds, in turn in one of the lines."""
    at = np.arange(n)
    return Candidates.of(2 * at, 2 * at + 1, at % lines)


def conflict(pool: Candidates, rules: LabRules, pins: list[int], **asked) -> tuple[str, ...]:
    pinned = np.zeros(len(pool), dtype=bool)
    pinned[pins] = True
    none = np.zeros(len(pool), dtype=bool)
    found = explain_conflict(pool, rules, pinned=pinned, excluded=none, **asked)
    if found:
        with pytest.raises(InfeasibleBatch) as error:
            choose_plates(pool, np.ones(len(pool)), rules, pinned=pinned, excluded=none)
        assert error.value.conflicts == found or asked
    return found


def test_too_many_compounds_for_one_plate() -> None:
    found = conflict(chain(5), RULES, [0, 1, 2, 3])
    assert found == (
        "the pinned candidates need 6 compounds in 1 cell line and 3 blocks (rows 1, 2, 3)",
        "a plate holds at most 4 compounds",
        "there is no more than 1 plate",
    )
    assert conflict(chain(5), replace(RULES, plates=2), [0, 1, 2, 3]) == ()


def test_two_cell_lines_on_one_plate() -> None:
    found = conflict(chain(4, lines=2), RULES, [0, 1])
    assert found[1:] == ("a plate holds at most 1 cell line", "there is no more than 1 plate")


def test_the_set_is_minimal() -> None:
    """What is left out of the sentences could stay: each rule alone is no obstacle."""
    pool = chain(6, lines=2)
    rules = replace(RULES, plates=2, batch_size=16)
    found = conflict(pool, rules, list(range(6)))
    assert "6 compounds in 1 cell line and 3 blocks" in found[0] or "2 plates" in found[-1]
    assert not any("budget" in words or "blocks of the batch" in words for words in found)


def test_compounds_that_must_not_meet() -> None:
    rules = replace(RULES, never_together=((0, 2),))
    found = conflict(chain(2), rules, [0, 1], names=["A", "B", "C", "D"])
    assert "A and C must not meet on a plate" in found
    assert found[0].endswith("2 blocks (A + B, C + D)")
    own = conflict(chain(2), replace(RULES, never_together=((0, 1),)), [0])
    assert own == (
        "candidate 0 is pinned: it needs compound 0 and compound 1",
        "compound 0 and compound 1 must not meet",
    )
    apart = replace(RULES, never_together=((0, 1),))
    assert conflict(chain(2), apart, [0], names=["A", "B", "C", "D"])[0] == "A + B is pinned"


def test_stock_and_caps() -> None:
    pool = Candidates.of(np.array([0, 0, 0]), np.array([1, 2, 3]), np.zeros(3, np.int64))
    found = conflict(pool, replace(RULES, stock={0: 2}), [0, 1, 2])
    assert found[1:] == ("there is stock of compound 0 for 2 blocks",)
    found = conflict(pool, replace(RULES, max_per_compound=2), [0, 1, 2])
    assert found[1:] == ("a compound may be in at most 2 blocks of the batch, compound 0 is in 3",)
    both = replace(RULES, max_per_compound=2, stock={0: 2})
    assert len(conflict(pool, both, [0, 1, 2])) == 2
    found = conflict(pool, replace(RULES, stock={0: 0}), [1])
    assert found[1:] == ("there is no stock of compound 0",)


def test_money_and_size() -> None:
    pool = Candidates.of(np.array([0, 0, 0]), np.array([1, 2, 3]), np.zeros(3, np.int64))
    found = conflict(pool, replace(RULES, budget=2.0), [0, 1, 2])
    assert found[1:] == ("the budget is 2; each block costs 1",)
    found = conflict(pool, replace(RULES, budget=3.0, cost_per_plate=2.5), [])
    assert found == (
        "the budget is 3",
        "a plate costs 2.5 before the first block, each block costs 1",
    )
    found = conflict(pool, replace(RULES, batch_size=2), [0, 1, 2])
    assert found[1:] == ("the batch holds 2 blocks",)
    found = conflict(pool, replace(RULES, lines_in_batch=1), [0, 1])
    assert found == ()


def test_more_compounds_than_can_be() -> None:
    assert conflict(chain(3), replace(RULES, min_compounds=7), [])[1:] == (
        "the usable candidates hold 6",
    )
    assert conflict(chain(3), replace(RULES, min_compounds=5), [])[1:] == (
        "1 plate of at most 4 compounds hold 4",
    )
    small = replace(RULES, batch_size=1, min_compounds=3)
    assert conflict(chain(3), small, [])[1:] == ("1 block hold at most 2",)


def test_a_possible_request_has_no_conflict() -> None:
    assert conflict(chain(3), RULES, [0, 1]) == ()


def test_pins_that_first_fit_would_not_place_are_placed() -> None:
    """Three triangles' worth of pairs: only one way to put them on two plates of four."""
    first, second = np.array([0, 1, 4, 5, 0, 4]), np.array([2, 3, 6, 7, 3, 7])
    pool = Candidates.of(first, second, np.zeros(6, np.int64))
    assert conflict(pool, replace(RULES, plates=2), list(range(6))) == ()
