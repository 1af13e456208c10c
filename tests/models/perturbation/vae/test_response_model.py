"""The VAE as a model of conditions: its contract, and what it learns of additive responses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.perturbation.data import ResponseTable
from models.perturbation.protocol import ResponseModel, ResponsePosterior
from models.perturbation.vae.response_model import VaePosterior, VaeResponses
from models.screen import ScreenError, Stopped
from tests.models.perturbation.vae.small import counts

DOSES = np.array([[0.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]])


def _table(n: int = 44, seed: int = 0) -> tuple[ResponseTable, np.ndarray]:
    """Additive log ratios of 4 perturbations at 6 readouts, all singles and pairs, replicated."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(4, 1)
    rows = np.vstack([np.eye(4), np.eye(4)[first] + np.eye(4)[second]])
    doses = rows[np.arange(n) % len(rows)]
    effect = rng.standard_normal((4, 6)) * (rng.random((4, 6)) < 0.5)
    values = doses @ effect + 0.1 * rng.standard_normal((n, 6))
    table = ResponseTable.of(
        perturbations=list("abcd"),
        readouts=list("uvwxyz"),
        conditions=[f"c{i % len(rows)}" for i in range(n)],
        doses=doses,
        values=values,
    )
    return table, effect


@pytest.fixture(scope="module")
def posterior() -> VaePosterior:
    return VaeResponses(steps=400).fit(_table()[0], seed=0)


def test_it_keeps_the_contract(posterior) -> None:
    assert isinstance(VaeResponses(), ResponseModel)
    assert isinstance(posterior, ResponsePosterior)
    draws = posterior.draws(DOSES, 5, 0)
    assert (draws.shape, draws.dtype) == ((5, 4, 6), np.float64)
    assert np.array_equal(draws[:, 0], np.zeros((5, 6)))
    assert posterior.mean(DOSES).shape == (4, 6)
    assert (posterior.noise_scale > 0).all()
    assert posterior.noise_df > 2


def test_a_draw_is_one_world(posterior) -> None:
    whole = posterior.draws(DOSES, 3, 7)
    assert np.array_equal(whole[:, 2:], posterior.draws(DOSES[2:], 3, 7))
    assert not np.array_equal(whole, posterior.draws(DOSES, 3, 8))


def test_additive_responses_are_learned(posterior) -> None:
    _, effect = _table()
    found = posterior.mean(DOSES)
    assert np.sqrt(np.mean((found - DOSES @ effect) ** 2)) < 0.25
    alone = posterior.interaction(DOSES, 4, 0)
    assert np.array_equal(alone[:, :2], np.zeros((4, 2, 6)))
    assert np.abs(alone[:, 2:].mean(axis=0)).mean() < 0.2


def test_the_order_of_rows_does_not_matter() -> None:
    table, _ = _table()
    turned = table.select(np.random.default_rng(1).permutation(len(table)))
    model = VaeResponses(steps=5)
    first, second = (model.fit(rows, seed=0).mean(DOSES) for rows in (table, turned))
    assert np.array_equal(first, second)


def test_a_saved_posterior_draws_the_same_bits(posterior) -> None:
    tensors, metadata = posterior.save()
    again = VaeResponses().load(tensors, json.loads(json.dumps(metadata)))
    assert np.array_equal(again.draws(DOSES, 3, 1), posterior.draws(DOSES, 3, 1))
    assert np.array_equal(again.noise_scale, posterior.noise_scale)
    assert again.noise_df == posterior.noise_df
    with pytest.raises(ScreenError, match="cannot load ridge"):
        VaeResponses().load(tensors, metadata | {"model": "ridge"})


def test_counts_are_learned_as_log_ratios() -> None:
    cells = counts(150)
    fit = VaeResponses(steps=60).fit(cells.responses(), seed=0)
    assert fit.draws(np.eye(3), 2, 0).shape == (2, 3, 8)
    assert (fit.noise_scale > 0.1).all()
    assert np.isinf(fit.noise_df)


def test_rows_of_low_quality_are_left_out() -> None:
    table, _ = _table()
    flags = np.arange(len(table)) % 4 == 0
    wild = np.where(flags[:, None], 100.0, table.values)
    spoiled = ResponseTable.of(
        perturbations=table.perturbations,
        readouts=table.readouts,
        conditions=table.conditions,
        doses=table.doses,
        values=wild,
        low_quality=flags,
    )
    model = VaeResponses(steps=5)
    first = model.fit(spoiled, seed=0).mean(DOSES)
    assert np.array_equal(first, model.fit(table.select(~flags), seed=0).mean(DOSES))


def test_fits_can_be_refused_and_stopped() -> None:
    table, _ = _table()
    with pytest.raises(ScreenError, match="at least 5"):
        VaeResponses().fit(table.select(np.arange(4)), seed=0)
    with pytest.raises(Stopped):
        VaeResponses().fit(table, seed=0, should_stop=lambda: True)
