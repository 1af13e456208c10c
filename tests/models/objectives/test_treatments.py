"""Viability of treatments from a score posterior."""

import numpy as np
import pytest
import torch

from models.objectives.scores import Blocks, measure_blocks
from models.objectives.treatments import (
    ExcessProfile,
    excess_profile,
    predict_viability,
    respond,
)
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import ABSENT, Candidates, ScreenError

N_COMPOUNDS, N_LINES = 20, 8


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(N_COMPOUNDS, N_LINES, 4, 0.05, seed=3)


@pytest.fixture(scope="module")
def measured(simulated: SimulatedScreen) -> tuple[CurveTable, Blocks]:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    pool = Candidates.of(
        np.repeat(first, N_LINES),
        np.repeat(second, N_LINES),
        np.tile(np.arange(N_LINES), len(first)),
    )
    screen = simulated.screen(simulated.single_agents(4, 1), simulated.measure(pool, 1, 2))
    curves = fit_curves(screen.wells, N_COMPOUNDS, N_LINES)
    return curves, measure_blocks(screen, "bliss_mean", curves)


def test_profile_of_a_flat_excess_is_the_score_itself(
    measured: tuple[CurveTable, Blocks],
) -> None:
    _, blocks = measured
    flat = Blocks(**{**vars(blocks), "excess": blocks.score[blocks.block]})
    profile = excess_profile(flat)
    assert (profile.base, profile.bend) == pytest.approx((1.0, 0.0), abs=1e-9)
    assert profile.residual_sd == 0.0


def test_few_dose_pairs_give_a_flat_profile(measured: tuple[CurveTable, Blocks]) -> None:
    _, blocks = measured
    none = {k: getattr(blocks, k)[:0] for k in ("block", "reference", "excess", "excess_sd")}
    profile = excess_profile(Blocks(**{**vars(blocks), **none}))
    assert (profile.base, profile.bend, profile.n_dose_pairs) == (1.0, 0.0, 0)


def test_predicted_viabilities_cover_the_truth(
    simulated: SimulatedScreen, measured: tuple[CurveTable, Blocks]
) -> None:
    curves, blocks = measured
    profile = excess_profile(blocks)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(blocks.block), 1500, replace=False)
    pool = blocks.candidates.select(blocks.block[rows])
    score = simulated.true_score(pool, "bliss_mean") + np.zeros((300, 1))
    draws, noise = predict_viability(
        curves, profile, pool.compounds, pool.cell_line, blocks.doses_um[rows], score, seed=1
    )
    truth = simulated.viability(pool, blocks.doses_um[rows])
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    assert 0.85 < np.mean((low <= truth) & (truth <= high)) < 0.99
    assert noise == pytest.approx(simulated.noise.sd(truth), abs=0.03)


@pytest.fixture
def profile() -> ExcessProfile:
    return ExcessProfile("bliss_mean", 0.5, 1.0, 2.0, 100)


def treat(
    curves: CurveTable, profile: ExcessProfile, pair: list[int], dose: list[float]
) -> np.ndarray:
    score = np.full((50, 1), 10.0)
    draws, _ = predict_viability(
        curves, profile, np.array([pair]), np.array([2]), np.array([dose]), score, seed=5
    )
    return draws[:, 0]


def test_order_of_the_compounds_does_not_matter(
    measured: tuple[CurveTable, Blocks], profile: ExcessProfile
) -> None:
    one = treat(measured[0], profile, [3, 7], [0.1, 2.0])
    assert np.array_equal(one, treat(measured[0], profile, [7, 3], [2.0, 0.1]))


def test_a_single_agent_is_its_curve(
    measured: tuple[CurveTable, Blocks], profile: ExcessProfile
) -> None:
    curves = measured[0]
    alone = treat(curves, profile, [3, ABSENT], [0.1, 0.0])
    curve = curves.curve_draws(np.array([3]), np.array([2]), np.array([0.1]), 50, seed=5)
    assert np.array_equal(alone, curve[:, 0])
    assert np.array_equal(alone, treat(curves, profile, [3, 7], [0.1, 0.0]))
    assert np.all(treat(curves, profile, [ABSENT, ABSENT], [0.0, 0.0]) == 1.0)


def test_wrong_shapes_are_refused(
    measured: tuple[CurveTable, Blocks], profile: ExcessProfile
) -> None:
    with pytest.raises(ScreenError, match="two compound"):
        treat(measured[0], profile, [1, 2, 3], [0.1, 0.1, 0.1])
    with pytest.raises(ScreenError, match="not negative"):
        treat(measured[0], profile, [1, 2], [0.1, -0.1])


class Halved:
    """A model of responses whose every treatment is half as viable for each compound."""

    def viability_draws(
        self,
        compounds: np.ndarray,
        doses_um: np.ndarray,
        cell_line: np.ndarray,
        n: int,
        seed: int,
    ) -> torch.Tensor:
        assert compounds.shape == doses_um.shape == (len(cell_line), 3)
        level = torch.as_tensor(0.5 ** (compounds >= 0).sum(axis=1), dtype=torch.float32)
        return level.expand(n, -1)

    def well_noise_sd(self, viability: np.ndarray) -> np.ndarray:
        return 0.1 * viability


def test_a_model_of_responses_is_asked_itself() -> None:
    compounds = np.array([[0, 1], [1, -1], [-1, -1]])
    doses = np.where(compounds >= 0, 1.0, 0.0)
    draws, noise = respond(Halved(), compounds, np.zeros(3, np.int64), doses, 4, 0)
    assert draws.tolist() == [[0.25, 0.5, 1.0]] * 4
    assert np.allclose(noise, [0.025, 0.05, 0.1])
