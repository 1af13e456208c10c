"""The fit of a drug pair: data that it refuses, invariants, recovery of what made the data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from models.dynamics.dose_surface import Surface
from models.dynamics.drug_pair import PairData, PairModel, PairOptions
from models.dynamics.growth_rates import gr_metrics, plate_corrected_viability
from models.dynamics.hmc import Settings
from models.dynamics.pair_marginal import Given, Linear, PairMarginal
from models.dynamics.pair_posterior import DrugPairPosterior, fit_pair
from models.dynamics.series import GroupFactor, TimeCourses
from models.dynamics.systems.growth_death import CHANNELS, GrowthDeath, GrowthDeathScale
from models.dynamics.well_checks import outlier_wells, worth_of_waiting
from models.screen import ScreenError, Stopped

TIMES = np.linspace(0.0, 72.0, 9)
SHORT = Settings(chains=12, warm_up=45, draws=30)
SYNERGY = -0.6
"""What the drugs do to the logarithm of growth beyond Bliss, in the middle of the doses."""


def experiment(seed: int = 0) -> TimeCourses:
    """Two plates, two wells each of a 3 x 3 grid of doses, from known parameters."""
    rng = np.random.default_rng(seed)
    grid = [(a, b) for a in (0.0, 2.0, 8.0) for b in (0.0, 0.5, 2.0)]
    doses = np.array([pair for pair in grid for _ in range(4)])
    plate = np.array(["one", "one", "two", "two"] * len(grid))
    scale = GrowthDeathScale((4.0, 1.0), 9.0, (1.0, 1.0), 72.0)
    system = GrowthDeath(scale, plates=False, conditions=False, wells=False)
    values = {}
    for p in system.parameters_of_model:
        inner = torch.full((p.size, 1, len(doses)), p.prior.location, dtype=torch.float64)
        values[p.name] = p.prior.natural(inner[0] if p.size == 1 else inner)
    for rate, size in (("growth", SYNERGY), ("death", 0.0)):
        values[f"{rate}_interaction_size"] = torch.ones(1, len(doses)).double()
        values[f"{rate}_interaction"] = torch.zeros(4, 1, len(doses)).double()
        values[f"{rate}_interaction"][0] = size
    values["initial"] = 9 * torch.exp(0.1 * torch.from_numpy(rng.normal(size=(1, len(doses)))))
    context = system.prepare(values, torch.from_numpy(doses.T.copy())[:, None])
    states = system.exact(torch.from_numpy(TIMES), context)
    mean = system.observe(states, context).mean[:, :, 0].permute(2, 1, 0).numpy()
    noisy = mean * np.exp(0.03 * rng.normal(size=mean.shape))
    names = tuple(f"well {i:02d}" for i in range(len(doses)))
    factor = GroupFactor.of("plate", plate.tolist())
    return TimeCourses(TIMES, noisy, CHANNELS, names, doses, ("A", "B"), (factor,))


def start(marginal: PairMarginal) -> Linear:
    """Slopes where everything is at its prior median."""
    model = marginal.model
    point = torch.zeros(len(model.free), dtype=torch.float64)
    offset = torch.zeros(len(model.pair_of_cell), len(model.misfits), dtype=torch.float64)
    return marginal.linear(point, marginal.prior_mean, offset)


@cache
def fitted() -> DrugPairPosterior:
    return fit_pair(experiment(), seed=0, settings=SHORT)


def test_what_is_no_pair_is_refused() -> None:
    series = experiment()
    with pytest.raises(ScreenError, match="controls"):
        PairData.of(series.select(np.any(series.inputs > 0, axis=1)))
    with pytest.raises(ScreenError, match="negative"):
        PairData.of(replace(series, inputs=-series.inputs))
    with pytest.raises(ScreenError, match="channels"):
        PairData.of(replace(series, channels=("phase", "blue", "red")))
    with pytest.raises(ScreenError, match="two drugs"):
        PairData.of(replace(series, inputs=series.inputs[:, :1], input_names=("A",)))
    with pytest.raises(ScreenError, match="at least"):
        PairData.of(series.select(np.arange(3)))
    with pytest.raises(Stopped):
        fit_pair(series, seed=0, should_stop=lambda: True)


def test_order_of_series_of_drugs_and_unit_of_dose_change_no_density() -> None:
    series = experiment()
    mixed = series.select(np.random.default_rng(0).permutation(len(series)))
    turned = replace(mixed, inputs=mixed.inputs[:, ::-1].copy(), input_names=("B", "A"))
    other = replace(series, inputs=series.inputs * np.array([1000.0, 1.0]))
    found = []
    for given in (series, mixed, turned, other):
        marginal = PairMarginal(PairModel(PairData.of(given), PairOptions()))
        points = (
            0.1
            * torch.randn(
                2, len(marginal.model.free), generator=torch.Generator().manual_seed(0)
            ).double()
        )
        linear = start(marginal)
        density = Given(marginal, linear, linear.hyper).log_density(points)
        found.append(density[1] - density[0])
    first, *same, scaled = found
    assert all(torch.equal(first, density) for density in same)
    torch.testing.assert_close(first, scaled, rtol=1e-9, atol=0)


def test_misfits_of_fitted_pairs_are_found_again() -> None:
    doses = torch.tensor([[1.0, 0.0], [1.0, 2.0], [4.0, 2.0]]).double()
    surface = Surface.over(doses, joint=True)
    weights, root = surface.further(torch.tensor([[1.0, 2.0], [0.0, 0.0]]).double())
    assert weights[0].argmax() == 1
    assert weights[0, 1] > 0.8
    # Without drugs the misfit is 0 but for the part that neighbours do not share.
    torch.testing.assert_close(weights[1], torch.zeros(3).double())
    assert (root @ root.T)[1, 1] == pytest.approx(0.05, abs=1e-6)


def test_misfits_of_single_drugs_add_up_so_that_interactions_stay_apart() -> None:
    doses = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0]]).double()
    c = Surface.over(doses, joint=False).covariance - 0.05 * torch.eye(3, dtype=torch.float64)
    # Var(m_AB - m_A - m_B) of the part that neighbours share is 0.
    contrast = torch.tensor([-1.0, -1.0, 1.0]).double()
    assert contrast @ c @ contrast == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
def test_synergy_is_found_where_it_was_put() -> None:
    rates = fitted().rates(np.array([[4.0, 1.0], [4.0, 0.0], [0.0, 1.0]]))
    assert np.all(rates["cytostatic"][:, 1:] == 0)
    assert np.all(rates["cytotoxic"][:, 1:] == 0)
    low, high = np.quantile(rates["cytostatic"][:, 0], [0.05, 0.95])
    assert 0 < low < -SYNERGY < high
    low, high = np.quantile(rates["cytotoxic"][:, 0], [0.05, 0.95])
    assert low < 0 < high


@pytest.mark.slow
def test_curves_of_unseen_doses_and_their_scores() -> None:
    posterior, fresh = fitted(), experiment(seed=5)
    curves = posterior.curves(np.array([[4.0, 1.0]]), TIMES)
    assert curves.shape == (len(posterior), 1, 3, len(TIMES))
    score = posterior.log_score(fresh)
    wrong = posterior.log_score(replace(fresh, values=1.5 * fresh.values))
    assert np.isfinite(score).all()
    assert score.mean() > wrong.mean() + 0.5
    drawn = posterior.readings(
        posterior.curves(fresh.inputs, TIMES, plates=["one"] * len(fresh), level="well"), TIMES, 0
    )
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    assert 0.8 < np.mean((fresh.values >= low) & (fresh.values <= high)) < 1.0


@pytest.mark.slow
def test_viability_metrics_and_wells() -> None:
    posterior = fitted()
    viability = plate_corrected_viability(posterior)
    assert viability.doses.shape == (9, 2)
    assert viability.mean[0] == 1
    assert viability.sd[0] == 0
    assert viability.mean[-1] < 0.8
    assert np.all(viability.sd[1:] > 0)
    metrics = gr_metrics(posterior, "A", np.array([1.0, 2.0, 4.0, 8.0]))
    assert np.all(np.diff(metrics.gr.mean(0)) < 0)
    assert np.all(metrics.gr50 > 0)
    assert np.all(metrics.toxic <= 0)
    rates = posterior.rates(np.array([[8.0, 2.0]]))["cytostatic"][:, 0]
    worth = worth_of_waiting(posterior, rates, np.array([60.0, 72.0]))
    assert np.all((worth.reduction >= 0) & (worth.reduction <= 1))


@pytest.mark.slow
def test_a_strange_well_is_noticed() -> None:
    series = experiment()
    values = series.values.copy()
    values[17, 0] = values[17, 0, 0] * np.exp(0.05 * TIMES)
    posterior = fit_pair(replace(series, values=values), seed=0, settings=SHORT)
    check = outlier_wells(posterior)
    assert check.p.argmin() == 17
    assert check.outlier[17]
    assert check.outlier.sum() <= 4
