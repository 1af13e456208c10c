"""``bnn_gaussian``: symmetry, whole functions, determinism, honesty, files."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from models.bayes.predictive import Noise, coverage, pearson
from models.bayes.training import NonFiniteLossError
from models.screen import Candidates, CellLineTable, CompoundTable, ScreenError, Stopped
from models.synergy.baselines import predict_additive
from models.synergy.bnn import BnnGaussian, BnnPosterior
from models.synergy.evidence import measure_evidence
from models.synergy.inputs import Features, InputTables, ScoredBlocks, Training, reduced
from models.synergy.network import PRIOR, Effects, Network, Sizes
from models.synergy.registry import find_model, load, save
from models.synergy.training import Schedule, negative_elbo
from models.synergy.worlds import Worlds

N, LINES = 14, 5
SHORT = Schedule(40, 40)


@cache
def features() -> Features:
    """Compound 13 has no structure; line 4 has no features."""
    rng = np.random.default_rng(0)
    bits = (rng.random((N, 64)) < 0.3).astype(np.uint8)
    bits[-1] = 0
    known = np.arange(N) < N - 1
    lines, has = rng.normal(size=(LINES, 30)), np.arange(LINES) < LINES - 1
    lines[-1] = 0
    return Features(
        CompoundTable(tuple(f"c{i}" for i in range(N)), bits, known),
        CellLineTable(tuple(f"l{i}" for i in range(LINES)), lines, has),
        rng.normal(size=(N, LINES, 3)),
    )


def everything() -> Candidates:
    first, second = np.triu_indices(N, k=1)
    return Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(np.arange(LINES), len(first))
    )


@cache
def screen_blocks(seed: int = 1, noise: float = 2.0) -> ScoredBlocks:
    """Additive effects, a product of hidden factors, curve x curve, noise; all blocks."""
    rng, at = np.random.default_rng(seed), everything()
    a, b = at.compounds.T
    main, factor, line = rng.normal(size=N), rng.normal(size=(N, 2)), rng.normal(size=LINES)
    curves = features().curves
    assert curves is not None
    truth = 3 * (main[a] + main[b]) + 3 * line[at.cell_line] + 4 * (factor[a] * factor[b]).sum(1)
    truth += 3 * curves[a, at.cell_line, 0] * curves[b, at.cell_line, 0]
    score = truth + rng.normal(size=len(at)) * noise
    return ScoredBlocks(at, score, np.full(len(at), noise))


def some(n: int, seed: int = 0) -> tuple[ScoredBlocks, ScoredBlocks]:
    order = np.random.default_rng(seed).permutation(len(screen_blocks()))
    return screen_blocks().select(order[:n]), screen_blocks().select(order[n:])


@cache
def fitted() -> BnnPosterior:
    return BnnGaussian().fit(Training(some(200)[0], features()), seed=3)


def test_swapping_compounds_gives_the_same_bits() -> None:
    at = everything()
    swapped = Candidates.of(at.compounds[:, 1], at.compounds[:, 0], at.cell_line)
    assert torch.equal(fitted().draws(at, 5, 1), fitted().draws(swapped, 5, 1))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_the_network_is_symmetric_for_any_weights(seed: int) -> None:
    """Swapping the two columns of indices, which :class:`Candidates` would put in order again."""
    network = Network(Sizes(N, LINES, 3, 2, 1, 2, 1), torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    tables = InputTables(
        torch.randn(N, 3, generator=generator),
        torch.randn(LINES, 2, generator=generator),
        torch.randn(N * LINES, 1, generator=generator),
    )
    effects = Effects(np.array([0, 7]), np.array([1]))
    worlds = Worlds(network.requires_grad_(False), tables, effects, 3, seed)
    at = everything()
    swapped = everything()
    object.__setattr__(swapped, "compounds", at.compounds[:, ::-1].copy())
    assert torch.equal(worlds(at), worlds(swapped))


def test_draws_are_whole_functions() -> None:
    at = everything()
    whole = fitted().draws(at, 6, 9)
    order = np.random.default_rng(0).permutation(len(at))
    shuffled = fitted().draws(at.select(order), 6, 9)
    assert torch.allclose(whole[:, order], shuffled, atol=1e-4)
    parts = [fitted().draws(at.select(np.arange(k, k + 35)), 6, 9) for k in range(0, 455, 35)]
    assert torch.allclose(whole, torch.cat(parts, dim=1), atol=1e-4)
    assert not torch.allclose(whole, fitted().draws(at, 6, 10))
    assert whole.dtype == torch.float32


def test_many_draws_come_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    at = everything().select(np.random.default_rng(1).permutation(len(everything())))
    whole = fitted().draws(at, 6, 9)
    monkeypatch.setattr("models.synergy.bnn.ELEMENTS_PER_BLOCK", 6 * 50)
    assert torch.allclose(whole, fitted().draws(at, 6, 9), atol=1e-4)
    assert fitted().draws(Candidates.empty(), 6, 9).shape == (6, 0)


def test_same_seed_same_bits_and_row_order_is_irrelevant() -> None:
    train, test = some(80)
    model = BnnGaussian()
    first = model.fit(Training(train, features()), seed=1, schedule=SHORT)
    order = np.random.default_rng(5).permutation(len(train))
    second = model.fit(Training(train.select(order), features()), seed=1, schedule=SHORT)
    other = model.fit(Training(train, features()), seed=2, schedule=SHORT)
    at = test.candidates
    assert torch.equal(first.draws(at, 4, 0), second.draws(at, 4, 0))
    assert not torch.equal(first.draws(at, 4, 0), other.draws(at, 4, 0))


def test_files_rebuild_the_same_draws_to_the_bit(tmp_path: Path) -> None:
    tensors, metadata = save(fitted())
    save_file(tensors, tmp_path / "posterior.safetensors")
    again = load(load_file(tmp_path / "posterior.safetensors"), json.loads(json.dumps(metadata)))
    at = everything()
    assert torch.equal(fitted().draws(at, 7, 2), again.draws(at, 7, 2))
    assert torch.equal(fitted().noise_sd(at), again.noise_sd(at))
    with pytest.raises(ScreenError, match="version 99"):
        BnnGaussian().load(tensors, {**metadata, "version": 99})
    with pytest.raises(ScreenError, match="unknown model"):
        load(tensors, {"model": "other"})


def test_combinations_never_measured_follow_the_prior() -> None:
    """Compound 12 and 13 and line 4 without any data: their own effects are prior draws."""
    train = some(300)[0]
    keep = train.candidates.compounds.max(1) < 12
    posterior = BnnGaussian().fit(Training(train.select(keep), features()), seed=0, schedule=SHORT)
    table = posterior.network.compound.table
    assert torch.all(table.mean[12:] == 0)
    assert torch.allclose(table.log_sd[12:].exp(), table.prior_sd)
    posterior.draws(everything(), 400, 4)
    worlds = posterior._worlds
    assert worlds is not None
    unseen = np.array([12 * N + 13])
    effect = worlds._lookup("effect_pair", 2, worlds.pairs, torch.as_tensor(unseen))
    assert float(effect.std()) == pytest.approx(PRIOR["effect_pair"], rel=0.15)
    assert float(effect.mean()) == pytest.approx(0.0, abs=0.06)


@pytest.mark.slow
def test_uncertainty_is_larger_where_nothing_was_measured() -> None:
    train = some(300)[0]
    seen = train.candidates.compounds.max(1) < 11
    posterior = BnnGaussian().fit(Training(train.select(seen), features()), seed=0)
    at = everything()
    spread = posterior.draws(at, 128, 0).std(0).numpy()
    new = at.compounds.min(1) >= 11
    known = at.compounds.max(1) < 11
    assert spread[new].mean() > 1.2 * spread[known].mean()


def test_elbo_does_not_depend_on_the_minibatch() -> None:
    likelihood, kl = torch.randn(60, generator=torch.Generator().manual_seed(0)), torch.tensor(7.0)
    whole = negative_elbo(likelihood, kl, 60)
    for size in (10, 20, 30):
        batches = [negative_elbo(part, kl, 60) for part in likelihood.split(size)]
        assert torch.stack(batches).mean().item() == pytest.approx(whole.item(), abs=1e-6)
    assert whole.item() == pytest.approx((-likelihood.sum() + kl).item() / 60, abs=1e-6)


def test_it_beats_the_additive_baseline_and_is_calibrated() -> None:
    test = some(200)[1]
    draws = fitted().draws(test.candidates, 128, 0).numpy().astype(np.float64)
    additive = predict_additive(some(200)[0], test.candidates, N, LINES)
    ours, theirs = pearson(draws.mean(0), test.score), pearson(additive.mean, test.score)
    assert ours is not None
    assert theirs is not None
    assert ours > theirs + 0.03
    noise = Noise(fitted().noise_scale(test.candidates).numpy(), fitted().noise_df)
    assert 0.80 < coverage(draws, test.score, noise)[0.9] < 0.98


def test_stop_and_progress() -> None:
    calls: list[tuple[str, int, int]] = []

    def stop() -> bool:
        return len(calls) >= 3

    def note(stage: str, done: int, total: int) -> None:
        calls.append((stage, done, total))

    with pytest.raises(Stopped):
        BnnGaussian().fit(
            Training(some(60)[0], features()), seed=0, on_progress=note, should_stop=stop
        )
    assert calls[0][0] == "training"
    assert len(calls) == 3


def test_broken_input_is_refused() -> None:
    train = some(30)[0]
    nan = train.score.copy()
    nan[0] = np.nan
    with pytest.raises(ScreenError, match="finite"):
        replace(train, score=nan)
    with pytest.raises(ScreenError, match="at least 5"):
        BnnGaussian().fit(Training(train.select(np.arange(4)), features()), seed=0)
    outside = Candidates.of(np.array([0]), np.array([N]), np.array([0]))
    with pytest.raises(ScreenError, match="outside"):
        fitted().draws(outside, 3, 0)


def test_a_loss_that_explodes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.synergy.training.LEARNING_RATE", float("inf"))
    with pytest.raises(NonFiniteLossError, match="at step"):
        BnnGaussian().fit(Training(some(60)[0], features()), seed=0, schedule=SHORT)


def test_it_works_without_any_features() -> None:
    whole = features()
    bare = Features(
        CompoundTable(whole.compounds.ids, np.zeros((N, 0), np.uint8), np.zeros(N, bool)),
        CellLineTable(whole.cell_lines.ids, np.zeros((LINES, 0)), np.zeros(LINES, bool)),
    )
    posterior = BnnGaussian().fit(Training(some(60)[0], bare), seed=0, schedule=SHORT)
    assert torch.isfinite(posterior.draws(everything(), 3, 0)).all()


def test_reduction_loses_nothing_with_enough_directions() -> None:
    table = np.random.default_rng(0).normal(size=(6, 40))
    known = np.array([True] * 5 + [False])
    small = reduced(table, known, 10)
    assert small.shape == (6, 4)
    assert np.all(small[5] == 0)
    centred = table[:5] - table[:5].mean(0)
    gram, ours = centred @ centred.T, small[:5] @ small[:5].T
    assert np.allclose(ours * (np.trace(gram) / np.trace(ours)), gram)
    assert np.square(small[:5]).sum(1).mean() == pytest.approx(1.0)


def test_evidence_is_json_and_does_not_depend_on_row_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = some(120)[0]
    order = np.random.default_rng(2).permutation(len(train))
    monkeypatch.setattr(Schedule, "for_rows", classmethod(lambda cls, n: SHORT))
    monkeypatch.setattr("models.synergy.training.MIN_STEPS", 20)
    model = find_model("bnn_gaussian")
    first = measure_evidence(model, Training(train, features()), seed=4).report
    second = measure_evidence(model, Training(train.select(order), features()), seed=4).report
    assert json.loads(json.dumps(first)) == first
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert first["n_held_out"] == 24
    assert set(first["baselines"]) == {"mean", "additive"}


def test_few_blocks_still_give_evidence() -> None:
    report = measure_evidence(
        find_model("bnn_gaussian"), Training(some(6)[0], features()), seed=0, draws=8
    ).report
    assert report["n_held_out"] == 1
    assert report["model"]["pearson"] is None
