"""The field within a block: conditioning against the textbook, learning against known truth."""

from __future__ import annotations

import numpy as np
import torch

from models.surfaces.kriging import NAMES, Field, condition, fit_field

TRUE = Field((-2.5, -3.0, -3.2, -3.5, -6.0, -0.5, 0.3, 0.0))


def _grid(b: int, m: int = 4, n: int = 3) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    rows = torch.linspace(0, 1.5, m, dtype=torch.float64).expand(b, m)
    columns = torch.linspace(0, 1.5, n, dtype=torch.float64).expand(b, n)
    level = torch.linspace(0.9, 0.2, m * n, dtype=torch.float64).reshape(1, m, n).expand(b, m, n)
    return (rows, columns), level


def test_conditioning_is_the_partitioned_normal() -> None:
    """Mean and covariance given three of twelve wells, by the plain formula."""
    decades, level = _grid(1)
    field, noise = TRUE.covariance(decades, level)
    measured = torch.zeros(1, 12, dtype=torch.bool)
    at = [1, 5, 10]
    measured[0, at] = True
    residual = torch.linspace(-0.1, 0.2, 12, dtype=torch.float64)[None]
    mean, left = condition(field, noise, residual, measured)
    k, v = field[0].numpy(), noise[0].numpy()
    gain = k[:, at] @ np.linalg.inv(k[np.ix_(at, at)] + np.diag(v[at]))
    np.testing.assert_allclose(mean[0].numpy(), gain @ residual[0, at].numpy(), atol=1e-12)
    np.testing.assert_allclose(left[0].numpy(), k - gain @ k[at], atol=1e-12)


def test_nothing_measured_changes_nothing() -> None:
    """Zero mean, the covariance as it was."""
    decades, level = _grid(2)
    field, _ = TRUE.covariance(decades, level)
    zero = torch.zeros(2, 12, dtype=torch.float64)
    mean, left = TRUE.condition(decades, level, zero + 5.0, zero)
    assert torch.equal(mean, zero)
    torch.testing.assert_close(left, field)


def test_more_replicates_are_believed_more() -> None:
    """The same value from four wells pulls harder than from one."""
    decades, level = _grid(1)
    count = torch.zeros(1, 12, dtype=torch.float64)
    residual = torch.zeros(1, 12, dtype=torch.float64)
    residual[0, 4] = 0.2
    pulls = []
    for replicates in (1.0, 4.0):
        count[0, 4] = replicates
        pulls.append(float(TRUE.condition(decades, level, residual, count)[0][0, 4]))
    assert 0 < pulls[0] < pulls[1] < 0.2


def test_a_known_field_is_learned() -> None:
    """Noise and the whole standard deviation of 300 blocks drawn from it, within a fifth."""
    decades, level = _grid(300)
    field, noise = TRUE.covariance(decades, level)
    whole = field[0] + torch.diag(noise[0])
    draws = torch.randn(300, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    residual = (draws @ torch.linalg.cholesky(whole).T).reshape(300, 4, 3).numpy()
    wells = np.ones((300, 4, 3))
    rows = decades[0].numpy(), decades[1].numpy()
    found = fit_field([(rows, level.numpy(), residual, wells)], seed=1)
    learned, learned_noise = found.covariance((decades[0][:1], decades[1][:1]), level[:1])
    size = torch.trace(learned[0]).sqrt() / torch.trace(field[0]).sqrt()
    assert 0.8 < float(size) < 1.2
    assert 0.8 < float(learned_noise.mean().sqrt() / noise.mean().sqrt()) < 1.2
    assert len(found.values) == len(NAMES)


def test_a_swap_transposes_the_field() -> None:
    """One standard deviation for rows and columns."""
    decades, level = _grid(1)
    field, _ = TRUE.covariance(decades, level)
    swapped, _ = TRUE.covariance((decades[1], decades[0]), level.transpose(1, 2))
    order = torch.arange(12).reshape(4, 3).T.reshape(-1)
    torch.testing.assert_close(swapped[0], field[0][order][:, order])
