"""Objectives on draws: hand numbers, closed forms, and what lines share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from models.bayes.predictive import Noise
from models.objectives.evaluating import (
    evaluate,
    evaluate_front,
    objective_noise_sd,
    summarise_objective,
)
from models.objectives.objective import Efficacy, Pareto, Quantity, Score, Selectivity, WeightedSum
from models.objectives.selectivity import PairsInLines
from models.screen import Candidates, FloatArray, ScreenError

PAIRS = PairsInLines(np.array([[0, 1], [0, 2]]), np.array([3, 5, 7]), ("a", "b", "c"))
SELECTIVE = Selectivity(kill=(("a", 1.0), ("b", 3.0)), spare=(("c", 2.0),))
MEAN_SCORE = Selectivity(kill=(("a", 1.0), ("c", 1.0)), of=Score())


class Table:
    """World ``w``: scores ``compound sum + w``, efficacies ten times the line plus ``shift_w``."""

    shift = np.array([[1.0], [50.0], [-7.0], [0.0]])

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        if isinstance(quantity, Score):
            return at.compounds.sum(axis=1) + np.arange(float(n))[:, None]
        return 10.0 * at.cell_line + self.shift[:n]


def test_scores_are_themselves() -> None:
    at = PAIRS.blocks()
    assert np.array_equal(evaluate(Score(), Table(), at, 3, 0), Table().draws(Score(), at, 3, 0))


def test_selectivity_is_a_difference_of_weighted_means_in_each_world() -> None:
    values = evaluate(SELECTIVE, Table(), PAIRS, 4, 0)
    # (30 + 3 * 50) / 4 - 70: what all lines share in a world cancels.
    assert values.tolist() == [[-25.0, -25.0]] * 4
    assert summarise_objective(values).sd.tolist() == [0.0, 0.0]
    alone = evaluate(Selectivity(kill=(("c", 9.0),)), Table(), PAIRS, 4, 0)
    assert alone[:, 0].tolist() == [71.0, 120.0, 63.0, 70.0]


def test_sums_and_fronts_use_the_same_worlds() -> None:
    total = WeightedSum(((2.0, SELECTIVE), (-1.0, MEAN_SCORE)))
    values = evaluate(total, Table(), PAIRS, 3, 0)
    assert values.tolist() == [[-51.0, -52.0], [-52.0, -53.0], [-53.0, -54.0]]
    front = evaluate_front(Pareto((SELECTIVE, MEAN_SCORE)), Table(), PAIRS, 3, 0)
    assert front.shape == (2, 3, 2)
    assert np.array_equal(2.0 * front[0] - front[1], values)
    blocks = evaluate(
        WeightedSum(((1.0, Score()), (0.5, Efficacy()))), Table(), PAIRS.blocks(), 2, 0
    )
    assert blocks[1].tolist() == [42.0, 52.0, 62.0, 43.0, 53.0, 63.0]


def test_noise_adds_within_a_block_and_in_squares_between_blocks() -> None:
    noise: dict[Quantity, FloatArray] = {
        Efficacy(): np.tile([1.0, 2.0, 3.0], (2, 1)),
        Score(): np.full((2, 3), 4.0),
    }
    alone = objective_noise_sd(SELECTIVE, noise, PAIRS)
    assert alone == pytest.approx(np.full(2, np.sqrt(0.25**2 + 1.5**2 + 3.0**2)))
    both = objective_noise_sd(WeightedSum(((1.0, SELECTIVE), (1.0, MEAN_SCORE))), noise, PAIRS)
    assert both == pytest.approx(np.full(2, np.sqrt(2.25**2 + 1.5**2 + 5.0**2)))
    one_block = objective_noise_sd(
        WeightedSum(((1.0, Score()), (-2.0, Efficacy()))),
        {Score(): np.array([1.0]), Efficacy(): np.array([3.0])},
        PAIRS.blocks().select(np.array([0])),
    )
    assert one_block.tolist() == [7.0]
    with pytest.raises(ScreenError, match="noise of score"):
        objective_noise_sd(MEAN_SCORE, {}, PAIRS)


def test_blocks_and_pairs_are_not_confused() -> None:
    with pytest.raises(ScreenError, match="pairs across"):
        evaluate(SELECTIVE, Table(), PAIRS.blocks(), 2, 0)
    with pytest.raises(ScreenError, match="a pair in one cell line each"):
        evaluate(Score(), Table(), PAIRS, 2, 0)
    with pytest.raises(ScreenError, match="not given in cell line z"):
        evaluate(Selectivity(kill=(("z", 1.0),)), Table(), PAIRS, 2, 0)


def test_summary_by_hand() -> None:
    draws = np.array([[1.0, 4.0], [3.0, 0.0]])
    found = summarise_objective(draws, threshold=2.5, incumbent=1.5, margin=0.5)
    assert found.mean.tolist() == [2.0, 2.0]
    assert found.sd == pytest.approx([2**0.5, 8**0.5])
    assert found.hit_probability is not None
    assert found.hit_probability.tolist() == [0.5, 0.5]
    assert found.probability_of_improvement is not None
    assert found.probability_of_improvement.tolist() == [0.5, 0.5]
    assert found.expected_improvement is not None
    assert found.expected_improvement.tolist() == [0.5, 1.0]
    nothing = summarise_objective(draws)
    assert nothing.hit_probability is None
    assert nothing.expected_improvement is None
    noisy = summarise_objective(draws, threshold=2.5, noise=Noise(np.ones(2))).hit_probability
    assert noisy is not None
    assert noisy[0] == pytest.approx(0.5 * (norm.sf(1.5) + norm.sf(-0.5)))


def test_each_world_has_its_own_incumbent() -> None:
    draws = np.array([[1.0, 4.0], [3.0, 0.0]])
    found = summarise_objective(draws, incumbent=np.array([2.0, -1.0]))
    assert found.probability_of_improvement is not None
    assert found.probability_of_improvement.tolist() == [0.5, 1.0]
    assert found.expected_improvement is not None
    assert found.expected_improvement.tolist() == [2.0, 1.5]


def test_improvement_agrees_with_the_gaussian_closed_form() -> None:
    n, mean, sd, best = 200_000, np.array([0.0, 3.0]), np.array([1.0, 2.0]), 1.5
    draws = mean + sd * np.random.default_rng(0).normal(size=(n, 2))
    found = summarise_objective(draws, incumbent=best)
    z = (mean - best) / sd
    assert found.probability_of_improvement is not None
    assert found.probability_of_improvement == pytest.approx(norm.cdf(z), abs=4 * 0.5 / n**0.5)
    closed = (mean - best) * norm.cdf(z) + sd * norm.pdf(z)
    assert found.expected_improvement is not None
    assert found.expected_improvement == pytest.approx(closed, abs=4 * 2 / n**0.5)


def test_broken_draws_and_incumbents_are_refused() -> None:
    draws = np.zeros((3, 2))
    with pytest.raises(ScreenError, match="n >= 2"):
        summarise_objective(draws[:1])
    with pytest.raises(ScreenError, match="NaN"):
        summarise_objective(np.full((3, 2), np.nan))
    with pytest.raises(ScreenError, match="incumbent has shape"):
        summarise_objective(draws, incumbent=np.zeros(2))
    with pytest.raises(ScreenError, match="margin"):
        summarise_objective(draws, incumbent=0.0, margin=-1.0)
