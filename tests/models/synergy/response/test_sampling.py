"""Whole fits against a known truth."""

import numpy as np
import pytest
import torch

from models.bayes.predictive import Noise, coverage
from models.pharmacology.simulate_tensor import SimulatedTensor, simulate_tensor
from models.screen import Wells, never_stop, no_progress
from models.synergy.response.sampling import Sampled, sample_worlds
from models.synergy.response.treatments import Treatments
from models.synergy.training import Schedule


def join(*parts: Wells) -> Wells:
    names = ("cell_line", "compounds", "doses_um", "viability")
    return Wells(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit(wells: Wells, sim: SimulatedTensor, schedule: Schedule) -> Sampled:
    return sample_worlds(
        wells,
        sim.log_c.shape,
        seed=0,
        device=torch.device("cpu"),
        on_progress=no_progress,
        should_stop=never_stop,
        schedule=schedule,
    )


def predict(found: Sampled, wells: Wells, n: int = 100) -> np.ndarray:
    at = Treatments.of(wells.compounds, wells.doses_um, wells.cell_line, *found.worlds.shape)
    return found.worlds.draws(at, n, 1).numpy().astype(np.float64)


def errors(found: Sampled, sim: SimulatedTensor, test: Wells) -> tuple[np.ndarray, np.ndarray]:
    truth = sim.viability(test.compounds, test.doses_um, test.cell_line)
    return predict(found, test), truth


@pytest.mark.slow
@pytest.mark.parametrize("gated", [False, True])
def test_recovers_the_truth_with_honest_intervals(gated: bool) -> None:
    sim = simulate_tensor(15, 12, 3, 0.06, seed=1, gated=gated)
    test = sim.random_pairs(1500, 9)
    found = fit(join(sim.random_pairs(2500, 2), sim.singles(3)), sim, Schedule(90, 30))
    draws, truth = errors(found, sim, test)
    mean = draws.mean(axis=0)
    assert np.mean((mean - truth) ** 2) < 0.0012
    noise = Noise(np.hypot(found.noise_sd[0], found.noise_sd[1] * mean))
    assert 0.86 < coverage(draws, test.viability, noise)[0.9] < 0.95
    exact = Noise(np.full(len(mean), 1e-6))
    assert 0.75 < coverage(draws, truth, exact)[0.9] < 0.98
    assert (found.report["gate_exponent"] > 0.2) == gated


@pytest.mark.slow
def test_one_failed_well_in_ten_does_not_ruin_the_fit() -> None:
    sim = simulate_tensor(12, 10, 3, 0.05, seed=2)
    wells = join(sim.random_pairs(1500, 2), sim.singles(3))
    rng = np.random.default_rng(0)
    bad = rng.random(len(wells)) < 0.1
    spoiled = np.where(bad, rng.uniform(0, 1.5, len(wells)), wells.viability)
    test = sim.random_pairs(1000, 9)
    clean, dirty = (
        errors(
            fit(Wells(wells.cell_line, wells.compounds, wells.doses_um, y), sim, plan), sim, test
        )
        for y, plan in ((wells.viability, Schedule(50, 25)), (spoiled, Schedule(50, 25)))
    )
    loss = [float(np.mean((d.mean(axis=0) - truth) ** 2)) for d, truth in (clean, dirty)]
    assert loss[1] < 2.0 * loss[0] + 0.0005


def test_single_agents_alone_are_enough() -> None:
    sim = simulate_tensor(6, 5, 4, 0.05, seed=3)
    found = fit(sim.singles(1), sim, Schedule(20, 10))
    pairs = sim.random_pairs(50, 2)
    draws = predict(found, pairs)
    assert np.isfinite(draws).all()
    assert (
        np.corrcoef(predict(found, sim.singles(2)).mean(axis=0), sim.singles(2).viability)[0, 1]
        > 0.9
    )


def test_wells_of_three_compounds_teach_and_are_predicted() -> None:
    sim = simulate_tensor(6, 4, 3, 0.03, seed=4)
    rng = np.random.default_rng(0)
    compounds = np.sort(np.array([rng.permutation(6)[:3] for _ in range(300)]), axis=1)
    doses = sim.doses_um[compounds, rng.integers(0, 3, (300, 3))]
    line = rng.integers(0, 4, 300)
    triples = sim.measure(compounds, doses, line, seed=5)
    found = fit(join(triples.select(np.arange(200)), sim.singles(1)), sim, Schedule(40, 20))
    held_out = triples.select(np.arange(200, 300))
    truth = sim.viability(held_out.compounds, held_out.doses_um, held_out.cell_line)
    assert np.sqrt(np.mean((predict(found, held_out).mean(axis=0) - truth) ** 2)) < 0.08


def test_a_missing_plate_is_simply_absent() -> None:
    """All pair wells of one cell line missing: it is predicted from the others."""
    sim = simulate_tensor(8, 6, 3, 0.05, seed=5)
    pairs = sim.random_pairs(600, 2)
    found = fit(join(pairs.select(pairs.cell_line != 0), sim.singles(1)), sim, Schedule(24, 12))
    draws = predict(found, pairs.select(pairs.cell_line == 0))
    assert np.isfinite(draws).all()
    assert draws.std(axis=0).min() > 0
