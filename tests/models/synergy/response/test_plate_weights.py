"""Response models weigh a well by the noise of its plate."""

import numpy as np
import pytest
import torch

from models.pharmacology.plate_noise import plate_scales
from models.screen import ABSENT, PlateTable, Wells
from models.synergy.response.errors import WellErrors
from models.synergy.response.labels import DoseLabels
from models.synergy.response.table import DoseScale, WellTable
from models.synergy.response.tensor_gibbs import LabelledWells, TensorChain
from models.synergy.response.tensor_sampling import label_wells

CPU = torch.device("cpu")


def single_wells(n: int = 6) -> Wells:
    compounds = np.full((n, 3), ABSENT, np.int64)
    compounds[:, 0] = np.arange(n) % 2
    doses = np.zeros((n, 3))
    doses[:, 0] = 1.0 + np.arange(n)
    table = PlateTable(("A", "B"), np.array([0.02, 0.08]), np.array([1e5, 1e5]))
    plate = np.array([0, 1, ABSENT, 1, 0, 0])[:n]
    return Wells(np.zeros(n, np.int64), compounds, doses, 0.3 + 0.1 * np.arange(n), plate, table)


def test_both_parts_of_the_noise_are_those_of_a_usual_plate() -> None:
    rng = np.random.default_rng(0)
    level, scale = rng.uniform(0, 1, 5000), np.where(rng.random(5000) < 0.5, 0.5, 2.0)
    residual = scale * np.hypot(0.02, 0.06 * level) * rng.standard_normal(5000)
    errors = WellErrors(5000, np.random.default_rng(1), CPU, scale)
    errors.follow(torch.tensor(level), 1.0)
    kept = []
    for number in range(60):
        errors.draw(torch.tensor(residual), failing=True)
        if number >= 20:
            kept.append(errors.sd)
    assert np.allclose(np.mean(kept, axis=0), [0.02, 0.06], rtol=0.1)
    weight = errors.weight().numpy()
    usual = (errors.sd[0] ** 2 + errors.sd[1] ** 2 * level**2) * weight
    sound = ~errors.failed.numpy()
    assert usual[sound] == pytest.approx(1.0 / scale[sound] ** 2)


def test_a_noisy_plates_wells_are_called_failed_less_easily() -> None:
    residual = torch.full((2,), 0.3, dtype=torch.float64)
    counts = np.zeros(2)
    for seed in range(60):
        errors = WellErrors(2, np.random.default_rng(seed), CPU, np.array([1.0, 4.0]))
        errors.share = 0.01
        errors.draw(residual, failing=True, scales=False)
        counts += errors.failed.numpy()
    assert counts[0] > 50
    assert counts[1] < 20


def test_both_tables_carry_the_scale_of_each_well_in_their_own_order() -> None:
    wells = single_wells()
    low, high = plate_scales(wells.plates)  # type: ignore[arg-type]
    scale_of = dict(
        zip(wells.viability.round(6).tolist(), [low, high, 1.0, high, low, low], strict=True)
    )
    table = WellTable.of(wells, DoseScale.of(wells, 2), 1)
    assert table.noise_scale.tolist() == [scale_of[round(v, 6)] for v in table.viability.tolist()]
    data, centre, _ = label_wells(wells, DoseLabels.of(wells, 2), (2, 1))
    viability = 1.0 / (1.0 + np.exp(-(data.logit + centre)))
    assert data.noise_scale is not None
    assert data.noise_scale.tolist() == [scale_of[round(v, 6)] for v in viability.tolist()]


def test_line_effects_have_the_weighted_posterior() -> None:
    """One line, rows fixed: a linear regression with known variances."""
    rng = np.random.default_rng(2)
    n, d, labels = 20, 2, 3
    label = np.sort(rng.permuted(np.tile(np.arange(labels), (n, 1)), axis=1)[:, :2], axis=1)
    scale = np.where(rng.random(n) < 0.5, 0.4, 2.5)
    y = rng.standard_normal(n)
    chain = TensorChain(LabelledWells(label, np.zeros(n, np.int64), y, labels, 1, scale), d, 3, CPU)
    chain.row[:-1] = torch.tensor(rng.standard_normal((labels, 1 + 2 * d)))
    chain.tau = 2.0
    row = chain.row.numpy()
    one = row[label, 0].sum(axis=1)
    both = row[label, 1 : 1 + d].sum(axis=1) + row[label, 1 + d :].prod(axis=1)
    x = np.column_stack([np.ones(n), both])
    weight = 2.0 / scale**2
    precision = (x.T * weight) @ x + np.diag(chain.line_precision)
    mean = np.linalg.solve(precision, (x.T * weight) @ (y - one))
    draws = []
    for _ in range(1500):
        chain.draw_lines()
        draws.append(chain.line[0].numpy().copy())
    error = np.sqrt(np.diag(np.linalg.inv(precision)) / 1500)
    assert np.all(np.abs(np.mean(draws, axis=0) - mean) < 4.0 * error)


def test_rows_have_the_weighted_posterior() -> None:
    """A single label alone in every well: its own regression on the one line."""
    n, d = 12, 2
    rng = np.random.default_rng(4)
    scale = np.where(np.arange(n) % 2 == 0, 0.3, 3.0)
    y = rng.standard_normal(n) + np.where(np.arange(n) % 2 == 0, 1.0, -4.0)
    wells = LabelledWells(np.zeros((n, 1), np.int64), np.zeros(n, np.int64), y, 1, 1, scale)
    chain = TensorChain(wells, d, 5, CPU)
    chain.line[0] = torch.tensor([0.0, 0.5, -0.5])
    chain.tau = 4.0
    x = np.array([1.0, 0.5, -0.5, 0.0, 0.0])
    weight = 4.0 / scale**2
    precision = weight.sum() * np.outer(x, x) + np.diag(chain._row_precision()[0].numpy())
    mean = np.linalg.solve(precision, x * (weight * y).sum())
    draws = []
    for _ in range(1500):
        chain.draw_rows()
        draws.append(chain.row[0].numpy().copy())
    error = np.sqrt(np.diag(np.linalg.inv(precision)) / 1500)
    assert np.all(np.abs(np.mean(draws, axis=0) - mean) < 4.0 * error)
