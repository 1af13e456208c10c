"""What is asked of a replay: amounts, thresholds, names; and when a stored round still counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation import replay_study
from models.evaluation.code_digest import closure
from models.evaluation.past_campaign import FolderSource, PastCampaign, SimulationSource
from models.evaluation.peer_rules import PEERS, find_peer
from models.evaluation.replay import FORECASTS, Choice
from models.evaluation.replay_study import (
    JUDGED_BY,
    PLAYED_BY,
    USED_BY_ALL,
    Amount,
    ReplayStudy,
    StoredRounds,
    Threshold,
    choose_strategies,
    folder_sources,
    on_plates,
    round_code,
)
from models.evaluation.running import model_modules
from models.evaluation.strategies import RANDOM, Strategy
from models.screen import ScreenError
from models.synergy import registry


def study(**given: object) -> ReplayStudy:
    return ReplayStudy(
        **{
            "sources": (SimulationSource(6, 2, "bliss_mean", doses=2),),
            "strategies": (RANDOM,),
            "batch": Amount(count=4),
            "initial": Amount(share=0.2),
            "rounds": 3,
            "seeds": 2,
            **given,
        }
    )


def test_amounts_are_blocks_or_shares() -> None:
    assert Amount.read("190").of(19_057) == 190
    assert Amount.read(" 1% ").of(19_057) == 191
    assert Amount.read("0.01").of(19_057) == 191
    assert Amount.read("0.001").of(10) == 1
    for text in ("0", "-3", "1.0", "0%", "150%", "many", "1,000"):
        with pytest.raises(ScreenError):
            Amount.read(text)


def test_a_hit_is_a_score_or_a_share() -> None:
    observed = np.arange(100.0)
    assert Threshold.read("10").of(observed) == 10.0
    assert Threshold.read("-2.5").of(observed) == -2.5
    for text in ("5%", "top 5 %", "top5%"):
        assert (observed > Threshold.read(text).of(observed)).sum() == 5
    for text in ("best", "0%", "100%", "nan"):
        with pytest.raises(ScreenError):
            Threshold.read(text)


def test_strategies_are_chosen_by_name() -> None:
    def names(*asked: str | None) -> list[str]:
        return [one.name for one in choose_strategies(*asked, 1.0)]

    assert names(None, None, None) == ["auto+hit_probability"]
    assert names(None, None, "random, recover") == ["random", "recover"]
    assert names("gp_pairs", None, "random") == ["gp_pairs+hit_probability", "random"]
    assert names("a,b", "ucb,random", "random") == ["a+ucb", "b+ucb", "random"]
    assert choose_strategies("a", "ucb", None, 2.0)[0].extra == {"kappa": 2.0}
    assert choose_strategies("a", "ucb", None, 1.0)[0].extra == {}
    both = on_plates((RANDOM,), "free,24x12x1")
    assert [one.name for one in both] == ["random", "random on 24x12x1"]
    assert on_plates((RANDOM,), None) == (RANDOM,)


def test_lines_are_counted_or_named() -> None:
    known, path = ("B", "A", "C"), Path("x")
    whole = folder_sources(path, "bliss_mean", None, ())
    assert whole == (FolderSource("x", "bliss_mean"),)
    assert [one.line for one in folder_sources(path, "s", "2", known)] == ["A", "B"]
    assert [one.line for one in folder_sources(path, "s", "all", known)] == ["B", "A", "C"]
    assert [one.line for one in folder_sources(path, "s", "C, A", known)] == ["C", "A"]
    for text in ("4", "0", "A,D"):
        with pytest.raises(ScreenError, match="cell line"):
            folder_sources(path, "s", text, known)


def test_a_study_is_checked_before_anything_is_fitted() -> None:
    tasks = study(strategies=(RANDOM, PEERS["recover"])).tasks()
    assert [(task.strategy.name, task.seed) for task in tasks] == [
        ("random", 0),
        ("recover", 0),
        ("random", 1),
        ("recover", 1),
    ]
    assert [task.source.seed for task in tasks] == [0, 0, 1, 1]
    with pytest.raises(ScreenError, match="strategy odd: unknown model 'oracle'"):
        study(strategies=(Strategy("odd", "oracle", "ucb"),))
    with pytest.raises(ScreenError, match="twice"):
        study(strategies=(RANDOM, RANDOM))
    with pytest.raises(ScreenError, match="unknown score"):
        study(score="loewe")
    with pytest.raises(ScreenError, match="at least one round"):
        study(rounds=0)
    with pytest.raises(ScreenError, match="a screen and a strategy"):
        study(strategies=())


def choice() -> Choice:
    rows = np.array([3, 1])
    return Choice(rows, {name: np.ones(2) for name in FORECASTS}, None, "", {}, {}, {})


def stored(folder: Path, campaign: PastCampaign, **given: object) -> StoredRounds:
    task = study(**given).tasks()[0]
    return StoredRounds(folder, task, campaign, task.rules(campaign), "cpu")


def test_a_round_counts_only_where_nothing_has_changed(tmp_path: Path) -> None:
    campaign = SimulationSource(6, 2, "bliss_mean", doses=2).load()
    before = np.array([5, 2, 9])
    stored(tmp_path, campaign).keep(1, before, choice())

    def known(measured: np.ndarray = before, number: int = 1, **given: object) -> bool:
        return stored(tmp_path, campaign, **given).recall(number, measured) is not None

    assert known()
    assert known(rounds=50, seeds=9)
    assert not known(number=2)
    assert not known(measured=before[::-1])
    assert not known(batch=Amount(count=5))
    assert not known(threshold=Threshold(score=11.0))
    for strategy in ("ucb", "greedy"):
        assert not known(strategies=(Strategy("random", "gp_pairs", strategy),))
    scheduled = (Strategy("auto", "gp_pairs", "auto"),)
    stored(tmp_path, campaign, strategies=scheduled).keep(1, before, choice())
    assert known(strategies=scheduled)
    # A schedule plans with the rounds, so another number of them is another campaign.
    assert not known(strategies=scheduled, rounds=50)
    other = replace(campaign, truth=campaign.truth + 1)
    assert stored(tmp_path, other).recall(1, before) is None


def test_a_random_round_does_not_depend_on_any_model(tmp_path: Path) -> None:
    campaign = SimulationSource(6, 2, "bliss_mean", doses=2).load()
    for model in ("gp_pairs", "bnn_gaussian"):
        memory = stored(tmp_path, campaign, strategies=(Strategy("x", model, "random"),))
        memory.keep(1, np.array([1]), choice())
    assert len(list(tmp_path.iterdir())) == 1


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    campaign = SimulationSource(6, 2, "bliss_mean", doses=2).load()
    memory = stored(tmp_path, campaign)
    memory.keep(1, np.array([1]), choice())
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("random-s0-1-")
    path.write_text("{")
    with pytest.raises(ScreenError, match="delete it"):
        memory.recall(1, np.array([1]))


def test_the_code_of_a_round_is_all_that_it_runs_but_other_models() -> None:
    digests = {round_code(model) for model in (None, "gp_pairs", "bnn_gaussian", "auto")}
    assert len(digests) == 4
    seen = closure((*USED_BY_ALL, "models.synergy.gaussian_process.process"))
    assert "models.synergy.bnn" not in seen
    assert "models.synergy.response.logit_tensor" not in seen
    # What rounds import of models/synergy directly has to be listed, or belong to models alone.
    shared = {n for n in closure(PLAYED_BY) if not n.startswith("models.synergy.")}
    direct = {
        name
        for module in shared
        for name in replay_study.closure((module,))
        if name.startswith("models.synergy.") and f"{name}" in _imports(module)
    }
    of_peers = {name for name in direct if name.startswith(OF_PEERS)}
    known = {*closure(USED_BY_ALL), *JUDGED_BY, "models.synergy.registry", *BESIDES}
    assert direct - of_peers <= known
    # Rounds of these peers count the code of their model, whoever fits it.
    tensor, network = (find_peer(name).registered for name in ("batchie", "recover"))
    assert tensor is not None
    assert network is not None
    owned = closure(
        part for name in (tensor, network) for part in model_modules(registry.find_model(name))
    )
    assert of_peers <= owned


OF_PEERS = ("models.synergy.response", "models.synergy.score_networks")
BESIDES = {"models.synergy.baselines", "models.synergy.controls"}
"""Used by reports and by studies of models, not by a round."""


def _imports(module: str) -> set[str]:
    from models.evaluation.code_digest import _imports as imports

    return set(imports(module))


def test_a_peer_that_plans_is_kept_for_its_number_of_rounds(tmp_path: Path) -> None:
    """When BATCHIE stops exploring depends on the rounds; the one-hot networks are in no
    registry, and their rounds are kept all the same."""
    peers = (PEERS["batchie"], PEERS["one_hot_greedy"])
    specs = {}
    for rounds in (3, 6):
        asked = study(strategies=peers, rounds=rounds)
        for task in asked.tasks()[:2]:
            campaign = task.source.load()
            rules = task.rules(campaign)
            store = StoredRounds(tmp_path, task, campaign, rules, "cpu")
            specs[task.strategy.name, rounds] = store._spec(1, np.arange(4))
    assert specs["batchie", 3] != specs["batchie", 6]
    assert specs["one_hot_greedy", 3] == specs["one_hot_greedy", 6]
    assert specs["one_hot_greedy", 3]["fits"] == "one_hot"
