"""The generative model: what the parts are, and that the loss is a bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.perturbation.vae.fitting import trainer
from models.perturbation.vae.layers import normal_kl, standard_kl
from models.perturbation.vae.module import VaeSettings
from models.perturbation.vae.training import Trainer
from models.screen import ScreenError
from tests.models.perturbation.vae.small import counts, plan, settings


def _trained(**changes) -> Trainer:
    job = trainer(counts(), settings(**changes), plan(4), seed=1)
    job.run()
    return job


def test_divergences_are_those_of_normal_laws() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, to_mean = torch.randn(2, 5, 3, generator=generator)
    variance, to_variance = torch.rand(2, 5, 3, generator=generator) + 0.1
    first = torch.distributions.Normal(mean, variance.sqrt())
    second = torch.distributions.Normal(to_mean, to_variance.sqrt())
    expected = torch.distributions.kl_divergence(first, second).sum(-1)
    assert torch.allclose(normal_kl(mean, variance, to_mean, to_variance), expected, atol=1e-5)
    zero, one = torch.zeros_like(mean), torch.ones_like(mean)
    assert torch.allclose(
        standard_kl(mean, variance), normal_kl(mean, variance, zero, one), atol=1e-6
    )


def test_a_control_is_not_shifted_and_a_pair_by_exactly_the_sum() -> None:
    model = _trained().objective.model
    effects = model.effects.samples(1, torch.Generator().manual_seed(0))[0]
    doses = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]])
    shift = model.shift(doses, effects, None, torch.zeros(0, 2, dtype=torch.long)).detach()
    assert torch.equal(shift[0], torch.zeros(8))
    assert torch.equal(shift[3], shift[1] + shift[2])


def test_the_bound_is_below_the_marginal_likelihood() -> None:
    """Given all globals, log p(x) by importance sampling of z from the guide, which is unbiased
    for p(x): the mean bound lies below it and closes in with more particles."""
    job = _trained()
    model, rows = job.objective.model, job.objective.data.rows.select(torch.arange(40))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        shift = model.shift(rows.doses, model.effects.expected(), None, job.objective.data.pairs)
        mean, variance = model.encode(rows.inputs, shift, rows.flag, None)
        weights = []
        for _ in range(400):
            z = mean + variance.sqrt() * torch.randn(mean.shape, generator=generator)
            raw = model.decode(z, shift, rows.flag, None)
            seen = model.observation.log_likelihood(raw, rows.values, rows.library).sum(-1)
            prior = -0.5 * z.square().sum(-1)
            guide = -0.5 * ((z - mean).square() / variance + variance.log()).sum(-1)
            weights.append(seen + prior - guide)
        weight = torch.stack(weights)
        marginal = torch.logsumexp(weight, 0) - np.log(400)
        few = (torch.logsumexp(weight.reshape(100, 4, -1), 1) - np.log(4)).mean(0)
    assert (weight.mean(0) <= few + 1e-4).all()
    assert few.mean() < marginal.mean()
    assert (weight.mean(0) <= marginal + 1e-4).all()


def test_anchored_readouts_are_zero_without_state_and_shift() -> None:
    job = trainer(counts(), settings(anchored=True), plan(), seed=0)
    model = job.objective.model
    zero = torch.zeros(1, 2), torch.zeros(1, 8), torch.zeros(1)
    raw = model.decode(*zero, None)
    assert torch.equal(raw, model.offset[None])


def test_named_coordinates_move_their_own_readout() -> None:
    model = trainer(counts(), settings(), plan(), seed=0).objective.model
    shift = torch.zeros(1, 8)
    shift[0, 3] = 2.0
    z, flag = torch.zeros(1, 2), torch.zeros(1)
    with torch.no_grad():
        bent = model._network(z, shift, flag, None)
        raw = model.decode(z, shift, flag, None)
    own = ((raw - model.offset) / model.scale - bent)[0]
    assert own == pytest.approx(torch.tensor([0, 0, 0, 2.0, 0, 0, 0, 0]), abs=1e-5)


def test_only_failed_cells_get_the_artifact() -> None:
    model = trainer(counts(), settings(artifact=True), plan(), seed=0).objective.model
    z, shift = torch.zeros(2, 2), torch.zeros(2, 8)
    flag = torch.tensor([0.0, 1.0])
    for artifact in (torch.ones(2), -torch.ones(2)):
        raw = model.decode(z, shift, flag, artifact)
        assert torch.equal(raw[0], model.decode(z, shift, flag, 0 * artifact)[0])
        assert not torch.equal(raw[1], model.decode(z, shift, flag, 0 * artifact)[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": ("a", "a")}, "names"),
        ({"basal": 0}, "at least 1"),
        ({"join": "sum"}, "as wide"),
    ],
)
def test_settings_must_fit_together(changes, words) -> None:
    with pytest.raises(ScreenError, match=words):
        VaeSettings(**({"columns": ("a", "b"), "basal": 3} | changes))


def test_names_must_meet_for_direct_effects() -> None:
    with pytest.raises(ScreenError, match="own_readout"):
        trainer(counts(), settings(columns=("p", "q")), plan(), seed=0)


def test_a_stream_for_artifacts_needs_failed_cells() -> None:
    cells = counts()
    with pytest.raises(ScreenError, match="artifact stream off"):
        trainer(cells.select(~cells.low_quality), settings(artifact=True), plan(), seed=0)


def test_there_must_be_cells() -> None:
    with pytest.raises(ScreenError, match="no cells"):
        trainer(counts().select(np.zeros(0, np.int64)), settings(), plan(), seed=0)
