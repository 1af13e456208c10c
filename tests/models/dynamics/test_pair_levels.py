"""Parameters of a drug pair level by level, of a posterior made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.dynamics import pair_levels
from models.dynamics.drug_pair import PairData, PairModel, PairOptions
from models.dynamics.pair_posterior import DrugPairPosterior
from models.screen import ScreenError
from tests.models.dynamics.test_pair_marginal import series

DRAWS = 5


@pytest.fixture
def posterior() -> DrugPairPosterior:
    """Everything at its prior mean, but plate "one" starts with e^0.3 as many cells."""
    model = PairModel(PairData.of(series()), PairOptions())
    shared = model.centre.expand(DRAWS, -1).clone()
    rng = torch.Generator().manual_seed(0)
    shared += 1e-9 * torch.randn(shared.shape, generator=rng, dtype=torch.float64)
    spread = torch.exp(shared[0, model.names.index("initial.plate.sd")])
    shared[:, model.names.index("initial.plate=one")] = 0.3 / spread
    own = torch.zeros(DRAWS, 6, model.hierarchy.series_size, dtype=torch.float64)
    own[:, 2, model.hierarchy.individual_names().index("initial")] = 1.0
    frames = torch.zeros(DRAWS, 3, 4, dtype=torch.float64)
    nothing: Any = None
    return DrugPairPosterior(model, shared, frames, own, {}, ("A", "B"), nothing)


def test_each_level_has_its_value(posterior: DrugPairPosterior) -> None:
    usual = pair_levels.population(posterior)
    assert usual["growth"].shape == (DRAWS,)
    np.testing.assert_allclose(usual["growth"], 0.04, rtol=1e-6)
    assert {"growth_ec50[0]", "growth_ec50[1]"} <= usual.keys()
    one, two = (pair_levels.of_plate(posterior, plate) for plate in ("one", "two"))
    np.testing.assert_allclose(one["initial"], usual["initial"] * np.exp(0.3), rtol=1e-6)
    np.testing.assert_allclose(two["initial"], usual["initial"], rtol=1e-6)
    assert "death" not in one
    spread = pair_levels.spreads(posterior)["initial"]
    wells = pair_levels.of_wells(posterior)["initial"]
    assert wells.shape == (DRAWS, 6)
    # Wells a, c and e lie on plate one; c has more cells than is usual there.
    np.testing.assert_allclose(wells[:, 2], one["initial"] * np.exp(spread), rtol=1e-6)
    np.testing.assert_allclose(wells[:, 1], two["initial"], rtol=1e-6)
    np.testing.assert_allclose(wells[:, 0], one["initial"], rtol=1e-6)


def test_an_unknown_plate(posterior: DrugPairPosterior) -> None:
    with pytest.raises(ScreenError, match="no plate 'three'"):
        pair_levels.of_plate(posterior, "three")
