"""Whole plans: built plate by plate, exchanged plate by plate, put together anew by a solver."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from models.acquisition.plate_growth import Grower
from models.acquisition.plate_problem import (
    Ledger,
    Plan,
    Plate,
    Problem,
    broken_rules,
    plan_value,
)
from models.acquisition.plate_programs import recombine, solve_exactly, worth_a_look
from models.screen import BoolArray, IntArray

SWEEPS = 3
MOST_KNOWN = 16
"""Plates that are put together anew, beside those of the plan."""
LOOKED_AT = 300
"""Best rows of a plate's lines that its relaxation holds."""
PERFECTED_ROWS = 160
"""Most rows among which a plate is solved exactly."""
PERFECTED_NODES = 20
BONUSES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Of the largest value: what a missing compound is worth while there are too few of them."""
_GAIN = 1e-10


def build(problem: Problem, grower: Grower, pins: Plan) -> Plan:
    """Greedy: the plates with pinned rows filled up, then the best next plate, and so on."""
    ledger, plan = Ledger(problem, pins), []
    for start in pins:
        grown = grower.best(ledger, start)
        plate = start if grown is None else grown.plate
        ledger.remove(start)
        ledger.add(plate)
        plan.append(plate)
    while (grown := grower.best(ledger)) is not None:
        ledger.add(grown.plate)
        plan.append(grown.plate)
    return plan


def exchange(problem: Problem, grower: Grower, plan: Plan) -> Plan:
    """Each plate taken out and grown anew while that helps; never worse."""
    plan = list(plan)
    for _ in range(SWEEPS):
        changed = False
        for i in np.argsort([problem.value[plate.rows].sum() for plate in plan], kind="stable"):
            better = _grown_anew(problem, grower, plan, int(i))
            if better is not None:
                plan[int(i)], changed = better, True
        if not changed:
            break
    return plan


def _grown_anew(problem: Problem, grower: Grower, plan: Plan, i: int) -> Plate | None:
    old = plan[i]
    start = _pinned_part(problem, old)
    ledger = Ledger(problem, [plate for j, plate in enumerate(plan) if j != i])
    if start is not None:
        ledger.add(start)
    grower.forget(old.lines)
    grown = grower.best(ledger, start)
    if grown is None:
        return None
    worth, before = (float(problem.value[plate.rows].sum()) for plate in (grown.plate, old))
    return grown.plate if worth > before + _GAIN * max(1.0, before) else None


def _pinned_part(problem: Problem, plate: Plate) -> Plate | None:
    pins = plate.rows[problem.pinned[plate.rows]]
    return Plate.of(problem, pins.tolist()) if len(pins) else None


def put_together(
    problem: Problem, plan: Plan, growers: Iterable[Grower], seconds: float
) -> tuple[Plan, bool]:
    """The best of all plates that were found on the way; whether the clock ended the search."""
    seen = {_form(plate) for plate in plan}
    others: dict[tuple[bytes, bytes], tuple[float, Plate]] = {}
    for grower in growers:
        for grown in grower.known.values():
            if grown is None or (form := _form(grown.plate)) in seen:
                continue
            worth = float(problem.value[grown.plate.rows].sum())
            if form not in others or worth > others[form][0]:
                others[form] = (worth, grown.plate)
    best = sorted(others.values(), key=lambda one: -one[0])[:MOST_KNOWN]
    known = [*plan, *(one[1] for one in best)]
    if not known:
        return plan, False
    found, solution = recombine(problem, known, above=plan_value(problem, plan), seconds=seconds)
    better = found is not None and not broken_rules(problem, found)
    if found is not None and better and plan_value(problem, found) > plan_value(problem, plan):
        return found, solution.hurried
    return plan, solution.hurried


def _form(plate: Plate) -> tuple[bytes, bytes]:
    return plate.compounds.tobytes(), plate.lines.tobytes()


def perfect(problem: Problem, plan: Plan, seconds: float) -> tuple[Plan, bool]:
    """Each plate solved exactly among the best free rows of its lines, the others held.

    A quadratic knapsack: which compounds, and which of their pairs.
    """
    plan, hurried = list(plan), False
    for i, old in enumerate(plan):
        alone = _alone(problem, plan, i)
        if alone is None:
            continue
        rows, inner = alone
        before = float(problem.value[old.rows].sum())
        few = worth_a_look(inner, before)
        if not len(few) or len(few) > PERFECTED_ROWS:
            continue
        few = np.union1d(few, np.flatnonzero(inner.pinned))
        rows, inner = rows[few], inner.subset(few)
        found, solution = solve_exactly(inner, 1, nodes=PERFECTED_NODES, seconds=seconds)
        hurried |= solution.hurried
        if not found:
            continue
        chosen = np.sort(rows[found[0].rows])
        if problem.value[chosen].sum() > before * (1 + _GAIN) + _GAIN:
            plan[i] = Plate.of(problem, chosen.tolist())
    return plan, hurried


def _alone(problem: Problem, plan: Plan, i: int) -> tuple[IntArray, Problem] | None:
    """The rows that one plate may choose from, and its problem; ``None`` if it cannot gain."""
    old = plan[i]
    ledger = Ledger(problem, [plate for j, plate in enumerate(plan) if j != i])
    # Lines it was made for but does not use may be one too many for the batch.
    lines = np.unique(problem.line[old.rows])
    rows = np.flatnonzero(ledger.free & np.isin(problem.line, lines))
    rows = rows[(ledger.room[problem.pair[rows]] > 0).all(axis=1)]
    size = len(old.rows)
    if np.isclose(problem.value[rows[:size]].sum(), problem.value[old.rows].sum(), rtol=1e-9):
        return None
    rows = np.unique(np.concatenate([rows[: max(LOOKED_AT, 8 * size)], old.rows]))
    limits = replace(
        problem.limits,
        batch=max(size, ledger.capacity()),
        per_line=int(ledger.line_room[lines].min()),
        plates=1,
        budget=np.inf,
        min_compounds=0,
    )
    return rows, replace(problem.subset(rows), limits=limits, room=ledger.room)


def with_more_compounds(problem: Problem, pins: Plan) -> Plan | None:
    """The best plan found of at least ``min_compounds`` compounds: missing ones earn a bonus."""
    top = float(problem.value.max(initial=0.0)) or 1.0
    plans = [fill(problem, _build_wide(problem, pins, bonus * top)) for bonus in BONUSES]
    good = [plan for plan in plans if not broken_rules(problem, plan)]
    return max(good, key=lambda plan: plan_value(problem, plan), default=None)


def _build_wide(problem: Problem, pins: Plan, bonus: float) -> Plan:
    """Greedy, with ``bonus`` for every compound that no plate so far holds."""
    ledger, waiting = Ledger(problem, pins), list(pins)
    plan: Plan = []
    while True:
        rows = np.concatenate([np.empty(0, np.int64), *(p.rows for p in [*plan, *waiting])])
        held = np.zeros(problem.n_compounds, dtype=bool)
        held[problem.pair[rows]] = True
        grower = Grower(problem, -bonus * (~held[problem.pair]).sum(axis=1))
        start = waiting.pop(0) if waiting else None
        grown = grower.best(ledger, start)
        if grown is None and start is None:
            return plan
        plate = start if grown is None else grown.plate
        if plate is not None:
            if start is not None:
                ledger.remove(start)
            ledger.add(plate)
            plan.append(plate)


def fill(problem: Problem, plan: Plan) -> Plan:
    """Blocks that still fit are added, however little they are worth: wells are not left empty."""
    plan = list(plan)
    ledger = Ledger(problem, plan)
    for i, plate in enumerate(plan):
        filled = _filled(problem, ledger, plate)
        if filled is not None:
            plan[i] = filled
    while (filled := _filled(problem, ledger, Plate.of(problem, ()), new=True)) is not None:
        plan.append(filled)
    return plan


def _filled(problem: Problem, ledger: Ledger, plate: Plate, new: bool = False) -> Plate | None:
    """The plate with more rows, booked; ``None`` where nothing fits."""
    start = plate
    while len(plate.rows) < problem.limits.blocks and ledger.capacity(new and plate is start) > 0:
        fits = np.flatnonzero(_fits(problem, ledger, plate))
        if not len(fits):
            break
        if plate is not start or not new:
            ledger.remove(plate)
        plate = Plate.of(problem, [*plate.rows.tolist(), int(fits[0])])
        ledger.add(plate)
    return None if plate is start else plate


def _fits(problem: Problem, ledger: Ledger, plate: Plate) -> BoolArray:
    """``(m,)`` rows that may be added to a plate as far as its rows and the batch are concerned."""
    limits = problem.limits
    a, b = problem.pair.T
    ok = ledger.free & (ledger.room[a] > 0) & (ledger.room[b] > 0)
    ok &= (ledger.line_room[problem.line] > 0) & ledger.open_lines()[problem.line]
    held = np.zeros(problem.n_compounds, dtype=bool)
    held[np.unique(problem.pair[plate.rows])] = True
    new = 2 - held[a].astype(np.int64) - held[b]
    ok &= held.sum() + new <= limits.compounds
    lines = np.unique(problem.line[plate.rows])
    if len(lines) >= limits.lines:
        ok &= np.isin(problem.line, lines)
    if problem.apart is not None:
        meets = np.asarray(problem.apart[:, held].any(axis=1))
        ok &= ~(meets[a] & ~held[a]) & ~(meets[b] & ~held[b]) & ~problem.apart[a, b]
    return np.asarray(ok, dtype=bool)
