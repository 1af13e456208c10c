"""A pool valued as a set: what is in the lab counts, twins are not chosen twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.acquisition.joint import JOINT
from models.acquisition.joint_pool import joint_values
from models.acquisition.pool import PoolRequest, PoolScores, summarise_pool
from models.acquisition.rules import Pool, RoundRules
from models.screen import Candidates, FloatArray, ScreenError
from models.synergy.training import Schedule

AT = Candidates.of(np.zeros(4, np.int64), np.arange(1, 5), np.zeros(4, np.int64))
TWIN_A, TWIN_B, OTHER, POOR = range(4)


class Worlds:
    """Candidates 0 and 1 are the same in every world, 2 goes its own way, 3 is low."""

    model, noise_df, schedule = "fake", np.inf, Schedule(1, 1)

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        odd, later = torch.arange(n) % 2, torch.arange(n) // 2 % 2
        table = torch.stack([20.0 * odd, 20.0 * odd, 16.0 * later, -5.0 + 0 * odd], dim=1)
        return table[:, torch.as_tensor(candidates.compounds[:, 1] - 1)].float()

    def noise_scale(self, candidates: Candidates) -> Tensor:
        return torch.full((len(candidates),), 2.0)

    def noise_sd(self, candidates: Candidates) -> Tensor:
        return self.noise_scale(candidates)

    def diagnostics(self) -> dict[str, Any]:
        return {}


def plain() -> PoolScores:
    request = PoolRequest("hit_probability", 10.0, 1.0, 32, 0, 4)
    return summarise_pool(Worlds(), AT, np.ones(4, bool), request)


def values(name: str, waiting: list[int], usable: list[int] | None = None) -> FloatArray:
    marked, free = np.zeros(4, bool), np.zeros(4, bool)
    marked[waiting] = True
    free[range(4) if usable is None else usable] = True
    request = PoolRequest("hit_probability", 10.0, 1.0, 32, 0, 3, incumbent=5.0)
    return joint_values(Worlds(), AT, free, marked, plain(), JOINT[name], request)


@pytest.mark.parametrize("name", JOINT)
def test_the_second_choice_is_not_the_twin_of_the_first(name: str) -> None:
    order = np.argsort(-values(name, []), kind="stable")
    assert set(order[:2].tolist()) == {TWIN_A, OTHER}
    assert order[-1] in (TWIN_B, POOR)


@pytest.mark.parametrize("name", JOINT)
def test_what_is_in_the_lab_makes_its_twin_worthless(name: str) -> None:
    found = values(name, [TWIN_B])
    assert found[OTHER] > found[TWIN_A]
    assert found[TWIN_B] == pytest.approx(plain().hit_probability[TWIN_B] - 1.0)


def test_gains_against_numbers() -> None:
    # Half of the worlds rise from 5 to 20, then half of the others from 5 to 16.
    found = values("joint_expected_best", [])
    assert found[TWIN_A] == pytest.approx(7.5)
    assert found[OTHER] == pytest.approx(2.75)


def test_what_may_not_compete_is_below_all_that_may() -> None:
    found = values("joint_hit_coverage", [], usable=[OTHER, POOR])
    assert found[TWIN_A] < 0 <= min(found[OTHER], found[POOR])


def test_pending_rows_of_a_pool_are_excluded_ones() -> None:
    nothing = np.zeros(4, bool)
    lab = np.array([True, False, False, False])
    assert Pool(AT, nothing, lab, lab).pending is lab
    with pytest.raises(ScreenError, match="must be excluded as well"):
        Pool(AT, nothing, nothing, lab)
    with pytest.raises(ScreenError, match="one entry per candidate"):
        Pool(AT, nothing, lab, lab[:2])


def test_rules_may_name_them() -> None:
    assert RoundRules(acquisition="joint_information").acquisition == "joint_information"
