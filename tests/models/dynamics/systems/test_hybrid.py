"""The hybrid: no residual is the mechanism, the residual is bounded, evidence can move it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dynamics.solver import Solver
from models.dynamics.systems.hybrid import HybridSystem
from models.dynamics.systems.logistic import LogisticGrowth
from models.screen import ScreenError

TIMES = np.linspace(0, 8, 17)


def hybrid() -> HybridSystem:
    return HybridSystem(LogisticGrowth(), (0.5,), 0, torch.Generator().manual_seed(0)).double()


def context(made: HybridSystem, amplitude: float) -> dict[str, torch.Tensor]:
    one = torch.ones(3, 4).double()
    z = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    values = {"r": one, "K": one, "x0": 0.05 * one, "residual": amplitude * one[:1, :1]}
    return made.prepare(values | {"residual_z": z}, torch.zeros(0, 1, 4).double())


def test_without_amplitude_it_is_the_mechanism() -> None:
    made = hybrid()
    ready = context(made, 0.0)
    with torch.no_grad():
        found = Solver("rk4", 0.05)(made, TIMES, ready)
    exact = made.base.exact(torch.from_numpy(TIMES), ready)
    assert exact is not None
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-8)


def test_the_residual_never_exceeds_its_bound() -> None:
    made = hybrid()
    with torch.no_grad():
        made.out.mul_(100)
        state = 10 * torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(2)).double()
        residual = made.residual(state, context(made, 0.2))
    assert (residual.abs() <= 0.2 * state.abs()).all()
    assert (residual / state).abs().max() > 0.1


def test_states_stay_positive_whatever_the_network() -> None:
    made = hybrid()
    with torch.no_grad():
        made.out.mul_(100)
        found = Solver("rk4", 0.1)(made, TIMES, context(made, 0.5))
    assert (found > 0).all()


def test_the_prior_of_the_amplitude_is_small() -> None:
    prior = {p.name: p.prior for p in hybrid().parameters_of_model}["residual"]
    assert np.exp(prior.location) == pytest.approx(0.01)
    assert hybrid().log_penalty().item() < 0


def test_each_state_needs_a_scale() -> None:
    with pytest.raises(ScreenError, match="positive scale"):
        HybridSystem(LogisticGrowth(), (0.5, 1.0), 0, torch.Generator())
