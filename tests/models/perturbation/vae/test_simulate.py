"""The simulator, the comparison of masks, and the recovery of sparse shifts."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.vae.fitting import fit_vae
from models.perturbation.vae.module import VaeSettings
from models.perturbation.vae.simulate import (
    NetworkDesign,
    ShiftDesign,
    draw_network,
    draw_truth,
    mask_recovery,
)
from models.perturbation.vae.training import TrainingPlan
from models.screen import ScreenError


def test_a_world_has_the_published_sizes() -> None:
    truth = draw_truth(ShiftDesign(), 0)
    assert truth.mask.mean() == pytest.approx(2 / 15, abs=4.5 * 0.34 / np.sqrt(1500))
    size = np.abs(truth.effect)
    assert size.mean() == pytest.approx(5, abs=4.5 * 0.5 / np.sqrt(1500))
    assert size.std() == pytest.approx(0.5, rel=0.1)
    assert abs(np.sign(truth.effect).mean()) < 4.5 / np.sqrt(1500)
    shapes = [layer.shape for layer in truth.layers]
    assert shapes == [(15, 50), (50, 50), (50, 50), (50, 50), (50, 100)]


def test_the_layers_are_orthogonal() -> None:
    for layer in draw_truth(ShiftDesign(), 1).layers:
        small = layer @ layer.T if layer.shape[0] <= layer.shape[1] else layer.T @ layer
        assert np.allclose(small, np.eye(len(small)), atol=1e-12)


def test_noise_makes_up_its_share_of_the_variance() -> None:
    design = ShiftDesign(treatments=50)
    truth = draw_truth(design, 0)
    values = truth.cells(200, 1).values
    share = truth.noise_sd**2 / values.var(axis=0)
    assert np.median(share) == pytest.approx(0.2, abs=0.02)


def test_cells_follow_from_their_seed() -> None:
    truth = draw_truth(ShiftDesign(treatments=3), 0)
    assert np.array_equal(truth.cells(5, 1).values, truth.cells(5, 1).values)
    assert not np.array_equal(truth.cells(5, 1).values, truth.cells(5, 2).values)


def test_masks_are_compared_after_matching_coordinates() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((40, 6)) < 0.2
    order = rng.permutation(6)
    found = mask_recovery(truth[:, order], truth)
    assert (found.f1, found.precision, found.recall) == (1, 1, 1)
    assert truth[:, order][:, list(found.order)].tolist() == truth.tolist()


def test_recovery_counts_errors_of_both_kinds() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], bool)
    guess = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    found = mask_recovery(guess, truth)
    assert (found.precision, found.recall) == (2 / 3, 2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert mask_recovery(np.zeros_like(truth), truth).f1 == 0
    with pytest.raises(ScreenError, match="shapes"):
        mask_recovery(truth, truth[:2])


def test_a_known_network_moves_its_genes() -> None:
    design = NetworkDesign(library=200_000, concentration=1e4)
    world = draw_network(design, 0)
    cells = world.cells(200, 1)
    one = (cells.doses == np.eye(8)[2]).all(axis=1)
    log = np.log((cells.values + 0.5) / cells.library[:, None])
    change = log[one].mean(axis=0) - log[cells.is_control].mean(axis=0)
    # Proportions: what falls leaves its share to all others. Basal states add noise.
    change -= np.median(change)
    error = np.sqrt(2 * (world.loading**2).sum(axis=0) / 200) + 0.02
    assert (np.abs(change - world.effect[2]) < 4.5 * error).all()
    assert np.array_equal(world.pair, world.pair.transpose(1, 0, 2))


@pytest.mark.slow
def test_masks_of_simulated_shifts_are_recovered() -> None:
    """Section 1.a, test 5, reduced: 50 treatments of 100 cells in 8 latent coordinates."""
    truth = draw_truth(ShiftDesign(latent=8, treatments=50), 0)
    settings = VaeSettings(
        columns=tuple(f"latent {i}" for i in range(8)),
        basal=8,
        hidden=64,
        blocks=2,
        join="sum",
        prior_on=2 / 15,
        effect_sd=5.0,
    )
    plan = TrainingPlan(epochs=40, batch_cells=100, dense=0.6, sparsity=12.25, mask_rate=0.05)
    fitted = fit_vae(truth.cells(100, 1), settings, plan, seed=0)
    found = mask_recovery(fitted.network().probability > 0.5, truth.mask)
    assert found.f1 >= 0.9
