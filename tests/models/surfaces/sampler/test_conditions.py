"""What a sampler is told: bounds, pinned margins, the swap, noise by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.screen import ScreenError
from models.surfaces.sampler.conditions import (
    CONDITION_SWAP,
    SURFACE_SWAP,
    TOP,
    PairFeatures,
    condition,
    drug_noise,
    observe,
    to_residual,
    to_viability,
    with_margins,
)
from tests.models.surfaces.sampler.small import N_COMPOUNDS, blocks, some_missing

FEATURES = PairFeatures(
    np.random.default_rng(0).normal(size=(N_COMPOUNDS, 2)),
    np.random.default_rng(1).normal(size=(5, 3)),
)


def test_no_residual_is_bliss_and_none_leaves_the_bounds() -> None:
    table = blocks(20)
    reference = condition(table, PairFeatures.none())["reference"]
    plain = to_viability(reference, torch.zeros_like(reference))
    np.testing.assert_allclose(plain.numpy(), table.reference, atol=1e-6)
    for size in (-30.0, 30.0):
        found = to_viability(reference, torch.full_like(reference, size))
        assert bool(((found >= 0) & (found <= TOP)).all())
    near = to_residual(reference, plain)
    assert float(near.abs().max()) < 1e-4


def test_margins_are_pinned_to_the_bit() -> None:
    table = blocks(6, m=4, columns=3)
    drawn = np.random.default_rng(0).random((5, 6, 4, 3))
    whole = with_margins(drawn, table)
    assert whole.shape == (5, 6, 5, 4)
    assert np.array_equal(whole[..., 1:, 1:], drawn)
    assert np.array_equal(whole[2, ..., 1:, 0], table.margins[0])
    assert np.array_equal(whole[3, ..., 0, 1:], table.margins[1])
    assert np.all(whole[..., 0, 0] == 1.0)


@pytest.mark.parametrize("columns", [3, 4])
def test_a_turned_block_is_the_batch_under_the_swap(columns: int) -> None:
    table = some_missing(blocks(8, columns=columns))
    for made, group in ((condition, CONDITION_SWAP), (observe, SURFACE_SWAP)):
        turned = made(table.swapped(), FEATURES)
        expected = group.elements[1].act(made(table, FEATURES))
        assert all(torch.equal(turned[name], expected[name]) for name in expected)


def test_noise_belongs_to_the_drugs() -> None:
    table = blocks(10)
    pair, first, second = drug_noise(table, 7, 3, 2)
    turned = drug_noise(table.swapped(), 7, 3, 2)
    assert torch.equal(turned[0], pair)
    assert torch.equal(turned[1], second)
    assert torch.equal(turned[2], first)
    some = np.array([4, 1])
    assert torch.equal(drug_noise(table.select(some), 7, 3, 2)[1], first[:, some])
    assert not torch.equal(drug_noise(table, 7, 4, 2)[0], pair)
    assert not torch.equal(first, second)


def test_what_cannot_be_is_refused() -> None:
    table = blocks(3)
    doses = table.doses[0].copy()
    doses[:, 0] = 0.0
    with pytest.raises(ScreenError, match="there is the margin"):
        condition(replace(table, doses=(doses, table.doses[1])), PairFeatures.none())
    with pytest.raises(ScreenError, match="negative"):
        condition(
            replace(table, margins=(-table.margins[0], table.margins[1])), PairFeatures.none()
        )
    with pytest.raises(ScreenError, match="multiply to"):
        condition(
            replace(table, margins=(table.margins[0] + 2, table.margins[1])), PairFeatures.none()
        )
    with pytest.raises(ScreenError, match="features are given for 2 rows"):
        condition(table, PairFeatures(np.zeros((2, 1)), np.zeros((0, 0))))
