"""An objective where a score is expected: draws, noise, and a whole pool through it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from models.acquisition.pool import PoolRequest, summarise_pool
from models.objectives.block_noise import BlockNoise
from models.objectives.efficacy import efficacy_noise_sd
from models.objectives.evaluating import evaluate
from models.objectives.objective import Efficacy, Quantity, Scalar, Score, Selectivity, WeightedSum
from models.objectives.posterior import FrontPosterior, MeasurementNoise, ObjectivePosterior
from models.objectives.selectivity import PairsInLines
from models.pharmacology.noise import NoiseModel
from models.pharmacology.random_numbers import combine, normals
from models.screen import Candidates, FloatArray, ScreenError
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.training import Schedule

PAIRS = PairsInLines(np.array([[0, 1], [0, 2], [1, 2]]), np.array([1, 0]), ("b", "a"))
SELECTIVE = Selectivity(kill=(("a", 1.0),), spare=(("b", 1.0),))
WELLS, SHARED = NoiseModel(0.06, 0.08, "known"), BlockNoise(1.2, 0.01, "known")


class Base:
    """Scores of sd 5 with Student-t noise of scale 2."""

    model, noise_df, schedule = "some", 4.0, Schedule(1, 1)

    def diagnostics(self) -> dict[str, Any]:
        return {"fine": True}

    def draws(self, candidates: Candidates, n: int, seed: int) -> torch.Tensor:
        key = combine(candidates.keys(10))
        return torch.from_numpy(5.0 * normals(seed, key, n, 1)[..., 0]).float()

    def noise_scale(self, candidates: Candidates) -> torch.Tensor:
        return torch.full((len(candidates),), 2.0)

    def noise_sd(self, candidates: Candidates) -> torch.Tensor:
        return torch.full((len(candidates),), 2.0 * math.sqrt(2.0))


class Functions:
    """Scores as in :class:`Base`; inhibition is that plus 30."""

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        scores = Base().draws(at, n, seed).numpy().astype(np.float64)
        return scores if isinstance(quantity, Score) else scores + 30.0


def wish(objective: Scalar, pairs: PairsInLines | None = None) -> ObjectivePosterior:
    grids = DoseGrids(
        pair_keys=np.empty(0, np.int64),
        pair_starts=np.zeros(1, np.int64),
        pair_doses=np.empty((0, 2)),
        own_starts=2 * np.arange(4),
        own_doses=np.arange(1.0, 7.0),
    )
    noise = MeasurementNoise(Base(), Functions(), grids, WELLS, SHARED)
    return ObjectivePosterior(Base(), objective, Functions(), noise, pairs)


def test_the_score_is_what_it_was() -> None:
    at, same = PAIRS.blocks(), wish(Score())
    assert torch.equal(same.draws(at, 5, 1), Base().draws(at, 5, 1))
    assert torch.allclose(same.noise_scale(at), Base().noise_scale(at))
    assert torch.allclose(same.noise_sd(at), Base().noise_sd(at))
    assert (same.noise_df, same.model, same.diagnostics()) == (4.0, "some", {"fine": True})


def test_a_pair_is_handed_around_as_one_of_its_blocks() -> None:
    there = wish(SELECTIVE, PAIRS)
    drawn = there.draws(PAIRS.stand_ins().select(np.array([2, 0])), 5, 1)
    wanted = evaluate(SELECTIVE, Functions(), PAIRS, 5, 1)[:, [2, 0]]
    assert np.array_equal(drawn.numpy(), wanted.astype(np.float32))


def test_noise_of_an_inhibition_and_of_a_difference() -> None:
    at = PAIRS.stand_ins()
    expected = Functions().draws(Efficacy(), at, 16, 0).mean(axis=0)
    alone = efficacy_noise_sd(expected, np.full(3, 4), "mean", WELLS, SHARED)
    assert wish(Efficacy()).noise_scale(at).numpy() == pytest.approx(alone, rel=1e-6)
    assert math.isinf(wish(Efficacy()).noise_df)
    other = PAIRS.blocks_in(np.array([1]))
    expected = Functions().draws(Efficacy(), other, 16, 0).mean(axis=0)
    there = efficacy_noise_sd(expected, np.full(3, 4), "mean", WELLS, SHARED)
    both = wish(SELECTIVE, PAIRS).noise_sd(at).numpy()
    assert both == pytest.approx(np.hypot(alone, there), rel=1e-6)


@pytest.mark.parametrize("acquisition", ["hit_probability", "thompson", "ucb"])
def test_a_pool_goes_through_it(acquisition: str) -> None:
    request = PoolRequest(acquisition, 5.0, 1.0, 64, 3, 3)
    scores = summarise_pool(wish(SELECTIVE, PAIRS), PAIRS.stand_ins(), np.ones(3, bool), request)
    drawn = evaluate(SELECTIVE, Functions(), PAIRS, 64, 3)
    assert scores.mean == pytest.approx(drawn.mean(axis=0), abs=1e-4)
    assert np.all(np.isfinite(scores.acquisition))


def test_lines_are_given_exactly_where_they_are_needed() -> None:
    with pytest.raises(ScreenError, match="compares some"):
        wish(SELECTIVE)
    with pytest.raises(ScreenError, match="compares some"):
        wish(WeightedSum(((1.0, Score()),)), PAIRS)


def test_every_block_of_a_pair_carries_the_numbers_of_the_pair() -> None:
    there, blocks = wish(SELECTIVE, PAIRS), PAIRS.blocks()
    each = there.draws(blocks, 7, 2).numpy().reshape(7, 3, 2)
    assert np.array_equal(each[:, :, 0], each[:, :, 1])
    assert np.array_equal(each[:, :, 0], there.draws(PAIRS.stand_ins(), 7, 2).numpy())
    sd = there.noise_sd(blocks).numpy().reshape(3, 2)
    assert np.array_equal(sd[:, 0], sd[:, 1])
    turned = Candidates.of(blocks.compounds[:, 1], blocks.compounds[:, 0], blocks.cell_line)
    assert torch.equal(there.draws(turned, 7, 2), there.draws(blocks, 7, 2))


def test_the_margin_of_a_front() -> None:
    at, parts = PAIRS.stand_ins(), (wish(Score()), wish(Efficacy()))
    front = FrontPosterior(parts, (1.0, 33.0))
    scores, inhibition = (part.draws(at, 6, 1).numpy() for part in parts)
    assert np.array_equal(front.each(at, 6, 1), np.stack([scores, inhibition]))
    wanted = np.minimum(scores - 1.0, inhibition - 33.0)
    assert front.draws(at, 6, 1).numpy() == pytest.approx(wanted, abs=1e-4)
    larger = torch.maximum(parts[0].noise_sd(at), parts[1].noise_sd(at))
    assert torch.equal(front.noise_sd(at), larger)
    assert torch.equal(front.noise_scale(at), larger)
    assert (front.noise_df, front.model, front.diagnostics()) == (math.inf, "some", {"fine": True})
    with pytest.raises(ScreenError, match="reference of each"):
        FrontPosterior(parts, (1.0,))
