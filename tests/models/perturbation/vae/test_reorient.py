"""Turning latents: sparse axes are found, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.perturbation.vae.fitting import trainer
from models.perturbation.vae.module import VaeSettings
from models.perturbation.vae.reorient import reorient, sparsest_axes, sparsity_loss
from models.perturbation.vae.simulate import mask_recovery
from models.screen import ScreenError
from tests.models.perturbation.vae.small import counts, plan, settings


def test_a_rotated_and_moved_sparse_table_is_turned_back() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((80, 5)) < 0.2
    table = mask * 5 * rng.choice([-1, 1], (80, 5)) + 0.2 * rng.standard_normal((80, 5))
    hidden = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    seen = (table + rng.standard_normal(5)) @ hidden.T
    turn, origin = sparsest_axes(seen, 0)
    found = seen @ turn - origin
    assert np.allclose(turn @ turn.T, np.eye(5), atol=1e-8)
    assert sparsity_loss(found) <= sparsity_loss(table - np.median(table, axis=0)) + 1e-3
    large = np.abs(found) > 2.5
    assert sorted(large.sum(axis=0)) == sorted(mask.sum(axis=0))
    assert large.sum() == mask.sum()


@pytest.mark.parametrize("seed", range(4))
def test_poor_optima_and_a_far_origin_do_not_matter(seed: int) -> None:
    """At the full size, where one start in three or so ends badly."""
    rng = np.random.default_rng(seed)
    mask = rng.random((100, 15)) < 2 / 15
    table = mask * 4 * rng.choice([-1, 1], (100, 15)) + 0.5 * rng.standard_normal((100, 15))
    hidden = np.linalg.qr(rng.standard_normal((15, 15)))[0]
    near, far = table @ hidden.T, (table + 20 * rng.standard_normal(15)) @ hidden.T
    losses = []
    for seen in (near, far):
        turn, origin = sparsest_axes(seen, seed)
        losses.append(sparsity_loss(seen @ turn - origin))
        assert mask_recovery(np.abs(seen @ turn - origin) > 2, mask).f1 > 0.97
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert max(losses) <= sparsity_loss(table - np.median(table, axis=0))


def test_turning_changes_neither_where_cells_are_nor_what_is_decoded() -> None:
    names = tuple(f"latent {i}" for i in range(3))
    options = VaeSettings(columns=names, basal=3, hidden=8, join="sum")
    job = trainer(counts(), options, plan(6, dense=0.99, mask_rate=0.1), seed=0)
    while job.step < job.n_steps - 1:
        job._advance()
    model, rows = job.objective.model, job.objective.data.rows
    ones = torch.ones(3, 3)

    def seen() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        table = model.effects.effect_moments(ones)[0]
        shift = table[rows.doses.argmax(1)]
        mean, _ = model.encode(rows.inputs, shift, rows.flag, None)
        return shift, model.decode(mean, shift, rows.flag, None), mean.square().sum(-1)

    with torch.no_grad():
        shift, raw, size = seen()
        reorient(model, 0)
        turned, again, length = seen()
    assert not torch.allclose(shift, turned, atol=1e-2)
    assert torch.allclose(raw, again, atol=1e-4)
    assert torch.allclose(size, length, atol=1e-4)


def test_named_coordinates_are_not_turned() -> None:
    model = trainer(counts(), settings(), plan(), seed=0).objective.model
    with pytest.raises(ScreenError, match="named coordinates"):
        reorient(model, 0)
