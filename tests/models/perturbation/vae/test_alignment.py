"""The network-aligned term: its oracle without hops, its sums over hops, and what it aims at."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.perturbation.vae.alignment import (
    Alignment,
    alignment_loss,
    changes,
    hop_sum,
    row_of_column,
    shrink,
)
from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.masks import SparseEffects
from models.screen import ScreenError


def _effects(targets: int, columns: int) -> SparseEffects:
    generator = torch.Generator().manual_seed(0)
    return SparseEffects(
        targets, columns, generator, prior_on=0.3, effect_sd=1.0, temperature=1.0, hidden=4
    )


def _descend(effects: SparseEffects, way: str, doses, change, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(effects.parameters(), lr=rate)
    rows = torch.full((change.shape[1],), -1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        alignment_loss(way, effects, rows, 0, doses, change).backward()
        optimizer.step()


def test_without_hops_the_logits_are_the_median_change_less_the_threshold() -> None:
    """Section 1.a, test 1: the published network is thresholded differential expression."""
    rng = np.random.default_rng(0)
    doses = np.eye(4)[np.repeat(np.arange(4), 21)]
    delta = np.abs(rng.standard_normal((84, 6)) * 0.6 + doses @ rng.normal(0, 1, (4, 6)))
    change = torch.tensor(delta - 0.5, dtype=torch.float32)
    effects = _effects(4, 6)
    _descend(effects, "magnitude", torch.tensor(doses).float(), change, 400, 0.03)
    median = np.array([np.median(delta[doses[:, p] == 1], axis=0) for p in range(4)])
    logits = effects.logits.detach().numpy()
    assert np.abs(logits - (median - 0.5)).max() < 0.011
    sure = np.abs(median - 0.5) > 0.011
    on = effects.probabilities().detach().numpy() > 0.5
    assert np.array_equal(on[sure], (median > 0.5)[sure])


def test_signed_the_expected_effects_are_the_change_with_its_sign() -> None:
    change = torch.tensor([[1.2, -0.7, 0.0], [-2.0, 0.4, 0.9]])
    effects = _effects(2, 3)
    _descend(effects, "signed", torch.eye(2), change, 400, 0.03)
    assert torch.allclose(effects.expected(), change, atol=0.02)


def test_hops_sum_powers_of_a_square_network() -> None:
    edges = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = sum(torch.linalg.matrix_power(edges, k + 1) / 4**k for k in range(4))
    assert torch.allclose(hop_sum(edges, torch.arange(4), 3), expected)


def test_hops_go_through_perturbed_genes_only() -> None:
    """Three coordinates, of which the second is the second target."""
    edges = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    rows = row_of_column(("x", "b", "y"), ("a", "b"))
    assert rows.tolist() == [-1, 1, -1]
    # a -> b -> y: 2 * 3 / m.
    assert hop_sum(edges, rows, 1).tolist() == [[0, 2, 2], [0, 0, 3]]


def test_unknown_changes_ask_for_nothing() -> None:
    effects = _effects(1, 2)
    change = torch.tensor([[float("nan"), 1.0], [float("nan")] * 2])
    rows = torch.tensor([-1, -1])
    loss = alignment_loss("magnitude", effects, rows, 0, torch.ones(2, 1), change)
    assert float(loss.detach()) == pytest.approx(1.0)
    loss.backward()
    assert effects.logits.grad[0, 0] == 0


def _cells(n: int = 60) -> CellTable:
    rng = np.random.default_rng(0)
    doses = np.repeat([[0, 0], [1, 0], [0, 1]], n, axis=0).astype(float)
    effect = np.array([[1.5, 0.0, 0.0], [0.0, -2.0, 0.0]])
    return CellTable.of(
        perturbations=["a", "b"],
        doses=doses,
        readouts=["a", "x", "y"],
        values=doses @ effect + 0.3 * rng.standard_normal((3 * n, 3)),
        observation="continuous",
    )


def test_signed_changes_are_those_of_the_condition_with_their_sign() -> None:
    cells = _cells()
    found = changes(cells, ("a", "x", "z"), Alignment("signed"), 0)
    assert np.isnan(found[cells.is_control]).all()
    assert np.isnan(found[:, 2]).all()
    assert found[60] == pytest.approx([1.5, 0.0, np.nan], abs=0.15, nan_ok=True)
    assert found[120] == pytest.approx([0.0, -2.0, np.nan], abs=0.15, nan_ok=True)


def test_magnitudes_lose_their_sign_and_the_threshold() -> None:
    found = changes(_cells(), ("a", "x"), Alignment("magnitude", threshold=0.5), 0)
    assert np.median(found[120:, 1]) == pytest.approx(1.5, abs=0.15)
    assert np.nanmin(found) >= -0.5


def test_shrinkage_is_the_posterior_mean_of_a_normal() -> None:
    mean, error = np.array([2.0, -2.0, 2.0]), np.array([1.0, 0.0, 3.0])
    tau = 4 - 4 / 3
    assert shrink(mean, error) == pytest.approx(mean * tau / (tau + error))
    assert (shrink(np.array([0.1, -0.1]), np.array([1.0, 1.0])) == 0).all()


def test_alignment_needs_controls_and_readouts() -> None:
    with pytest.raises(ScreenError, match="control"):
        changes(_cells().select(np.arange(60, 180)), ("a",), Alignment(), 0)
    with pytest.raises(ScreenError, match="no coordinate is a readout"):
        changes(_cells(), ("q",), Alignment(), 0)
    with pytest.raises(ScreenError, match="magnitude or signed"):
        Alignment("absolute")
