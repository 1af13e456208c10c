"""Scores under every reference: honest errors, explicit gaps, no error from unused curves."""

import numpy as np
import pytest

from models.evaluation.past_campaign import PastCampaign
from models.objectives.scores import Blocks, measure_blocks
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.references import loewe
from models.pharmacology.score_rules import SCORES
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import Candidates, Screen, Wells

N_COMPOUNDS, N_LINES = 20, 8


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(N_COMPOUNDS, N_LINES, 4, 0.05, seed=3)


@pytest.fixture(scope="module")
def screen(simulated: SimulatedScreen) -> Screen:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    chosen = Candidates.of(first, second, np.arange(len(first)) % N_LINES)
    singles, controls = simulated.single_agents(4, seed=1), simulated.controls(16, seed=3)
    return simulated.screen(singles, simulated.measure(chosen, 1, seed=2), controls)


@pytest.fixture(scope="module")
def curves(screen: Screen) -> CurveTable:
    return fit_curves(screen.wells, N_COMPOUNDS, N_LINES)


@pytest.fixture(scope="module")
def scored(screen: Screen, curves: CurveTable) -> dict[str, Blocks]:
    return {name: measure_blocks(screen, name, curves) for name in SCORES}


@pytest.mark.parametrize("score", [name for name in SCORES if name.endswith("_mean")])
def test_mean_scores_agree_with_the_truth_within_their_error(
    simulated: SimulatedScreen, scored: dict[str, Blocks], score: str
) -> None:
    blocks = scored[score]
    truth = simulated.true_score(blocks.candidates, score)
    known = np.isfinite(truth)
    if score == "loewe_mean":
        # Which dose pairs count differs between measured and true curves near the boundary.
        same = same_dose_pairs(simulated, blocks)
        assert same.mean() > 0.25
        known &= same
    standard = ((blocks.score - truth) / blocks.noise_sd)[known]
    # The error that wells of a block share is an upper bound: standard errors may be too wide.
    assert 0.5 < standard.std() < 1.2
    assert abs(standard.mean()) < 0.35
    assert np.corrcoef(blocks.score[known], truth[known])[0, 1] > 0.7


def same_dose_pairs(simulated: SimulatedScreen, blocks: Blocks) -> np.ndarray:
    """``(m,)`` blocks of which the true curves leave as many dose pairs as the fitted ones."""
    at = blocks.candidates
    where = (at.compounds[:, None], at.cell_line[:, None, None])
    parts = (simulated.log_c[where], simulated.log_h[where], simulated.emax[where])
    true = np.isfinite(loewe(simulated.block_doses(at), *parts)).sum(axis=1)
    return np.asarray(true == blocks.n_dose_pairs)


def test_all_scores_are_finite(scored: dict[str, Blocks]) -> None:
    for blocks in scored.values():
        for values in (blocks.score, blocks.noise_sd, blocks.excess, blocks.excess_sd):
            assert np.all(np.isfinite(values))
        assert np.all(blocks.noise_sd > 0)
        assert np.all(np.isfinite(blocks.reference))


def test_loewe_says_what_it_leaves_out(scored: dict[str, Blocks]) -> None:
    whole, left = scored["bliss_mean"], scored["loewe_mean"]
    parts, none = left.excluded
    assert "Loewe additivity is undefined beyond the maximum effect" in parts.reason
    assert "left out of blocks that keep others" in parts.reason
    assert "in blocks that have no other" in none.reason
    assert none.n_blocks == len(whole) - len(left) > 0
    assert parts.n_blocks == 0
    assert parts.n_wells + none.n_wells == whole.n_wells.sum() - left.n_wells.sum()
    assert left.n_dose_pairs.min() >= 1
    assert left.n_dose_pairs.min() < 16


def test_the_noise_of_wells_is_the_same_under_every_reference(scored: dict[str, Blocks]) -> None:
    expected = scored["bliss_mean"].noise
    for name, blocks in scored.items():
        if not name.startswith("hsa"):
            assert blocks.noise == expected


def test_inhibition_is_that_of_the_wells(scored: dict[str, Blocks], curves: CurveTable) -> None:
    blocks = scored["inhibition_mean"]
    mean = np.bincount(blocks.block, blocks.viability) / blocks.n_dose_pairs
    assert blocks.score == pytest.approx(100.0 * (1.0 - mean))
    largest = np.minimum.reduceat(
        blocks.viability, np.flatnonzero(np.diff(blocks.block, prepend=-1))
    )
    assert scored["inhibition_max"].score == pytest.approx(100.0 * (1.0 - largest))


def test_the_error_of_an_inhibition_is_that_of_its_wells(
    scored: dict[str, Blocks], curves: CurveTable
) -> None:
    blocks = scored["inhibition_mean"]
    level = np.maximum(blocks.viability, 0.0)
    wells = (blocks.noise.well_factor * curves.noise.sd(level)) ** 2
    own = np.bincount(blocks.block, wells) / blocks.n_dose_pairs**2
    shared = blocks.noise.shared_sd * np.bincount(blocks.block, level) / blocks.n_dose_pairs
    assert blocks.noise_sd == pytest.approx(100.0 * np.sqrt(own + shared**2))


def test_unsure_curves_make_unsure_scores(
    screen: Screen, curves: CurveTable, scored: dict[str, Blocks]
) -> None:
    vague = CurveTable(**{**vars(curves), "covariance": 9 * curves.covariance})
    for name in ("loewe_mean", "zip_mean"):
        more = measure_blocks(screen, name, vague).noise_sd
        assert np.median(more / scored[name].noise_sd) > 1.2


def test_zip_smooths_and_stays_close_to_bliss(scored: dict[str, Blocks]) -> None:
    bliss, smooth = scored["bliss_mean"], scored["zip_mean"]
    assert np.array_equal(bliss.candidates.compounds, smooth.candidates.compounds)
    assert np.corrcoef(bliss.score, smooth.score)[0, 1] > 0.95
    assert np.array_equal(bliss.reference, smooth.reference)
    assert np.median(smooth.excess_sd) < np.median(bliss.excess_sd)
    # A maximum over a smooth surface is less biased by noise than one over wells.
    assert np.mean(scored["zip_max"].score) < np.mean(scored["bliss_max"].score)


def test_row_order_and_units_change_nothing(screen: Screen, scored: dict[str, Blocks]) -> None:
    w = screen.wells
    order = np.random.default_rng(0).permutation(len(w))
    shuffled = Screen(screen.compounds, screen.cell_lines, w.select(order))
    nano = Wells(w.cell_line, w.compounds, w.doses_um * 1e3, w.viability)
    nano_screen = Screen(screen.compounds, screen.cell_lines, nano)
    for name in ("loewe_mean", "zip_max", "inhibition_mean"):
        again = measure_blocks(shuffled, name)
        assert np.array_equal(again.score, scored[name].score)
        assert np.array_equal(again.noise_sd, scored[name].noise_sd)
        other = measure_blocks(nano_screen, name)
        if name == "loewe_mean":  # a dose pair on the very edge may fall either way
            assert abs(len(other) - len(scored[name])) <= 1
        else:
            assert other.score == pytest.approx(scored[name].score, abs=1e-3)


def test_true_scores_know_where_loewe_is_undefined(simulated: SimulatedScreen) -> None:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    every = Candidates.of(first, second, np.zeros(len(first), np.int64))
    mean, largest = (simulated.true_score(every, f"loewe_{s}") for s in ("mean", "max"))
    assert 0 < np.isnan(mean).sum() < len(mean)
    assert np.array_equal(np.isnan(mean), np.isnan(largest))
    known = np.isfinite(mean)
    assert np.all(largest[known] >= mean[known] - 1e-9)
    inhibition = simulated.true_score(every, "inhibition_mean")
    assert np.all((inhibition > -5) & (inhibition < 100))


def test_a_simulated_campaign_of_loewe_scores_has_the_blocks_that_have_one() -> None:
    simulated = simulate_screen(20, 2, 4, 0.05, 3)
    bliss = PastCampaign.of_simulation(simulated, "bliss_mean", 2, 3)
    campaign = PastCampaign.of_simulation(simulated, "loewe_mean", 2, 3)
    assert 0 < len(campaign.candidates) < len(bliss.candidates)
    assert np.all(np.isfinite(campaign.truth) & np.isfinite(campaign.observed))
    rows = np.arange(0, len(campaign.candidates), 2)
    shown = measure_blocks(campaign.reveal(rows), "loewe_mean")
    n = len(simulated.compounds)
    chosen = campaign.candidates.select(rows).keys(n)
    assert np.isin(shown.candidates.keys(n), chosen).all()
