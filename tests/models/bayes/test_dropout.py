"""Weights that switch themselves off: what is pruned, when, and what is reported."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.bayes.dropout import (
    ArdWeight,
    PrunableWeight,
    SparseDropoutWeight,
    Sparsity,
    sparsity,
    warm_up,
)
from models.bayes.families import ARD, GAUSSIAN, SPARSE_DROPOUT, WeightFamily
from models.bayes.layers import VariationalEmbedding, VariationalLinear
from models.screen import ScreenError

PRUNING = [SPARSE_DROPOUT, ARD]
both = pytest.mark.parametrize("family", PRUNING, ids=lambda f: f.name)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def prunable(layer: VariationalLinear) -> PrunableWeight:
    assert isinstance(layer.weight, PrunableWeight)
    return layer.weight


def fitted(
    x: Tensor, y: Tensor, noise: float, family: WeightFamily, steps: int
) -> VariationalLinear:
    """Trained on the exact ELBO of a linear model, with a warm-up over the first quarter."""
    layer = VariationalLinear(x.shape[1], 1, seeded(), gain=2.0, bias=False, family=family)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        mean, variance = layer.moments(x)
        error = ((y - mean[:, 0]).square() + variance[:, 0]).sum() / (2 * noise**2)
        loss = error + warm_up(step, steps // 4) * layer.kl()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return layer


def test_warm_up_is_linear_and_ends_at_one() -> None:
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warm_up(0, 0) == 1.0
    for step, steps in ((-1, 4), (0, -4)):
        with pytest.raises(ScreenError, match="warm-up counts steps"):
            warm_up(step, steps)


@both
def test_pruned_weights_are_exactly_zero(family: WeightFamily) -> None:
    layer = VariationalLinear(2, 2, seeded(), family=family)
    weight = prunable(layer)
    with torch.no_grad():
        weight.mean.copy_(torch.tensor([[1.0, 0.1], [-0.1, -1.0]]))
        weight.log_sd.fill_(math.log(0.5))
    expected = torch.tensor([[False, True], [True, False]])
    assert torch.equal(weight.pruned(), expected)
    drawn = weight.sample(50, seeded(1))
    assert torch.equal(drawn == 0, expected.expand(50, 2, 2))
    mean, variance = weight.moments()
    assert mean.ne(0).all()
    assert variance.ne(0).all()
    layer.eval()
    for moment in weight.moments():
        assert torch.equal(moment == 0, expected)


@both
def test_the_threshold_is_log_alpha_three(family: WeightFamily) -> None:
    weight = prunable(VariationalLinear(2, 1, seeded(), family=family))
    with torch.no_grad():
        weight.mean.fill_(-0.3)
        weight.log_sd.copy_(torch.tensor([[2.99, 3.01]]) / 2 + math.log(0.3))
    assert weight.log_alpha().tolist()[0] == pytest.approx([2.99, 3.01], abs=1e-5)
    assert weight.pruned().tolist() == [[False, True]]


@both
def test_a_weight_can_come_back_in_training(family: WeightFamily) -> None:
    """Moments in training mode carry pruned weights, so the likelihood still pulls at them."""
    layer = VariationalLinear(1, 1, seeded(), bias=False, family=family)
    weight = prunable(layer)
    with torch.no_grad():
        weight.mean.fill_(1e-3)
        weight.log_sd.fill_(0.0)
    assert weight.pruned().all()
    mean, _ = layer.moments(torch.ones(1, 1))
    (mean - 1).square().sum().backward()
    assert weight.mean.grad is not None
    assert weight.mean.grad.item() < -1


def test_sparsity_counts_layers_and_the_whole() -> None:
    first = VariationalLinear(4, 2, seeded(), family=ARD)
    second = VariationalLinear(2, 1, seeded(), family=SPARSE_DROPOUT)
    plain = VariationalLinear(2, 1, seeded(), family=GAUSSIAN)
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.mean.fill_(1.0)
            layer.weight.mean[0, 0] = 0.0
    found = sparsity(torch.nn.ModuleDict({"first": first, "second": second, "plain": plain}))
    assert found == Sparsity({"first.weight": (1, 8), "second.weight": (1, 2)})
    assert found.pruned_share == pytest.approx(0.2)
    assert found.layer_shares() == {"first.weight": 0.125, "second.weight": 0.5}
    with pytest.raises(ScreenError, match="family that prunes"):
        sparsity(plain)


def test_identities_given_back_to_the_prior_are_not_pruned() -> None:
    """A mean of 0 means "not measured" there; ``unmeasured`` travels with the state."""
    layer = VariationalEmbedding(3, 400, seeded(), gain=0.5, family=ARD)
    assert isinstance(layer.table, ArdWeight)
    with torch.no_grad():
        layer.table.mean[0] = 0.0
    layer.table.reset_to_prior(torch.tensor([2]))
    again = VariationalEmbedding(3, 400, seeded(9), gain=0.5, family=ARD)
    again.load_state_dict(layer.state_dict())
    again.eval()
    drawn = again.sample(20, seeded(1))
    assert torch.equal(drawn[:, 0], torch.zeros(20, 400))
    assert drawn[:, 2].std().item() == pytest.approx(0.5, rel=0.05)
    assert again.moments(torch.tensor([2]))[1].mean().item() == pytest.approx(0.25)


def orthogonal_regression(z: Tensor, rows: int, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, outputs and standard errors, such that estimates are ``z`` standard errors."""
    basis, _ = torch.linalg.qr(torch.randn(rows, len(z), generator=seeded(2)))
    x = basis * torch.linspace(3.0, 8.0, len(z))
    error = noise / x.norm(dim=0)
    return x, x @ (z * error), error


def test_relevance_determination_reaches_its_closed_form() -> None:
    """MacKay's fixed point: 0 within one standard error, else mean z - 1/z, sd^2 = 1 - 1/z^2."""
    z = torch.tensor([9.0, -4.0, 2.0, -1.5, 0.7, -0.5, 0.2, 0.0])
    x, y, error = orthogonal_regression(z, 40, 0.3)
    weight = prunable(fitted(x, y, 0.3, ARD, 1500))
    kept = z.abs() > 1
    assert torch.equal(~weight.pruned()[0], kept)
    mean, sd = (weight.mean[0] / error)[kept], (weight.log_sd[0].exp() / error)[kept]
    assert torch.allclose(mean, (z - 1 / z)[kept], atol=0.03)
    assert torch.allclose(sd, (1 - z[kept] ** -2).sqrt(), rtol=0.02)


def test_sparse_dropout_prunes_within_a_standard_error_and_hardly_shrinks_the_rest() -> None:
    z = torch.tensor([9.0, -4.0, 2.0, 1.3, 0.8, -0.5, 0.2, 0.0])
    x, y, error = orthogonal_regression(z, 40, 0.3)
    weight = prunable(fitted(x, y, 0.3, SPARSE_DROPOUT, 1500))
    assert torch.equal(weight.pruned()[0], z.abs() < 1.06)
    assert (weight.mean[0, 0] / error[0]).item() == pytest.approx(9 - 1 / 9, abs=0.05)


@both
def test_a_sparse_regression_keeps_relevant_inputs_and_drops_most_others(
    family: WeightFamily,
) -> None:
    g = seeded(21)
    x, noise, truth = torch.randn(200, 40, generator=g), 0.3, torch.zeros(40)
    truth[:5] = torch.tensor([1.0, -0.8, 0.6, -0.5, 0.3])
    y = x @ truth + noise * torch.randn(200, generator=g)
    layer = fitted(x, y, noise, family, 1000)
    pruned = prunable(layer).pruned()[0]
    assert not pruned[:5].any()
    assert pruned[5:].float().mean().item() > 0.5
    assert sparsity(layer).layers == {"weight": (int(pruned.sum()), 40)}
    assert layer.sample(30, seeded(1)).weight[:, 0, pruned].eq(0).all()
    layer.eval()
    fresh = torch.randn(500, 40, generator=g)
    ridge = torch.linalg.solve(x.T @ x + noise**2 * torch.eye(40), x.T @ y)
    error = (layer.moments(fresh)[0][:, 0] - fresh @ truth).square().mean()
    assert error < 0.8 * (fresh @ (ridge - truth)).square().mean()


def test_an_improper_prior_has_no_draws() -> None:
    layer = VariationalLinear(2, 1, seeded(), family=SPARSE_DROPOUT)
    with pytest.raises(ScreenError, match="improper and has no draws"):
        layer.prior_sample(3, seeded())
    weight = SparseDropoutWeight((2, 1), 1.0, seeded())
    with pytest.raises(ScreenError, match="never measured"):
        weight.reset_to_prior(torch.tensor([0]))
