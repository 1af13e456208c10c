"""How much the scatter of a handful of wells can be relied on."""

import numpy as np
import pytest
from scipy.special import polygamma

from models.quality.spread import well_noise, well_sd, well_sd_dof


@pytest.mark.parametrize("n", [3, 6, 9, 16, 33, 64])
def test_the_logarithm_scatters_as_its_degrees_of_freedom_say(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [well_sd(row) for row in rng.standard_normal((4000, n))]
    scatter = float(np.var([2.0 * np.log(sd) for sd in found if sd is not None]))
    assert scatter == pytest.approx(float(polygamma(1, 0.5 * well_sd_dof(n))), rel=0.17)


@pytest.mark.parametrize("n", [3, 6, 8, 9, 16, 33, 64])
def test_noise_is_right_on_average_and_scatters_as_its_degrees_of_freedom_say(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [noise for row in rng.standard_normal((4000, n)) if (noise := well_noise(row))]
    variance = np.array([noise.sd**2 for noise in found])
    dof = found[0].dof
    # Four standard errors of the mean of 4,000 such variances, and 1 % for the bias.
    assert variance.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / dof / 4000) + 0.01)
    assert np.var(np.log(variance)) == pytest.approx(float(polygamma(1, 0.5 * dof)), rel=0.12)


def test_a_wild_well_hardly_counts_in_noise() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((500, 16))
    wild = rows.copy()
    wild[:, 0] = 50.0
    ratio = [well_noise(w).sd / well_noise(r).sd for w, r in zip(wild, rows, strict=True)]
    assert np.median(ratio) < 1.25
    assert np.std(wild, axis=1).mean() > 10


def test_noise_knows_units_and_says_nothing_of_equal_wells() -> None:
    values = np.random.default_rng(2).standard_normal(16)
    plain, scaled = well_noise(values), well_noise(7.0 + 1000.0 * values)
    assert scaled.sd == pytest.approx(1000.0 * plain.sd)
    assert scaled.dof == plain.dof
    assert well_noise(np.ones(16)) is None
    assert well_noise(np.ones(3)) is None
    assert well_noise(np.ones(1)) is None
