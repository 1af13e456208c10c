"""Plates obey every rule, small ones are the best there are, and the bound is never beaten."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.acquisition.conflicts import InfeasibleBatch
from models.acquisition.lab_rules import LabRules
from models.acquisition.plate_problem import Plate, broken_rules, plan_value, pose
from models.acquisition.plates import EFFORTS, PlateBatch, choose_plates
from models.screen import Candidates, ScreenError

SMALL = LabRules(plates=2, blocks_per_plate=3, compounds_per_plate=4, lines_per_plate=1)


def some_pool(n: int, lines: int) -> Candidates:
    first, second = np.triu_indices(n, k=1)
    return Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    )


def choose(
    pool: Candidates, values: np.ndarray, rules: LabRules, pins: tuple[int, ...] = (), **asked
) -> PlateBatch:
    none = np.zeros(len(pool), dtype=bool)
    pinned = none.copy()
    pinned[list(pins)] = True
    return choose_plates(
        pool, values, rules, pinned=pinned, excluded=asked.pop("excluded", none), **asked
    )


def check(pool: Candidates, batch: PlateBatch, rules: LabRules) -> None:
    """Every rule counted afresh, from the answer alone."""
    assert len(set(batch.rows.tolist())) == len(batch.rows) <= rules.asked
    used = np.bincount(pool.compounds[batch.rows].ravel(), minlength=64)
    limits = rules.limits()
    assert used.max(initial=0) <= limits.per_compound
    assert all(used[c] <= blocks for c, blocks in (rules.stock or {}).items())
    lines = np.bincount(pool.cell_line[batch.rows], minlength=1)
    assert lines.max(initial=0) <= limits.per_line
    assert (lines > 0).sum() <= limits.lines_in_batch
    assert (used > 0).sum() >= limits.min_compounds
    plates = np.unique(batch.plate)
    assert len(plates) <= limits.plates
    cost = len(plates) * rules.plate_cost + len(batch.rows) * rules.block_cost
    assert cost <= limits.budget * (1 + 1e-9)
    for plate in plates:
        rows = batch.rows[batch.plate == plate]
        compounds = set(pool.compounds[rows].ravel().tolist())
        assert len(rows) <= limits.blocks
        assert len(compounds) <= limits.compounds
        assert len(set(pool.cell_line[rows].tolist())) <= limits.lines
        for group in rules.never_together:
            assert len(compounds & set(group)) <= 1


def brute_force(pool: Candidates, values: np.ndarray, rules: LabRules, pins: tuple) -> float | None:
    """The best value over every assignment of rows to plates; ``None`` where there is none."""
    none = np.zeros(len(pool), dtype=bool)
    pinned = none.copy()
    pinned[list(pins)] = True
    problem = pose(pool, values, rules, pinned=pinned, excluded=none)
    best = None
    for at in product(range(problem.limits.plates + 1), repeat=len(problem)):
        sides = [np.flatnonzero(np.array(at) == p + 1) for p in range(problem.limits.plates)]
        plan = [Plate.of(problem, side.tolist()) for side in sides if len(side)]
        if not broken_rules(problem, plan):
            value = plan_value(problem, plan)
            best = value if best is None else max(best, value)
    return best


rule_sets = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.integers(2, 6),
        "compounds_per_plate": st.integers(2, 5),
        "lines_per_plate": st.integers(1, 2),
        "max_per_compound": st.integers(1, 3),
        "max_per_cell_line": st.integers(1, 4),
        "lines_in_batch": st.integers(1, 2),
        "min_compounds": st.integers(2, 5),
        "never_together": st.sampled_from([((0, 1),), ((0, 2, 3),), ((0, 3), (1, 2))]),
        "stock": st.dictionaries(st.integers(0, 3), st.integers(0, 2), max_size=2),
        "budget": st.sampled_from([6.0, 9.0, 14.0]),
    },
)


def rules_of(asked: dict) -> LabRules:
    return LabRules(plates=2, blocks_per_plate=3, cost_per_block=1.5, cost_per_plate=2.0, **asked)


@settings(max_examples=25, deadline=None)
@given(rule_sets, st.integers(0, 10_000))
def test_small_problems_are_solved_to_the_best(asked: dict, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = some_pool(4, 2)
    pool = whole.select(np.sort(rng.choice(len(whole), 7, replace=False)))
    values = rng.normal(0.3, 0.5, size=len(pool))
    pins = tuple(np.flatnonzero(rng.random(len(pool)) < 0.1).tolist())
    rules = rules_of(asked)
    best = brute_force(pool, values, rules, pins)
    if best is None:
        with pytest.raises(InfeasibleBatch):
            choose(pool, values, rules, pins)
        return
    batch = choose(pool, values, rules, pins)
    check(pool, batch, rules)
    assert set(pins) <= set(batch.rows.tolist())
    assert batch.value == pytest.approx(best, abs=1e-5)
    assert batch.bound >= best - 1e-6
    assert batch.proven


@settings(max_examples=40, deadline=None)
@given(rule_sets, st.integers(0, 10_000), st.sampled_from(EFFORTS))
def test_no_rule_is_ever_broken(asked: dict, seed: int, effort: str) -> None:
    rng = np.random.default_rng(seed)
    pool = some_pool(9, 4)
    values = rng.normal(size=len(pool))
    rules = replace(rules_of(asked), plates=3, blocks_per_plate=5, budget=None)
    excluded = rng.random(len(pool)) < 0.2
    try:
        batch = choose(pool, values, rules, excluded=excluded, effort=effort)
    except InfeasibleBatch:
        return
    check(pool, batch, rules)
    assert not excluded[batch.rows].any()
    assert batch.bound >= batch.value
    floor = min(0.0, values[~excluded].min())
    assert batch.value == pytest.approx((values[batch.rows] - batch.floor).sum())
    assert batch.floor >= floor


def test_more_effort_is_never_worse_and_all_stay_below_the_bound() -> None:
    rng = np.random.default_rng(3)
    pool = some_pool(16, 6)
    compound = rng.normal(size=16)
    values = np.exp(compound[pool.compounds].sum(axis=1) + rng.normal(size=len(pool)))
    rules = LabRules(
        plates=4, blocks_per_plate=10, compounds_per_plate=6, lines_per_plate=1, max_per_compound=9
    )
    found = [choose(pool, values, rules, effort=effort) for effort in EFFORTS]
    assert found[0].value <= found[1].value <= found[2].value <= found[2].bound
    assert found[0].value < found[2].value
    assert found[2].gap < 0.1


def test_one_plate_is_a_dense_part_of_a_graph() -> None:
    """Six good blocks among compounds 0 to 3, against better ones that share no compound."""
    pool = some_pool(12, 1)
    inside = (pool.compounds < 4).all(axis=1)
    pairs = [(4, 5), (6, 7), (8, 9), (10, 11)]
    alone = np.array([tuple(pair) in pairs for pair in pool.compounds.tolist()])
    values = np.where(inside, 1.0, np.where(alone, 1.5, 0.01))
    rules = LabRules(plates=1, blocks_per_plate=6, compounds_per_plate=4)
    for effort in EFFORTS:
        batch = choose(pool, values, rules, effort=effort)
        assert inside[batch.rows].all(), effort
        assert batch.value == pytest.approx(6.0)


def test_the_same_input_gives_the_same_batch_whatever_the_order_of_the_pool() -> None:
    rng = np.random.default_rng(5)
    pool = some_pool(12, 4)
    values = rng.random(len(pool))
    rules = LabRules(plates=3, blocks_per_plate=8, compounds_per_plate=6, lines_per_plate=1)
    one, again = choose(pool, values, rules), choose(pool, values, rules)
    assert one.rows.tolist() == again.rows.tolist()
    assert one.plate.tolist() == again.plate.tolist()
    order = rng.permutation(len(pool))
    other = choose(pool.select(order), values[order], rules)
    assert set(order[other.rows].tolist()) == set(one.rows.tolist())


def test_pinned_rows_stand_first_on_their_plates() -> None:
    pool = some_pool(10, 3)
    values = np.linspace(0, 1, len(pool))
    batch = choose(pool, values, replace(SMALL, plates=3, blocks_per_plate=6), pins=(0, 50))
    for pin in (0, 50):
        plate = batch.plate[batch.rows.tolist().index(pin)]
        assert batch.rows[batch.plate == plate][0] == pin


def test_values_below_zero_still_fill_the_plates() -> None:
    pool = some_pool(6, 2)
    values = -1.0 - np.arange(len(pool), dtype=float)
    batch = choose(pool, values, SMALL)
    assert len(batch.rows) == 6
    assert batch.floor == values.min()
    assert batch.shortfall == ""


def test_without_plates_it_is_the_top_under_the_caps() -> None:
    pool = some_pool(6, 2)
    values = np.arange(len(pool), dtype=float)
    batch = choose(pool, values, LabRules(batch_size=4))
    assert batch.rows.tolist() == [29, 28, 27, 26]
    assert batch.plate.tolist() == [-1] * 4
    assert batch.proven


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (replace(SMALL, plates=3, max_per_compound=1), "hold a compound without room for more"),
        (LabRules(batch_size=50), "30 of 50 blocks: there are no more usable candidates"),
        (replace(SMALL, compounds_per_plate=2), "plates hold their 2 compounds"),
        (replace(SMALL, cost_per_block=1.0, budget=4.0), "the budget of 4 is used up"),
        (replace(SMALL, max_per_cell_line=2), "in a cell line without room for more"),
    ],
)
def test_a_short_batch_says_why(rules: LabRules, words: str) -> None:
    pool = some_pool(6, 2)
    batch = choose(pool, np.ones(len(pool)), rules)
    assert len(batch.rows) < rules.asked
    assert words in batch.shortfall


def test_bad_arrays_are_errors() -> None:
    pool = some_pool(4, 1)
    with pytest.raises(ScreenError, match="NaN"):
        choose(pool, np.full(len(pool), np.nan), SMALL)
    with pytest.raises(ScreenError, match="lists a candidate twice"):
        choose(pool.select(np.array([0, 0])), np.ones(2), SMALL)
    with pytest.raises(ScreenError, match="effort"):
        choose(pool, np.ones(len(pool)), SMALL, effort="none")
    with pytest.raises(ScreenError, match="one entry per candidate"):
        choose(pool, np.ones(2), SMALL)


def test_an_empty_pool_gives_an_empty_batch_with_a_reason() -> None:
    pool = some_pool(4, 1)
    batch = choose(pool, np.ones(len(pool)), SMALL, excluded=np.ones(len(pool), dtype=bool))
    assert len(batch.rows) == 0
    assert "no more usable candidates" in batch.shortfall
