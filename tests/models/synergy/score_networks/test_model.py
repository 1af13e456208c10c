"""Score networks as models: symmetry, whole functions, files, forms, fine-tuning."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.bayes.predictive import Noise, coverage, pearson
from models.bayes.training import NonFiniteLossError
from models.screen import Candidates, CellLineTable, CompoundTable, ScreenError, Stopped
from models.synergy.inputs import Features, Training
from models.synergy.score_networks.architecture import Rows
from models.synergy.score_networks.model import SCORE_NETWORKS, PlainNetworks, ScoreNetwork
from models.synergy.score_networks.network import Functions
from models.synergy.score_networks.posterior import NetworkPosterior
from models.synergy.training import Schedule
from tests.models.synergy.score_networks.screens import (
    LINES,
    N,
    all_blocks,
    features,
    related,
    training,
)

SHORT = Schedule(25, 25)
BY_NAME = {model.name: model for model in SCORE_NETWORKS}
EVERY = sorted(BY_NAME)
SOME = [
    "bilinear_ensemble",
    "concat_randomised_prior",
    "bilinear_mean_variance",
    "concat_gaussian",
    "bilinear_sparse_dropout",
    "plain_networks",
]


@cache
def fitted(name: str) -> NetworkPosterior:
    return BY_NAME[name].fit(training(80), seed=3, schedule=SHORT)


def everything() -> Candidates:
    return all_blocks(N, LINES)


def test_the_names_are_those_of_all_merges_forms_and_films() -> None:
    assert len(BY_NAME) == len(SCORE_NETWORKS) == 2 * 10 + 2 + 1
    assert {"bilinear_ensemble_film_identity", "concat_ard", "plain_networks"} <= set(BY_NAME)
    with pytest.raises(ScreenError, match="unknown merge"):
        ScoreNetwork("sum", "ensemble")
    with pytest.raises(ScreenError, match="unknown form"):
        ScoreNetwork("concat", "horseshoe")
    with pytest.raises(ScreenError, match="unknown film"):
        ScoreNetwork("concat", "ensemble", "none")


@pytest.mark.parametrize("name", EVERY)
def test_swapping_compounds_gives_the_same_bits(name: str) -> None:
    at, posterior = everything(), fitted(name)
    functions = Functions.of(posterior.module, 3, torch.Generator().manual_seed(1))
    rows = Rows.of(at, LINES, torch.device("cpu"))
    swapped = Rows(rows.cell_line, rows.single_b, rows.single_a)
    one, other = functions(rows, posterior.tables), functions(swapped, posterior.tables)
    assert torch.equal(one.score, other.score)
    assert (one.log_scale is None) == (other.log_scale is None) == ("variance" not in name)
    if one.log_scale is not None and other.log_scale is not None:
        assert torch.equal(one.log_scale, other.log_scale)
    draws = posterior.draws(at, 3, 1)
    assert torch.isfinite(draws).all()
    assert draws.dtype == torch.float32
    assert torch.isfinite(posterior.noise_sd(at)).all()


@pytest.mark.parametrize("name", SOME)
def test_draws_are_whole_functions(name: str) -> None:
    at, posterior = everything(), fitted(name)
    whole = posterior.draws(at, 6, 9)
    order = np.random.default_rng(0).permutation(len(at))
    assert torch.allclose(whole[:, order], posterior.draws(at.select(order), 6, 9), atol=1e-3)
    parts = [posterior.draws(at.select(np.arange(k, k + 33)), 6, 9) for k in range(0, len(at), 33)]
    assert torch.allclose(whole, torch.cat(parts, dim=1), atol=1e-3)


@pytest.mark.parametrize("name", SOME)
def test_files_rebuild_the_same_draws_to_the_bit(name: str, tmp_path: Path) -> None:
    model, at = BY_NAME[name], everything()
    tensors, metadata = model.save(fitted(name))
    save_file(tensors, tmp_path / "posterior.safetensors")
    again = model.load(
        load_file(tmp_path / "posterior.safetensors"), json.loads(json.dumps(metadata))
    )
    assert torch.equal(fitted(name).draws(at, 7, 2), again.draws(at, 7, 2))
    assert torch.equal(fitted(name).noise_sd(at), again.noise_sd(at))
    assert again.diagnostics() == fitted(name).diagnostics()
    assert again.schedule == SHORT
    with pytest.raises(ScreenError, match="version 99"):
        model.load(tensors, {**metadata, "version": 99})


def test_same_seed_same_bits_and_row_order_is_irrelevant() -> None:
    train, at = training(60), everything()
    order = np.random.default_rng(5).permutation(60)
    for name in ("bilinear_randomised_prior", "concat_gaussian"):
        model = BY_NAME[name]
        first = model.fit(train, seed=1, schedule=SHORT).draws(at, 4, 0)
        second = model.fit(train.select(order), seed=1, schedule=SHORT).draws(at, 4, 0)
        other = model.fit(train, seed=2, schedule=SHORT).draws(at, 4, 0)
        assert torch.equal(first, second)
        assert not torch.equal(first, other)


def test_draws_of_an_ensemble_are_its_members_in_turn() -> None:
    at, posterior = everything(), fitted("bilinear_ensemble")
    draws = posterior.draws(at, 19, 0)
    assert torch.equal(draws[:8], draws[8:16])
    assert torch.equal(draws[:3], draws[16:])
    assert torch.equal(posterior.draws(at, 3, 5), draws[:3])
    assert not torch.equal(draws[0], draws[1])


def test_a_deterministic_network_says_that_it_has_no_epistemic_spread() -> None:
    posterior = fitted("concat_deterministic")
    draws = posterior.draws(everything(), 5, 0)
    assert draws.shape == (5, len(everything()))
    assert torch.equal(draws, draws[:1].expand_as(draws))
    found = posterior.diagnostics()
    assert (found["kind"], found["members"], found["epistemic_spread"]) == ("deterministic", 1, 0)


def test_diagnostics_say_how_members_agree_and_what_was_pruned() -> None:
    for name in SOME:
        found = fitted(name).diagnostics()
        assert json.loads(json.dumps(found)) == found
        assert -1 <= found["agreement"]["correlation"] <= 1
        assert found["agreement"]["spread_ratio"] > 0
        assert ("pruned_share" in found) == (name == "bilinear_sparse_dropout")
    assert fitted("concat_gaussian").diagnostics()["kl"] > 0
    assert fitted("bilinear_ensemble").diagnostics()["members"] == 8


def test_noise_differs_between_candidates_only_with_a_variance_head() -> None:
    at = everything()
    assert float(fitted("bilinear_mean_variance").noise_scale(at).std()) > 0
    assert len(set(fitted("bilinear_ensemble").noise_scale(at).tolist())) == 1
    assert torch.all(fitted("bilinear_mean_variance").noise_scale(at) >= 2.0)


@pytest.mark.parametrize("name", ["bilinear_ensemble", "bilinear_randomised_prior"])
def test_members_disagree_where_nothing_was_measured(name: str) -> None:
    train = training(240)
    seen = train.blocks.candidates.compounds.max(1) < 9
    posterior = BY_NAME[name].fit(train.select(seen), seed=0, schedule=Schedule(150, 150))
    at = everything()
    spread = posterior.draws(at, 16, 0).std(0).numpy()
    new, known = at.compounds.min(1) >= 9, at.compounds.max(1) < 9
    assert spread[new].mean() > 1.5 * spread[known].mean()


def test_identities_never_measured_follow_their_prior() -> None:
    train = training(200)
    seen = train.blocks.candidates.compounds.max(1) < 9
    few = train.select(seen)
    bayes = BY_NAME["bilinear_laplace"].fit(few, seed=0, schedule=SHORT).module.bank.layers
    table = bayes["compound"].table
    assert torch.all(table.mean[9:] == 0)
    assert torch.allclose(table.log_sd[9:].exp(), table.prior_sd)
    plain = BY_NAME["bilinear_ensemble"].fit(few, seed=0, schedule=SHORT).module.bank.layers
    other = BY_NAME["bilinear_ensemble"].fit(few, seed=0, schedule=Schedule(5, 25))
    start = other.module.bank.layers["compound"].table.value
    assert torch.equal(plain["compound"].table.value[:, 9:], start[:, 9:])
    assert not torch.equal(plain["compound"].table.value[:, :9], start[:, :9])
    assert 0.4 < float(start[:, 9:].std()) < 0.6


def test_it_works_without_any_features_and_with_few_blocks() -> None:
    whole = features()
    bare = Features(
        CompoundTable(whole.compounds.ids, np.zeros((N, 0), np.uint8), np.zeros(N, bool)),
        CellLineTable(whole.cell_lines.ids, np.zeros((LINES, 0)), np.zeros(LINES, bool)),
    )
    for name in ("bilinear_gaussian", "concat_ensemble", "plain_networks"):
        posterior = BY_NAME[name].fit(training(6, bare), seed=0, schedule=SHORT)
        assert torch.isfinite(posterior.draws(everything(), 3, 0)).all()
    features_only = BY_NAME["bilinear_ensemble_film_features"]
    posterior = features_only.fit(training(6, bare), seed=0, schedule=SHORT)
    assert torch.isfinite(posterior.draws(everything(), 3, 0)).all()


def test_broken_input_is_refused() -> None:
    model = BY_NAME["bilinear_ensemble"]
    with pytest.raises(ScreenError, match="at least 5"):
        model.fit(training(4), seed=0)
    outside = Candidates.of(np.array([0]), np.array([N]), np.array([0]))
    with pytest.raises(ScreenError, match="outside"):
        fitted("bilinear_ensemble").draws(outside, 3, 0)
    with pytest.raises(ScreenError, match="cannot draw"):
        fitted("bilinear_ensemble").draws(everything(), 0, 0)


def test_stop_progress_and_an_exploding_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int, int]] = []
    model = BY_NAME["bilinear_ensemble"]
    with pytest.raises(Stopped):
        model.fit(
            training(60),
            seed=0,
            on_progress=lambda *call: calls.append(call),
            should_stop=lambda: len(calls) >= 2,
        )
    assert calls[0][0] == "training"
    monkeypatch.setattr("models.synergy.training.LEARNING_RATE", float("inf"))
    with pytest.raises(NonFiniteLossError, match="at step"):
        model.fit(training(60), seed=0, schedule=SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["concat_ensemble", "bilinear_gaussian"])
def test_it_learns_and_covers(name: str) -> None:
    """600 of 765 blocks whose truth is a table of classes times a factor of the line."""
    screen = related(0, 18, 5)
    order = np.random.default_rng(0).permutation(len(screen.blocks))
    rest = screen.blocks.select(order[600:])
    posterior = BY_NAME[name].fit(screen.select(order[:600]), seed=0, schedule=Schedule(300, 300))
    draws = posterior.draws(rest.candidates, 64, 0).numpy().astype(np.float64)
    found = pearson(draws.mean(0), rest.score)
    assert found is not None
    assert found > 0.9
    noise = Noise(posterior.noise_scale(rest.candidates).numpy(), posterior.noise_df)
    assert coverage(draws, rest.score, noise)[0.9] > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ensemble", "gaussian"])
def test_pretraining_on_one_screen_helps_with_few_blocks_of_another(form: str) -> None:
    """765 blocks of 18 compounds in 5 lines, then 25 blocks of 10 others in 3 others."""
    model = ScoreNetwork("bilinear", form, members=2 if form == "ensemble" else None, hidden=24)
    taught = model.fit(related(0, 18, 5), seed=0, schedule=Schedule(200, 200))
    screen = related(1, 10, 3)
    rows = np.random.default_rng(0).permutation(len(screen.blocks))
    few, rest = screen.select(rows[:25]), screen.blocks.select(rows[25:])
    short = Schedule(150, 150)
    skill = []
    for posterior in (
        model.fine_tune(taught, few, seed=1, schedule=short),
        model.fit(few, seed=1, schedule=short),
    ):
        draws = posterior.draws(rest.candidates, 16, 0).mean(0).numpy().astype(np.float64)
        skill.append(pearson(draws, rest.score) or 0.0)
    assert skill[0] > skill[1] + 0.2
    assert skill[0] > 0.4


def test_a_fine_tuned_posterior_can_be_saved_and_tuned_again() -> None:
    model = ScoreNetwork("concat", "randomised_prior", members=2, hidden=8)
    first = model.fit(related(0, 6, 2), seed=0, schedule=SHORT)
    second = model.fine_tune(first, related(1, 5, 3), seed=1, schedule=SHORT)
    third = model.fine_tune(second, related(2, 7, 2), seed=2, schedule=SHORT)
    tensors, metadata = model.save(third)
    again = model.load(tensors, json.loads(json.dumps(metadata)))
    at = all_blocks(7, 2)
    assert torch.equal(third.draws(at, 4, 0), again.draws(at, 4, 0))
    assert third.scaling.centre == first.scaling.centre


def test_fine_tuning_refuses_what_does_not_fit() -> None:
    model = ScoreNetwork("bilinear", "ensemble", members=2, hidden=8)
    first = model.fit(related(0, 6, 2), seed=0, schedule=SHORT)
    with pytest.raises(ScreenError, match="cannot fine-tune"):
        PlainNetworks().fine_tune(first, related(1, 5, 3), seed=0)
    other = related(1, 5, 3)
    with pytest.raises(ScreenError, match="trained on bliss_mean"):
        model.fine_tune(first, Training(other.blocks, other.features, None, "hsa_mean"), seed=0)
    bits = np.ones((5, 7), np.uint8)
    table = CompoundTable(other.features.compounds.ids, bits, np.ones(5, bool))
    wrong = Features(table, other.features.cell_lines)
    with pytest.raises(ScreenError, match="40 in the screen"):
        model.fine_tune(first, Training(other.blocks, wrong), seed=0)
