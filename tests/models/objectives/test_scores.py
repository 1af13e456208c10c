"""Scores of measured blocks: known answers, honest errors, and what must not change them."""

import time

import numpy as np
import pytest
import torch

from models.objectives.scores import Blocks, measure_blocks
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.score_rules import SCORES
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import ABSENT, Candidates, Screen, ScreenError, Wells

N_COMPOUNDS, N_LINES = 24, 10


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(N_COMPOUNDS, N_LINES, 4, 0.06, seed=3)


@pytest.fixture(scope="module")
def chosen() -> Candidates:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    line = np.arange(len(first)) % N_LINES
    return Candidates.of(first, second, line)


@pytest.fixture(scope="module")
def screen(simulated: SimulatedScreen, chosen: Candidates) -> Screen:
    return simulated.screen(
        simulated.single_agents(4, seed=1),
        simulated.measure(chosen, 1, seed=2),
        simulated.controls(16, seed=3),
    )


@pytest.fixture(scope="module")
def curves(screen: Screen) -> CurveTable:
    return fit_curves(screen.wells, N_COMPOUNDS, N_LINES)


@pytest.fixture(scope="module")
def blocks(screen: Screen, curves: CurveTable) -> Blocks:
    return measure_blocks(screen, "bliss_mean", curves)


def with_wells(screen: Screen, wells: Wells) -> Screen:
    return Screen(screen.compounds, screen.cell_lines, wells)


@pytest.mark.parametrize("score", ["bliss_mean", "hsa_mean"])
def test_mean_scores_agree_with_the_truth_within_their_error(
    simulated: SimulatedScreen, screen: Screen, curves: CurveTable, score: str
) -> None:
    blocks = measure_blocks(screen, score, curves)
    truth = simulated.true_score(blocks.candidates, score)
    standard = (blocks.score - truth) / blocks.noise_sd
    assert 0.75 < standard.std() < 1.15
    assert abs(standard.mean()) < 0.25
    assert np.corrcoef(blocks.score, truth)[0, 1] > 0.7


def test_the_largest_excess_is_biased_upwards(
    simulated: SimulatedScreen, screen: Screen, curves: CurveTable
) -> None:
    blocks = measure_blocks(screen, "bliss_max", curves)
    truth = simulated.true_score(blocks.candidates, "bliss_max")
    assert np.mean(blocks.score - truth) > 2.0
    assert "biases it upwards" in SCORES["bliss_max"].meaning


def test_every_measured_block_comes_out_once(blocks: Blocks, chosen: Candidates) -> None:
    assert len(blocks) == len(chosen)
    assert np.array_equal(
        np.sort(blocks.candidates.keys(N_COMPOUNDS)), np.sort(chosen.keys(N_COMPOUNDS))
    )
    assert np.all(blocks.n_wells == 16)
    assert np.all(blocks.n_dose_pairs == 16)
    assert blocks.excluded == ()


def test_the_table_of_dose_pairs_adds_up(screen: Screen, curves: CurveTable) -> None:
    for name, summary in (("bliss_mean", np.mean), ("hsa_max", np.max)):
        blocks = measure_blocks(screen, name, curves)
        by_hand = [summary(blocks.excess[blocks.block == k]) for k in range(5)]
        assert blocks.score[:5] == pytest.approx(by_hand)
        assert blocks.excess == pytest.approx(100 * (blocks.reference - blocks.viability))


def test_curves_are_fitted_when_not_given(screen: Screen, blocks: Blocks) -> None:
    again = measure_blocks(screen, "bliss_mean")
    assert np.array_equal(again.score, blocks.score)


def test_row_order_changes_nothing(screen: Screen, blocks: Blocks) -> None:
    order = np.random.default_rng(0).permutation(len(screen.wells))
    again = measure_blocks(with_wells(screen, screen.wells.select(order)), "bliss_mean")
    assert np.array_equal(again.score, blocks.score)
    assert np.array_equal(again.noise_sd, blocks.noise_sd)


def test_units_change_nothing(screen: Screen, blocks: Blocks) -> None:
    w = screen.wells
    nanomolar = Wells(w.cell_line, w.compounds, w.doses_um * 1e3, w.viability)
    again = measure_blocks(with_wells(screen, nanomolar), "bliss_mean")
    assert again.score == pytest.approx(blocks.score, abs=1e-5)


def test_compounds_may_be_numbered_otherwise(screen: Screen, blocks: Blocks) -> None:
    w = screen.wells
    turned = np.where(w.compounds == ABSENT, ABSENT, N_COMPOUNDS - 1 - w.compounds)
    doses = w.doses_um.copy()
    pairs = w.n_compounds == 2
    turned[pairs, :2], doses[pairs, :2] = turned[pairs, 1::-1], doses[pairs, 1::-1]
    again = measure_blocks(
        with_wells(screen, Wells(w.cell_line, turned, doses, w.viability)), "bliss_mean"
    )
    assert np.sort(again.score) == pytest.approx(np.sort(blocks.score), abs=1e-4)


def test_more_replicates_mean_less_noise(
    simulated: SimulatedScreen, chosen: Candidates, curves: CurveTable, blocks: Blocks
) -> None:
    many = simulated.screen(simulated.single_agents(4, seed=1), simulated.measure(chosen, 6, 5))
    again = measure_blocks(many, "bliss_mean", curves)
    assert np.median(again.noise_sd) < np.median(blocks.noise_sd)
    assert np.all(again.n_wells == 96)
    assert np.all(again.n_dose_pairs == 16)


def test_uncertain_curves_make_uncertain_scores(screen: Screen, curves: CurveTable) -> None:
    vague = CurveTable(**{**vars(curves), "covariance": 9 * curves.covariance})
    more = measure_blocks(screen, "bliss_mean", vague)
    less = measure_blocks(screen, "bliss_mean", curves)
    assert np.all(more.noise_sd > less.noise_sd - 0.2)
    assert np.median(more.noise_sd) > np.median(less.noise_sd)


def test_an_error_shared_by_a_block_is_found(
    simulated: SimulatedScreen, screen: Screen, curves: CurveTable
) -> None:
    w = screen.wells
    pair = w.compounds[:, 0] * N_COMPOUNDS + w.compounds[:, 1]
    shift = np.random.default_rng(1).normal(0.0, 0.1, pair.max() + 1)
    factor = np.where(w.n_compounds == 2, 1.0 + shift[np.maximum(pair, 0)], 1.0)
    shaken = Wells(w.cell_line, w.compounds, w.doses_um, w.viability * factor)
    blocks = measure_blocks(with_wells(screen, shaken), "bliss_mean", curves)
    assert blocks.noise.shared_sd == pytest.approx(0.1, rel=0.35)
    truth = simulated.true_score(blocks.candidates, "bliss_mean")
    assert 0.75 < ((blocks.score - truth) / blocks.noise_sd).std() < 1.2


def test_quiet_blocks_share_nothing_in_a_clean_screen(blocks: Blocks) -> None:
    assert blocks.noise.shared_sd < 0.03
    assert blocks.noise.well_factor == pytest.approx(1.0, abs=0.15)


def test_blocks_without_their_single_agents_are_named(screen: Screen) -> None:
    w = screen.wells
    gone = (w.n_compounds == 1) & (w.compounds[:, 0] == 3) & (w.cell_line == 1)
    blocks = measure_blocks(with_wells(screen, w.select(~gone)), "bliss_mean")
    touched = (w.n_compounds == 2) & (w.cell_line == 1) & (w.compounds[:, :2] == 3).any(axis=1)
    assert [e.reason for e in blocks.excluded] == ["SIM-004 was never measured alone in CELL-002"]
    assert blocks.excluded[0].n_wells == touched.sum()
    assert blocks.excluded[0].n_blocks == touched.sum() // 16
    left = blocks.candidates.cell_line == 1
    assert not np.any(blocks.candidates.compounds[left] == 3)


def test_wells_of_three_compounds_are_reported(screen: Screen) -> None:
    w = screen.wells
    triple = Wells(
        np.append(w.cell_line, 0),
        np.vstack([w.compounds, [[0, 1, 2]]]),
        np.vstack([w.doses_um, [[1.0, 1.0, 1.0]]]),
        np.append(w.viability, 0.5),
    )
    blocks = measure_blocks(with_wells(screen, triple), "bliss_mean")
    assert blocks.excluded[0].reason == "wells of three compounds have no pair score"
    assert blocks.excluded[0].n_wells == 1


@pytest.mark.parametrize("score", list(SCORES))
def test_no_combinations_give_no_blocks(simulated: SimulatedScreen, score: str) -> None:
    blocks = measure_blocks(simulated.screen(simulated.single_agents(2, seed=1)), score)
    assert len(blocks) == len(blocks.score) == len(blocks.excess) == 0


def test_one_well_is_a_block(simulated: SimulatedScreen, screen: Screen) -> None:
    w = screen.wells
    first_pair = np.flatnonzero(w.n_compounds == 2)[:1]
    rows = np.append(np.flatnonzero(w.n_compounds == 1), first_pair)
    blocks = measure_blocks(with_wells(screen, w.select(rows)), "bliss_max")
    assert len(blocks) == 1
    assert blocks.noise_sd[0] > 1.0
    assert "replicate wells only" in blocks.noise.source


def test_unknown_score_is_refused(screen: Screen) -> None:
    with pytest.raises(ScreenError, match="unknown score 'zip'; known are bliss_mean"):
        measure_blocks(screen, "zip")


@pytest.mark.slow
def test_two_thousand_blocks_are_quick(simulated: SimulatedScreen, curves: CurveTable) -> None:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    every = Candidates.of(
        np.repeat(first, N_LINES), np.repeat(second, N_LINES), np.tile(np.arange(N_LINES), 276)
    ).select(np.arange(2000))
    screen = simulated.screen(simulated.single_agents(4, 1), simulated.measure(every, 1, 2))
    start = time.process_time()
    assert len(measure_blocks(screen, "bliss_mean", curves)) == 2000
    assert time.process_time() - start < 0.3
