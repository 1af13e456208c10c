"""Counts, separations and duplicates by hand; the probe on models that do and do not memorise."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from models.bayes.memorisation import (
    ACTIVE,
    FEWEST_PROBED,
    PROBE_ROWS,
    describe_memory,
    duplicates,
    groups_of,
    light,
    probe,
    r_squared,
    separation,
)
from models.screen import FloatArray, IntArray, ScreenError


def test_separation_of_a_line_of_points() -> None:
    x = np.array([[0.0, 0.0], [1.0, 0.0], [1.25, 0.0], [3.75, 0.0], [3.75, 0.0]])
    found = separation(x)
    assert (found.n, found.dimensions, found.distinct) == (5, 2, 4)
    radius = 2.25  # of the ball around the mean 1.5 of the distinct points
    assert found.least == pytest.approx(0.25 / radius)
    assert found.median == pytest.approx((0.25 + 1.0) / 2 / radius)
    assert found.bits == pytest.approx(math.log2(radius / 0.25))


def test_separation_does_not_depend_on_place_or_unit() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    first, second = separation(x), separation(1000 * x - 7)
    assert first.least == pytest.approx(second.least)
    assert first.median == pytest.approx(second.median)


def test_separation_is_none_where_all_are_the_same() -> None:
    found = separation(np.ones((4, 2)))
    assert (found.distinct, found.least, found.bits) == (1, None, None)


def test_duplicates_and_their_noise_floor() -> None:
    x = np.array([[1.0], [1.0], [1.0], [2.0], [2.0], [3.0], [-0.0], [0.0]])
    y = np.array([1.0, 2.0, 3.0, 5.0, 5.0, 9.0, 0.0, 4.0])
    found = duplicates(groups_of(x), y)
    assert (found.groups, found.points, found.conflicting) == (3, 7, 2)
    # Sums of squares 2, 0 and 8 over 2 + 1 + 1 degrees of freedom.
    assert found.variance == pytest.approx(10 / 4)


def test_the_floor_is_the_noise_variance_in_the_long_run() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(3000), 2)
    y = rng.normal(size=3000)[group] + 0.7 * rng.normal(size=(6000))
    found = duplicates(group, np.stack([y, y], axis=1))
    assert found.variance == pytest.approx(0.49, rel=4 * math.sqrt(2 / 3000))


def test_no_duplicates_no_floor() -> None:
    assert duplicates(np.arange(5), np.arange(5.0)).variance is None


def test_the_light_changes_at_the_counts() -> None:
    n, d = 1024, 10
    assert light(n, d, d + 2 * n + 1) == "red"
    assert light(n, d, d + 2 * n) == "amber"
    assert light(n, d, 102) == "amber"
    assert light(n, d, 101) == "green"
    assert light(n, d, None) == "unknown"


def _nearest(x: FloatArray, y: FloatArray) -> FloatArray:
    """A model that memorises: the label of the nearest point, itself."""
    return y.copy()


def _line(x: FloatArray, y: FloatArray) -> FloatArray:
    design = np.c_[np.ones(len(x)), x]
    return np.asarray(design @ np.linalg.lstsq(design, y, rcond=None)[0])


@pytest.mark.parametrize(("model", "active"), [(_nearest, True), (_line, False)])
def test_the_probe_tells_a_table_from_a_line(model: object, active: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = x @ np.array([3.0, -2.0, 1.0, 0.5]) + 0.1 * rng.normal(size=300)

    def refit(rows: IntArray, labels_of: IntArray) -> FloatArray:
        assert sorted(rows) == sorted(labels_of)
        return np.asarray(model(x[rows], y[labels_of]))  # type: ignore[operator]

    found = probe(y, refit, seed=0)
    assert found is not None
    assert found.active is active
    if not active:  # d / (n - 1) on average, Beta distributed
        assert found.permuted < 0.08


def test_the_probe_is_bounded_and_leaves_few_points_alone() -> None:
    seen = []

    def refit(rows: IntArray, labels_of: IntArray) -> FloatArray:
        seen.append(len(rows))
        return np.zeros(len(rows))

    y = np.random.default_rng(0).normal(size=5000)
    assert probe(y, refit, seed=0) is not None
    assert probe(y[: FEWEST_PROBED - 1], refit, seed=0) is None
    assert probe(np.ones(100), refit, seed=0) is None
    assert seen == [PROBE_ROWS]


def test_r_squared() -> None:
    y = np.array([0.0, 1.0, 2.0, 3.0])
    assert r_squared(y, y) == 1.0
    assert r_squared(y, np.full(4, 1.5)) == 0.0
    assert r_squared(y, -y) < 0
    both = np.stack([y, 10 + y], axis=1)
    assert r_squared(both, np.broadcast_to(both.mean(axis=0), (4, 2))) == pytest.approx(0.0)
    with pytest.raises(ScreenError, match="nothing to explain"):
        r_squared(np.ones(3), np.ones(3))


def test_the_report_is_json_and_says_what_it_found() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(50, 2)), 2, axis=0)
    y = np.random.default_rng(1).normal(size=100)
    probed = probe(y, lambda rows, labels: 0.9 * y[labels], seed=0)
    report = describe_memory(x, y, 1000, probed=probed, counted="weights")
    assert json.loads(json.dumps(report)) == report
    assert report["light"] == "red"
    assert report["parameters_per_point"] == 10.0
    assert report["duplicates"]["conflicting"] == 50
    assert report["active"]
    assert report["probe"]["permuted_r_squared"] > ACTIVE
    assert "memorisation is active" in report["words"]
    quiet = describe_memory(x, y, None, why_not_probed="No probe: too few.")
    assert (quiet["probe"], quiet["active"], quiet["light"]) == (None, None, "unknown")
    assert quiet["words"].endswith("No probe: too few.")
