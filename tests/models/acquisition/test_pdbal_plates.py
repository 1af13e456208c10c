"""Plates one by one: the short list against the exact score of every plate."""

from __future__ import annotations

import numpy as np
import pytest

from models.acquisition.draws import AcquisitionError
from models.acquisition.pdbal import PlateScorer
from models.acquisition.pdbal_plates import choose_plates_by_pdbal
from models.acquisition.world_distances import hit_set_distance
from models.screen import Stopped

WORLDS, WELLS = 40, 6


def scorer_of(plates: int, noise: float, seed: int = 0) -> tuple[PlateScorer, np.ndarray]:
    """Low-rank worlds, as a posterior gives them; plates that differ in how much they vary."""
    random = np.random.default_rng(seed)
    loading = random.normal(size=(5, plates * WELLS))
    loading *= np.exp(0.4 * random.normal(size=plates)).repeat(WELLS)
    draws = random.normal(size=(WORLDS, 5)) @ loading
    variance = np.full(plates * WELLS, noise**2)
    scorer = PlateScorer(draws, variance, hit_set_distance(draws, 3.0))
    return scorer, np.arange(plates * WELLS).reshape(plates, WELLS)


def exact_greedy(scorer: PlateScorer, plates: np.ndarray, size: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(size):
        score = scorer.score(plates)
        score[chosen] = np.inf
        chosen.append(int(np.argmin(score)))
        scorer.add(plates[chosen[-1]])
    return chosen


@pytest.mark.parametrize("noise", [0.5, 3.0, 10.0])
def test_a_short_list_finds_what_the_whole_list_finds(noise: float) -> None:
    """Mildly to strongly informative plates, 20 of 200 on the short list."""
    scorer, plates = scorer_of(200, noise)
    choice = choose_plates_by_pdbal(scorer, plates, 6, shortlist=20)
    again, _ = scorer_of(200, noise)
    assert choice.plates.tolist() == exact_greedy(again, plates, 6)
    assert choice.log_score[-1] == pytest.approx(scorer.current, abs=1e-9)


def test_seed_and_threads() -> None:
    chosen = [
        choose_plates_by_pdbal(*scorer_of(60, 2.0), 5, shortlist=8, seed=3, threads=threads)
        for threads in (1, 2, 1)
    ]
    for other in chosen[1:]:
        assert np.array_equal(chosen[0].plates, other.plates)
        assert np.array_equal(chosen[0].log_score, other.log_score)


def test_rules_may_end_the_choice() -> None:
    """Plates of one line in three only, each line once."""
    scorer, plates = scorer_of(30, 2.0)
    line = np.arange(30) % 3

    def feasible(chosen: list[int]) -> np.ndarray:
        return ~np.isin(line, line[chosen])

    choice = choose_plates_by_pdbal(scorer, plates, 9, feasible=feasible)
    assert sorted(line[choice.plates].tolist()) == [0, 1, 2]


def test_what_was_added_before_counts() -> None:
    """A pending plate makes another one like it less useful."""
    random = np.random.default_rng(1)
    draws = random.normal(size=(WORLDS, 2)) @ np.repeat(np.eye(2), WELLS, axis=1)
    plates = np.arange(2 * WELLS).reshape(2, WELLS)
    distance = hit_set_distance(draws, 0.5)
    for pending in (0, 1):
        scorer = PlateScorer(draws, np.ones(2 * WELLS), distance)
        scorer.add(plates[pending])
        assert choose_plates_by_pdbal(scorer, plates, 1).plates.tolist() == [1 - pending]


def test_stop_and_nonsense() -> None:
    with pytest.raises(Stopped):
        choose_plates_by_pdbal(*scorer_of(5, 1.0), 2, should_stop=lambda: True)
    for size, shortlist in ((0, 5), (1, 0)):
        with pytest.raises(AcquisitionError, match="at least one plate"):
            choose_plates_by_pdbal(*scorer_of(5, 1.0), size, shortlist=shortlist)
