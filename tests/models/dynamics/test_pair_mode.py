"""The search for the mode of a drug pair: it ends on a summit, and its scores compare."""

from __future__ import annotations

import pytest
import torch

from models.dynamics.drug_pair import LEAST_DF, PairData, PairModel, PairOptions
from models.dynamics.hmc import NotFiniteError, gradient
from models.dynamics.pair_marginal import Given, PairMarginal, root_of
from models.dynamics.pair_mode import settled
from models.dynamics.simulate_pair import simulated
from models.screen import Stopped
from tests.models.dynamics.test_pair_marginal import prepared


def test_the_score_is_that_of_student_t_noise_where_it_was_weighed() -> None:
    """There the normal bound touches the Student-t density."""
    marginal, linear = prepared()
    given = Given(marginal, linear, linear.hyper)
    z = given.innovations(linear.point)
    hyper = marginal.weigh(given, linear.point)
    place = [n.split("[")[0] for n in marginal._names].index("noise_df")
    law = torch.distributions.StudentT(LEAST_DF + torch.exp(hyper[place]))
    exact = (law.log_prob(z) * marginal.observed).sum()
    below = marginal.bound - 0.5 * (marginal.weights * z.square() * marginal.observed).sum()
    torch.testing.assert_close(below, exact)
    further = 1.5 * z
    lower = marginal.bound - 0.5 * (marginal.weights * further.square() * marginal.observed).sum()
    assert lower < (law.log_prob(further) * marginal.observed).sum()


def test_normal_noise_is_scored_with_its_constant() -> None:
    marginal, _ = prepared(gap=True)
    marginal.unweigh()
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(torch.zeros(1)).item()
    assert marginal.bound == pytest.approx(71 * normal, rel=1e-6)


@pytest.mark.slow
def test_the_search_ends_on_a_summit() -> None:
    series, _ = simulated(0)
    marginal = PairMarginal(PairModel(PairData.of(series), PairOptions()))
    given, mode, hessian = settled(marginal)
    _, slope = gradient(given.log_density, mode[None])
    values = torch.linalg.eigvalsh(hessian)
    assert values[0] > 0
    # What a Newton step could still gain, nats: chains find nothing better by wandering.
    assert 0.5 * slope[0] @ torch.linalg.solve(hessian, slope[0]) < 0.5
    spread = torch.linalg.inv(torch.linalg.cholesky(hessian)).mT
    noise = torch.randn(200, len(mode), generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        around = given.log_density(mode + noise @ spread.T)
        top = given.log_density(mode[None])
    assert (around < top + 0.5).all()


def test_a_search_is_stopped() -> None:
    marginal, _ = prepared()
    with pytest.raises(Stopped):
        settled(marginal, should_stop=lambda: True)


def test_what_has_no_root_is_named() -> None:
    with pytest.raises(NotFiniteError, match="effects of wells is not positive"):
        root_of(torch.tensor([[[1.0]], [[-1.0]]]), "effects of wells")
    with pytest.raises(NotFiniteError, match="not positive"):
        root_of(torch.full((1, 1), torch.nan), "effects of wells")
