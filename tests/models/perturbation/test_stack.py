"""The stack: weights, calibration, and never worse than a baseline where that can be judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from models.perturbation.baselines import RuleModel
from models.perturbation.choice import HeldOut, learn
from models.perturbation.data import ResponseTable
from models.perturbation.evaluate import interaction_draws
from models.perturbation.forecast import Forecast, fit_noise, forecast
from models.perturbation.pair_factors import PairFactors
from models.perturbation.protocol import ResponsePosterior
from models.perturbation.registry import DEFAULT, response_model, response_models
from models.perturbation.ridge import Ridge
from models.perturbation.stack import Stacked
from models.screen import ScreenError, Stopped
from tests.models.perturbation.responses import screen

SMALL = (RuleModel("additive"), Ridge(), PairFactors(powers=(1.0,), interactions=(0.0, 0.8, 6.4)))


def said(mean: np.ndarray, sd: float) -> HeldOut:
    noise = np.full(mean.shape, sd**2)
    return HeldOut(mean, np.zeros_like(mean), noise)


def test_the_better_model_gets_the_weight() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 10))
    observed = truth + 0.1 * rng.normal(size=truth.shape)
    learned = learn(
        {"pair_factors": said(truth, 0.1), "ridge": said(0 * truth, 1.0)}, observed, True
    )
    assert learned.report["chosen"] == "stacked"
    assert learned.weights["pair_factors"] > 0.97


def test_a_baseline_that_is_better_takes_it_all() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 10))
    observed = truth + 0.1 * rng.normal(size=truth.shape)
    # Exact in most values and wild in a few: density likes it, squared error does not.
    off = observed.copy()
    off[:2] += 3.0
    said_ = {"pair_factors": said(off, 0.1), "ridge": said(truth, 0.1)}
    told = learn(said_, observed, True).report
    assert told["chosen"] == "ridge"
    assert told["held_out"]["chosen"] == told["held_out"]["members"]["ridge"]
    assert learn(said_, observed, False).weights == {"ridge": 0.5, "pair_factors": 0.5}


@pytest.mark.parametrize(("sd", "df"), [(0.2, math.inf), (1.0, 4.0), (5.0, math.inf)])
def test_the_factor_mends_the_spread(sd: float, df: float) -> None:
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((60, 50)) if math.isinf(df) else rng.standard_t(df, (60, 50))
    learned = learn({"ridge": said(np.zeros((60, 50)), 1.0)}, sd * draws, True)
    told = Forecast(
        np.zeros((1, 60, 50)), np.full((1, 60, 50), learned.factor), np.ones(1), learned.df
    )
    assert told.coverage(sd * draws) == pytest.approx(0.9, abs=0.002)
    if df == 4.0:
        assert learned.df <= 7.0
    else:
        assert learned.factor == pytest.approx(sd, rel=0.06)


def test_fit_noise_finds_scale_and_tails() -> None:
    rng = np.random.default_rng(0)
    scale, df = fit_noise(rng.standard_t(4.0, (400, 20)) * np.linspace(0.5, 2.0, 20))
    assert df in (3.0, 4.0, 5.0)
    np.testing.assert_allclose(scale, np.linspace(0.5, 2.0, 20), rtol=0.25)
    assert math.isinf(fit_noise(rng.standard_normal((400, 20)))[1])


def test_forecast_is_a_mixture() -> None:
    mixture = Forecast(
        np.array([[[0.0]], [[4.0]]]), np.ones((2, 1, 1)), np.array([0.25, 0.75]), 5.0
    )
    at = np.array([[1.0]])
    density = 0.25 * scipy.stats.t.pdf(1.0, 5) + 0.75 * scipy.stats.t.pdf(-3.0, 5)
    assert math.exp(mixture.log_density(at)[0, 0]) == pytest.approx(density)
    below = 0.25 * scipy.stats.t.cdf(1.0, 5) + 0.75 * scipy.stats.t.cdf(-3.0, 5)
    assert mixture.cdf(at)[0, 0] == pytest.approx(below)
    assert mixture.mean[0, 0] == 3.0


def test_draws_agree_with_the_forecast_of_any_posterior() -> None:
    table, _ = screen(interaction=0.3)
    fitted = Stacked(SMALL).fit(table, seed=0)
    doses = table.pairs().doses[:4]
    draws, said_ = fitted.draws(doses, 3000, 0), forecast(fitted, doses)
    spread = draws.std(axis=0)
    assert np.all(np.abs(draws.mean(axis=0) - said_.mean) < 6 * spread / math.sqrt(3000) + 1e-9)
    np.testing.assert_allclose(fitted.mean(doses), said_.mean, atol=1e-12)
    assert not fitted.draws(np.zeros((1, 8)), 5, 0).any()
    assert not interaction_draws(fitted, table.singles().doses, 4, 0).any()


def test_with_singles_only_the_untold_share_equally() -> None:
    table, _ = screen()
    fitted = Stacked(SMALL).fit(table.singles(), seed=0)
    assert fitted.weights == (0.5, 0.5)
    assert not fitted.report["judged_pairs"]
    assert [member.model for member in fitted.members] == ["ridge", "pair_factors"]


def test_saved_and_loaded_it_draws_the_same_and_order_does_not_matter() -> None:
    table, _ = screen(interaction=0.3)
    model = Stacked(SMALL)
    fitted = model.fit(table, seed=0)
    loaded = model.load(*fitted.save())
    doses = table.pairs().doses[:5]
    assert loaded.draws(doses, 8, 1).tobytes() == fitted.draws(doses, 8, 1).tobytes()
    assert (loaded.noise_df, loaded.report) == (fitted.noise_df, fitted.report)
    mixed = table.select(np.random.default_rng(0).permutation(len(table)))
    assert model.fit(mixed, seed=0).mean(doses).tobytes() == fitted.mean(doses).tobytes()
    with pytest.raises(ScreenError, match="no member 'pair_factors'"):
        Stacked(SMALL[:2]).load(*fitted.save())
    with pytest.raises(Stopped):
        model.fit(table, seed=0, should_stop=lambda: True)


def test_odd_tables_are_learned_from() -> None:
    table, _ = screen(p=4, g=3)
    every = tuple(response_models().values())
    for columns, models in (([0], (PairFactors(),)), ([0, 1], every)):
        values = table.values[:, columns].copy()
        values[:, 1:] = 0.0
        odd = ResponseTable.of(
            perturbations=(*table.perturbations, "never used"),
            readouts=table.readouts[: len(columns)],
            conditions=table.conditions,
            doses=np.concatenate([table.doses, np.zeros((len(table), 1))], axis=1),
            values=values,
        )
        for model in models:
            fitted = model.fit(odd, seed=0)
            assert isinstance(fitted, ResponsePosterior)
            unseen = fitted.draws(np.ones((1, 5)), 3, 0)
            assert unseen.shape == (3, 1, len(columns))
            assert np.isfinite(unseen).all()
            assert fitted.draws(np.zeros((0, 5)), 3, 0).shape == (3, 0, len(columns))
            assert np.all(fitted.noise_scale > 0)
    nothing = ResponseTable.of(
        perturbations=table.perturbations,
        readouts=table.readouts,
        conditions=table.conditions,
        doses=table.doses,
        values=0 * table.values,
    )
    with pytest.raises(ScreenError, match="every response is 0"):
        Ridge().fit(nothing, seed=0)


def test_registry_knows_each_by_name() -> None:
    assert all(response_model(name).name == name for name in response_models())
    assert DEFAULT in response_models()
    with pytest.raises(ScreenError, match="no response model is called 'magic'"):
        response_model("magic")
