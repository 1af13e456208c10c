"""A pool valued for a front: against everything at once, in any blocks, given what is waiting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from models.acquisition import front_values
from models.acquisition.front_values import (
    FrontValues,
    front_improvement,
    measured_front,
    value_front,
)
from models.acquisition.lab_rules import LabRules
from models.acquisition.pareto_batch import front_batch
from models.acquisition.rules import FRONT_PROBABILITY, HYPERVOLUME, RoundRules
from models.objectives.measured import MeasuredObjective
from models.objectives.objective import Efficacy, Pareto, Score
from models.objectives.pareto import front_probability, hypervolume, mean_front
from models.objectives.posterior import FrontPosterior
from models.pharmacology.random_numbers import combine, normals
from models.screen import BoolArray, Candidates, FloatArray, ScreenError, Stopped

AT = Candidates.of(*(column.ravel() for column in np.meshgrid([0, 1, 2, 3], [4, 5, 6], [0, 1])))
M, N, BATCH = len(AT), 32, 6
ALL, NONE = np.ones(M, bool), np.zeros(M, bool)


@dataclass(frozen=True)
class Front:
    """Two objectives with means of their own; see ``FrontPosterior``."""

    reference: tuple[float, ...] = (0.0, 0.0)

    def each(self, candidates: Candidates, n: int, seed: int) -> FloatArray:
        key = combine(candidates.keys(10))
        drawn = np.moveaxis(normals(seed, key, n, 2), -1, 0)
        mean = normals(77, key, 1, 2)[0].T
        return 10.0 + 8.0 * mean[:, None, :] + 3.0 * drawn


RULES = RoundRules(
    objective=Pareto((Score(), Efficacy()), (0.0, 0.0)),
    acquisition=HYPERVOLUME,
    batch_size=BATCH,
    draws=N,
)
DRAWS = Front().each(AT, N, 5)
MEASURED = MeasuredObjective(
    np.arange(3), np.arange(3), np.array([[15.0, 8.0], [9.0, 14.0], [2.0, 2.0]]),
    np.ones((3, 2)), 3, (0.0, 0.0),
)  # fmt: skip


def value(
    usable: BoolArray = ALL,
    waiting: BoolArray = NONE,
    acquisition: str = HYPERVOLUME,
    measured: MeasuredObjective = MEASURED,
    rules: RoundRules = RULES,
    **more: Any,
) -> FrontValues:
    posterior = cast(FrontPosterior, Front())
    return value_front(posterior, AT, usable, waiting, measured, rules, acquisition, 5, **more)


def whole(**more: Any) -> Any:
    return front_batch(DRAWS, BATCH, np.zeros(2), measured=MEASURED.each, **more)


def test_a_list_is_grown_greedily() -> None:
    found, wanted = value(), whole()
    order = np.argsort(-found.values, kind="stable")[:BATCH]
    assert np.array_equal(order, wanted.rows)
    assert found.values[order] == pytest.approx(wanted.gain)
    assert found.first_gain == pytest.approx(wanted.first_gain)
    assert np.all(np.delete(found.values, order) <= 0)


def test_what_a_candidate_adds_alone_by_hand() -> None:
    found, known = value(), MEASURED.each
    before = hypervolume(known, np.zeros(2))
    for row in (0, 7, M - 1):
        after = [hypervolume(np.vstack([known, DRAWS[:, i, row]]), np.zeros(2)) for i in range(N)]
        assert found.first_gain[row] == pytest.approx(np.mean(after) - before)


def test_plates_are_filled_by_what_each_adds_alone() -> None:
    lab = LabRules(plates=2, blocks_per_plate=3, compounds_per_plate=4)
    found = value(rules=replace(RULES, lab=lab))
    assert np.array_equal(found.values, found.first_gain)


@pytest.mark.parametrize("elements", [1, 5 * N, 1 << 19])
def test_fronts_of_any_blocks_are_those_of_the_whole(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_values, "ELEMENTS_PER_BLOCK", elements)
    found = value(acquisition=FRONT_PROBABILITY)
    known = np.broadcast_to(MEASURED.each.T[:, None, :], (2, N, 3))
    wanted = front_probability(np.concatenate([DRAWS, known], axis=2))[:M]
    assert np.array_equal(found.front_probability, wanted)
    assert np.array_equal(found.values, wanted)
    assert np.array_equal(found.on_mean_front, mean_front(DRAWS))
    assert 0 < found.on_mean_front.sum() < M


def test_what_is_in_the_lab_is_conditioned_on() -> None:
    waiting = NONE.copy()
    waiting[whole().rows[:2]] = True
    found = value(ALL & ~waiting, waiting)
    wanted = whole(pending=np.flatnonzero(waiting))
    order = np.argsort(-found.values, kind="stable")[:BATCH]
    assert np.array_equal(order, wanted.rows)
    free = ~waiting
    assert found.first_gain[free] == pytest.approx(wanted.first_gain[free])
    assert found.front_probability == pytest.approx(wanted.front_probability)


def test_what_may_not_compete_is_on_no_front() -> None:
    best = int(whole().rows[0])
    usable = ALL.copy()
    usable[best] = False
    found = value(usable)
    assert found.front_probability[best] == 0.0
    assert not found.on_mean_front[best]
    assert int(np.argmax(found.values)) != best


def test_swapped_compounds_change_nothing() -> None:
    turned = Candidates.of(AT.compounds[:, 1], AT.compounds[:, 0], AT.cell_line)
    assert np.array_equal(turned.compounds, AT.compounds)
    back = np.arange(M)[::-1]
    found = value_front(
        cast(FrontPosterior, Front()), AT.select(back), ALL, NONE, MEASURED, RULES, HYPERVOLUME, 5
    )
    assert found.values == pytest.approx(value().values[back])


def test_improvement_over_the_measured_front() -> None:
    chance, size = front_improvement(DRAWS, MEASURED)
    assert size == pytest.approx(value().first_gain)
    front = measured_front(MEASURED)
    assert front.tolist() == [[9.0, 14.0], [15.0, 8.0]]
    below = (DRAWS[:, :, :, None] <= front.T[:, None, None, :]).all(axis=0).any(axis=-1)
    outside = below | (DRAWS <= 0).any(axis=0)
    assert chance == pytest.approx((~outside).mean(axis=0))


def test_nothing_measured_and_refusals() -> None:
    empty = MeasuredObjective(
        np.arange(0), np.arange(0), np.empty((0, 2)), np.empty((0, 2)), 4, (0.0, 0.0)
    )
    found = value(measured=empty)
    assert found.first_gain[3] == pytest.approx(DRAWS[:, :, 3].clip(0).prod(axis=0).mean())
    with pytest.raises(ScreenError, match="not the same"):
        value(measured=replace(MEASURED, each=np.ones((3, 3))))
    with pytest.raises(ScreenError, match="reference"):
        front_improvement(DRAWS, replace(MEASURED, reference=None))
    with pytest.raises(Stopped):
        value(should_stop=lambda: True)
