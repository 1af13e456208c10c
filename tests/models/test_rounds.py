"""One round from a simulated screen: the whole, its stages, its rules, its first round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
import torch

from models.acquisition.hit_calibration import HitCalibration
from models.evaluation.replay import PastCampaign
from models.pharmacology.simulate import simulate_screen
from models.rounds import (
    ForecastHistory,
    Pool,
    RoundResult,
    RoundRules,
    fit,
    load_fitted,
    prepare,
    run_round,
    save_fitted,
    score_pool,
    select,
)
from models.screen import Candidates, NothingLeft, Screen, ScreenError, Stopped
from models.synergy.training import Schedule


@pytest.fixture(scope="module", autouse=True)
def _short_training() -> Iterator[None]:
    """What a round does with a posterior is tested here, not how good the posterior is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.synergy.training.MIN_STEPS", 20)
        patch.setattr(Schedule, "for_rows", classmethod(lambda cls, n: cls(40, 40)))
        yield


RULES = RoundRules(batch_size=12, ranked=40, draws=64, max_per_compound=6)


@cache
def campaign() -> PastCampaign:
    return PastCampaign.of_simulation(simulate_screen(12, 4, 3, 0.05, 1), "bliss_mean", 1, 2)


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(len(campaign().candidates))[:n]


@cache
def screen(n: int = 100) -> Screen:
    return campaign().reveal(rows(n))


@cache
def result() -> RoundResult:
    return run_round(screen(), Pool.of(campaign().candidates), RULES, 5)


def test_evidence_chooses_the_model_and_the_reason_is_kept() -> None:
    rules = replace(RULES, model="auto")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.synergy.gaussian_process.process.STEPS", 3)
        fitted = fit(screen(), prepare(screen(), rules), rules, 5)
    choice = fitted.evidence["choice"]
    assert fitted.posterior is not None
    assert fitted.posterior.model == choice["chosen"]
    assert set(choice["considered"]) == set(choice["stacking"]) == {"gp_pairs", "bnn_gaussian"}
    assert fitted.reason.endswith(choice["reason"])
    assert choice["chosen"] in fitted.reason
    assert json.loads(json.dumps(fitted.evidence)) == fitted.evidence
    assert sum(choice["stacking"].values()) == pytest.approx(1.0)


def test_a_model_that_cannot_be_fitted_leaves_the_round_to_the_other() -> None:
    rules = replace(RULES, model="auto")

    def refuse(*args: object, **options: object) -> None:
        raise ScreenError("the covariance is none")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.synergy.gaussian_process.process.GpPairs.fit", refuse)
        fitted = fit(screen(), prepare(screen(), rules), rules, 5)
        assert fitted.posterior is not None
        assert fitted.posterior.model == "bnn_gaussian"
        assert fitted.evidence["choice"]["failed"] == {"gp_pairs": "the covariance is none"}
        assert "gp_pairs could not be fitted: the covariance is none." in fitted.reason
        patch.setattr("models.synergy.bnn.BnnGaussian.fit", refuse)
        with pytest.raises(ScreenError, match="the covariance is none"):
            fit(screen(), prepare(screen(), rules), rules, 5)


def test_a_model_that_was_named_is_not_compared() -> None:
    assert result().evidence["choice"] is None
    assert result().posterior is not None
    assert result().posterior.model == "bnn_gaussian"


def test_a_round_ranks_and_chooses() -> None:
    ranked = result().ranked
    assert len(ranked.pool_index) == 40
    assert len(set(ranked.pool_index.tolist())) == 40
    assert ranked.batch_position[:12].tolist() == list(range(12))
    assert ranked.in_batch.sum() == 12
    assert np.all(ranked.batch_position[12:] == -1)
    assert np.all((ranked.q05 < ranked.q50) & (ranked.q50 < ranked.q95))
    assert np.allclose(ranked.sd**2, ranked.epistemic_sd**2 + ranked.observation_sd**2)
    assert np.all((ranked.hit_probability >= 0) & (ranked.hit_probability <= 1))
    used = np.bincount(campaign().candidates.compounds[ranked.batch].ravel())
    assert used.max() <= 6
    assert not np.isin(ranked.pool_index, rows(100)).any()


def test_reasons_are_sentences_with_names() -> None:
    names = {i: f"Drug {i}" for i in screen().compounds.ids}
    named = run_round(screen(), Pool.of(campaign().candidates), RULES, 5, names=names)
    assert all("chance of a hit" in text for text in named.ranked.reason)
    near = named.ranked.nearest >= 0
    assert near.any()
    assert all("Drug " in t for t, n in zip(named.ranked.reason, near, strict=True) if n)


def test_evidence_is_json_beside_its_baselines() -> None:
    evidence = result().evidence
    assert json.loads(json.dumps(evidence)) == evidence
    assert evidence["n_train"] + evidence["n_held_out"] == 100
    assert set(evidence["model"]["coverage"]) == {"50", "80", "90", "95"}
    assert set(evidence["baselines"]) == {"mean", "additive"}
    assert set(evidence["seconds"]) == {"evidence", "posterior", "health"}
    assert evidence["health"]["memorisation"]["n"] == 100
    assert evidence["health"]["memorisation"]["probe"] is None
    assert evidence["floor"]["n"] == evidence["n_held_out"] == 20
    assert evidence["floor"]["n_hits"] == sum(evidence["hit_forecast"]["hit"])
    assert set(evidence["floor"]["log_loss"]) == {"model", "scorecard", "base_rate"}
    assert set(result().timings) == {"prepare", "fit", "score_pool", "select"}


def test_stages_with_files_between_give_the_same_batch() -> None:
    pool = Pool.of(campaign().candidates)
    prepared = prepare(screen(), RULES)
    tensors, metadata = save_fitted(fit(screen(), prepared, RULES, 5))
    again = load_fitted(tensors, json.loads(json.dumps(metadata)))
    scores = score_pool(screen(), prepared, again, pool, RULES, 5)
    ranked = select(screen(), prepared, again, pool, scores, RULES, 5)
    assert ranked.reason == result().ranked.reason
    for name in ("pool_index", "mean", "q95", "acquisition"):
        assert np.array_equal(getattr(ranked, name), getattr(result().ranked, name))
    assert again.posterior is not None
    assert result().posterior is not None
    at = campaign().candidates
    ours = again.posterior.draws(at, 3, 1)
    assert torch.equal(ours, result().posterior.draws(at, 3, 1))


def test_pinned_go_first_and_excluded_never() -> None:
    pool = Pool.of(campaign().candidates)
    free = np.setdiff1d(np.arange(len(pool.candidates)), rows(100))
    pinned, excluded = pool.pinned.copy(), pool.excluded.copy()
    pinned[free[-2:]] = True
    pinned[rows(1)] = True
    excluded[result().ranked.batch[:3]] = True
    changed = replace(pool, pinned=pinned, excluded=excluded)
    ranked = run_round(screen(), changed, RULES, 5).ranked
    assert set(ranked.batch[:2].tolist()) == set(free[-2:].tolist())
    assert ranked.reason[0].startswith("Pinned. ")
    assert not np.isin(ranked.pool_index, result().ranked.batch[:3]).any()
    with pytest.raises(ScreenError, match="both pinned and excluded"):
        replace(pool, pinned=excluded, excluded=excluded)


@pytest.mark.parametrize("acquisition", ["greedy", "ucb", "thompson"])
def test_every_acquisition_makes_a_batch(acquisition: str) -> None:
    rules = replace(RULES, acquisition=acquisition)
    prepared = prepare(screen(), rules)
    again = load_fitted(*save_fitted_result())
    pool = Pool.of(campaign().candidates)
    scores = score_pool(screen(), prepared, again, pool, rules, 5)
    ranked = select(screen(), prepared, again, pool, scores, rules, 5)
    assert len(ranked.batch) == 12
    assert np.all(np.isfinite(scores.acquisition))


@cache
def save_fitted_result() -> tuple:
    return save_fitted(fit(screen(), prepare(screen(), RULES), RULES, 5))


def test_random_and_first_rounds_say_that_they_have_no_model() -> None:
    pool = Pool.of(campaign().candidates)
    random = run_round(screen(), pool, replace(RULES, acquisition="random"), 5)
    assert random.posterior is None
    assert "random" in random.reason
    assert len(random.ranked.batch) == 12
    first = run_round(campaign().reveal(rows(3)), pool, RULES, 5)
    assert first.posterior is None
    assert first.reason.startswith("Only 3 usable measured blocks")
    assert first.evidence["reason"] == first.reason
    assert np.all(first.ranked.epistemic_sd == 10.0)
    assert first.ranked.reason[0].startswith("Chosen to spread")
    used = np.bincount(campaign().candidates.compounds[first.ranked.batch].ravel(), minlength=12)
    assert used.min() >= 1
    restored = load_fitted(*save_fitted(fit(screen(3), prepare(screen(3), RULES), RULES, 0)))
    assert restored.posterior is None


def test_pools_that_do_not_fit_are_refused() -> None:
    def attempt(candidates: Candidates) -> None:
        run_round(screen(), Pool.of(candidates), RULES, 0)

    zero = np.array([0, 0])
    with pytest.raises(ScreenError, match="empty"):
        attempt(Candidates.empty())
    with pytest.raises(ScreenError, match="compound"):
        attempt(Candidates.of(zero[:1], np.array([99]), zero[:1]))
    with pytest.raises(ScreenError, match="cell line"):
        attempt(Candidates.of(zero[:1], np.array([1]), np.array([50])))
    with pytest.raises(ScreenError, match="twice"):
        attempt(Candidates.of(zero, np.array([1, 1]), zero))


@pytest.mark.parametrize("acquisition", ["random", "hit_probability"])
def test_a_pool_with_nothing_left_says_so(acquisition: str) -> None:
    pool = Pool.of(campaign().candidates)
    rest = np.ones(len(pool.candidates), dtype=bool)
    rest[rows(100)] = False
    with pytest.raises(NothingLeft, match="measured, in the lab or banned"):
        run_round(
            screen(), replace(pool, excluded=rest), replace(RULES, acquisition=acquisition), 5
        )


def test_stop_is_obeyed() -> None:
    with pytest.raises(Stopped):
        run_round(screen(), Pool.of(campaign().candidates), RULES, 0, should_stop=lambda: True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": "nonsense"},
        {"model": "nonsense"},
        {"acquisition": "nonsense"},
        {"batch_size": 0},
        {"max_per_compound": 0},
        {"hit_threshold": float("nan")},
        {"kappa": -1.0},
        {"draws": 1},
        {"ranked": 0},
    ],
)
def test_rules_are_validated(wrong: dict) -> None:
    with pytest.raises(ScreenError):
        RoundRules(**{**asdict(RULES), **wrong})


def test_a_round_says_what_it_did_and_what_may_be_hoped_for() -> None:
    found = result()
    assert found.step["phase"] == "fixed"
    assert found.calibration is not None
    assert found.calibration["n_blocks"] == found.evidence["n_held_out"]
    assert found.outlook is not None
    assert found.outlook["usable"] == len(campaign().candidates) - 100
    assert found.outlook["found"] == int((found.blocks.score > RULES.hit_threshold).sum())
    said = [found.step, found.calibration, found.outlook]
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    law = HitCalibration.from_dict(found.calibration)
    mended = law.apply(found.raw_hit_probability)
    assert np.array_equal(found.ranked.hit_probability, mended)


def test_earlier_promises_lower_the_chances_and_move_nothing_else() -> None:
    again, pool = load_fitted(*save_fitted_result()), Pool.of(campaign().candidates)
    prepared = prepare(screen(), RULES)
    history = ForecastHistory(np.full(60, 0.6), np.arange(60) < 6)
    first, later = (
        score_pool(screen(), prepared, again, pool, RULES, 5, round_number=n, history=h)
        for n, h in ((1, None), (4, history))
    )
    assert np.array_equal(first.raw_hit_probability, later.raw_hit_probability)
    assert later.hit_probability.sum() < first.hit_probability.sum()
    batches = [
        select(screen(), prepared, again, pool, scores, RULES, 5).batch for scores in (first, later)
    ]
    assert np.array_equal(*batches)


def test_the_schedule_decides_by_round_and_by_evidence() -> None:
    rules = replace(RULES, acquisition="auto", rounds_planned=4)
    again, pool = load_fitted(*save_fitted_result()), Pool.of(campaign().candidates)
    prepared, model = prepare(screen(), rules), {"spearman": 0.9, "elpd": 0.0}
    trusted = replace(again, evidence={**again.evidence, "model": model})
    steps = [
        score_pool(screen(), prepared, trusted, pool, rules, 5, round_number=n).step for n in (1, 4)
    ]
    assert [step["phase"] for step in steps] == ["both", "find"]
    doubted = replace(again, evidence={**again.evidence, "model": {**model, "spearman": 0.0}})
    scores = score_pool(screen(), prepared, doubted, pool, rules, 5, round_number=2)
    assert scores.step["phase"] == "explore"
    assert len(select(screen(), prepared, doubted, pool, scores, rules, 5).batch) == 12
    few = run_round(campaign().reveal(rows(3)), pool, rules, 5)
    assert few.step["acquisition"] == "space_filling"
    assert few.step["reason"] == few.reason
    assert few.calibration is few.outlook is None
