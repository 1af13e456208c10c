"""The neural system: bounded rates, variances that reach the data's, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dynamics.solver import Solver
from models.dynamics.systems.neural import VARIANCE_START, NeuralSystem

TIMES = np.linspace(0, 16, 41)


def system(variance: bool = False) -> NeuralSystem:
    generator = torch.Generator().manual_seed(0)
    return NeuralSystem(("a", "b"), 1, generator, latent=3, variance_states=variance).double()


def context(made: NeuralSystem, k: int = 4, n: int = 5) -> dict[str, torch.Tensor]:
    z = torch.randn(3, k, n, generator=torch.Generator().manual_seed(1)).double()
    return made.prepare({"z": z}, torch.rand(1, 1, n).double() * 100)


def test_the_derivative_is_production_less_decay_written_out() -> None:
    made = system()
    ready = context(made)
    state = torch.rand(4, 4, 5).double()
    net = made.mean_net
    hidden = torch.relu(torch.einsum("ws,skn->wkn", net.from_state, state) + ready["mean"])
    raw = torch.einsum("ow,wkn->okn", net.out, hidden) + net.level[:, :, None]
    expected = torch.sigmoid(raw[:4]) - torch.sigmoid(raw[4:]) * state
    torch.testing.assert_close(made.derivative(0.0, state, ready), expected)


def test_heun_steps_are_near_the_adaptive_solution() -> None:
    made = system()
    ready = context(made)
    with torch.no_grad():
        fine = Solver("dopri5", rtol=1e-8, atol=1e-10)(made, TIMES, ready)
        coarse = Solver("heun", 0.4)(made, TIMES, ready)
    assert (fine - coarse).abs().max() < 0.02 * fine.abs().max()
    assert coarse.shape == (41, 4, 4, 5)


def test_readings_are_the_first_states_and_never_negative() -> None:
    made = system(variance=True)
    ready = context(made)
    with torch.no_grad():
        observed = made.observe(Solver("heun", 0.4)(made, TIMES, ready), ready)
    assert observed.mean.shape == (41, 2, 4, 5)
    assert observed.variance is not None
    assert (observed.mean >= 0).all()
    assert (observed.variance > 0).all()
    assert observed.variance[0] == pytest.approx(VARIANCE_START)


def test_variances_can_become_and_stay_small() -> None:
    """Precision must be able to reach 1e6 within the hours of a plate, not only the hours."""
    made = system(variance=True)
    assert made.variance_net is not None
    with torch.no_grad():
        made.variance_net.level[:2] = -14.0
        made.variance_net.level[2:] = 2.0
        made.variance_net.out.zero_()
        ready = context(made)
        variance = made.observe(Solver("heun", 0.2)(made, TIMES, ready), ready).variance
    assert variance is not None
    assert (1 / variance[-1]).min() > 9e5


def test_weights_have_a_prior_and_one_seed_gives_one_system() -> None:
    first, second = system(), system()
    assert first.log_penalty().item() == second.log_penalty().item() < 0
    states = [made.state_dict() for made in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
