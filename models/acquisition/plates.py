"""The batch as plates: the most value that a laboratory can measure under its rules.

    batch = choose_plates(pool, values, LabRules(plates=8, blocks_per_plate=24,
                          compounds_per_plate=12, lines_per_plate=1), pinned=..., excluded=...)
    batch.rows, batch.plate, batch.gap

Small problems are solved exactly. Others are built greedily, plate by plate, at plain values and at
values less the price of what is scarce; plates are exchanged while that helps, put together anew
by a solver, and solved one by one. A relaxation tells how much better any batch could be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.acquisition.conflicts import InfeasibleBatch, place_pins, require_possible
from models.acquisition.lab_rules import LabRules
from models.acquisition.plate_bounds import Bound, bound_above
from models.acquisition.plate_growth import Grower
from models.acquisition.plate_plans import (
    build,
    exchange,
    fill,
    perfect,
    put_together,
    with_more_compounds,
)
from models.acquisition.plate_problem import (
    Ledger,
    Plan,
    Problem,
    broken_rules,
    distinct_compounds,
    plan_value,
    pose,
)
from models.acquisition.plate_programs import solve_exactly
from models.acquisition.shortfall import why_short
from models.screen import BoolArray, Candidates, FloatArray, IntArray, ScreenError

EFFORTS = ("greedy", "exchange", "solver")
EXACT_SIZE = 240
"""Rows times plates up to which every possibility is searched."""
LARGE_EXACT_SIZE = 6000
"""The same where a rule leaves no other way, and then only with so many nodes."""
FEW_NODES = 200
SECONDS = 120.0
PRICES = (0.5, 1.0)
"""Shares of the relaxation's prices at which plans are built."""
_PROVEN = 1e-6


@dataclass(frozen=True)
class PlateBatch:
    """``rows``: ``(k,)`` of the pool, plate by plate, pinned ones and then the best first.
    ``plate``: ``(k,)`` number of the plate, 0 for the most valuable one; -1 without plates.

    ``value``: sum over the batch of the values, counted from ``floor`` (0, or the lowest usable
    value where that is negative). ``bound``: no batch under the rules is worth more. ``proven``:
    the two meet. ``method``: how it was found. ``shortfall``: why the batch holds fewer blocks
    than asked for; empty where it does not.
    """

    rows: IntArray
    plate: IntArray
    value: float
    bound: float
    floor: float
    proven: bool
    method: str
    shortfall: str

    @property
    def gap(self) -> float:
        """Share of the bound that is not reached, at most."""
        return (self.bound - self.value) / self.bound if self.bound > 0 else 0.0


def choose_plates(
    candidates: Candidates,
    values: FloatArray,
    rules: LabRules,
    *,
    pinned: BoolArray,
    excluded: BoolArray,
    effort: str = "solver",
    time_limit_s: float = SECONDS,
) -> PlateBatch:
    """The batch of most summed value under the rules, with every pinned row.

    Nothing is random: same input, same batch. Searches end after a number of steps;
    ``time_limit_s`` is for each, in need only, and ``method`` says when one met it. ``effort``:
    "greedy" plates alone, then "exchange", then "solver". A batch may hold fewer blocks than
    asked for (``shortfall`` says why). Raises :class:`InfeasibleBatch` for wishes that exclude each
    other and :class:`ScreenError` for arrays that do not fit each other.
    """
    if effort not in EFFORTS:
        raise ScreenError(f"effort {effort!r} is none of {', '.join(EFFORTS)}")
    problem = pose(candidates, values, rules, pinned=pinned, excluded=excluded)
    require_possible(candidates, rules, pinned=pinned, excluded=excluded)
    plan, value_bound, method = _solved(problem, effort, time_limit_s)
    broken = broken_rules(problem, plan)
    if broken:
        raise AssertionError(f"a plan breaks the rules: {broken}")
    return _batch(problem, rules, plan, value_bound, method)


def _solved(problem: Problem, effort: str, seconds: float) -> tuple[Plan, float, str]:
    """Plan, bound and method."""
    pins = place_pins(problem)
    if pins is None:
        raise InfeasibleBatch(["the pinned candidates do not fit on the plates"])
    size = len(problem) * min(problem.limits.plates, len(problem))
    bound = bound_above(problem)
    plan, method = _searched(problem, pins, bound, effort, seconds)
    plan = fill(problem, plan)
    if distinct_compounds(problem, plan) < problem.limits.min_compounds:
        plan = fill(problem, _with_more_compounds(problem, plan, pins, seconds))
        plan, late = put_together(problem, plan, [Grower(problem)], seconds)
        method = "greedy with a bonus on missing compounds" + ", ended by the clock" * late
    if effort == "solver" and 0 < size <= EXACT_SIZE:
        return _exact(problem, plan, bound.value, seconds)
    return plan, bound.value, method


def _searched(
    problem: Problem, pins: Plan, bound: Bound, effort: str, seconds: float
) -> tuple[Plan, str]:
    plain = Grower(problem)
    plan = build(problem, plain, pins)
    if effort == "greedy":
        return plan, "greedy"
    growers = [plain]
    if bound.price.any():
        for share in PRICES:
            growers.append(Grower(problem, share * bound.price))
            other = build(problem, growers[-1], pins)
            plan = max(plan, other, key=lambda one: plan_value(problem, one))
    plan = exchange(problem, plain, plan)
    if effort == "exchange":
        return plan, "greedy, exchange"
    late = False
    if not broken_rules(problem, plan):
        plan, late = put_together(problem, plan, growers, seconds)
    plan, later = perfect(problem, plan, seconds)
    return plan, "greedy, exchange, solver" + ", ended by the clock" * (late or later)


def _with_more_compounds(problem: Problem, plan: Plan, pins: Plan, seconds: float) -> Plan:
    plates = min(problem.limits.plates, len(problem))
    found = with_more_compounds(problem, pins)
    if found is None and len(problem) * plates <= LARGE_EXACT_SIZE:
        found, _ = solve_exactly(problem, plates, nodes=FEW_NODES, seconds=seconds)
    if found is None:
        raise InfeasibleBatch(
            [
                f"the batch should hold at least {problem.limits.min_compounds} compounds",
                f"the most found under the other rules is {distinct_compounds(problem, plan)}",
            ]
        )
    return found


def _exact(problem: Problem, plan: Plan, bound: float, seconds: float) -> tuple[Plan, float, str]:
    """The proven best of a small problem; the plan that is there where it is as good."""
    plates = min(problem.limits.plates, len(problem))
    found, solution = solve_exactly(problem, plates, seconds=seconds)
    if found is not None and not broken_rules(problem, found):
        found = fill(problem, found)
        if plan_value(problem, found) > plan_value(problem, plan) + _PROVEN:
            plan = found
    return plan, min(bound, solution.bound), "exact search" if solution.optimal else "solver"


def _batch(problem: Problem, rules: LabRules, plan: Plan, bound: float, method: str) -> PlateBatch:
    plan = sorted(plan, key=lambda plate: (-problem.value[plate.rows].sum(), plate.rows[0]))
    # Rows are in order of value already; pinned ones go before.
    ordered = [plate.rows[np.argsort(~problem.pinned[plate.rows], kind="stable")] for plate in plan]
    rows = np.concatenate([np.empty(0, np.int64), *ordered]).astype(np.int64)
    plate = np.repeat(np.arange(len(plan)), [len(one) for one in ordered]).astype(np.int64)
    value = plan_value(problem, plan)
    return PlateBatch(
        rows=problem.origin[rows],
        plate=plate if rules.has_plates else np.full(len(rows), -1, dtype=np.int64),
        value=value,
        bound=max(bound, value),
        floor=problem.floor,
        proven=bound - value <= _PROVEN * max(1.0, value),
        method=method,
        shortfall=why_short(problem, Ledger(problem, plan), plan),
    )
