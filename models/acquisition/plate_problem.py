"""A batch on plates as a problem in numbers: what is chosen from, and which plans obey the rules.

Rows are *usable* candidates in order of value, best first; compounds and cell lines are numbered
afresh, ``0..n-1``, so that arrays over them stay small however large the screen's tables are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from models.acquisition.lab_rules import NO_LIMIT, LabRules, Limits
from models.screen import BoolArray, Candidates, FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class Problem:
    """What may be chosen.

    ``origin``: ``(m,)`` row of each usable candidate among all. ``pair``: ``(m, 2)`` and ``line``:
    ``(m,)``, renumbered; ``compound_ids`` and ``line_ids`` give the numbers they had. ``value``:
    ``(m,)`` not negative, descending: counted from ``floor``. ``pinned``: ``(m,)``. ``room``:
    ``(n_compounds,)`` most blocks with each compound in the batch. ``apart``: pairs of compounds
    that must not meet, ``(n, n)`` bool, ``None`` for none.
    """

    origin: IntArray
    pair: IntArray
    line: IntArray
    value: FloatArray
    floor: float
    pinned: BoolArray
    compound_ids: IntArray
    line_ids: IntArray
    room: IntArray
    apart: BoolArray | None
    limits: Limits

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def n_compounds(self) -> int:
        """Distinct compounds among the usable candidates."""
        return len(self.compound_ids)

    @property
    def n_lines(self) -> int:
        """Distinct cell lines among the usable candidates."""
        return len(self.line_ids)

    def subset(self, rows: IntArray) -> Problem:
        """The same rules with only ``rows`` to choose from; compounds keep their numbers."""
        return Problem(
            self.origin[rows],
            self.pair[rows],
            self.line[rows],
            self.value[rows],
            self.floor,
            self.pinned[rows],
            self.compound_ids,
            self.line_ids,
            self.room,
            self.apart,
            self.limits,
        )

    def alone(self, rows: IntArray, value: FloatArray, limits: Limits) -> Problem:
        """``rows`` at other values and limits, and with compounds as plenty as you like."""
        pair_ids, pair = np.unique(self.pair[rows], return_inverse=True)
        line_ids, line = np.unique(self.line[rows], return_inverse=True)
        return Problem(
            self.origin[rows],
            pair.reshape(-1, 2),
            line,
            value,
            self.floor,
            self.pinned[rows],
            self.compound_ids[pair_ids],
            self.line_ids[line_ids],
            np.full(len(pair_ids), NO_LIMIT),
            None,
            limits,
        )


def pose(
    candidates: Candidates,
    values: FloatArray,
    rules: LabRules,
    *,
    pinned: BoolArray,
    excluded: BoolArray,
) -> Problem:
    """The problem of a pool.

    Values count from ``floor``: 0, or the lowest usable value where that is negative (an
    acquisition may live below 0, and a poor block still beats an empty well). Blocks that no plan
    can hold (a compound without stock, two compounds that must not meet) are left out, pinned
    ones excepted. Raises :class:`ScreenError` for arrays that do not fit each other.
    """
    _check(candidates, values, pinned, excluded)
    impossible = _impossible(candidates, rules)
    rows = np.flatnonzero(~excluded & (~impossible | pinned))
    rows = rows[np.argsort(-values[rows], kind="stable")]
    kept = candidates.select(rows)
    compound_ids, pair = np.unique(kept.compounds, return_inverse=True)
    line_ids, line = np.unique(kept.cell_line, return_inverse=True)
    floor = min(0.0, float(values[rows].min(initial=0.0)))
    return Problem(
        origin=rows.astype(np.int64),
        pair=pair.reshape(-1, 2).astype(np.int64),
        line=line.astype(np.int64),
        value=np.asarray(values[rows] - floor, dtype=np.float64),
        floor=floor,
        pinned=pinned[rows],
        compound_ids=compound_ids.astype(np.int64),
        line_ids=line_ids.astype(np.int64),
        room=_room(compound_ids, rules),
        apart=_apart(compound_ids, rules),
        limits=rules.limits(),
    )


def _room(compound_ids: IntArray, rules: LabRules) -> IntArray:
    room = np.full(len(compound_ids), rules.max_per_compound or NO_LIMIT, dtype=np.int64)
    for compound, blocks in (rules.stock or {}).items():
        room[compound_ids == compound] = np.minimum(room[compound_ids == compound], blocks)
    return room


def _apart(compound_ids: IntArray, rules: LabRules) -> BoolArray | None:
    if not rules.never_together:
        return None
    number = {int(compound): i for i, compound in enumerate(compound_ids)}
    apart = np.zeros((len(compound_ids), len(compound_ids)), dtype=bool)
    # Without plates nothing meets but the two compounds of a block, and those blocks are gone.
    for group in rules.never_together if rules.has_plates else ():
        for first, second in combinations([number[c] for c in group if c in number], 2):
            apart[first, second] = apart[second, first] = True
    return apart if apart.any() else None


def _impossible(candidates: Candidates, rules: LabRules) -> BoolArray:
    """``(m,)`` which candidates no plan can hold, whatever else it does."""
    bad = np.zeros(len(candidates), dtype=bool)
    empty = [compound for compound, blocks in (rules.stock or {}).items() if blocks == 0]
    if empty:
        bad |= np.isin(candidates.compounds, empty).any(axis=1)
    for group in rules.never_together:
        bad |= np.isin(candidates.compounds, list(group)).all(axis=1)
    return bad


def _check(
    candidates: Candidates, values: FloatArray, pinned: BoolArray, excluded: BoolArray
) -> None:
    if not len(candidates) == len(values) == len(pinned) == len(excluded):
        raise ScreenError("values, pinned and excluded need one entry per candidate")
    if not np.all(np.isfinite(values)):
        raise ScreenError("acquisition values hold NaN or infinity")
    if np.any(pinned & excluded):
        row = int(np.flatnonzero(pinned & excluded)[0])
        raise ScreenError(f"candidate {row} is pinned, but it is banned, pending or measured")
    if len(candidates):
        keys = candidates.keys(int(candidates.compounds.max()) + 1)
        if len(np.unique(keys)) != len(keys):
            raise ScreenError("the pool lists a candidate twice")


@dataclass(frozen=True)
class Plate:
    """One plate of a plan: its rows, and the compounds and lines that it was made for.

    ``rows``: of the problem. ``compounds``, ``lines``: sorted, a superset of what the rows hold;
    rows may be exchanged within it without asking the plate's own rules again.
    """

    rows: IntArray
    compounds: IntArray
    lines: IntArray

    @classmethod
    def of(cls, problem: Problem, rows: Iterable[int]) -> Plate:
        """A plate of exactly these rows."""
        at = np.array(sorted(rows), dtype=np.int64)
        return cls(at, np.unique(problem.pair[at]), np.unique(problem.line[at]))


Plan = list[Plate]


def plan_value(problem: Problem, plan: Sequence[Plate]) -> float:
    """Sum of the values that the plan holds."""
    return float(sum(problem.value[plate.rows].sum() for plate in plan))


class Ledger:
    """What a plan has used up: rows, compounds, cell lines, plates and money."""

    def __init__(self, problem: Problem, plan: Iterable[Plate] = ()) -> None:
        self.problem = problem
        self.free = np.ones(len(problem), dtype=bool)
        self.room = problem.room.copy()
        self.line_room = np.full(problem.n_lines, problem.limits.per_line, dtype=np.int64)
        self.line_plates = np.zeros(problem.n_lines, dtype=np.int64)
        self.plates = self.blocks = 0
        self.capped = bool(
            (self.room < len(problem)).any() or (self.line_room < len(problem)).any()
        )
        for plate in plan:
            self.add(plate)

    def add(self, plate: Plate, sign: int = 1) -> None:
        """Book a plate; ``sign`` -1 takes it back."""
        rows = plate.rows
        self.free[rows] = sign < 0
        np.subtract.at(self.room, self.problem.pair[rows].ravel(), sign)
        np.subtract.at(self.line_room, self.problem.line[rows], sign)
        self.line_plates[np.unique(self.problem.line[rows])] += sign
        self.plates += sign
        self.blocks += sign * len(rows)

    def remove(self, plate: Plate) -> None:
        """Take a plate back."""
        self.add(plate, -1)

    def capacity(self, new_plate: bool = True) -> int:
        """Blocks that one more plate (or, if not new, any plate so far) may still take."""
        limits = self.problem.limits
        plates = self.plates + int(new_plate)
        if plates > limits.plates:
            return 0
        left = min(limits.batch, limits.payable(plates)) - self.blocks
        return max(0, min(limits.blocks, left))

    def open_lines(self) -> BoolArray:
        """``(n_lines,)`` lines that may be used: all, or those in use where no more may come."""
        in_use = self.line_plates > 0
        if in_use.sum() >= self.problem.limits.lines_in_batch:
            return in_use
        return np.ones(len(in_use), dtype=bool)

    def new_lines(self) -> int:
        """How many cell lines may still come in."""
        return int(self.problem.limits.lines_in_batch - (self.line_plates > 0).sum())


def broken_rules(problem: Problem, plan: Sequence[Plate]) -> list[str]:
    """Every rule that the plan breaks, in words; nothing for a plan that the lab can run."""
    limits = problem.limits
    rows = _all_rows(plan)
    pair, line = problem.pair[rows], problem.line[rows]
    used = np.bincount(pair.ravel(), minlength=problem.n_compounds)
    lines = np.bincount(line, minlength=problem.n_lines)
    found = [words for plate in plan for words in _broken_on_plate(problem, plate)]
    checks = {
        "a candidate is chosen twice": len(np.unique(rows)) < len(rows),
        "a pinned candidate is missing": not np.isin(np.flatnonzero(problem.pinned), rows).all(),
        "too many plates": len(plan) > limits.plates,
        "too many blocks": len(rows) > limits.batch,
        "a compound is used too often": bool((used > problem.room).any()),
        "a cell line is used too often": bool((lines > limits.per_line).any()),
        "too many cell lines": int((lines > 0).sum()) > limits.lines_in_batch,
        "too few compounds": int((used > 0).sum()) < limits.min_compounds,
        "over the budget": len(rows) > limits.payable(len(plan)),
    }
    return found + [words for words, broken in checks.items() if broken]


def _broken_on_plate(problem: Problem, plate: Plate) -> list[str]:
    limits = problem.limits
    compounds = np.unique(problem.pair[plate.rows])
    checks = {
        "too many blocks on a plate": len(plate.rows) > limits.blocks,
        "too many compounds on a plate": len(compounds) > limits.compounds,
        "too many cell lines on a plate": len(np.unique(problem.line[plate.rows])) > limits.lines,
        "two compounds meet that must not": problem.apart is not None
        and bool(problem.apart[np.ix_(compounds, compounds)].any()),
    }
    return [words for words, broken in checks.items() if broken]


def distinct_compounds(problem: Problem, plan: Sequence[Plate]) -> int:
    """How many compounds the plan holds."""
    return len(np.unique(problem.pair[_all_rows(plan)]))


def _all_rows(plan: Sequence[Plate]) -> IntArray:
    if not plan:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([plate.rows for plate in plan])
