"""The post-shifted layer beside plain batch normalisation: where they agree and where not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from models.bayes.post_shifted import LOWEST_SHIFT, PostShiftedBatchNorm, fold
from models.screen import ScreenError


def _layer(gamma: float, beta: float, channels: int = 3) -> PostShiftedBatchNorm:
    layer = PostShiftedBatchNorm(channels)
    with torch.no_grad():
        layer.weight.fill_(gamma)
        layer.bias.fill_(beta)
    return layer


def _rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2 + 0.7


@pytest.mark.parametrize("beta", [0.4, 0.0, -1.2, -LOWEST_SHIFT * 0.8])
@pytest.mark.parametrize("shape", [(64, 3), (16, 3, 5), (8, 3, 4, 4)])
def test_it_is_batch_normalisation_while_beta_is_high_enough(
    beta: float, shape: tuple[int, ...]
) -> None:
    ours = _layer(-0.8, beta)
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    plain = kinds[len(shape)](3)
    plain.load_state_dict(ours.state_dict())
    x = _rows(*shape)
    for _ in range(3):
        assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours.running_mean, plain.running_mean)  # type: ignore[arg-type]
    assert torch.equal(ours.eval()(x), plain.eval()(x))


def test_far_below_the_shift_in_effect_is_minus_t_gamma() -> None:
    layer, x = _layer(-0.5, -9.0), _rows(200_000, 3)
    y = layer(x)
    assert torch.allclose(layer.bias + layer.shift(), torch.full((3,), -LOWEST_SHIFT * 0.5))
    share = (y > 0).double().mean().item()
    expected = 0.5 * math.erfc(LOWEST_SHIFT / math.sqrt(2))  # 6.7 %
    assert share == pytest.approx(expected, abs=4 * math.sqrt(0.067 * 0.933 / 600_000))


def test_a_collapsed_channel_gets_the_gradient_that_plain_normalisation_denies_it() -> None:
    ours, plain = _layer(1.0, -8.0), nn.BatchNorm1d(3)
    plain.load_state_dict(ours.state_dict())
    x = _rows(512, 3)
    for layer in (ours, plain):
        torch.relu(layer(x)).sum().backward()  # type: ignore[no-untyped-call]
    assert plain.bias.grad is not None
    assert not plain.bias.grad.any()
    active = (ours(x) > 0).sum(0).float()
    assert ours.bias.grad is not None
    assert torch.equal(ours.bias.grad, active)
    assert active.min() > 10


def test_the_shift_has_no_gradient() -> None:
    """d y / d gamma is x_hat alone: with a gradient the shift would add -T sign(gamma)."""
    layer, x = _layer(0.7, -5.0).eval(), _rows(40, 3)
    layer(x).sum().backward()
    normalised = x / math.sqrt(1 + layer.eps)  # running mean 0, variance 1
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert torch.allclose(layer.weight.grad, normalised.sum(0), atol=1e-4)
    assert torch.equal(layer.bias.grad, torch.full((3,), 40.0))
    assert not layer.shift().requires_grad


def test_the_running_statistics_do_not_know_of_the_shift() -> None:
    low, high = _layer(1.0, -9.0), _layer(1.0, 0.0)
    for seed in range(4):
        x = torch.randn(32, 3, generator=torch.Generator().manual_seed(seed))
        low(x), high(x)
    assert torch.equal(low.running_mean, high.running_mean)  # type: ignore[arg-type]
    assert torch.equal(low.running_var, high.running_var)  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [-6.0, 0.3])
def test_the_folded_layer_answers_the_same_and_fuses(beta: float) -> None:
    linear, layer = nn.Linear(5, 3), _layer(0.6, beta)
    x = _rows(64, 5)
    for _ in range(5):
        layer(linear(x))
    linear.eval(), layer.eval()
    wanted = layer(linear(x))
    assert torch.allclose(fold(layer)(linear(x)), wanted, atol=1e-6)
    fused = fusion.fuse_linear_bn_eval(linear, fold(layer))
    assert torch.allclose(fused(x), wanted, atol=1e-6)
    assert layer.bias[0].item() == pytest.approx(beta)  # the original is left as it was


def test_a_convolution_fuses_too() -> None:
    conv, layer = nn.Conv2d(2, 3, 3), _layer(0.6, -6.0)
    x = _rows(8, 2, 6, 6)
    for _ in range(5):
        layer(conv(x))
    conv.eval(), layer.eval()
    fused = fusion.fuse_conv_bn_eval(conv, fold(layer))
    assert torch.allclose(fused(x), layer(conv(x)), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 1e-30, 1e-12])
def test_a_vanishing_scale_is_safe(gamma: float) -> None:
    layer, x = _layer(gamma, -2.0), _rows(64, 3).requires_grad_(True)
    y = layer(x)
    functional_loss = nn.functional.leaky_relu(y).sum()
    functional_loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(y).all()
    assert y.abs().max() <= 10 * gamma
    for gradient in (x.grad, layer.weight.grad, layer.bias.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()


def test_before_a_leaky_rectifier_some_rows_stay_on_the_steep_side() -> None:
    layer = _layer(1.0, -20.0)
    y = nn.LeakyReLU()(layer(_rows(4096, 3)))
    assert (y > 0).float().mean() > 0.05


def test_states_are_exchanged_with_plain_batch_normalisation() -> None:
    layer, plain = _layer(0.9, -4.0), nn.BatchNorm1d(3)
    layer(_rows(32, 3))
    plain.load_state_dict(layer.state_dict())
    other = PostShiftedBatchNorm(3)
    other.load_state_dict(plain.state_dict())
    x = _rows(10, 3)
    assert torch.equal(other.eval()(x), layer.eval()(x))


def _skewed(rows: int, seed: int = 0) -> Tensor:
    """Most rows a little above the mean, a few far below: no row comes 1.5 widths above it."""
    generator = torch.Generator().manual_seed(seed)
    low = (torch.rand(rows, 3, generator=generator) < 0.4).float()
    return 0.1 * torch.rand(rows, 3, generator=generator) - 5 * low


@pytest.mark.parametrize("gamma", [0.7, -0.7])
def test_where_no_row_comes_as_far_as_t_some_pass_all_the_same(gamma: float) -> None:
    """With the fixed shift alone the channel would be 0 for every row."""
    layer, plain = _layer(gamma, -9.0), nn.BatchNorm1d(3)
    for seed in range(60):
        y = layer(math.copysign(1.0, gamma) * _skewed(16, seed))
    x = math.copysign(1.0, gamma) * _skewed(4096, 99)
    fixed = (x - x.mean(0)) / x.std(0) * gamma - LOWEST_SHIFT * abs(gamma)
    assert not (fixed > 0).any()
    assert (y > 0).any()
    shown = layer.eval()(x)
    assert ((shown > 0).double().mean(0) > 0.01).all()
    # What is served is what is stored, by either kind of layer.
    assert torch.allclose(fold(layer)(x), shown, atol=1e-6)
    plain.load_state_dict(layer.state_dict())
    assert torch.allclose(plain.eval()(x), shown, atol=1e-6)
    again = PostShiftedBatchNorm(3)
    again.load_state_dict(layer.state_dict())
    assert torch.allclose(again.eval()(x), shown, atol=1e-6)
    assert layer.bias[0].item() == pytest.approx(-9.0)


def test_normal_rows_are_never_shifted_further_than_t() -> None:
    """In batches of sixteen the furthest row lies beyond T on average, whatever its side."""
    layer = _layer(1.0, -9.0)
    for seed in range(200):
        layer(torch.randn(16, 3, generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(layer.reach(), torch.full((3,), LOWEST_SHIFT))
    assert torch.equal(layer.bias + layer.shift(), torch.full((3,), -LOWEST_SHIFT))


def test_training_brings_a_dead_channel_back() -> None:
    """One step after the other beta rises until the layer is plain again, as nothing pulls down."""
    layer, x = _layer(1.0, -6.0), _rows(256, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        (torch.relu(layer(x)).mean(0) - 0.4).square().sum().backward()
        optimizer.step()
    assert not layer.shift().any()
    assert torch.allclose(torch.relu(layer(x)).mean(0), torch.full((3,), 0.4), atol=0.02)


def test_what_is_refused() -> None:
    with pytest.raises(ScreenError, match="must be positive"):
        PostShiftedBatchNorm(3, lowest=0.0)
    with pytest.raises(ScreenError, match=r"expected \(rows, 3"):
        PostShiftedBatchNorm(3)(torch.zeros(4, 2))
