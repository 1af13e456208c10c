"""Sums over triples against the loop over every one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from models.acquisition import triples
from models.acquisition.draws import AcquisitionError
from models.acquisition.triples import distinct_triples, log_triples, shift_of


def squared(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.square(points[:, None] - points[None]).sum(-1))


def by_hand(apart: np.ndarray, distance: np.ndarray) -> float:
    terms = [
        math.log(distance[i, j]) - (apart[i, j] + apart[i, k] + apart[j, k]) / 6
        for i, j, k in itertools.permutations(range(len(apart)), 3)
        if distance[i, j] > 0
    ]
    return float(np.logaddexp.reduce(terms))


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 10.0, 60.0, 1e3, 1e5])
@pytest.mark.parametrize("shift", ["wrong", "right"])
def test_sums_are_those_of_every_triple(spread: float, shift: str) -> None:
    """From worlds that agree to worlds far beyond the range of float64."""
    random = np.random.default_rng(1)
    apart = squared(spread * random.normal(size=(8, 3)))
    distance = squared(random.normal(size=(8, 2)))
    guess = float(shift_of(torch.from_numpy(apart)[None])[0]) if shift == "right" else 0.0
    found = log_triples(torch.from_numpy(apart)[None], torch.from_numpy(distance), guess)
    assert float(found[0]) == pytest.approx(by_hand(apart, distance), rel=1e-12, abs=1e-9)


def clusters(gap: float, worlds: int) -> np.ndarray:
    """Two groups of worlds that agree among themselves but for a little."""
    random = np.random.default_rng(2)
    points = random.normal(size=(worlds, 2))
    points[worlds // 2 :] += gap
    return points


@pytest.mark.parametrize("gap", [5.0, 40.0, 60.0, 100.0, 1e4])
@pytest.mark.parametrize("worlds", [3, 4, 7])
def test_only_triples_across_a_gap_count(gap: float, worlds: int) -> None:
    """Near worlds have distance 0: the triples that count are not the closest."""
    apart = squared(clusters(gap, worlds))
    side = np.arange(worlds) >= worlds // 2
    distance = (side[:, None] != side).astype(float)
    found = log_triples(torch.from_numpy(apart)[None], torch.from_numpy(distance), 0.0)
    assert float(found[0]) == pytest.approx(by_hand(apart, distance), rel=1e-12, abs=1e-9)


def test_plates_in_one_call_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    aparts = [squared(s * random.normal(size=(6, 3))) for s in (0.1, 30.0, 1e3, 1.0)]
    distance = squared(random.normal(size=(6, 2)))
    monkeypatch.setattr(triples, "PAIRS_AT_ONCE", 4)
    found = log_triples(torch.from_numpy(np.stack(aparts)), torch.from_numpy(distance), 0.0)
    assert found.numpy() == pytest.approx([by_hand(a, distance) for a in aparts], rel=1e-12)


def test_the_closest_triple_is_about_three_shifts() -> None:
    apart = squared(np.random.default_rng(4).normal(size=(20, 4)))
    closest = min(
        apart[i, j] + apart[i, k] + apart[j, k] for i, j, k in itertools.combinations(range(20), 3)
    )
    shift = float(shift_of(torch.from_numpy(apart)[None])[0])
    assert closest <= 3 * shift * (1 + 1e-12) <= 3 * closest


def test_two_worlds_make_no_triple() -> None:
    assert distinct_triples(3) == 6
    with pytest.raises(AcquisitionError, match="need 3"):
        distinct_triples(2)
