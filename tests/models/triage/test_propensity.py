"""Weights that undo a choice, and the drift between rounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from models.screen import ScreenError
from models.triage.drift import measure_drift
from models.triage.propensity import (
    LARGEST,
    estimate_propensity,
    inverse_propensity_weights,
)


def test_weights_give_the_rate_of_all_back() -> None:
    """Hits were sought: the rate among the chosen is far too high, weighted it is right."""
    rng = np.random.default_rng(0)
    n = 60_000
    logits = -2 + rng.standard_normal(n)
    hit = rng.random(n) < expit(logits)
    propensity = 0.02 + 0.5 * expit(2 * (logits + 1))
    chosen = rng.random(n) < propensity
    weights = inverse_propensity_weights(propensity[chosen])
    plain, weighed = hit[chosen].mean(), np.average(hit[chosen], weights=weights.weight)
    assert plain > hit.mean() + 0.1
    # Effective rows near 5,000 of a rate of 0.16: a standard error of 0.0055.
    assert weighed == pytest.approx(hit.mean(), abs=3 * 0.0055)
    assert weights.effective_rows < chosen.sum()


def test_equal_propensities_change_nothing() -> None:
    weights = inverse_propensity_weights(np.full(7, 0.03))
    assert weights.weight.tolist() == [1.0] * 7
    assert weights.effective_rows == pytest.approx(7)
    assert "count alike" in weights.words


def test_weights_are_held_at_ten_times_their_median() -> None:
    propensity = np.concatenate([np.full(99, 0.5), [1e-6]])
    weights = inverse_propensity_weights(propensity)
    assert weights.truncated == 1
    assert weights.weight.max() / np.median(weights.weight) == pytest.approx(LARGEST)
    assert "1 held" in weights.words
    assert weights.weight.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [0.0, 1.5, -0.1, np.nan])
def test_an_impossible_propensity_is_refused(wrong: float) -> None:
    with pytest.raises(ScreenError, match="probability above 0"):
        inverse_propensity_weights(np.array([0.5, wrong]))


def test_propensities_are_learned_from_what_was_chosen() -> None:
    rng = np.random.default_rng(1)
    known = rng.standard_normal((20_000, 1))
    true = expit(-2 + 1.5 * known[:, 0])
    found = estimate_propensity(known, rng.random(20_000) < true)
    assert found == pytest.approx(true, abs=0.04)


def test_a_greedy_choice_has_propensities_inside_the_open_interval() -> None:
    known = np.linspace(-3, 3, 500)[:, None]
    found = estimate_propensity(known, known[:, 0] > 2)
    assert found.min() > 0
    assert found.max() < 1
    assert found[known[:, 0] > 2].min() > 0.3


def test_too_few_choices_teach_no_propensity() -> None:
    with pytest.raises(ScreenError, match="3 of 50"):
        estimate_propensity(np.zeros((50, 1)), np.arange(50) < 3)


def test_the_index_by_hand_and_its_three_verdicts() -> None:
    before, after = np.repeat([0, 1], [500, 500]), np.repeat([0, 1], [800, 200])
    a, b = (np.array(c) + 0.5 for c in ([500, 500], [800, 200]))
    a, b = a / a.sum(), b / b.sum()
    found = measure_drift("doses", before, after)
    assert found.psi == pytest.approx(float(((a - b) * np.log(a / b)).sum()))
    assert found.verdict == "other"
    assert "make a new card" in found.words
    shifting = measure_drift("doses", before, np.repeat([0, 1], [680, 320]))
    assert shifting.verdict == "shifting"
    assert measure_drift("doses", before, before).verdict == "same"


def test_chance_in_few_blocks_is_no_drift() -> None:
    """Two samples of one population: 1 % at most are called shifted."""
    rng = np.random.default_rng(2)
    verdicts = [
        measure_drift("x", rng.integers(0, 5, 400), rng.integers(0, 5, 12)).verdict
        for _ in range(400)
    ]
    # 400 at 1 %: 4 expected, standard deviation 2.
    assert sum(verdict != "same" for verdict in verdicts) <= 10


def test_nothing_to_compare_is_no_drift() -> None:
    assert measure_drift("x", np.zeros(5, int), np.zeros(5, int)).verdict == "same"
