"""Scores of effects: known answers, labels that matter, and held-out cells only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.perturbation.vae.evaluation import (
    compare,
    measured_effects,
    score_effects,
    simple_predictions,
)
from models.screen import ScreenError
from tests.models.perturbation.vae.small import counts


def _effects(c: int = 30, g: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal(g) + 0.8 * rng.standard_normal((c, g))


def test_the_reference_scores_itself_perfectly() -> None:
    scores = score_effects(_effects(), _effects())
    assert scores.correlation == pytest.approx(1)
    assert (scores.r2, scores.jaccard, scores.mse) == (1, 1, 0)


def test_permuted_labels_score_as_the_mean_effect_does() -> None:
    """The mean effect explains what conditions share, and so does any other condition's effect:
    correlation falls to V / (V + W) with V shared and W own variance, that is from 1 to the
    square of what the mean effect reaches."""
    effects = _effects()
    shuffled = effects[np.roll(np.arange(len(effects)), 1)]
    mean = np.tile(effects.mean(axis=0), (len(effects), 1))
    scores = compare({"shuffled": shuffled, "mean": mean}, effects)
    assert scores["shuffled"].correlation == pytest.approx(
        scores["mean"].correlation ** 2, abs=0.05
    )
    assert scores["shuffled"].correlation < 0.7
    assert scores["shuffled"].jaccard < 0.5


def test_known_scores() -> None:
    reference = np.array([[3.0, 0.0, -2.0, 1.0]])
    predicted = np.array([[3.0, 2.5, 0.0, 1.0]])
    scores = score_effects(predicted, reference, top=2)
    # {0, 1} against {0, 2}.
    assert scores.jaccard == pytest.approx(1 / 3)
    assert scores.mse == pytest.approx((2.5**2 + 2**2) / 4)
    assert scores.r2 == pytest.approx(1 - scores.mse / np.var(reference))
    assert score_effects(0 * reference, reference).correlation is None


def test_effects_come_from_the_cells_that_are_passed_and_from_good_ones() -> None:
    """The published reference held the training cells; here splits give different references."""
    cells = counts(600)
    halves = [measured_effects(cells.select(np.arange(600) % 2 == i)) for i in (0, 1)]
    assert not np.array_equal(halves[0].effect, halves[1].effect)
    spoiled = cells.values.copy()
    spoiled[cells.low_quality] = 7
    library = np.where(cells.low_quality, 56.0, cells.library)
    again = measured_effects(replace(cells, values=spoiled, library=library))
    assert np.array_equal(again.effect, measured_effects(cells).effect)


def test_effects_are_differences_of_mean_profiles() -> None:
    cells = counts(300)
    found = measured_effects(cells, "log2_profile")
    profile = np.log2(1 + 1e4 * cells.values / cells.library[:, None])
    good = ~cells.low_quality
    control = profile[good & cells.is_control].mean(axis=0)
    for dose, effect, n in zip(found.doses, found.effect, found.cells, strict=True):
        rows = good & (cells.doses == dose).all(axis=1)
        assert effect == pytest.approx(profile[rows].mean(axis=0) - control)
        assert n == rows.sum()
    assert len(found.responses()) == 3


def test_ratios_do_not_depend_on_the_depth_of_sequencing() -> None:
    """Means of logarithms do: half of the molecules, another effect."""
    cells = counts(900)
    rng = np.random.default_rng(0)
    half = rng.binomial(cells.values.astype(int), 0.2).astype(float)
    thin = replace(cells, values=half, library=half.sum(axis=1))
    away = {
        scale: np.abs(measured_effects(thin, scale).effect - measured_effects(cells, scale).effect)
        for scale in ("ratio", "log2_profile")
    }
    assert away["ratio"].max() < 0.15
    assert away["log2_profile"].max() > 2 * away["ratio"].max()


def test_simple_predictions_are_what_they_say() -> None:
    train = measured_effects(counts(600, pairs=True))
    single = train.doses.sum(axis=1) == 1
    doses = np.array([[1.0, 1, 0], [1, 0, 0], [1, 0, 0.5]])
    found = simple_predictions(train, doses)
    effect = {tuple(row): value for row, value in zip(train.doses, train.effect, strict=True)}
    mean = train.effect.mean(axis=0)
    assert single.sum() == 3
    assert np.allclose(found["additive"][0], effect[1, 0, 0] + effect[0, 1, 0])
    assert np.allclose(found["additive"][2], mean)
    assert np.allclose(found["same condition"][0], effect[1, 1, 0])
    assert np.allclose(found["mean of others"], mean)
    assert not found["no change"].any()


def test_effects_need_controls_and_equal_shapes() -> None:
    cells = counts()
    with pytest.raises(ScreenError, match="control cells"):
        measured_effects(cells.select(~cells.is_control))
    with pytest.raises(ScreenError, match="differ"):
        score_effects(np.zeros((2, 3)), np.zeros((3, 2)))
