"""Observation noise: densities against scipy, gaps, memory, draws, and noise that data reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from models.dynamics.observation import Observation, Readings
from models.dynamics.systems.protocol import Observed

TIMES = torch.tensor([0.0, 0.5, 2.0, 2.2], dtype=torch.float64)
VALUES = {
    "noise_floor": torch.tensor([0.1, 0.2], dtype=torch.float64)[:, None, None],
    "noise_share": torch.tensor([0.3, 0.0], dtype=torch.float64)[:, None, None],
    "noise_memory": torch.tensor([1.5, 0.7], dtype=torch.float64)[:, None, None],
    "offset": torch.tensor([0.05, -0.1], dtype=torch.float64)[:, None, None],
}


def setting(gaps: bool) -> tuple[np.ndarray, Observed]:
    rng = np.random.default_rng(3)
    readings = rng.normal(0.5, 0.3, (3, 2, 4))
    if gaps:
        readings[0, 0, 1] = readings[1, 1, 0] = np.nan
        readings[2, 0, :] = np.nan
    mean = torch.from_numpy(rng.uniform(0, 1, (4, 2, 1, 3)))
    return readings, Observed(mean)


def covariance(mean: np.ndarray, c: int, memory: bool) -> np.ndarray:
    scale = np.sqrt(
        VALUES["noise_floor"][c].item() ** 2 + (VALUES["noise_share"][c].item() * mean) ** 2
    )
    apart = np.abs(TIMES.numpy()[:, None] - TIMES.numpy()[None])
    kernel = np.exp(-apart / VALUES["noise_memory"][c].item()) if memory else np.eye(len(mean))
    return scale[:, None] * kernel * scale[None]


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("memory", [None, 1.0])
def test_density_is_that_of_the_joint_normal_of_what_was_read(
    gaps: bool, memory: float | None
) -> None:
    readings, observed = setting(gaps)
    model = Observation(("a", "b"), memory=memory)
    laid = Readings.of(torch.from_numpy(readings), TIMES)
    assert laid.complete is not gaps
    found = model.log_density(laid, observed, VALUES)
    for n in range(3):
        total = 0.0
        for c in range(2):
            seen = ~np.isnan(readings[n, c])
            if not seen.any():
                continue
            mean = observed.mean[:, c, 0, n].numpy()
            cov = covariance(mean, c, memory is not None)[np.ix_(seen, seen)]
            centre = mean[seen] + VALUES["offset"][c].item()
            total += multivariate_normal(centre, cov).logpdf(readings[n, c, seen])
        assert found[0, n].item() == pytest.approx(total, rel=1e-9)


def test_the_system_adds_its_own_variance() -> None:
    _, observed = setting(False)
    wide = Observed(observed.mean, torch.full_like(observed.mean, 0.16))
    scale = Observation(("a", "b")).scale(wide, VALUES)
    expected = np.sqrt(0.04 + 0.16)
    assert scale[:, 1].numpy() == pytest.approx(np.full((4, 1, 3), expected))


def test_a_very_long_memory_stays_finite() -> None:
    readings, observed = setting(False)
    laid = Readings.of(torch.from_numpy(readings).float(), TIMES.float())
    values = {k: v.float() for k, v in VALUES.items()} | {
        "noise_memory": torch.full((2, 1, 1), 1e6)
    }
    small = Observed(observed.mean.float())
    assert torch.isfinite(Observation(("a", "b")).log_density(laid, small, values)).all()


def test_draws_have_the_scale_and_the_memory() -> None:
    mean = torch.full((4, 2, 4000, 1), 0.5, dtype=torch.float64)
    values = {k: v.expand(-1, 4000, 1) for k, v in VALUES.items()}
    generator = torch.Generator().manual_seed(1)
    drawn = Observation(("a", "b")).draw(Observed(mean), values, TIMES, generator)
    centred = (drawn - mean - values["offset"])[..., 0]
    for c in range(2):
        expected = covariance(np.full(4, 0.5), c, True)
        # Monte-Carlo error of a variance of 4,000 draws: 2.2 %; four of them.
        np.testing.assert_allclose(
            np.cov(centred[:, c].numpy()), expected, atol=0.09 * expected.max()
        )


def test_the_first_reading_has_no_memory_and_others_look_back_over_gaps() -> None:
    values = torch.tensor([[[1.0, float("nan"), 2.0, 3.0]]])
    laid = Readings.of(values, TIMES.float())
    assert laid.before[:, 0, 0, 0].tolist() == [-1, 0, 0, 2]
    assert laid.gap[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.5, 2.0, 0.2])


def test_noise_can_be_as_small_as_that_of_the_data() -> None:
    """Precisions that grow by at most 1 an hour could not: the published fault."""
    rng = np.random.default_rng(0)
    readings = torch.from_numpy(rng.normal(0.3, 1e-4, (1, 1, 400)))
    laid = Readings.of(readings, torch.arange(400.0, dtype=torch.float64))
    model = Observation(("a",), 0.02, None, None, None)
    log_floor = torch.tensor([[-4.0]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([log_floor], lr=0.1)
    mean = Observed(torch.full((400, 1, 1, 1), 0.3, dtype=torch.float64))
    for _ in range(150):
        optimizer.zero_grad()
        loss = -model.log_density(laid, mean, {"noise_floor": torch.exp(log_floor)}).sum()
        loss.backward()
        optimizer.step()
    assert torch.exp(log_floor).item() == pytest.approx(1e-4, rel=0.15)
    assert -loss.item() / 400 == pytest.approx(norm.logpdf(0, 0, 1e-4) - 0.5, abs=0.1)
