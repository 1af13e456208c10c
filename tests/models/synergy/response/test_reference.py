import numpy as np
import torch

from models.pharmacology.hill import hill
from models.synergy.response.reference import ReferenceCurves
from tests.models.synergy.response.small import N_COMPOUNDS, N_LINES, UNSEEN, training


def test_measured_curves_replace_draws_and_others_do_not() -> None:
    wells = training().wells
    assert wells is not None
    found = ReferenceCurves.of(wells, (N_COMPOUNDS, N_LINES))
    draws = torch.rand((2, 5), generator=torch.Generator().manual_seed(0))
    compound, line, dose = np.array([0, UNSEEN]), np.array([1, 1]), np.array([0.7, 0.7])
    result = found.replace(draws, compound, line, dose)
    expected = hill(dose[:1], found.log_c[0, 1], found.log_h[0, 1], found.emax[0, 1])
    assert np.allclose(result[0].numpy(), expected, atol=1e-6)
    assert torch.equal(result[1], draws[1])
    back = ReferenceCurves.load(found.save())
    assert torch.equal(back.replace(draws, compound, line, dose), result)
