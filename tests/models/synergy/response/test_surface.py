import numpy as np
import torch

from models.synergy.response.surface import (
    curve_values,
    effect_and_gate,
    pair_features,
    symmetric,
)


def unknowns(n: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).standard_normal((n, 3)))


def test_slopes_are_derivatives() -> None:
    theta, x = unknowns(50), torch.linspace(-3, 3, 50, dtype=torch.float64)
    which = torch.arange(50)
    values, tiny = curve_values(theta, which, x), 1e-6
    for k, slope in enumerate(
        (-values.steepness * values.slope, values.z * values.slope, values.lift)
    ):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[k] = tiny
        high, low = (curve_values(theta + s * shift, which, x).effect for s in (1, -1))
        assert torch.allclose((high - low) / (2 * tiny), slope, atol=1e-8)


def test_dose_zero_is_exactly_vehicle_and_closed() -> None:
    theta = unknowns(20).float()
    x = torch.full((20,), -torch.inf)
    effect, gate = effect_and_gate(theta, x, torch.tensor(0.01))
    assert bool((effect == 1.0).all())
    assert bool((gate == 0.0).all())


def test_curves_fall_and_gates_rise_with_dose() -> None:
    theta = unknowns(20)
    theta[:, 2] -= 2.0
    x = torch.linspace(-8, 8, 100, dtype=torch.float64)
    effect, gate = effect_and_gate(theta[:, None, :], x[None], torch.tensor(0.7))
    assert bool((effect.diff(dim=1) <= 0).all())
    assert bool((gate.diff(dim=1) >= 0).all())
    assert bool((effect > 0).all())


def test_features_are_the_symmetric_form_and_swap_to_the_bit() -> None:
    rng = np.random.default_rng(1)
    a, b, entries = (torch.tensor(rng.standard_normal((7, k))) for k in (4, 4, 10))
    form = torch.einsum("ni,nij,nj->n", a, symmetric(entries, 4), b)
    features = pair_features(a, b)
    assert torch.allclose((features * entries).sum(-1), form)
    assert torch.equal(features, pair_features(b, a))
