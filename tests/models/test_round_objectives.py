"""Rounds that look for something else than a score: a screen in which one pair is selective."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from models.acquisition.lab_rules import LabRules
from models.acquisition.rules import HYPERVOLUME
from models.objectives.measured import measured_efficacy
from models.objectives.objective import (
    Efficacy,
    Objective,
    Pareto,
    Score,
    Selectivity,
    WeightedSum,
)
from models.rounds import (
    ForecastHistory,
    Pool,
    RoundResult,
    RoundRules,
    aim_of,
    fit,
    prepare,
    run_round,
    score_pool,
    select,
)
from models.screen import (
    ABSENT,
    Candidates,
    CellLineTable,
    CompoundTable,
    NothingLeft,
    Screen,
    ScreenError,
    Wells,
)

COMPOUNDS, LINES = ("A", "B", "C", "D", "E", "F"), ("tumour", "tumour 2", "skin", "unnamed")
DOSES = (0.3, 3.0)
PAIR = (1, 4)
"""B and E kill the tumours and spare the skin: their potency says so."""
N, L = len(COMPOUNDS), len(LINES)
POOL = Candidates.of(
    *(np.repeat(c, L) for c in np.triu_indices(N, 1)), np.tile(np.arange(L), N * (N - 1) // 2)
)
KILL = Selectivity(kill=(("tumour", 1.0), ("tumour 2", 1.0)), spare=(("skin", 1.0),))


def alone(compound: int, line: int, dose: float) -> float:
    half = (0.4 if line < 2 else 30.0) if compound in PAIR else 6.0
    return 1 / (1 + dose / half)


def screen(rows: np.ndarray, order: tuple[int, ...] = tuple(range(N))) -> Screen:
    """All single agents and the blocks at ``rows`` of the pool; ``order``: which compound has
    which number."""
    number = {compound: place for place, compound in enumerate(order)}
    noise, wells = np.random.default_rng(0), []
    for compound in range(N):
        for line in range(L):
            for dose in (0.1, 0.3, 1.0, 3.0, 10.0):
                value = alone(compound, line, dose) + 0.02 * noise.normal()
                wells.append((line, [(number[compound], dose)], value))
    for row in sorted(rows.tolist()):
        (a, b), line = POOL.compounds[row], int(POOL.cell_line[row])
        for one in DOSES:
            for other in DOSES:
                value = alone(a, line, one) * alone(b, line, other) + 0.02 * noise.normal()
                wells.append((line, sorted([(number[a], one), (number[b], other)]), value))
    compounds, doses = np.full((len(wells), 3), ABSENT), np.zeros((len(wells), 3))
    for row, (_, parts, _) in enumerate(wells):
        for slot, (compound, dose) in enumerate(parts):
            compounds[row, slot], doses[row, slot] = compound, dose
    return Screen(
        CompoundTable(
            tuple(COMPOUNDS[c] for c in order), np.zeros((N, 8), np.uint8), np.zeros(N, bool)
        ),
        CellLineTable(LINES, np.empty((L, 0)), np.zeros(L, bool)),
        Wells(np.array([w[0] for w in wells]), compounds, doses, np.array([w[2] for w in wells])),
    )


def rows_of(pair: tuple[int, int], *lines: int) -> np.ndarray:
    here = (POOL.compounds == pair).all(axis=1) & np.isin(POOL.cell_line, lines or range(L))
    return np.flatnonzero(here)


OTHERS = np.setdiff1d(np.arange(len(POOL)), rows_of(PAIR))
MEASURED = np.sort(np.random.default_rng(1).permutation(OTHERS)[:30])
BASE = RoundRules(batch_size=6, ranked=60, draws=64, model="plain_gp", hit_threshold=65.0)


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.synergy.gaussian_process.process.STEPS", 20)
        yield


def rules(objective: Objective | None, **more: Any) -> RoundRules:
    return replace(BASE, objective=objective, **more)


def play(given: RoundRules, rows: np.ndarray = MEASURED, pool: Pool | None = None) -> RoundResult:
    return run_round(screen(rows), pool or Pool.of(POOL), given, 3)


@cache
def selective() -> RoundResult:
    return play(rules(KILL))


def test_the_selective_pair_is_asked_for_in_every_line_that_is_compared() -> None:
    ranked = selective().ranked
    assert sorted(ranked.batch[:3].tolist()) == rows_of(PAIR, 0, 1, 2).tolist()
    assert np.all(POOL.cell_line[ranked.pool_index] != 3)
    assert np.ptp(ranked.mean[:3]) == pytest.approx(0.0, abs=1e-4)
    assert np.ptp(ranked.hit_probability[:3]) == pytest.approx(0.0, abs=1e-5)
    assert ranked.hit_probability[0] > 0.9
    assert "unnamed" in selective().step["reason"]
    assert "15 candidates are in cell lines" in selective().step["reason"]


def test_its_numbers_are_the_truth_by_hand() -> None:
    truth = 0.0
    for line, weight in ((0, 0.5), (1, 0.5), (2, -1.0)):
        left = [alone(1, line, a) * alone(4, line, b) for a in DOSES for b in DOSES]
        truth += weight * 100 * (1 - float(np.mean(left)))
    ranked = selective().ranked
    assert ranked.q05[0] < truth < ranked.q95[0]
    assert ranked.mean[0] == pytest.approx(truth, abs=6.0)
    assert ranked.part_mean is not None
    assert ranked.part_sd is not None
    assert ranked.part_mean.shape == (3, len(ranked.pool_index))
    together = np.array([0.5, 0.5, -1.0]) @ ranked.part_mean
    assert together == pytest.approx(ranked.mean, abs=1e-3)
    assert np.all(ranked.part_sd[:, 0] > 0)


def test_hits_are_counted_once_all_lines_are_measured() -> None:
    part = np.union1d(MEASURED, rows_of(PAIR, 0, 2))
    some, every = play(rules(KILL), part), play(rules(KILL), np.union1d(part, rows_of(PAIR, 1)))
    before = selective().outlook
    assert before is not None
    assert some.outlook is not None
    assert every.outlook is not None
    assert some.outlook["found"] == before["found"]
    assert every.outlook["found"] == before["found"] + 3
    assert rows_of(PAIR, 1)[0] == some.ranked.batch[0]
    blocks = every.blocks
    inhibition, _ = measured_efficacy(blocks, every.curves.noise, "mean")
    own = {
        int(line): float(value)
        for pair, line, value in zip(
            blocks.candidates.compounds, blocks.candidates.cell_line, inhibition, strict=True
        )
        if tuple(pair) == PAIR
    }
    by_hand = (own[0] + own[1]) / 2 - own[2]
    prepared = prepare(screen(np.union1d(part, rows_of(PAIR, 1))), BASE)
    fitted = fit(screen(part), prepared, rules(KILL, acquisition="random"), 1)
    aim = aim_of(screen(part), prepared, fitted, rules(KILL))
    assert aim.measured.best == pytest.approx(by_hand)
    assert aim.describe()["known"] == len(aim.measured)
    assert aim.posterior is None


def test_compounds_in_another_order_change_nothing_that_was_measured() -> None:
    rows = np.union1d(MEASURED, rows_of(PAIR, 0, 1, 2))
    known = []
    for order in (tuple(range(N)), tuple(reversed(range(N)))):
        here = screen(rows, order)
        prepared = prepare(here, BASE)
        fitted = fit(here, prepared, rules(KILL, acquisition="random"), 1)
        known.append(aim_of(here, prepared, fitted, rules(KILL)).measured)
    assert np.sort(known[0].value) == pytest.approx(np.sort(known[1].value), abs=1e-9)
    assert known[0].hits(65.0) == known[1].hits(65.0) == 3


def test_the_score_by_either_name() -> None:
    one = play(rules(None, hit_threshold=5.0))
    other = play(rules(Score("bliss_mean"), hit_threshold=5.0))
    for name in ("pool_index", "mean", "q05", "hit_probability", "acquisition"):
        assert np.array_equal(getattr(one.ranked, name), getattr(other.ranked, name))
    assert one.outlook == other.outlook
    assert one.evidence["hit_forecast"] is not None
    assert selective().evidence["hit_forecast"] is None


def test_a_sum_of_one_term_is_that_term() -> None:
    for term in (Efficacy(), KILL):
        one = play(rules(term, hit_threshold=60.0)).ranked
        other = play(rules(WeightedSum(((1.0, term),)), hit_threshold=60.0)).ranked
        assert np.array_equal(one.pool_index, other.pool_index)
        for name in ("mean", "sd", "q95", "hit_probability", "expected_improvement"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)


def test_improvement_is_over_the_best_that_was_measured() -> None:
    given = rules(Efficacy(), acquisition="expected_improvement", hit_threshold=60.0)
    ranked = play(given).ranked
    assert ranked.expected_improvement is not None
    assert ranked.probability_of_improvement is not None
    assert ranked.expected_improvement == pytest.approx(ranked.acquisition, abs=1e-5)
    assert np.all(ranked.probability_of_improvement <= 1)
    score = play(rules(None)).ranked
    assert score.expected_improvement is not None
    assert np.all(score.expected_improvement >= 0)


def test_improvement_before_anything_is_known_is_over_the_threshold() -> None:
    without_skin = MEASURED[POOL.cell_line[MEASURED] != 2]
    given = rules(KILL, acquisition="expected_improvement")
    found = play(given, without_skin)
    assert "over the hit threshold of 65" in found.step["reason"]
    assert found.ranked.expected_improvement is None
    assert found.ranked.batch[:3].tolist() == rows_of(PAIR, 0, 1, 2).tolist()
    assert found.outlook is not None
    assert found.outlook["found"] == 0


FRONT = Pareto((KILL, Selectivity(kill=(("unnamed", 1.0),))), (10.0, 5.0))


def test_a_front_of_pairs_completes_them() -> None:
    found = play(rules(FRONT, acquisition=HYPERVOLUME, hit_threshold=0.0))
    ranked = found.ranked
    assert ranked.front_probability is not None
    assert ranked.on_mean_front is not None
    batch = POOL.select(ranked.batch)
    whole = [np.flatnonzero((POOL.compounds == pair).all(axis=1)) for pair in batch.compounds]
    open_rows = [np.setdiff1d(rows, MEASURED) for rows in whole]
    assert set(open_rows[0]) <= set(ranked.batch)
    assert set(rows_of(PAIR)) <= set(ranked.batch)
    of_pair = np.isin(ranked.pool_index, rows_of(PAIR))
    assert np.ptp(ranked.front_probability[of_pair]) == 0
    assert np.all(ranked.on_mean_front[of_pair])
    assert ranked.part_mean is not None
    beyond = (ranked.part_mean[:, 0] - np.array([10.0, 5.0])).min()
    assert ranked.mean[0] == pytest.approx(beyond, abs=3.0)
    assert "beyond the reference point" in ranked.reason[0]
    auto = play(rules(FRONT, acquisition="auto", hit_threshold=0.0))
    assert auto.step["acquisition"] == HYPERVOLUME
    assert np.array_equal(auto.ranked.batch, ranked.batch)


def test_a_front_under_rules_of_the_laboratory() -> None:
    lab = LabRules(plates=2, blocks_per_plate=3, compounds_per_plate=4, lines_per_plate=1)
    goal = Pareto((Score(), Efficacy()), (-5.0, 20.0))
    ranked = play(rules(goal, acquisition=HYPERVOLUME, hit_threshold=0.0, lab=lab)).ranked
    assert ranked.in_batch.sum() == 6
    for plate in range(2):
        at = POOL.select(ranked.batch[ranked.plate[ranked.in_batch] == plate])
        assert len(at) == 3
        assert len(np.unique(at.cell_line)) == 1
        assert len(np.unique(at.compounds)) <= 4
    assert ranked.solution is not None
    assert ranked.solution.value == pytest.approx(ranked.acquisition[ranked.in_batch].sum())
    chance = play(rules(goal, acquisition="front_probability", hit_threshold=0.0)).ranked
    assert chance.front_probability is not None
    assert np.array_equal(chance.acquisition, chance.front_probability)


def test_sets_of_pairs_take_a_pair_whole() -> None:
    ranked = play(rules(KILL, acquisition="joint_expected_best")).ranked
    batch = POOL.select(ranked.batch)
    assert np.array_equal(batch.compounds[:3], np.repeat(batch.compounds[:1], 3, axis=0))


def test_pins_elsewhere_are_let_go_and_an_empty_pool_says_why() -> None:
    pinned = np.zeros(len(POOL), bool)
    pinned[rows_of((0, 1))] = True
    pinned &= ~np.isin(np.arange(len(POOL)), MEASURED)
    found = play(rules(KILL), pool=Pool(POOL, pinned, np.zeros(len(POOL), bool)))
    assert np.all(POOL.cell_line[found.ranked.batch] != 3)
    if (pinned & (POOL.cell_line == 3)).any():
        assert "1 of them pinned" in found.step["reason"]
    excluded = POOL.cell_line != 3
    with pytest.raises(NothingLeft, match="does not compare"):
        play(rules(KILL), pool=Pool(POOL, np.zeros(len(POOL), bool), excluded))


def test_a_first_round_without_a_model() -> None:
    found = play(rules(KILL), MEASURED[:2])
    assert found.posterior is None
    assert np.all(POOL.cell_line[found.ranked.batch] != 3)
    assert "the objective is 0" in found.reason
    assert found.ranked.expected_improvement is None
    assert found.ranked.part_mean is None


def test_forecasts_of_an_objective_are_mended_by_its_own_history() -> None:
    here, given = screen(MEASURED), rules(KILL, hit_threshold=50.0)
    prepared = prepare(here, given)
    fitted = fit(here, prepared, given, 3)
    history = ForecastHistory(np.full(40, 0.6), np.arange(40) % 10 == 0)
    plain = score_pool(here, prepared, fitted, Pool.of(POOL), given, 3)
    mended = score_pool(here, prepared, fitted, Pool.of(POOL), given, 3, history=history)
    assert plain.calibration is None
    assert mended.calibration is not None
    assert mended.hit_probability.sum() < plain.hit_probability.sum()
    ranked = select(here, prepared, fitted, Pool.of(POOL), mended, given, 3)
    assert sorted(ranked.batch[:3].tolist()) == rows_of(PAIR, 0, 1, 2).tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objective": Score("hsa_mean")}, "use one score"),
        ({"objective": WeightedSum(((1.0, Score("hsa_max")),))}, "use one score"),
        ({"objective": Pareto((Score(), Efficacy())), "acquisition": "auto"}, "reference point"),
        ({"objective": FRONT}, "has several"),
        ({"objective": KILL, "acquisition": HYPERVOLUME}, "kept apart"),
        ({"acquisition": "front_probability"}, "kept apart"),
        ({"objective": KILL, "score": "loewe_mean"}, "another reference"),
    ],
)
def test_rules_that_do_not_fit(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ScreenError, match=words):
        replace(BASE, **given)


def test_a_line_that_the_screen_lacks() -> None:
    with pytest.raises(ScreenError, match="not in the screen"):
        play(rules(Selectivity(kill=(("liver", 1.0),))))
    assert math.isfinite(BASE.hit_threshold)
