"""The arithmetic of the summary: what counts, and what chance would have found."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from service.demo.labs import Block
from service.demo.report import Chance, by_chance, know, tally


def blocks(n: int) -> list[Block]:
    return [Block("A", f"B{k:03d}", "X") for k in range(n)]


def test_hits_are_above_the_threshold_and_the_top_is_one_in_a_hundred() -> None:
    names = blocks(250)
    truth = know({block: float(k) for k, block in enumerate(names)}, hit_threshold=247.0)
    assert truth.hits == {names[248], names[249]}
    assert truth.top == {names[247], names[248], names[249]}  # 2.5, rounded up


def test_the_top_is_never_empty_and_equal_scores_go_by_name() -> None:
    names = blocks(5)
    truth = know(dict.fromkeys(reversed(names), 1.0), hit_threshold=1.0)
    assert truth.top == {names[0]}
    assert truth.hits == frozenset()


def test_chance_is_counted_like_drawing_without_putting_back() -> None:
    pool, sought, drawn = 8, 3, 4
    counts = [len(set(range(sought)) & set(c)) for c in combinations(range(pool), drawn)]
    chance = by_chance(pool, sought, drawn)
    assert chance.expected == pytest.approx(np.mean(counts)) == pytest.approx(1.5)
    share = np.array([np.mean(np.array(counts) <= k) for k in range(4)])
    assert chance.low == int(np.argmax(share >= 0.05))
    assert chance.high == int(np.argmax(share >= 0.95))


def test_the_interval_of_chance_holds_nine_in_ten_draws() -> None:
    chance = by_chance(7484, 76, 288)
    random = np.random.default_rng(0).hypergeometric(76, 7484 - 76, 288, size=20_000)
    held = np.mean((chance.low <= random) & (random <= chance.high))
    assert held >= 0.9
    assert chance.expected == pytest.approx(random.mean(), rel=0.02)


@pytest.mark.parametrize(("sought", "drawn"), [(0, 5), (3, 0), (10, 10)])
def test_chance_at_the_edges(sought: int, drawn: int) -> None:
    chance = by_chance(10, sought, drawn)
    certain = sought * drawn // 10
    assert chance == Chance(certain, certain, certain)


def test_each_round_is_judged_by_what_was_left_before_it() -> None:
    names = blocks(200)
    truth = know({block: float(k) for k, block in enumerate(names)}, hit_threshold=195.5)
    initial = [names[199], names[0]]
    rounds = [[names[198], names[1]], [names[197], names[2]], [names[3], names[4]]]
    counted = tally(truth, initial, rounds)
    assert (counted.n_initial, counted.initial_hits, counted.initial_top) == (2, 1, 1)
    assert counted.n_pool == 198
    assert [(row.hits.n_found, row.hits.n_left) for row in counted.rounds] == [
        (1, 3),
        (1, 2),
        (0, 1),
    ]
    assert [row.hits.chance.expected for row in counted.rounds] == pytest.approx(
        [2 * 3 / 198, 2 * 2 / 196, 2 * 1 / 194]
    )
    assert (counted.total.hits.n_found, counted.total.hits.n_left) == (2, 3)
    assert (counted.total.top.n_found, counted.total.top.n_left) == (1, 1)
    assert counted.total.n_blocks == 6
    assert counted.total.top.share == 1.0
    assert counted.total.hits.times_chance == pytest.approx(2 / (6 * 3 / 198))


def test_nothing_left_to_find_is_no_division_by_zero() -> None:
    names = blocks(4)
    truth = know(dict.fromkeys(names, 0.0), hit_threshold=1.0)
    counted = tally(truth, [names[0]], [[names[1]]])
    assert counted.total.hits.share == 0.0
    assert counted.total.hits.times_chance is None
    assert math.isclose(counted.total.hits.chance.expected, 0.0)
