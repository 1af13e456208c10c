"""Replayed campaigns: arms start alike, choose as the service does, and go on where they were."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from models.evaluation.past_campaign import PastCampaign
from models.evaluation.peer_plates import lay_out
from models.evaluation.peer_rules import PEERS
from models.evaluation.replay import FORECASTS, Choice, forecast_history, play_round, replay
from models.evaluation.strategies import PlateShape, Strategy
from models.pharmacology.simulate import simulate_screen
from models.rounds import Pool, RoundRules, run_round
from models.screen import IntArray, ScreenError, Stopped
from models.synergy import registry
from models.synergy.response import logit_tensor
from tests.models.synergy.ridge import Ridge


@cache
def small() -> PastCampaign:
    return PastCampaign.of_simulation(simulate_screen(12, 4, 3, 0.05, 3), "bliss_mean", 1, 3)


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Ridge]:
    known = {"ridge": Ridge()}
    real = {name: registry.MODELS[name] for name in ("gp_pairs", "bnn_gaussian")}
    monkeypatch.setattr(registry, "MODELS", known | real)
    return known


def rules(**given: object) -> RoundRules:
    return RoundRules(**{"model": "ridge", "batch_size": 20, "draws": 32, "ranked": 20, **given})


class Kept(dict[int, Choice]):
    """A memory in memory."""

    def recall(self, number: int, measured: IntArray) -> Choice | None:
        return self.get(number)

    def keep(self, number: int, measured: IntArray, choice: Choice) -> None:
        self[number] = Choice.of_json(json.loads(json.dumps(choice.to_json())))


def test_random_arm_measures_each_block_once_and_ends_with_the_pool() -> None:
    campaign, random = small(), rules(acquisition="random", batch_size=100)
    records = replay(campaign, random, rounds=5, initial=30, seed=1)
    chosen = np.concatenate([record.chosen for record in records])
    assert [record.measured for record in records] == [30, 130, 230, 264]
    assert len(set(chosen.tolist())) == 264
    assert records[-1].top_found == 1.0
    other = replay(campaign, rules(), rounds=0, initial=30, seed=1)
    assert np.array_equal(other[0].chosen, records[0].chosen)
    with pytest.raises(ScreenError, match="start from 0"):
        replay(campaign, random, rounds=1, initial=0, seed=1)


def test_a_batch_is_the_one_that_the_service_chooses() -> None:
    campaign, measured = small(), np.arange(0, 264, 4)
    rest = np.setdiff1d(np.arange(264), measured)
    for acquisition in ("hit_probability", "ucb", "thompson"):
        asked = rules(acquisition=acquisition)
        choice = play_round(campaign, asked, measured, 7)
        pool = Pool.of(campaign.candidates.select(rest))
        served = run_round(campaign.reveal(measured), pool, asked, 7)
        assert np.array_equal(choice.chosen, rest[served.ranked.batch])
        assert set(choice.wall) == set(served.timings)
        probability = served.ranked.hit_probability[:20]
        assert np.array_equal(choice.forecast["hit_probability"], probability)
        # A strategy without ways of its own changes nothing.
        same = play_round(campaign, asked, measured, 7, strategy=Strategy("x", "ridge", "ucb"))
        assert np.array_equal(same.chosen, choice.chosen)


def test_forecasts_are_of_what_was_then_measured() -> None:
    campaign, measured = small(), np.arange(0, 264, 4)
    choice = play_round(campaign, rules(), measured, 7)
    assert set(choice.forecast) == set(FORECASTS)
    observed = campaign.observed[choice.chosen]
    z = (observed - choice.forecast["mean"]) / choice.forecast["sd"]
    position = choice.forecast["position"]
    assert np.all((position > 0.5) == (z > 0) | (np.abs(z) < 0.2))
    # Ridge is Gaussian in draws and noise: the mixture over 32 draws is nearly one.
    density = -0.5 * z**2 - np.log(choice.forecast["sd"] * np.sqrt(2 * np.pi))
    near = np.abs(z) < 1.5
    assert np.abs(choice.forecast["log_density"] - density)[near].max() < 0.25
    assert min(choice.cpu.values()) >= 0
    assert choice.model == "ridge"


def test_without_a_model_the_forecast_is_the_guess_for_all() -> None:
    choice = play_round(small(), rules(acquisition="random"), np.arange(60), 7)
    assert choice.model is None
    assert np.ptp(choice.forecast["mean"]) == 0
    assert "random" in choice.reason


def test_a_replay_goes_on_where_it_was(models: dict[str, Ridge]) -> None:
    campaign, memory = small(), Kept()
    whole = replay(campaign, rules(), rounds=4, initial=40, seed=2)
    fits = len(models["ridge"].fits)
    replay(campaign, rules(), rounds=2, initial=40, seed=2, memory=memory)
    halfway = len(models["ridge"].fits)
    rest = replay(campaign, rules(), rounds=4, initial=40, seed=2, memory=memory)
    assert len(models["ridge"].fits) - halfway == fits // 2
    assert [r.reused for r in rest] == [False, True, True, False, False]
    for one, other in zip(whole, rest, strict=True):
        assert np.array_equal(one.chosen, other.chosen)
    assert rest[1].seconds == 0
    assert rest[3].seconds > 0


def test_a_stopped_round_is_not_kept() -> None:
    memory, asked = Kept(), iter([False] * 8 + [True] * 100)
    with pytest.raises(Stopped):
        replay(
            small(),
            rules(),
            rounds=50,
            initial=40,
            seed=2,
            memory=memory,
            should_stop=lambda: next(asked),
        )
    assert 1 <= len(memory) < 50


def test_a_choice_survives_json() -> None:
    choice = play_round(small(), rules(), np.arange(60), 7)
    back = Choice.of_json(json.loads(json.dumps(choice.to_json(), allow_nan=False)))
    assert np.array_equal(back.chosen, choice.chosen)
    for name in FORECASTS:
        assert np.array_equal(back.forecast[name], choice.forecast[name])
    assert back.to_json() == choice.to_json()


def test_the_peer_of_two_halves_takes_the_best_and_the_least_known() -> None:
    campaign, measured = small(), np.arange(0, 264, 4)
    peers = PEERS["one_hot_halves"], PEERS["one_hot_greedy"]
    chosen = []
    for peer, size in zip(peers, (10, 5), strict=True):
        asked = peer.rules(score="bliss_mean", hit_threshold=10.0, batch_size=size)
        choice = play_round(campaign, asked, measured, 7, strategy=peer)
        assert len(choice.chosen) == size
        assert not np.isin(choice.chosen, measured).any()
        assert choice.model == "one_hot_networks"
        assert choice.wall["fit"] > 0
        chosen.append(set(choice.chosen.tolist()))
    assert chosen[1] < chosen[0]


def test_a_peer_with_too_few_blocks_says_so() -> None:
    peer = PEERS["one_hot_greedy"]
    asked = peer.rules(score="bliss_mean", hit_threshold=10.0, batch_size=3)
    choice = play_round(small(), asked, np.arange(4), 7, strategy=peer)
    assert choice.model is None
    assert "a model needs" in choice.reason


def test_batchie_measures_whole_plates_and_then_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plates of 24 in one line by PDBAL, the last in part; single blocks in the last round."""
    for name in ("BURN_IN", "KEPT"):
        monkeypatch.setattr(logit_tensor, name, 20)
    campaign, peer = small(), PEERS["batchie"]
    asked = peer.rules(score="bliss_mean", hit_threshold=10.0, batch_size=30)
    records = replay(campaign, asked, rounds=3, initial=24, seed=2, strategy=peer)
    layout = lay_out(campaign.candidates, np.setdiff1d(np.arange(264), records[0].chosen), 24, 2)
    plates = [set(plate.tolist()) for plate in layout.plates]
    for record in records[1:3]:
        chosen = set(record.chosen.tolist())
        shares = sorted(len(chosen & plate) for plate in plates)[-2:]
        assert shares == [6, 24]
        assert len(set(campaign.candidates.cell_line[record.chosen])) <= 2
    last = records[3]
    assert len(last.chosen) == 30
    assert last.choice is not None
    assert last.choice.model == "logit_tensor"
    assert max(len(set(last.chosen.tolist()) & plate) for plate in plates) < 24
    means = last.choice.forecast["mean"]
    assert np.all(np.diff(means) <= 1e-6), "the highest means first"


def test_whole_plates_obey_their_shape() -> None:
    campaign, measured = small(), np.arange(0, 264, 4)
    strategy = Strategy("x", "ridge", "hit_probability")
    asked = {"score": "bliss_mean", "hit_threshold": 10.0, "batch_size": 12}
    choice = play_round(
        campaign, strategy.on_plates(PlateShape(6, 6, 1)).rules(**asked), measured, 7
    )
    at = campaign.candidates.select(choice.chosen)
    assert len(at) == 12
    assert not np.isin(choice.chosen, measured).any()
    lines, count = np.unique(at.cell_line, return_counts=True)
    assert len(lines) <= 2
    assert set(count) <= {6, 12}
    assert all(
        len(np.unique(at.compounds[at.cell_line == line])) <= 6 * (n // 6)
        for line, n in zip(lines, count, strict=True)
    )
    free = play_round(campaign, strategy.rules(**asked), measured, 7)
    assert choice.forecast["hit_probability"].sum() <= free.forecast["hit_probability"].sum() + 1e-9


def test_each_round_learns_from_what_the_others_had_promised() -> None:
    campaign, memory = small(), Kept()
    records = replay(campaign, rules(), rounds=3, initial=40, seed=2, memory=memory)
    history = forecast_history(campaign, records[:3], 10.0)
    assert len(forecast_history(campaign, records[:1], 10.0)) == 0
    assert history.rounds_ago is not None
    assert history.rounds_ago.tolist() == [1] * 20 + [0] * 20
    chosen = np.concatenate([record.chosen for record in records[1:3]])
    assert np.array_equal(history.hit, campaign.observed[chosen] > 10.0)
    raw = [memory[number].forecast["raw_hit_probability"] for number in (1, 2)]
    assert np.array_equal(history.chance, np.concatenate(raw))
    measured = np.concatenate([record.chosen for record in records[:3]])
    alone = play_round(campaign, rules(), measured, 2 + 3000, round_number=3, history=history)
    assert records[3].choice is not None
    assert alone.forecast["hit_probability"] == pytest.approx(
        records[3].choice.forecast["hit_probability"], abs=0
    )
    without = play_round(campaign, rules(), measured, 2 + 3000)
    assert np.array_equal(without.chosen, alone.chosen)
    assert not np.allclose(
        without.forecast["hit_probability"], alone.forecast["hit_probability"], atol=1e-4
    )


def test_the_schedule_is_a_strategy_and_plans_with_the_rounds() -> None:
    strategy = Strategy("scheduled", "ridge", "auto")
    asked = strategy.rules(score="bliss_mean", hit_threshold=10.0, batch_size=20)
    records = replay(small(), asked, rounds=3, initial=60, seed=2, strategy=strategy)
    steps = [record.choice.step for record in records[1:] if record.choice is not None]
    assert "of 3" in steps[0]["reason"]
    assert steps[-1]["phase"] == "find"
    assert {step["phase"] for step in steps[:2]} <= {"both", "explore"}


@pytest.mark.slow
def test_active_learning_hits_more_often_than_chance() -> None:
    campaign = PastCampaign.of_simulation(simulate_screen(20, 6, 3, 0.05, 4), "bliss_mean", 1, 4)
    threshold = float(np.quantile(campaign.observed, 0.95))
    asked = rules(model="gp_pairs", batch_size=30, hit_threshold=threshold, draws=128)
    records = replay(campaign, asked, rounds=3, initial=60, seed=0)
    assert np.mean([record.hit_rate for record in records[1:]]) > 3 * 0.05
