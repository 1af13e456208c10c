"""Summaries of blocks: known answers, quantiles, coverage, what is undefined."""

import numpy as np
import pytest

from models.pharmacology.block_draws import BlockErrors
from models.pharmacology.block_summaries import BLOCK_SUMMARIES, BlockSummaries, summarise_blocks
from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.references import bliss
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import Candidates, FloatArray, ScreenError, Stopped

N_COMPOUNDS, N_LINES = 14, 6


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(N_COMPOUNDS, N_LINES, 4, 0.05, seed=5)


@pytest.fixture(scope="module")
def curves(simulated: SimulatedScreen) -> CurveTable:
    return fit_curves(simulated.single_agents(4, seed=1), N_COMPOUNDS, N_LINES)


@pytest.fixture(scope="module")
def pairs(simulated: SimulatedScreen, curves: CurveTable) -> DosePairs:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    chosen = Candidates.of(first, second, np.arange(len(first)) % N_LINES)
    return DosePairs.of(simulated.measure(chosen, 2, seed=2), curves.noise, N_COMPOUNDS)


@pytest.fixture(scope="module")
def found(pairs: DosePairs, curves: CurveTable) -> BlockSummaries:
    return summarise_blocks(pairs, curves, n=1000, seed=1, delta=5.0)


def excess_of(pairs: DosePairs, curves: CurveTable) -> FloatArray:
    """``(m, 4, 4)`` measured excess, doses ascending (as the wells are sorted)."""
    single = curves.viability(pairs.compounds, pairs.cell_line[:, None], pairs.doses_um)
    return 100.0 * (bliss(single) - pairs.viability).reshape(-1, 4, 4)


def test_measured_summaries_are_those_of_the_hand(
    pairs: DosePairs, curves: CurveTable, found: BlockSummaries
) -> None:
    excess = excess_of(pairs, curves)
    assert found["mean"].measured == pytest.approx(excess.mean(axis=(1, 2)))
    assert found["max"].measured == pytest.approx(excess.max(axis=(1, 2)))
    windows = [excess[:, i : i + 3, j : j + 3].mean(axis=(1, 2)) for i in (0, 1) for j in (0, 1)]
    assert found["best_3x3"].measured == pytest.approx(np.max(windows, axis=0))
    log = np.log10(pairs.doses_um).reshape(-1, 4, 4, 2)
    inner = np.trapezoid(excess, log[..., 1], axis=2)
    assert found["log_volume"].measured == pytest.approx(
        np.trapezoid(inner, log[:, :, 0, 0], axis=1)
    )


def test_intervals_hold_the_true_mean_as_often_as_they_say(
    simulated: SimulatedScreen, pairs: DosePairs, found: BlockSummaries
) -> None:
    truth = simulated.true_score(pairs.candidates, "bliss_mean")
    inside = (found["mean"].low <= truth) & (truth <= found["mean"].high)
    # Blocks share curves, so that their errors are not independent.
    assert inside.mean() == pytest.approx(0.9, abs=0.1)
    likely, unlikely = found["mean"].above > 0.9, found["mean"].above < 0.1
    assert (truth[likely] > 5.0).mean() > 0.75
    assert (truth[unlikely] > 5.0).mean() < 0.1


def test_maxima_of_noisy_wells_are_too_high_and_so_are_their_draws(found: BlockSummaries) -> None:
    assert np.mean(found["max"].mean - found["max"].measured) > 0.5
    assert "noise raises it" in BLOCK_SUMMARIES["max"]


def test_numbers_fit_together(found: BlockSummaries) -> None:
    for name in BLOCK_SUMMARIES:
        one = found[name]
        assert np.all((one.low < one.median) & (one.median < one.high))
        assert np.all(np.abs(one.mean - one.median) < one.sd)
        assert np.all(one.defined == 1.0)
        assert one.sd == pytest.approx((one.high - one.low) / 3.29, rel=0.35)
    above = found["mean"].above
    assert np.all((found["mean"].low > 5.0) <= (above > 0.94))


def test_control_noise_widens_means(
    pairs: DosePairs, curves: CurveTable, found: BlockSummaries
) -> None:
    shaken = summarise_blocks(pairs, curves, errors=BlockErrors(1.0, 0.1), n=500, seed=1)
    assert np.all(shaken["mean"].sd > 0.95 * found["mean"].sd)
    assert np.median(shaken["mean"].sd) > 1.5 * np.median(found["mean"].sd)


@pytest.mark.parametrize("reference", ["hsa", "zip", "loewe", "none"])
def test_other_references(pairs: DosePairs, curves: CurveTable, reference: str) -> None:
    found = summarise_blocks(pairs, curves, reference, n=300, seed=1)
    known = found["mean"].defined > 0.5
    assert known.mean() > (0.4 if reference == "loewe" else 0.99)
    away = np.abs(found["mean"].mean - found["mean"].measured)[known]
    assert np.median(away / found["mean"].sd[known]) < 0.6


def test_swapping_compounds_and_units_change_little(
    pairs: DosePairs, curves: CurveTable, found: BlockSummaries
) -> None:
    nano = DosePairs(**{**vars(pairs), "doses_um": pairs.doses_um * 1e3})
    shift = np.log(1e3)
    other = CurveTable(
        **{
            **vars(curves),
            "log_c": curves.log_c + shift,
            "log_dose_low": curves.log_dose_low + shift,
            "log_dose_high": curves.log_dose_high + shift,
        }
    )
    again = summarise_blocks(nano, other, n=1000, seed=1, delta=5.0)
    for name in BLOCK_SUMMARIES:
        assert again[name].measured == pytest.approx(found[name].measured, abs=1e-6)
    # The misfit of a dose is drawn by the dose's own number, so draws differ, not their spread.
    assert again["mean"].sd == pytest.approx(found["mean"].sd, rel=0.2)


def test_the_same_seed_gives_the_same_numbers(
    pairs: DosePairs, curves: CurveTable, found: BlockSummaries
) -> None:
    again = summarise_blocks(pairs, curves, n=1000, seed=1, delta=5.0)
    other = summarise_blocks(pairs, curves, n=1000, seed=2, delta=5.0)
    assert np.array_equal(again["max"].high, found["max"].high)
    assert not np.array_equal(other["max"].high, found["max"].high)
    some = pairs.select(np.isin(pairs.block, [3, 40]))
    few = summarise_blocks(some, curves, n=1000, seed=1, delta=5.0)
    assert few["mean"].low == pytest.approx(found["mean"].low[[3, 40]], abs=1e-3)


def test_what_was_not_measured_is_undefined(pairs: DosePairs, curves: CurveTable) -> None:
    first = pairs.select(pairs.block == 0)
    lone = first.select(np.arange(16) == 5)
    found = summarise_blocks(lone, curves, n=200)
    assert np.isfinite(found["mean"].mean[0])
    assert found["max"].measured[0] == found["mean"].measured[0]
    for name in ("best_3x3", "log_volume"):
        assert np.isnan(found[name].measured[0])
        assert np.isnan(found[name].low[0])
        assert found[name].defined[0] == 0.0
    gap = summarise_blocks(first.select(np.arange(16) != 5), curves, n=200)
    assert np.isnan(gap["best_3x3"].mean[0])  # every window holds this dose pair
    assert np.isnan(gap["log_volume"].mean[0])
    corner = summarise_blocks(first.select(np.arange(16) != 0), curves, n=200)
    assert np.isfinite(corner["best_3x3"].mean[0])
    assert corner["mean"].measured[0] == pytest.approx(excess_of(first, curves).ravel()[1:].mean())


def test_no_blocks_give_no_numbers(pairs: DosePairs, curves: CurveTable) -> None:
    nothing = pairs.select(np.zeros(len(pairs), bool))
    assert len(summarise_blocks(nothing, curves)["mean"].low) == 0


def test_bad_requests_are_refused(pairs: DosePairs, curves: CurveTable) -> None:
    with pytest.raises(ScreenError, match="10 draws, at least 100"):
        summarise_blocks(pairs, curves, n=10)
    with pytest.raises(ScreenError, match="unknown reference 'chou'"):
        summarise_blocks(pairs, curves, "chou")
    with pytest.raises(Stopped):
        summarise_blocks(pairs, curves, should_stop=lambda: True)


def test_progress_is_told(pairs: DosePairs, curves: CurveTable) -> None:
    told: list[tuple[str, int, int]] = []
    summarise_blocks(pairs, curves, n=100, on_progress=lambda *now: told.append(now))
    assert told[-1] == ("blocks", 91, 91)
