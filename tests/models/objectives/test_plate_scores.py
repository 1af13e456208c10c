"""Scores of a screen of which half the plates are three times as noisy as the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.objectives.block_noise import _shared_sd
from models.objectives.measured import measured_efficacy
from models.objectives.scores import Blocks, measure_blocks
from models.pharmacology.dose_response import fit_curves
from models.pharmacology.plate_noise import plate_scales, shared_level_sd
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.pharmacology.simulate_plates import simulate_plates, without_plates
from models.rounds import RoundRules, prepare, training_of
from models.screen import ABSENT, Candidates, FloatArray, PlateTable, Screen, ScreenError, Wells
from models.synergy.registry import find_model

N, LINES, PLATES = 24, 10, 20
FACTOR = np.where(np.arange(PLATES) % 2 == 0, 1.0, 3.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(N, LINES, 4, 0.06, seed=2)


@pytest.fixture(scope="module")
def chosen() -> Candidates:
    first, second = np.triu_indices(N, 1)
    return Candidates.of(first, second, np.arange(len(first)) % LINES)


@pytest.fixture(scope="module")
def home(chosen: Candidates) -> np.ndarray:
    """The plate of each block."""
    return np.random.default_rng(2).integers(0, PLATES, len(chosen))


@pytest.fixture(scope="module")
def screen(simulated: SimulatedScreen, chosen: Candidates, home: np.ndarray) -> Screen:
    return simulate_plates(
        simulated, chosen, home, FACTOR, vehicles=16, single_replicates=4, seed=2
    )


@pytest.fixture(scope="module")
def blocks(screen: Screen) -> Blocks:
    return measure_blocks(screen, "bliss_mean")


@pytest.fixture(scope="module")
def noisy(blocks: Blocks, chosen: Candidates, home: np.ndarray) -> np.ndarray:
    """Which blocks lie on noisy plates, in the order of ``blocks``."""
    known = dict(zip(chosen.keys(N).tolist(), (FACTOR[home] > 1).tolist(), strict=True))
    return np.array([known[key] for key in blocks.candidates.keys(N).tolist()])


def standard(simulated: SimulatedScreen, blocks: Blocks) -> FloatArray:
    truth = simulated.true_score(blocks.candidates, blocks.score_name)
    return np.asarray((blocks.score - truth) / blocks.noise_sd)


def test_errors_are_honest_on_quiet_and_on_noisy_plates(
    simulated: SimulatedScreen, screen: Screen, blocks: Blocks, noisy: np.ndarray
) -> None:
    z = standard(simulated, blocks)
    assert 0.85 < z[~noisy].std() < 1.15
    assert 0.85 < z[noisy].std() < 1.15
    unaware = standard(simulated, measure_blocks(without_plates(screen), "bliss_mean"))
    assert unaware[~noisy].std() < 0.8 < 1.15 < unaware[noisy].std()


def test_a_block_of_a_noisy_plate_is_known_less_well(blocks: Blocks, noisy: np.ndarray) -> None:
    assert np.median(blocks.noise_sd[noisy]) > 1.5 * np.median(blocks.noise_sd[~noisy])


def test_scores_themselves_are_nearer_to_the_truth(
    simulated: SimulatedScreen, screen: Screen, blocks: Blocks
) -> None:
    """Single agents lie on both kinds of plates, and quiet replicates count for more."""
    truth = simulated.true_score(blocks.candidates, "bliss_mean")
    unaware = measure_blocks(without_plates(screen), "bliss_mean")
    ours, theirs = (np.mean((b.score - truth) ** 2) for b in (blocks, unaware))
    assert ours < 0.95 * theirs


@pytest.mark.parametrize("score", ["bliss_mean", "zip_mean", "hsa_max"])
def test_nothing_known_of_any_plate_is_as_if_there_were_none(screen: Screen, score: str) -> None:
    unknown = np.full(len(screen.wells), ABSENT, np.int64)
    one = PlateTable(("P",), np.array([0.2]), np.array([7.0]))
    wells = screen.wells
    plain = measure_blocks(without_plates(screen), score)
    for other in (
        replace(wells, plate=unknown),
        replace(wells, plate=np.zeros_like(unknown), plates=one),
    ):
        again = measure_blocks(replace(screen, wells=other), score)
        assert np.array_equal(again.score, plain.score)
        assert np.array_equal(again.noise_sd, plain.noise_sd)
        assert np.array_equal(again.excess_sd, plain.excess_sd)


def test_names_and_order_of_plates_and_wells_change_nothing(screen: Screen, blocks: Blocks) -> None:
    rng = np.random.default_rng(0)
    wells = screen.wells
    assert wells.plates is not None
    assert wells.plate is not None
    order = rng.permutation(len(wells.plates))
    place = np.argsort(order)
    table = PlateTable(
        tuple(f"other {row}" for row in range(len(order))),
        wells.plates.control_sd[order],
        wells.plates.control_dof[order],
    )
    turned = replace(wells, plate=place[wells.plate], plates=table)
    again = measure_blocks(
        replace(screen, wells=turned.select(rng.permutation(len(wells)))), "bliss_mean"
    )
    assert np.array_equal(again.score, blocks.score)
    assert np.array_equal(again.noise_sd, blocks.noise_sd)


def test_inhibition_of_a_noisy_plate_is_known_less_well(
    screen: Screen, blocks: Blocks, noisy: np.ndarray
) -> None:
    curves = fit_curves(screen.wells, N, LINES)
    _, sd = measured_efficacy(blocks, curves.noise, "mean")
    assert np.median(sd[noisy]) > 1.5 * np.median(sd[~noisy])
    without = replace(blocks, precision=None)
    _, plain = measured_efficacy(without, curves.noise, "mean")
    assert blocks.precision is not None
    same = np.flatnonzero(blocks.noise.shared_sd == 0.0) if len(sd) else []
    for row in same:
        mine = blocks.precision[blocks.block == row]
        assert plain[row] / sd[row] == pytest.approx(np.sqrt(mine[0]), rel=1e-6)


def test_the_shared_error_is_found_among_blocks_of_unequal_noise() -> None:
    rng = np.random.default_rng(1)
    known = np.where(np.arange(4000) % 5 < 2, 0.03, 0.01) ** 2
    for shared in (0.0, 0.02):
        found = _shared_sd(np.sqrt(known + shared**2) * rng.standard_normal(4000), known)
        assert found == pytest.approx(shared, abs=0.003 if shared else 0.004)
    assert _shared_sd(np.zeros(30), np.ones(30)) == 0.0


def test_the_simulation_puts_every_well_on_a_plate(
    simulated: SimulatedScreen, chosen: Candidates, home: np.ndarray, screen: Screen
) -> None:
    wells = screen.wells
    assert wells.plates is not None
    assert wells.plate is not None
    assert wells.plate.min() == 0
    assert np.sum(wells.n_compounds == 2) == 16 * len(chosen)
    assert np.sum(wells.n_compounds == 1) == 4 * N * LINES * 8
    scale = plate_scales(wells.plates)
    loud = np.array(
        [FACTOR[int(name.split(",")[0].split()[1]) - 1] > 1 for name in wells.plates.ids]
    )
    assert np.median(scale[loud]) > 2.0 * np.median(scale[~loud])
    for bad in ({"vehicles": 1}, {"vehicles": 8, "noise_factor": FACTOR[:3]}):
        arguments = {"plate": home, "noise_factor": FACTOR, "seed": 1, **bad}
        with pytest.raises(ScreenError):
            simulate_plates(simulated, chosen, **arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_model_that_knows_the_noise_of_plates_predicts_better() -> None:
    """Paired over seeds: the same wells, with and without what their controls say."""
    gain = []
    first, second = np.triu_indices(20, 1)
    line = np.repeat(np.arange(6), len(first))
    every = Candidates.of(np.tile(first, 6), np.tile(second, 6), line)
    for seed in range(4):
        sim = simulate_screen(20, 6, 3, 0.08, seed=seed)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(every))
        train, test = every.select(order[:200]), every.select(order[200:])
        at = rng.integers(0, 16, 200)
        made = simulate_plates(sim, train, at, FACTOR[:16], vehicles=16, seed=seed)
        truth, errors = sim.true_score(test, "bliss_mean"), []
        for screen in (made, without_plates(made)):
            training = training_of(screen, prepare(screen, RoundRules()), "bliss_mean")
            posterior = find_model("gp_pairs").fit(training, seed=seed)
            mean = posterior.draws(test, 64, 0).numpy().mean(axis=0)
            errors.append(float(np.sqrt(np.mean((mean - truth) ** 2))))
        gain.append(errors[1] - errors[0])
    assert np.mean(gain) > 2.0 * np.std(gain, ddof=1) / np.sqrt(len(gain))


def off_level(screen: Screen, sd: float) -> tuple[Screen, Screen]:
    """The screen with combination wells whose plates are off by ``sd``, told and untold."""
    wells = screen.wells
    assert wells.plate is not None
    assert wells.plates is not None
    n = len(wells.plates)
    off = 1.0 + sd * np.random.default_rng(4).standard_normal(n)
    pairs = wells.n_compounds == 2
    shifted = np.where(pairs, wells.viability * off[wells.plate], wells.viability)
    untold = replace(wells, viability=shifted)
    told = replace(untold, plates=replace(wells.plates, level_sd=np.full(n, sd)))
    return replace(screen, wells=told), replace(screen, wells=untold)


def test_what_plates_say_that_their_wells_share_need_not_be_learned(
    simulated: SimulatedScreen, screen: Screen
) -> None:
    told, untold = (measure_blocks(each, "bliss_mean") for each in off_level(screen, 0.06))
    assert untold.noise.shared_sd > 0.03
    assert told.noise.shared_sd < 0.5 * untold.noise.shared_sd
    assert 0.8 < standard(simulated, told).std() < 1.2


def test_a_level_moves_all_wells_of_a_block_alike(screen: Screen, chosen: Candidates) -> None:
    """Too few blocks to learn anything from: only the controls can tell."""
    pairs = screen.wells.n_compounds == 2
    first = chosen.select(np.arange(len(chosen)) < 4).keys(N)
    some = ~pairs
    some[pairs] = np.isin(
        Candidates(screen.wells.compounds[pairs, :2], screen.wells.cell_line[pairs]).keys(N), first
    )
    few = [replace(each, wells=each.wells.select(some)) for each in off_level(screen, 0.06)]
    told, untold = (measure_blocks(each, "bliss_mean") for each in few)
    assert told.noise.shared_sd == untold.noise.shared_sd == 0.0
    assert np.array_equal(told.score, untold.score)
    mean = np.bincount(told.block, told.viability) / told.n_dose_pairs
    expected = np.hypot(untold.noise_sd, 100.0 * 0.06 * mean)
    assert told.noise_sd == pytest.approx(expected, rel=1e-9)


def test_levels_add_in_squares_by_shares_of_wells() -> None:
    table = PlateTable(("P", "Q"), np.ones(2), np.ones(2), np.array([0.03, 0.04]))
    wells = Wells(
        np.zeros(5, np.int64),
        np.tile(np.array([[0, 1, ABSENT]]), (5, 1)),
        np.tile(np.array([[1.0, 1.0, 0.0]]), (5, 1)),
        np.ones(5),
        np.array([0, 1, 0, 0, ABSENT]),
        table,
    )
    found = shared_level_sd(wells, np.array([0, 0, 1, 2, 2]))
    assert found == pytest.approx([0.025, 0.03, 0.015])
    assert shared_level_sd(replace(wells, plate=None, plates=None), np.zeros(5, np.int64)) is None
    plain = replace(wells, plates=replace(table, level_sd=None))
    assert shared_level_sd(plain, np.zeros(5, np.int64)) is None
    with pytest.raises(ScreenError, match="level_sd"):
        replace(table, level_sd=np.array([0.1, -0.1]))
