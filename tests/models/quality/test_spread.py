"""How much the scatter of a handful of wells can be relied on."""

import numpy as np
import pytest
from scipy.special import polygamma

from models.quality.spread import well_sd, well_sd_dof


@pytest.mark.parametrize("n", [3, 6, 9, 16, 33, 64])
def test_the_logarithm_scatters_as_its_degrees_of_freedom_say(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [well_sd(row) for row in rng.standard_normal((4000, n))]
    scatter = float(np.var([2.0 * np.log(sd) for sd in found if sd is not None]))
    assert scatter == pytest.approx(float(polygamma(1, 0.5 * well_sd_dof(n))), rel=0.17)
