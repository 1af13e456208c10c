"""The field within a block: conditioning against the textbook, learning against known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.screen import ScreenError
from models.surfaces.kriging import NAMES, Field, condition, fit_field

TRUE = Field.shaped_by_level((-2.5, -3.0, -3.2, -3.5, -6.0, -0.5, 0.3, 0.0))
SHAPED = replace(
    TRUE, values=(*TRUE.values[:8], 0.4, -0.6, 0.8, 0.5, -1.0, 0.7, -0.4, -0.3, 0.9, -0.5)
)
Axes = tuple[torch.Tensor, torch.Tensor]


def _grid(b: int, m: int = 4, n: int = 3) -> tuple[Axes, Axes]:
    rows = torch.linspace(0, 1.5, m, dtype=torch.float64).expand(b, m)
    columns = torch.linspace(0, 1.5, n, dtype=torch.float64).expand(b, n)
    margins = tuple(
        torch.linspace(0.95, low, side, dtype=torch.float64).expand(b, side)
        for low, side in ((0.5, m), (0.4, n))
    )
    return (rows, columns), (margins[0], margins[1])


def test_conditioning_is_the_partitioned_normal() -> None:
    """Mean and covariance given three of twelve wells, by the plain formula."""
    decades, margins = _grid(1)
    field, noise = TRUE.covariance(decades, margins)
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
    decades, margins = _grid(2)
    field, _ = TRUE.covariance(decades, margins)
    zero = torch.zeros(2, 12, dtype=torch.float64)
    mean, left = TRUE.condition(decades, margins, zero + 5.0, zero)
    assert torch.equal(mean, zero)
    torch.testing.assert_close(left, field)


def test_more_replicates_are_believed_more() -> None:
    """The same value from four wells pulls harder than from one."""
    decades, margins = _grid(1)
    count = torch.zeros(1, 12, dtype=torch.float64)
    residual = torch.zeros(1, 12, dtype=torch.float64)
    residual[0, 4] = 0.2
    pulls = []
    for replicates in (1.0, 4.0):
        count[0, 4] = replicates
        pulls.append(float(TRUE.condition(decades, margins, residual, count)[0][0, 4]))
    assert 0 < pulls[0] < pulls[1] < 0.2


def test_a_known_field_is_learned() -> None:
    """Noise and the whole standard deviation of 300 blocks drawn from it, within a fifth."""
    decades, margins = _grid(300)
    field, noise = TRUE.covariance(decades, margins)
    whole = field[0] + torch.diag(noise[0])
    draws = torch.randn(300, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    residual = (draws @ torch.linalg.cholesky(whole).T).reshape(300, 4, 3).numpy()
    wells = np.ones((300, 4, 3))
    rows = decades[0].numpy(), decades[1].numpy()
    found = fit_field([(rows, (margins[0].numpy(), margins[1].numpy()), residual, wells)], seed=1)
    learned, learned_noise = found.covariance(
        (decades[0][:1], decades[1][:1]), (margins[0][:1], margins[1][:1])
    )
    size = torch.trace(learned[0]).sqrt() / torch.trace(field[0]).sqrt()
    assert 0.8 < float(size) < 1.2
    assert 0.8 < float(learned_noise.mean().sqrt() / noise.mean().sqrt()) < 1.2
    assert len(found.values) == len(NAMES)


@pytest.mark.parametrize("truth", [TRUE, SHAPED])
def test_a_swap_transposes_the_field(truth: Field) -> None:
    """One standard deviation for rows and columns, and one rule for both amplitudes."""
    decades, margins = _grid(1)
    field, _ = truth.covariance(decades, margins)
    swapped, _ = truth.covariance((decades[1], decades[0]), (margins[1], margins[0]))
    order = torch.arange(12).reshape(4, 3).T.reshape(-1)
    torch.testing.assert_close(swapped[0], field[0][order][:, order])


def _variance(value: dict[str, float], a: float, b: float) -> float:
    """Of the field at a well with these margins, by the plain formula."""
    x, z, away = a - 0.5, b - 0.5, a * b - 0.5
    shared = value["level"] * away + value["level_squared"] * away**2
    logs = [
        value[part]
        + value[f"{part}_sum"] * (x + z)
        + value[f"{part}_product"] * x * z
        + value[f"{part}_squares"] * (x * x + z * z)
        for part in ("constant", "free")
    ] + [
        value["along"]
        + value["along_own"] * own
        + value["along_own_squared"] * own**2
        + value["along_partner"] * partner
        + value["along_partner_squared"] * partner**2
        for own, partner in ((x, z), (z, x))
    ]
    return float(np.sum(np.exp(2 * (np.array(logs) + shared))))


def test_amplitudes_are_the_exponentials_that_the_names_say() -> None:
    """The variances of single wells; beyond a margin that any data have they grow no more."""
    decades, margins = _grid(1)
    field, noise = SHAPED.covariance(decades, margins)
    value = dict(zip(NAMES, SHAPED.values, strict=True))
    for number in (0, 4, 11):
        a, b = float(margins[0][0, number // 3]), float(margins[1][0, number % 3])
        assert float(field[0, number, number]) == pytest.approx(_variance(value, a, b), rel=1e-12)
        spread = np.exp(2 * value["noise"]) + (np.exp(value["level_noise"]) * a * b) ** 2
        assert float(noise[0, number]) == pytest.approx(spread, rel=1e-12)
    high, higher = (
        SHAPED.covariance(decades, (each + margins[0], margins[1]))[0] for each in (2.0, 5.0)
    )
    assert torch.equal(high, higher)


def test_a_field_learns_that_curves_are_off_where_cells_live() -> None:
    """Row errors drawn in proportion to the partner's margin: rows that meet dead cells vary less
    than rows that meet living ones, by the ratio that was drawn."""
    rng = np.random.default_rng(3)
    b, m, n = 120, 4, 4
    dose = np.broadcast_to(np.linspace(0, 1.5, m), (b, m)).copy()
    margins = tuple(np.sort(rng.uniform(0.05, 1.0, (b, 4)), axis=1)[:, ::-1].copy() for _ in "ab")
    residual = 0.12 * rng.standard_normal((b, m, 1)) * margins[1][:, None, :]
    residual = residual + 0.12 * rng.standard_normal((b, 1, n)) * margins[0][:, :, None]
    residual = residual + 0.01 * rng.standard_normal((b, m, n))
    found = fit_field([((dose, dose), (margins[0], margins[1]), residual, np.ones((b, m, n)))], 1)
    at = torch.from_numpy(dose[:1])
    own = torch.full((1, 4), 0.5, dtype=torch.float64)
    partner = torch.tensor([[0.9, 0.7, 0.5, 0.2]], dtype=torch.float64)
    field, _ = found.covariance((at, at), (own, partner))
    variance = torch.diagonal(field[0]).reshape(4, 4)[0]
    expected = 0.12**2 * (partner[0].square() + 0.25)
    np.testing.assert_allclose(variance.sqrt(), expected.sqrt(), rtol=0.25)


def test_a_field_of_the_wrong_length_is_refused() -> None:
    """With the names of what it needs."""
    with pytest.raises(ScreenError, match="along_own"):
        Field(TRUE.values[:8])
