"""PDBAL against quadrature, the formula over every triple, and plates chosen exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from models.acquisition import pdbal as module
from models.acquisition.draws import AcquisitionError
from models.acquisition.pdbal import (
    PER_WELL,
    GeneralPlateScorer,
    PlateScorer,
    log_overlap,
    pdbal,
)
from models.acquisition.world_distances import hit_set_distance, score_distance
from models.bayes.predictive import Noise

N, M = 6, 10
RANDOM = np.random.default_rng(0)
DRAWS = 2 * RANDOM.normal(size=(N, M))
VARIANCE = RANDOM.uniform(0.5, 3, M)
PLATES = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5, 6, 7]), np.array([8, 8])]


def direct(draws: np.ndarray, variance: np.ndarray, plate: Sequence[int]) -> float:
    """log s(P), one triple after the other."""
    distance = score_distance(draws)
    terms = []
    for i, j, k in itertools.permutations(range(len(draws)), 3):
        total = math.log(distance[i, j])
        for well in plate:
            (a, b, c), (u, v, w) = draws[[i, j, k], well], variance[[i, j, k], well]
            area = u * v + v * w + u * w
            total -= math.log(2 * math.pi) + 0.5 * math.log(area)
            total -= (w * (a - b) ** 2 + v * (a - c) ** 2 + u * (b - c) ** 2) / (2 * area)
            total += math.log(2 * math.pi * math.e * u)
        terms.append(total)
    return float(np.logaddexp.reduce(terms) - math.log(len(terms)))


@pytest.mark.parametrize("variance", [(1.0, 1.0, 1.0), (0.01, 0.02, 0.5), (3.0, 10.0, 0.2)])
def test_the_overlap_is_the_integral(variance: tuple[float, float, float]) -> None:
    mean, sd = (0.3, -0.2, 0.5), np.sqrt(variance)
    exact, _ = quad(lambda y: float(np.prod(norm.pdf(y, mean, sd))), -4, 4, points=mean, limit=200)
    of = [tuple(np.array([x]) for x in three) for three in (mean, variance)]
    assert float(log_overlap(*of)[0]) == pytest.approx(math.log(exact), abs=1e-8)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0, 1e3])
def test_scores_are_those_of_the_direct_formula(scale: float) -> None:
    scorer = PlateScorer(scale * DRAWS, VARIANCE, score_distance(scale * DRAWS))
    everywhere = np.broadcast_to(VARIANCE, (N, M))
    exact = [direct(scale * DRAWS, everywhere, plate) for plate in PLATES]
    assert scorer.score(PLATES) == pytest.approx(exact, rel=1e-12, abs=1e-9)


def test_each_world_may_have_its_own_variances() -> None:
    variance = np.random.default_rng(1).uniform(0.2, 4, (N, M))
    scorer = GeneralPlateScorer(DRAWS, variance, score_distance(DRAWS))
    exact = [direct(DRAWS, variance, plate) for plate in PLATES]
    assert scorer.score(PLATES) == pytest.approx(exact, abs=1e-9)
    scorer.add(PLATES[2])
    joined = direct(DRAWS, variance, [*PLATES[2], *PLATES[0]])
    assert scorer.score(PLATES[:1]) == pytest.approx(joined, abs=1e-9)


def test_adding_plates_is_joining_them() -> None:
    scorer = PlateScorer(DRAWS, VARIANCE, score_distance(DRAWS))
    everywhere = np.broadcast_to(VARIANCE, (N, M))
    added: list[int] = []
    for plate in PLATES:
        joined = [direct(DRAWS, everywhere, [*added, *other]) for other in PLATES]
        assert scorer.score(PLATES) == pytest.approx(joined, abs=1e-9)
        assert scorer.current == pytest.approx(direct(DRAWS, everywhere, added), abs=1e-9)
        scorer.add(plate)
        added += plate.tolist()


def test_a_plate_that_tells_nothing_and_one_that_tells_all() -> None:
    draws = np.column_stack([np.zeros(N), 1e3 * np.arange(N)])
    distance = hit_set_distance(DRAWS, 0.0)
    scorer = PlateScorer(draws, np.ones(2), distance)
    blank, clear = scorer.score([np.array([0]), np.array([1])])
    assert blank == pytest.approx(scorer.current + PER_WELL)
    assert clear < blank - 1e5


def test_threads_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plates = np.random.default_rng(2).integers(M, size=(40, 3))
    scorer = PlateScorer(DRAWS, VARIANCE, score_distance(DRAWS))
    whole = scorer.score(plates)
    monkeypatch.setattr(module, "ELEMENTS", 7 * N**2)
    assert np.array_equal(scorer.score(plates), scorer.score(plates, threads=3))
    assert scorer.score(plates) == pytest.approx(whole, abs=1e-12)


def test_points_are_plates_of_one_well() -> None:
    noise = Noise(np.sqrt(VARIANCE), 5.0)
    distance = score_distance(DRAWS)
    values = pdbal(DRAWS, noise, distance)
    scorer = PlateScorer(DRAWS, noise.sd() ** 2, distance)
    gain = scorer.current - scorer.score([np.array([j]) for j in range(M)]) + PER_WELL
    assert values == pytest.approx(gain, abs=1e-12)
    assert np.all(values > 0)
    louder = pdbal(DRAWS, Noise(3 * np.sqrt(VARIANCE), 5.0), distance)
    assert np.all(louder < values)
    assert pdbal(DRAWS, noise, np.zeros((N, N))).tolist() == [0.0] * M


def test_what_decides_the_distance_is_worth_measuring() -> None:
    """Two wells of equal spread; only the first tells which worlds are apart."""
    draws = np.array([[0, 0], [0, 3], [0, 0], [3, 3], [3, 0], [3, 3.0]])
    side = draws[:, 0] > 1
    distance = (side[:, None] != side).astype(float)
    first, second = pdbal(draws, Noise(np.ones(2)), distance)
    assert first > second + 0.5


def test_nonsense_is_refused() -> None:
    distance = score_distance(DRAWS)
    with pytest.raises(AcquisitionError, match="positive"):
        PlateScorer(DRAWS, 0 * VARIANCE, distance)
    with pytest.raises(AcquisitionError, match="no two worlds"):
        PlateScorer(DRAWS, VARIANCE, 0 * distance)
    with pytest.raises(AcquisitionError, match="need 3"):
        PlateScorer(DRAWS[:2], VARIANCE, distance[:2, :2])
    scorer = PlateScorer(DRAWS, VARIANCE, distance)
    for wrong in (-1, M):
        with pytest.raises(AcquisitionError, match="none of the 10"):
            scorer.score([np.array([0, wrong])])
    with pytest.raises(AcquisitionError, match="positive"):
        GeneralPlateScorer(DRAWS, -np.ones((N, M)), distance)
    with pytest.raises(AcquisitionError, match="no two worlds"):
        GeneralPlateScorer(DRAWS, np.ones((N, M)), 0 * distance)
