"""Inhibition of blocks from scores and curves, and from responses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.objectives import efficacy
from models.objectives.block_noise import BlockNoise
from models.objectives.efficacy import ResponseFunctions, ScoreFunctions, efficacy_noise_sd
from models.objectives.objective import Efficacy, Score
from models.objectives.scores import Blocks, measure_blocks
from models.objectives.treatments import ExcessProfile
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.noise import NoiseModel
from models.pharmacology.random_numbers import combine, normals
from models.pharmacology.simulate import simulate_screen
from models.screen import ABSENT, Candidates, FloatArray, IntArray, Screen, ScreenError
from models.synergy.response.dose_grids import DoseGrids

N_COMPOUNDS, N_LINES, DRAWS = 6, 3, 7


class SomeScores:
    """Scores of sd 5 that belong to the block; or the given ones in every world."""

    def __init__(self, known: Blocks | None = None) -> None:
        self.known = known

    def draws(self, candidates: Candidates, n: int, seed: int) -> torch.Tensor:
        if self.known is not None:
            keys = self.known.candidates.keys(N_COMPOUNDS)
            at = np.searchsorted(keys, candidates.keys(N_COMPOUNDS))
            return torch.from_numpy(np.tile(self.known.score[at], (n, 1)))
        key = combine(candidates.keys(N_COMPOUNDS))
        return torch.from_numpy(5.0 * normals(seed, key, n, 1)[..., 0])

    def noise_sd(self, candidates: Candidates) -> torch.Tensor:
        return torch.ones(len(candidates))


class SomeResponses:
    """Compound ``c`` leaves ``1 / (1 + dose + w c)`` in world ``w``; pairs 0.9 of their product."""

    def viability_draws(
        self, compounds: IntArray, doses_um: FloatArray, cell_line: IntArray, n: int, seed: int
    ) -> torch.Tensor:
        world = 0.1 * np.arange(n)[:, None, None]
        single = np.where(compounds == ABSENT, 1.0, 1.0 / (1.0 + doses_um + world * compounds))
        both = (compounds != ABSENT).sum(axis=1) > 1
        return torch.from_numpy(single.prod(axis=-1) * np.where(both, 0.9, 1.0))

    def well_noise_sd(self, viability: FloatArray) -> FloatArray:
        return np.full_like(viability, 0.05)


@pytest.fixture(scope="module")
def screen() -> Screen:
    torch.set_num_threads(1)
    simulated = simulate_screen(N_COMPOUNDS, N_LINES, 4, 0.05, seed=3)
    return simulated.screen(simulated.single_agents(2, 1), simulated.measure(pool(), 1, 2))


def pool() -> Candidates:
    first, second = np.triu_indices(N_COMPOUNDS, 1)
    lines = np.repeat(np.arange(N_LINES), len(first))
    return Candidates.of(np.tile(first, N_LINES), np.tile(second, N_LINES), lines)


@pytest.fixture(scope="module")
def curves(screen: Screen) -> CurveTable:
    return fit_curves(screen.wells, N_COMPOUNDS, N_LINES)


@pytest.fixture(scope="module")
def grids(screen: Screen) -> DoseGrids:
    return DoseGrids.of(screen.wells, N_COMPOUNDS)


def test_scores_of_measured_blocks_give_back_their_measured_inhibition(
    screen: Screen, curves: CurveTable, grids: DoseGrids
) -> None:
    for score in ("bliss_mean", "hsa_mean"):
        blocks = measure_blocks(screen, score, curves)
        functions = ScoreFunctions(SomeScores(blocks), score, curves, grids, drawn=False)
        drawn = functions.draws(Efficacy(), blocks.candidates, DRAWS, 1)
        left = np.bincount(blocks.block, blocks.viability) / np.bincount(blocks.block)
        assert drawn == pytest.approx(np.tile(100.0 * (1.0 - left), (DRAWS, 1)), abs=1e-9)


def test_the_reference_is_drawn_with_the_curves(curves: CurveTable, grids: DoseGrids) -> None:
    functions = ScoreFunctions(SomeScores(), "bliss_mean", curves, grids)
    drawn = functions.draws(Efficacy(), pool(), DRAWS, 5)
    at = 17
    pair, line = pool().compounds[at], pool().cell_line[[at]]
    doses = grids.rows(pool().select(np.array([at])))[1]
    left = []
    for one, two in doses:
        a = curves.curve_draws(pair[:1], line, np.array([one]), DRAWS, 5)
        b = curves.curve_draws(pair[1:], line, np.array([two]), DRAWS, 5)
        left.append(a * b)
    score = SomeScores().draws(pool().select(np.array([at])), DRAWS, 5).numpy()[:, 0]
    wanted = 100.0 * (1.0 - np.mean(left, axis=0)[:, 0]) + score
    assert drawn[:, at] == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("quantity", [Score(), Efficacy(), Efficacy("max")])
def test_worlds_do_not_depend_on_what_is_asked_together(
    quantity: Score | Efficacy,
    curves: CurveTable,
    grids: DoseGrids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile = ExcessProfile("bliss_mean", 0.5, 1.0, 2.0, 100)
    functions = ScoreFunctions(SomeScores(), "bliss_mean", curves, grids, profile)
    whole = functions.draws(quantity, pool(), DRAWS, 5)
    rows = np.array([30, 2, 9])
    assert np.array_equal(functions.draws(quantity, pool().select(rows), DRAWS, 5), whole[:, rows])
    monkeypatch.setattr(efficacy, "ELEMENTS_PER_BLOCK", 1)
    assert np.array_equal(functions.draws(quantity, pool(), DRAWS, 5), whole)


def test_largest_inhibition_goes_through_the_profile(curves: CurveTable, grids: DoseGrids) -> None:
    flat = ExcessProfile("bliss_mean", 1.0, 0.0, 0.0, 100)
    functions = ScoreFunctions(SomeScores(), "bliss_mean", curves, grids, flat)
    one = pool().select(np.array([11]))
    mean, largest = (functions.draws(Efficacy(s), one, DRAWS, 2) for s in ("mean", "max"))
    doses = grids.rows(one)[1]
    pair, line = np.repeat(one.compounds, len(doses), 0), np.repeat(one.cell_line, len(doses))
    single = [curves.curve_draws(pair[:, k], line, doses[:, k], DRAWS, 2) for k in (0, 1)]
    score = SomeScores().draws(one, DRAWS, 2).numpy()
    inhibition = 100.0 * (1.0 - single[0] * single[1]) + score
    assert largest[:, 0] == pytest.approx(inhibition.max(axis=1))
    assert mean[:, 0] == pytest.approx(inhibition.mean(axis=1))
    through = ScoreFunctions(
        SomeScores(), "bliss_max", curves, grids, ExcessProfile("bliss_max", 1.0, 0.0, 0.0, 100)
    )
    assert through.draws(Efficacy(), one, DRAWS, 2) == pytest.approx(mean)


def test_what_a_score_does_not_say_is_refused(curves: CurveTable, grids: DoseGrids) -> None:
    functions = ScoreFunctions(SomeScores(), "bliss_mean", curves, grids)
    with pytest.raises(ScreenError, match="nothing of hsa_mean"):
        functions.draws(Score("hsa_mean"), pool(), DRAWS, 1)
    with pytest.raises(ScreenError, match="needs an excess profile"):
        functions.draws(Efficacy("max"), pool(), DRAWS, 1)
    with pytest.raises(ScreenError, match="learned for hsa_mean"):
        ScoreFunctions(
            SomeScores(), "bliss_mean", curves, grids, ExcessProfile("hsa_mean", 1.0, 0.0, 0.0, 9)
        )
    with pytest.raises(ScreenError, match="cannot draw 0"):
        functions.reference_inhibition(pool(), 0, 1)


def test_responses_are_asked_at_the_doses() -> None:
    grids = DoseGrids(
        pair_keys=np.array([1 * N_COMPOUNDS + 2]),
        pair_starts=np.array([0, 2]),
        pair_doses=np.array([[1.0, 0.5], [3.0, 1.0]]),
        own_starts=np.arange(N_COMPOUNDS + 1),
        own_doses=np.ones(N_COMPOUNDS),
    )
    at = Candidates(np.array([[1, 2]]), np.array([0]))
    functions = ResponseFunctions(SomeResponses(), grids)
    # World 1: singles 1 / (2.1, 4.1) and 1 / (1.7, 2.2).
    a, b = 1 / np.array([2.1, 4.1]), 1 / np.array([1.7, 2.2])
    product, strongest = a * b, np.minimum(a, b)

    def second(quantity: Score | Efficacy) -> float:
        return float(functions.draws(quantity, at, 2, 0)[1, 0])

    assert second(Efficacy()) == pytest.approx(100 * (1 - 0.9 * product).mean())
    assert second(Efficacy("max")) == pytest.approx(100 * (1 - 0.9 * product).max())
    assert second(Score("bliss_mean")) == pytest.approx(10 * product.mean())
    assert second(Score("bliss_max")) == pytest.approx(10 * product.max())
    assert second(Score("hsa_mean")) == pytest.approx(100 * (strongest - 0.9 * product).mean())


def test_noise_of_a_measured_inhibition() -> None:
    wells = NoiseModel(0.06, 0.08, "known")
    shared = BlockNoise(1.5, 0.02, "known")
    inhibition, count = np.array([0.0, 50.0]), np.array([16, 9])
    own = 1.5 * wells.sd(np.array([1.0, 0.5]))
    mean = efficacy_noise_sd(inhibition, count, "mean", wells, shared)
    assert mean == pytest.approx(100 * np.hypot(own / [4, 3], [0.02, 0.01]))
    one = efficacy_noise_sd(inhibition, count, "max", wells, shared, replicates=4)
    assert one == pytest.approx(100 * np.hypot(own / 2, [0.02, 0.01]))
    with pytest.raises(ScreenError, match="replicates"):
        efficacy_noise_sd(inhibition, count, "mean", wells, shared, 0)
