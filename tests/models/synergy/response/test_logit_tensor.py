from functools import cache

import numpy as np
import pytest
import torch

from models.screen import ABSENT, ScreenError
from models.synergy.inputs import Training
from models.synergy.response.logit_tensor import LogitTensor, LogitTensorPosterior
from models.synergy.training import Schedule
from tests.models.synergy.response.small import UNSEEN, every_pair, training, truth

MODEL = LogitTensor()
SHORT = Schedule(16, 6)


@cache
def fitted() -> LogitTensorPosterior:
    return MODEL.fit(training(), seed=1, schedule=SHORT)


def test_vehicle_is_one_and_swapping_changes_no_bit() -> None:
    posterior, doses = fitted(), truth().doses_um
    pair = np.array([[0, 2, ABSENT], [ABSENT, ABSENT, ABSENT]])
    dose = np.array([[doses[0, 1], doses[2, 0], 0.0], [0.0, 0.0, 0.0]])
    line = np.array([1, 1])
    found = posterior.viability_draws(pair, dose, line, 10, 0)
    swapped = posterior.viability_draws(pair[:, [1, 0, 2]], dose[:, [1, 0, 2]], line, 10, 0)
    assert torch.equal(found, swapped)
    assert bool((found[:, 1] == 1.0).all())
    assert bool(((found > 0) & (found <= 1)).all())


def test_new_doses_are_refused_by_name() -> None:
    with pytest.raises(ScreenError, match="compound 0 was never measured"):
        fitted().viability_draws(np.array([[0]]), np.array([[0.123]]), np.array([0]), 2, 0)


def test_a_compound_never_seen_follows_the_prior() -> None:
    at = every_pair()
    sd = fitted().draws(at, 200, 2).std(dim=0).numpy()
    unseen = (at.compounds == UNSEEN).any(axis=1)
    assert np.isfinite(sd).all()
    assert np.median(sd[unseen]) > 1.3 * np.median(sd[~unseen])


def test_draws_are_whole_functions_of_candidates_and_seed() -> None:
    at = every_pair()
    whole = fitted().draws(at, 9, 3)
    rows = np.random.default_rng(1).permutation(len(at))[:20]
    assert torch.allclose(fitted().draws(at.select(rows), 9, 3), whole[:, rows], atol=2e-4)
    assert not torch.equal(fitted().draws(at, 9, 4), whole)


def test_row_order_makes_no_difference_and_loading_no_bit() -> None:
    data, at = training(), every_pair()
    assert data.wells is not None
    order = np.random.default_rng(2).permutation(len(data.wells))
    again = MODEL.fit(training(rows=order), seed=1, schedule=SHORT)
    assert torch.equal(again.draws(at, 5, 0), fitted().draws(at, 5, 0))
    tensors, metadata = MODEL.save(fitted())
    back = MODEL.load(tensors, metadata)
    assert torch.equal(back.draws(at, 30, 0), fitted().draws(at, 30, 0))
    assert torch.equal(back.noise_sd(at), fitted().noise_sd(at))
    with pytest.raises(ScreenError, match="cannot load"):
        MODEL.load(tensors, {**metadata, "model": "other"})


def test_two_chains_are_compared() -> None:
    report = fitted().diagnostics()
    assert report["chains"] == 2
    assert report["rhat_max"] > 0.9
    assert report["ess_bulk_min"] > 0


def test_scores_only_are_refused() -> None:
    data = training()
    with pytest.raises(ScreenError, match="learns from wells"):
        MODEL.fit(Training(data.blocks, data.features, None, data.score), seed=0)
    with pytest.raises(ScreenError, match="must keep"):
        MODEL.fit(data, seed=0, schedule=Schedule(5, 4))


@pytest.mark.slow
def test_fits_the_wells_it_saw() -> None:
    data = training()
    assert data.wells is not None
    posterior = MODEL.fit(data, seed=1, schedule=Schedule(120, 60))
    wells = data.wells
    draws = posterior.viability_draws(wells.compounds, wells.doses_um, wells.cell_line, 100, 0)
    assert np.corrcoef(draws.mean(dim=0).numpy(), wells.viability)[0, 1] > 0.95
