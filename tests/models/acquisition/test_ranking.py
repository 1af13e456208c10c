"""The ranked list carries the batch, its plates and the reason why it is short."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.acquisition.conflicts import InfeasibleBatch
from models.acquisition.lab_rules import LabRules
from models.acquisition.ranking import RankedCandidates
from models.acquisition.rules import RoundRules
from models.evaluation.replay import PastCampaign
from models.pharmacology.simulate import simulate_screen
from models.rounds import Pool, run_round

RULES = RoundRules(acquisition="random", batch_size=20, ranked=60)
LAB = LabRules(plates=3, blocks_per_plate=8, compounds_per_plate=5, lines_per_plate=1)


@cache
def campaign() -> PastCampaign:
    return PastCampaign.of_simulation(simulate_screen(12, 4, 3, 0.05, 1), "bliss_mean", 1, 2)


def ranked(rules: RoundRules, pins: tuple[int, ...] = ()) -> RankedCandidates:
    candidates = campaign().candidates
    pinned, excluded = np.zeros((2, len(candidates)), dtype=bool)
    pinned[list(pins)] = True
    pool = Pool(candidates, pinned, excluded)
    screen = campaign().reveal(np.arange(10, 20))
    return run_round(screen, pool, rules, 3).ranked


def test_without_a_laboratory_there_are_no_plates() -> None:
    found = ranked(RULES)
    assert len(found.batch) == 20
    assert np.all(found.plate == -1)
    assert found.shortfall == ""
    assert found.solution is None


def test_plates_come_first_and_obey_the_laboratory() -> None:
    found = ranked(replace(RULES, lab=LAB), pins=(100,))
    k = int(found.in_batch.sum())
    assert k == 24
    assert found.batch_position[:k].tolist() == list(range(k))
    assert np.all(found.plate[k:] == -1)
    assert np.all(np.diff(found.plate[:k]) >= 0)
    at = campaign().candidates.select(found.batch)
    for plate in range(3):
        on = found.plate[:k] == plate
        assert on.sum() == 8
        assert len(np.unique(at.compounds[on])) <= 5
        assert len(np.unique(at.cell_line[on])) == 1
    assert 100 in found.batch
    assert not np.isin(found.batch, np.arange(10, 20)).any()
    assert found.solution is not None
    assert found.solution.bound >= found.solution.value > 0


def test_a_short_batch_says_why() -> None:
    capped = ranked(replace(RULES, max_per_compound=1))
    assert capped.in_batch.sum() == 6
    assert capped.shortfall.startswith("6 of 20 candidates: ")
    on_plates = ranked(replace(RULES, lab=LAB, max_per_compound=1))
    assert on_plates.shortfall.startswith(f"{on_plates.in_batch.sum()} of 24 blocks: ")


def test_the_batch_size_of_the_round_counts_where_plates_do_not_say() -> None:
    lab = LabRules(blocks_per_plate=8, lines_per_plate=1)
    found = ranked(replace(RULES, lab=lab))
    assert found.in_batch.sum() == 20
    assert found.plate.max() == 2
    stock = ranked(replace(RULES, lab=LabRules(stock={0: 0, 1: 1})))
    used = campaign().candidates.compounds[stock.batch]
    assert (used == 0).sum() == 0
    assert (used == 1).sum() <= 1
    assert np.all(stock.plate == -1)


def test_an_impossible_request_names_the_conflict() -> None:
    with pytest.raises(InfeasibleBatch, match="no more than 1 plate"):
        ranked(replace(RULES, lab=replace(LAB, plates=1)), pins=(0, 100, 200))
