"""BATCHIE's scores: the modelled combination below the measured single agents."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from models.evaluation.past_campaign import PastCampaign, SimulationSource
from models.evaluation.peer_tensor import AnchoredTensor, fit_anchored
from models.pharmacology.dose_response import CurveTable
from models.rounds import RoundRules, prepare, training_of
from models.synergy.training import Schedule


@cache
def campaign() -> PastCampaign:
    return SimulationSource(8, 3, "bliss_mean", doses=2, seed=1).load()


@cache
def fitted() -> tuple[AnchoredTensor, CurveTable]:
    screen = campaign().reveal(np.arange(0, 84, 2))
    prepared = prepare(screen, RoundRules())
    training = training_of(screen, prepared, "bliss_mean")
    made = fit_anchored(training, prepared.curves, seed=0, schedule=Schedule(40, 20))
    return made, prepared.curves


def test_scores_are_measured_single_agents_less_the_modelled_combination() -> None:
    posterior, curves = fitted()
    at = campaign().candidates.select(np.array([5, 60]))
    draws = posterior.draws(at, 6, 3).numpy()
    owner, doses = posterior.tensor.grids.rows(at)
    pairs, line = at.compounds[owner], at.cell_line[owner]
    joint = posterior.tensor.viability_draws(pairs, doses, line, 6, 3).numpy()
    single = curves.viability(pairs, line[:, None], doses)
    excess = 100 * (single.prod(axis=1) - joint)
    for row in (0, 1):
        np.testing.assert_allclose(draws[:, row], excess[:, owner == row].mean(1), atol=1e-3)


def test_its_noise_is_what_its_own_scores_leave() -> None:
    """Measured anew: that of scores from modelled single agents is another."""
    posterior, _ = fitted()
    assert posterior.model == "logit_tensor"
    rows = np.arange(0, 84, 2)
    at = campaign().candidates.select(rows)
    away = posterior.draws(at, 20, 0).numpy().mean(0) - campaign().observed[rows]
    inside = np.abs(away) < 2.0 * posterior.noise_sd(at).numpy()
    assert inside.mean() > 0.8
    assert posterior.remainder != posterior.tensor.remainder
    assert posterior.noise_df == posterior.remainder.df
    assert torch.equal(posterior.draws(at, 20, 0), posterior.draws(at, 20, 0))
    assert posterior.diagnostics()["chains"] == 2
