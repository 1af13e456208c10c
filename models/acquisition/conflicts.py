"""Requests that no batch can meet: which wishes exclude each other, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.acquisition.lab_rules import NO_LIMIT, LabRules
from models.acquisition.plate_problem import Plan, Plate, Problem, broken_rules, pose
from models.acquisition.plate_programs import solve_exactly
from models.screen import BoolArray, Candidates, IntArray, ScreenError

NODES = 2000
_SHOWN = 6


class InfeasibleBatch(ScreenError):
    """No batch obeys all wishes. ``conflicts``: those that exclude each other, none to spare."""

    def __init__(self, conflicts: Sequence[str]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__("no batch can obey all of this: " + "; ".join(self.conflicts))


def explain_conflict(
    candidates: Candidates,
    rules: LabRules,
    *,
    pinned: BoolArray,
    excluded: BoolArray,
    names: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Wishes that exclude each other, one sentence each; nothing where a batch is possible.

    A minimal set by deletion (Chinneck and Dravnieks, ORSA Journal on Computing 3, 1991): each
    wish is dropped in turn, and stays dropped while the others still cannot be met. ``names``: of
    the compounds, by index.
    """
    problem = pose(candidates, np.zeros(len(candidates)), rules, pinned=pinned, excluded=excluded)
    say = _Words(problem, rules, names)
    for found in (say.pins_out_of_question(), say.nothing_affordable()):
        if found:
            return found
    if place_pins(problem) is None:
        return _minimal(problem, say)
    return say.too_few_compounds()


def require_possible(
    candidates: Candidates, rules: LabRules, *, pinned: BoolArray, excluded: BoolArray
) -> None:
    """Raise :class:`InfeasibleBatch` for a request that :func:`explain_conflict` can explain."""
    conflict = explain_conflict(candidates, rules, pinned=pinned, excluded=excluded)
    if conflict:
        raise InfeasibleBatch(conflict)


def place_pins(problem: Problem) -> Plan | None:
    """The pinned rows on as few plates as first fit needs; ``None`` where they fit on none."""
    pins = np.flatnonzero(problem.pinned)
    if not len(pins):
        return []
    inner = _pins_only(problem, pins)
    plan = _first_fit(inner)
    if plan is None:
        plan, _ = solve_exactly(inner, min(problem.limits.plates, len(pins)), nodes=NODES)
    if plan is None or broken_rules(inner, plan):
        return None
    return [Plate.of(problem, pins[plate.rows].tolist()) for plate in plan]


def _pins_only(problem: Problem, pins: IntArray) -> Problem:
    limits = replace(problem.limits, min_compounds=0)
    return replace(problem.subset(pins), limits=limits)


def _first_fit(problem: Problem) -> Plan | None:
    """Rows one by one, each to the plate where it brings the fewest new compounds and lines."""
    plates: list[list[int]] = []
    for row in np.lexsort((problem.pair[:, 1], problem.pair[:, 0], problem.line)).tolist():
        fits = [(_news(problem, rows, row), i) for i, rows in enumerate(plates)]
        fits = [(news, i) for news, i in fits if news < NO_LIMIT]
        if fits:
            plates[min(fits)[1]].append(row)
        else:
            plates.append([row])
    plan = [Plate.of(problem, rows) for rows in plates]
    return None if broken_rules(problem, plan) else plan


def _news(problem: Problem, rows: list[int], row: int) -> int:
    """New compounds and lines that a row brings to a plate; ``NO_LIMIT`` where it does not fit."""
    limits, both = problem.limits, [*rows, row]
    compounds, lines = np.unique(problem.pair[both]), np.unique(problem.line[both])
    over = len(both) > limits.blocks or len(compounds) > limits.compounds
    if over or len(lines) > limits.lines:
        return NO_LIMIT
    if problem.apart is not None and problem.apart[np.ix_(compounds, compounds)].any():
        return NO_LIMIT
    old = len(np.unique(problem.pair[rows])) + len(np.unique(problem.line[rows]))
    return len(compounds) + len(lines) - old


_DROPPED: dict[str, dict[str, Any]] = {
    "budget": {"budget": math.inf},
    "lines_in_batch": {"lines_in_batch": NO_LIMIT},
    "max_per_cell_line": {"per_line": NO_LIMIT},
    "stock": {},
    "max_per_compound": {"per_compound": NO_LIMIT},
    "never_together": {},
    "batch_size": {"batch": NO_LIMIT},
    "blocks_per_plate": {"blocks": NO_LIMIT},
    "lines_per_plate": {"lines": NO_LIMIT},
    "compounds_per_plate": {"compounds": NO_LIMIT},
    "plates": {"plates": NO_LIMIT},
}
"""What each rule leaves when it is dropped. Tried in this order: the plainest remain."""


def _without(problem: Problem, rules: LabRules, dropped: Sequence[str]) -> Problem:
    """The problem as if these rules had not been given."""
    limits = problem.limits
    if "batch_size" in dropped:
        limits = replace(limits, blocks=rules.plate_capacity or NO_LIMIT)
    for name in dropped:
        limits = replace(limits, **_DROPPED[name])
    stock = {} if "stock" in dropped else rules.stock or {}
    room = [min(limits.per_compound, stock.get(int(c), NO_LIMIT)) for c in problem.compound_ids]
    apart = None if "never_together" in dropped else problem.apart
    return replace(problem, limits=limits, room=np.array(room, dtype=np.int64), apart=apart)


def _minimal(problem: Problem, say: _Words) -> tuple[str, ...]:
    """The deletion filter: first over rules, then over pinned rows."""
    dropped: list[str] = []
    for name in _DROPPED:
        if place_pins(_without(problem, say.rules, [*dropped, name])) is None:
            dropped.append(name)
    relaxed = _without(problem, say.rules, dropped)
    pins = np.flatnonzero(problem.pinned)
    size = max(1, len(pins) // 4)
    while size:
        start = 0
        while start < len(pins):
            fewer = np.delete(pins, np.s_[start : start + size])
            if len(fewer) and place_pins(relaxed.subset(fewer)) is None:
                pins = fewer
            else:
                start += size
        size //= 2
    return say.conflict(pins, [name for name in _DROPPED if name not in dropped])


class _Words:
    """Sentences for a person at the bench."""

    def __init__(self, problem: Problem, rules: LabRules, names: Sequence[str] | None) -> None:
        self.problem, self.rules, self.names = problem, rules, names

    def pins_out_of_question(self) -> tuple[str, ...]:
        """A pinned block that no batch can hold by itself."""
        for row in np.flatnonzero(self.problem.pinned).tolist():
            a, b = (int(c) for c in self.problem.compound_ids[self.problem.pair[row]])
            pin = f"candidate {self.problem.origin[row]} is pinned: it needs {self._both(a, b)}"
            if self.names is not None:
                pin = f"{self._one(a)} + {self._one(b)} is pinned"
            for compound in (a, b):
                if (self.rules.stock or {}).get(compound) == 0:
                    return pin, f"there is no stock of {self._one(compound)}"
            if any(a in group and b in group for group in self.rules.never_together):
                return pin, f"{self._both(a, b)} must not meet"
        return ()

    def nothing_affordable(self) -> tuple[str, ...]:
        """A budget that does not pay for one block on one plate."""
        limits = self.problem.limits
        if limits.payable(1) >= 1:
            return ()
        return f"the budget is {limits.budget:g}", self._prices()

    def _prices(self) -> str:
        limits = self.problem.limits
        plate = f"a plate costs {limits.plate_cost:g} before the first block, " * (
            limits.plate_cost > 0
        )
        return f"{plate}each block costs {limits.block_cost:g}"

    def conflict(self, pins: IntArray, needed: list[str]) -> tuple[str, ...]:
        """The pinned rows and the rules that they cannot meet together."""
        pair = self.problem.compound_ids[self.problem.pair[pins]]
        compounds, lines = np.unique(pair), np.unique(self.problem.line[pins])
        head = (
            f"the pinned candidates need {_count(len(compounds), 'compound')} in "
            f"{_count(len(lines), 'cell line')} and {_count(len(pins), 'block')} "
            f"({self._which(pins, pair)})"
        )
        return head, *(self._rule(name, compounds, pair) for name in needed)

    def _which(self, pins: IntArray, pair: IntArray) -> str:
        """The first few pinned pairs by name, or rows of the pool where there are no names."""
        if self.names is None:
            every = [str(row) for row in sorted(self.problem.origin[pins].tolist())]
        else:
            named = [f"{self._one(int(a))} + {self._one(int(b))}" for a, b in pair]
            every = list(dict.fromkeys(named))
        shown = ", ".join(every[:_SHOWN]) + " ..." * (len(every) > _SHOWN)
        return f"rows {shown}" if self.names is None else shown

    def _rule(self, name: str, compounds: IntArray, pair: IntArray) -> str:
        rules, limits = self.rules, self.problem.limits
        used = {int(c): int((pair == c).sum()) for c in compounds}
        if name == "stock":
            short = [c for c, blocks in (rules.stock or {}).items() if used.get(c, 0) > blocks]
            told = [f"{self._one(c)} for {_count((rules.stock or {})[c], 'block')}" for c in short]
            return f"there is stock of {', '.join(told)}"
        if name == "max_per_compound":
            most = max(used, key=lambda c: used[c])
            return (
                f"a compound may be in at most {_count(limits.per_compound, 'block')} of the "
                f"batch, {self._one(most)} is in {used[most]}"
            )
        if name == "never_together":
            groups = [[c for c in group if c in used] for group in rules.never_together]
            told = [" and ".join(self._one(c) for c in group) for group in groups if len(group) > 1]
            return f"{'; '.join(told)} must not meet on a plate"
        return {
            "budget": f"the budget is {limits.budget:g}; {self._prices()}",
            "lines_in_batch": f"the batch has at most {_count(limits.lines_in_batch, 'cell line')}",
            "max_per_cell_line": f"a cell line gets at most {_count(limits.per_line, 'block')}",
            "batch_size": f"the batch holds {_count(limits.batch, 'block')}",
            "blocks_per_plate": f"a plate holds at most {_count(limits.blocks, 'block')}",
            "lines_per_plate": f"a plate holds at most {_count(limits.lines, 'cell line')}",
            "compounds_per_plate": f"a plate holds at most {_count(limits.compounds, 'compound')}",
            "plates": f"there is no more than {_count(limits.plates, 'plate')}",
        }[name]

    def too_few_compounds(self) -> tuple[str, ...]:
        """A batch that has no place for as many compounds as it should hold."""
        limits = self.problem.limits
        asked = f"the batch should hold at least {_count(limits.min_compounds, 'compound')}"
        blocks = min(limits.batch, limits.payable(1))
        reasons = {
            f"the usable candidates hold {self.problem.n_compounds}": self.problem.n_compounds,
            f"{_count(blocks, 'block')} hold at most {2 * blocks}": 2 * blocks,
            f"{_count(limits.plates, 'plate')} of at most {_count(limits.compounds, 'compound')} "
            f"hold {limits.plates * limits.compounds}": limits.plates * limits.compounds,
        }
        for words, most in reasons.items():
            if most < limits.min_compounds:
                return asked, words
        return ()

    def _one(self, compound: int) -> str:
        return f"compound {compound}" if self.names is None else self.names[compound]

    def _both(self, a: int, b: int) -> str:
        return f"{self._one(a)} and {self._one(b)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
