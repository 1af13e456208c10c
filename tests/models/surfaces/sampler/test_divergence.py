"""Known answers: four states under a swap, the conjugate, the shift, the collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from models.screen import ScreenError
from models.surfaces.sampler.divergence import (
    alpha_divergence,
    best_shift,
    conjugate,
    gradient_excess,
    variational_bound,
)

P = torch.tensor([0.15, 0.15, 0.35, 0.35], dtype=torch.float64)
Q = torch.tensor([0.30, 0.30, 0.20, 0.20], dtype=torch.float64)
ONE_ORDER = torch.tensor([0.30, 0.0, 0.70, 0.0], dtype=torch.float64)
"""All mass on one order of each pair; its average over the swap (0 and 1, 2 and 3) is P."""


def supremum(q: Tensor, p: Tensor, invariant: bool) -> float:
    """Best bound over all critics, or over those with equal values on swapped states."""

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        values = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        critic = values.repeat_interleave(2) if invariant else values
        bound = -variational_bound(critic, critic, weights=(q, p))
        bound.backward()
        assert values.grad is not None
        return bound.item(), values.grad.numpy()

    start = np.linspace(0.0, 0.1, 2 if invariant else 4)
    return -float(minimize(loss, start, jac=True, method="BFGS", tol=1e-12).fun)


def test_four_states_the_invariant_critic_is_as_sharp_as_any() -> None:
    assert alpha_divergence(Q, P).item() == pytest.approx(0.2142857, abs=1e-7)
    assert supremum(Q, P, invariant=False) == pytest.approx(0.2142857, abs=1e-6)
    assert supremum(Q, P, invariant=True) == pytest.approx(0.2142857, abs=1e-6)


def test_an_invariant_critic_cannot_see_a_sampler_that_knows_one_order_only() -> None:
    """Full critic 0.5, invariant critic 0.0: this is how a GAN collapses."""
    swapped = ONE_ORDER[[1, 0, 3, 2]]
    assert torch.equal(0.5 * (ONE_ORDER + swapped), P)
    assert alpha_divergence(ONE_ORDER, P).item() == pytest.approx(0.5, abs=1e-12)
    assert supremum(ONE_ORDER, P, invariant=False) == pytest.approx(0.5, abs=1e-6)
    assert supremum(ONE_ORDER, P, invariant=True) == pytest.approx(0.0, abs=1e-6)


def test_the_conjugate() -> None:
    y = torch.tensor([-1.0, 0.0, 0.3, 2.0])
    assert conjugate(y).tolist() == pytest.approx([0.5, 0.5, 0.545, 2.5])


@pytest.mark.parametrize("alpha", [1.5, 2.0, 4.0])
def test_the_conjugate_is_the_supremum_over_x(alpha: float) -> None:
    x = torch.linspace(0.0, 30.0, 300_001, dtype=torch.float64)
    f = (x**alpha - 1) / (alpha * (alpha - 1))
    for y in (-0.5, 0.2, 1.3):
        expected = (x * y - f).max().item()
        found = conjugate(torch.tensor(y, dtype=torch.float64), alpha).item()
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 4.0])
def test_the_shift_is_the_best_there_is(alpha: float) -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nu = best_shift(values, alpha=alpha)

    def cost(shift: Tensor) -> float:
        return (shift + conjugate(values - shift, alpha).mean()).item()

    grid = nu + torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    assert cost(nu) <= min(cost(shift) for shift in grid) + 1e-12


def test_the_shift_makes_the_bound_blind_to_constants_and_tighter() -> None:
    critic = torch.tensor([0.4, 0.4, -0.3, -0.3], dtype=torch.float64)
    first = variational_bound(critic, critic, weights=(Q, P))
    other = variational_bound(critic + 7.0, critic + 7.0, weights=(Q, P))
    assert other.item() == pytest.approx(first.item(), abs=1e-9)
    plain = (Q * critic).sum() - (P * conjugate(critic)).sum()
    assert plain < first
    assert first <= alpha_divergence(Q, P) + 1e-12


def test_the_gradient_of_the_bound_needs_none_of_the_shift() -> None:
    on_q, on_p = torch.randn(2, 20, generator=torch.Generator().manual_seed(1)).double()
    on_p.requires_grad_()
    variational_bound(on_q, on_p).backward()
    assert on_p.grad is not None
    step = torch.zeros(20, dtype=torch.float64)
    step[3] = 1e-5
    with torch.no_grad():
        up, down = (variational_bound(on_q, on_p + s * step) for s in (1, -1))
    assert on_p.grad[3].item() == pytest.approx(((up - down) / 2e-5).item(), abs=1e-6)


def test_the_penalty_is_one_sided() -> None:
    flat, steep = torch.full((4, 3), 0.1), torch.full((4, 2, 2), 1.0)
    assert gradient_excess(flat).item() == 0.0
    assert gradient_excess(steep).item() == pytest.approx(3.0)


def test_alpha_is_above_one() -> None:
    with pytest.raises(ScreenError, match="alpha must be above 1"):
        conjugate(torch.zeros(1), 1.0)
