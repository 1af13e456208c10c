"""Peers' rules: who chooses what, and what their models get to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.acquisition.pool import PoolScores
from models.evaluation.past_campaign import SimulationSource
from models.evaluation.peer_rules import PEERS, blinded, explores, find_peer, halves
from models.evaluation.strategies import RANDOM, PlateShape, Strategy, crossed
from models.rounds import RoundRules, prepare, training_of
from models.screen import ScreenError
from models.synergy.inputs import InputTables
from models.synergy.registry import find_model


def scores(mean: list[float], sd: list[float]) -> PoolScores:
    nothing = np.zeros(len(mean))
    return PoolScores(np.array(mean), np.array(sd), nothing, nothing, nothing)


def test_halves_never_take_a_row_twice() -> None:
    found = scores([9, 8, 7, 1, 0, 0], [0, 5, 0, 1, 9, 2])
    usable = np.array([True, True, True, True, False, True])
    assert halves(found, usable, 4).tolist() == [0, 1, 5, 3]
    assert halves(found, usable, 3).tolist() == [0, 1, 5]
    assert halves(found, usable, 9).tolist() == [0, 1, 2, 3, 5]


def test_blinded_models_see_what_the_peers_see() -> None:
    screen = SimulationSource(8, 2, "bliss_mean", doses=2).load().reveal(np.arange(30))
    prepared = prepare(screen, RoundRules())
    widths = {}
    for inputs in ("all", "structures", "identities"):
        seen, same = blinded(screen, prepared, inputs)
        training = training_of(seen, same, "bliss_mean")
        assert np.array_equal(training.blocks.score, prepared.blocks.score)
        tables = InputTables.of(training.features, torch.device("cpu"))
        widths[inputs] = tuple(
            table.shape[1] for table in (tables.compounds, tables.cell_lines, tables.curves)
        )
        assert (training.features.responses is None) == (inputs != "all")
    assert min(widths["all"]) > 0
    assert widths["structures"] == (*widths["all"][:2], 0)
    assert widths["identities"] == (0, 0, 0)


def test_peers_are_known_by_name() -> None:
    assert set(PEERS) == {"recover", "batchie", "one_hot_halves", "one_hot_greedy", "random"}
    rules = find_peer("recover").rules(score="bliss_max", hit_threshold=20.0, batch_size=30)
    assert (rules.model, rules.acquisition, rules.kappa) == ("bilinear_ensemble", "ucb", 1.0)
    assert (rules.score, rules.batch_size, rules.ranked) == ("bliss_max", 30, 30)
    assert rules.draws == find_model("bilinear_ensemble").form.members  # type: ignore[attr-defined]
    with pytest.raises(ScreenError, match="known are recover, batchie"):
        find_peer("deepsynergy")
    for name in ("batchie", "one_hot_greedy"):
        rules = find_peer(name).rules(score="bliss_mean", hit_threshold=1.0, batch_size=5)
        assert rules.acquisition == "greedy"
    known = {name: strategy.registered for name, strategy in PEERS.items()}
    assert known == {
        "recover": "bilinear_ensemble",
        "batchie": "logit_tensor",
        "one_hot_halves": None,
        "one_hot_greedy": None,
        "random": None,
    }


def test_batchie_explores_two_thirds_of_the_rounds() -> None:
    assert [explores(number, 9) for number in range(1, 10)] == [True] * 6 + [False] * 3
    assert [explores(number, 3) for number in (1, 2, 3)] == [True, True, False]
    assert explores(1, 1)
    assert explores(99, None)
    assert PEERS["batchie"].plans
    assert not PEERS["recover"].plans
    assert Strategy("x", "gp_pairs", "auto").plans


def test_what_does_not_exist_is_named_with_its_strategy() -> None:
    with pytest.raises(ScreenError, match="strategy mine: unknown acquisition 'magic'"):
        Strategy("mine", "gp_pairs", "magic").rules(
            score="bliss_mean", hit_threshold=1.0, batch_size=2
        )
    with pytest.raises(ScreenError, match="strategy mine: no such rule: colour"):
        Strategy("mine", "gp_pairs", "ucb", extra={"colour": 1})
    with pytest.raises(ScreenError, match="unknown inputs"):
        Strategy("mine", "gp_pairs", "ucb", inputs="some")
    with pytest.raises(ScreenError, match="unknown chooser"):
        Strategy("mine", "gp_pairs", "ucb", chooser="dice")
    with pytest.raises(ScreenError, match="unknown way to fit 'magic'"):
        Strategy("mine", "gp_pairs", "ucb", fits="magic")


def test_every_model_meets_every_acquisition() -> None:
    found = crossed(["a", "b"], ["ucb", "random"], {"kappa": 2.0})
    assert [one.name for one in found] == ["a+ucb", "b+ucb", "random"]
    assert found[-1] is RANDOM
    assert found[0].extra == {"kappa": 2.0}
    assert not RANDOM.modelled


def test_plates_are_read_and_checked() -> None:
    shape = PlateShape.read(" 24x12x1")
    assert shape == PlateShape(24, 12, 1)
    assert RANDOM.on_plates(shape).name == "random on 24x12x1"
    rules = RANDOM.on_plates(shape).rules(score="bliss_mean", hit_threshold=1.0, batch_size=50)
    lab = rules.lab_rules()
    assert lab is not None
    assert (lab.batch_size, lab.blocks_per_plate, lab.compounds_per_plate) == (50, 24, 12)
    for text in ("24x12", "axbxc", "24x1x1", "0x12x1"):
        with pytest.raises(ScreenError, match="plate"):
            PlateShape.read(text)
    with pytest.raises(ScreenError, match="does not know plates"):
        PEERS["one_hot_halves"].on_plates(shape)
