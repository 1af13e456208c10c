"""The choice of plates as linear programs with whole numbers, solved by HiGHS through scipy.

Two of them. :func:`solve_exactly`: every row on every plate, proven, for small problems and for
one plate at a time. :func:`recombine`: whole plates found before, whose rows may move.

    y_rp <= x_ap, x_bp, z_lp     a row needs its compounds and its line on its plate
    sum_a x_ap <= C, sum_l z_lp <= L, sum_r y_rp <= K
    sum_{r with a} y_rp <= (C - 1) L x_ap     says nothing new of whole numbers, much of fractions

The first is the quadratic knapsack, its products y made linear (Glover and Woolsey, Operations
Research 22, 1974); the last is the limit on compounds times x_ap (Adams and Sherali, Management
Science 32, 1986).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from models.acquisition.plate_problem import Plan, Plate, Problem
from models.screen import FloatArray, IntArray

NODES = 20_000
"""Most nodes of an exact search: it ends at the same node in every run, on any machine."""
NODES_OF_RECOMBINATION = 10
GAP_OF_RECOMBINATION = 2e-3
MOST_VARIABLES = 800
"""Larger recombinations are left out: the root of their search alone would take seconds."""
_WORTH_IT = 1e-6
ROWS_PER_PLATE = 48
_ON = 0.5


class Program:
    """max c x with rows low <= A x <= high, added piece by piece."""

    def __init__(self) -> None:
        self.size = self.height = 0
        self._cost: list[FloatArray] = []
        self._upper: list[FloatArray] = []
        self._whole: list[FloatArray] = []
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._low: list[FloatArray] = []
        self._high: list[FloatArray] = []

    def variables(
        self, count: int, *, gain: FloatArray | None = None, upper: float = 1.0, whole: bool = True
    ) -> IntArray:
        """``count`` new variables between 0 and ``upper``; their numbers."""
        self._cost.append(np.zeros(count) if gain is None else -np.asarray(gain, np.float64))
        self._upper.append(np.full(count, min(upper, 1e9)))
        self._whole.append(np.full(count, float(whole)))
        self.size += count
        return np.arange(self.size - count, self.size)

    def rows(
        self,
        count: int,
        terms: Sequence[tuple[IntArray, IntArray, FloatArray | float]],
        high: FloatArray | float,
        low: FloatArray | float = -np.inf,
    ) -> IntArray:
        """``count`` new constraints; each term is (row among them, variable, coefficient)."""
        for row, column, weight in terms:
            row, column = np.asarray(row), np.asarray(column)
            values = np.broadcast_to(np.asarray(weight, np.float64), row.shape)
            self._entries.append((row + self.height, column, values))
        self._high.append(np.broadcast_to(np.asarray(high, np.float64), (count,)))
        self._low.append(np.broadcast_to(np.asarray(low, np.float64), (count,)))
        self.height += count
        return np.arange(self.height - count, self.height)

    def total(
        self, terms: Sequence[tuple[IntArray, float]], high: float, low: float = -np.inf
    ) -> IntArray:
        """One constraint: a weighted sum of whole groups of variables; its number."""
        spread = [(np.zeros(len(at), np.int64), at, weight) for at, weight in terms]
        return self.rows(1, spread, high, low)

    @property
    def matrix(self) -> Any:
        """The constraints, sparse."""
        row, column, weight = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        return sparse.csr_matrix((weight, (row, column)), shape=(self.height, self.size))

    def shut(self, above: float, relaxed: Relaxed) -> int:
        """Close the variables that no solution worth more than ``above`` has on; how many stay."""
        upper = np.concatenate(self._upper)
        open_ = relaxed.value + np.minimum(relaxed.left, 0.0) > above
        self._upper = [np.where(open_, upper, 0.0)]
        return int(open_.sum())

    def solve(self, nodes: int, seconds: float, gap: float = 0.0) -> Solution:
        """Whole numbers, up to ``nodes`` nodes of the search or a share ``gap`` from its bound;
        ``seconds`` only in need."""
        result = milp(
            np.concatenate(self._cost),
            integrality=np.concatenate(self._whole),
            bounds=Bounds(0.0, np.concatenate(self._upper)),
            constraints=LinearConstraint(
                self.matrix, np.concatenate(self._low), np.concatenate(self._high)
            ),
            options={"node_limit": nodes, "time_limit": seconds, "mip_rel_gap": gap},
        )
        bound = math.inf if result.mip_dual_bound is None else -float(result.mip_dual_bound)
        return Solution(result.x, bound, int(result.status))

    def relax(self) -> Relaxed:
        """Without whole numbers, and without what the constraints ask for at least."""
        high = np.concatenate(self._high)
        limited = np.isfinite(high)
        matrix, price = self.matrix, np.zeros(self.height)
        result = linprog(
            np.concatenate(self._cost),
            A_ub=matrix[limited],
            b_ub=high[limited],
            bounds=np.stack([np.zeros(self.size), np.concatenate(self._upper)], axis=1),
            method="highs",
        )
        if result.x is None:
            return Relaxed(math.inf, np.zeros(self.height), np.zeros(self.size))
        price[limited] = np.maximum(-np.asarray(result.ineqlin.marginals), 0.0)
        # By weak duality any prices give a bound; the solver's tolerances cannot make it too low.
        left = -np.concatenate(self._cost) - matrix.T @ price
        value = float(
            price[limited] @ high[limited] + np.concatenate(self._upper) @ np.maximum(left, 0.0)
        )
        return Relaxed(value, price, left)


@dataclass(frozen=True)
class Solution:
    """``x``: the variables, ``None`` for none found. ``bound``: no solution exceeds it."""

    x: FloatArray | None
    bound: float
    status: int

    @property
    def optimal(self) -> bool:
        """Proven best."""
        return self.status == 0

    @property
    def impossible(self) -> bool:
        """Proven that there is none."""
        return self.status == 2

    @property
    def hurried(self) -> bool:
        """Ended by the clock, so that another run may end elsewhere."""
        return self.status == 1


@dataclass(frozen=True)
class Relaxed:
    """``value``: a bound on the relaxation. ``price``: of each constraint, not negative.
    ``left``: what one more of each variable gains at these prices."""

    value: float
    price: FloatArray
    left: FloatArray


def solve_exactly(
    problem: Problem, plates: int, *, nodes: int = NODES, seconds: float = 60.0
) -> tuple[Plan | None, Solution]:
    """The best plan on ``plates`` plates, and how sure that is.

    A pinned row is chosen whatever it is worth. Rows times plates should stay below some thousands.
    """
    program, y = compact_program(problem, plates)
    solution = program.solve(nodes, seconds)
    if solution.x is None:
        return None, solution
    on = solution.x[y] > _ON
    plan = [Plate.of(problem, np.flatnonzero(on[p])) for p in range(plates) if on[p].any()]
    return plan, solution


def worth_a_look(problem: Problem, value: float) -> IntArray:
    """Rows that any plate worth more than ``value`` can hold; none where there is no such plate.

    By reduced costs: the relaxation, forced to take another row, falls to ``value`` or below.
    """
    program, y = compact_program(problem, 1)
    relaxed = program.relax()
    most = relaxed.value + np.minimum(relaxed.left[y[0]], 0.0)
    return np.flatnonzero(most > value * (1 + 1e-7) + 1e-9)


def compact_program(problem: Problem, plates: int) -> tuple[Program, IntArray]:
    """All rows on all plates; the numbers of y, ``(plates, m)``."""
    limits, m, n = problem.limits, len(problem), problem.n_compounds
    program = Program()
    gain = np.tile(problem.value, plates)
    y = program.variables(m * plates, gain=gain).reshape(plates, m)
    x = program.variables(n * plates).reshape(plates, n)
    z = program.variables(problem.n_lines * plates).reshape(plates, problem.n_lines)
    q = program.variables(plates)
    each, a, b = np.arange(m), *problem.pair.T
    for p in range(plates):
        for holder in (x[p, a], x[p, b], z[p, problem.line]):
            program.rows(m, [(each, y[p], 1.0), (each, holder, -1.0)], 0.0)
        program.total([(y[p], 1.0), (q[[p]], -float(min(limits.blocks, m)))], 0.0)
        if limits.compounds < n:
            program.total([(x[p], 1.0), (q[[p]], -float(limits.compounds))], 0.0)
            most = float((limits.compounds - 1) * min(limits.lines, problem.n_lines))
            ends = [(a, y[p], 1.0), (b, y[p], 1.0), (np.arange(n), x[p], -most)]
            program.rows(n, ends, 0.0)
        if limits.lines < problem.n_lines:
            program.total([(z[p], 1.0), (q[[p]], -float(limits.lines))], 0.0)
        if problem.apart is not None:
            first, second = np.nonzero(np.triu(problem.apart))
            pairs = np.arange(len(first))
            program.rows(len(pairs), [(pairs, x[p, first], 1.0), (pairs, x[p, second], 1.0)], 1.0)
    if plates > 1:
        # Plates are alike: number the used ones first.
        step = np.arange(plates - 1)
        program.rows(plates - 1, [(step, q[1:], 1.0), (step, q[:-1], -1.0)], 0.0)
    _batch_rules(program, problem, np.tile(each, plates), y.ravel(), z.T, q)
    return program, y


def recombine(
    problem: Problem,
    known: Sequence[Plate],
    *,
    above: float = 0.0,
    nodes: int = NODES_OF_RECOMBINATION,
    seconds: float = 60.0,
) -> tuple[Plan | None, Solution]:
    """The best of plates whose compounds and lines are those of ``known``; rows are free.

    Only plans worth more than ``above`` are looked for; ``None`` where the search, which ends
    early, finds none.
    """
    program, (rows, owner, y) = _known_program(problem, known)
    relaxed = program.relax()
    left = program.shut(above * (1 + _WORTH_IT), relaxed)
    if relaxed.value <= above * (1 + _WORTH_IT) or left > MOST_VARIABLES:
        return None, Solution(None, relaxed.value, 0)
    solution = program.solve(nodes, seconds, GAP_OF_RECOMBINATION)
    if solution.x is None:
        return None, solution
    on = solution.x[y] > _ON
    plan = []
    for s, plate in enumerate(known):
        chosen = np.sort(rows[on & (owner == s)])
        if len(chosen):
            plan.append(Plate(chosen, plate.compounds, plate.lines))
    return plan, solution


def _known_program(
    problem: Problem, known: Sequence[Plate]
) -> tuple[Program, tuple[IntArray, IntArray, IntArray]]:
    admitted = [_admitted(problem, plate) for plate in known]
    rows = np.concatenate(admitted)
    owner = np.repeat(np.arange(len(known)), [len(one) for one in admitted])
    program = Program()
    y = program.variables(len(rows), gain=problem.value[rows])
    u = program.variables(len(known))
    each = np.arange(len(rows))
    program.rows(len(rows), [(each, y, 1.0), (each, u[owner], -1.0)], 0.0)
    most = float(min(problem.limits.blocks, len(problem)))
    program.rows(len(known), [(owner, y, 1.0), (np.arange(len(known)), u, -most)], 0.0)
    lines = np.zeros((problem.n_lines, len(known)), dtype=np.int64)
    opened = program.variables(problem.n_lines * len(known)) if counts_lines(problem) else None
    if opened is not None:
        lines = opened.reshape(problem.n_lines, len(known))
        at = lines[problem.line[rows], owner]
        program.rows(len(rows), [(each, y, 1.0), (each, at, -1.0)], 0.0)
    _batch_rules(program, problem, rows, y, lines, u)
    return program, (rows, owner, y)


def _admitted(problem: Problem, plate: Plate) -> IntArray:
    """The best rows that may stand on a plate, those on it and pinned ones among them."""
    compounds = np.zeros(problem.n_compounds, dtype=bool)
    lines = np.zeros(problem.n_lines, dtype=bool)
    compounds[plate.compounds], lines[plate.lines] = True, True
    fits = compounds[problem.pair].all(axis=1) & lines[problem.line]
    rows = np.flatnonzero(fits)
    keep = max(ROWS_PER_PLATE, 2 * problem.limits.blocks)
    pins = rows[problem.pinned[rows]]
    few = [rows[:keep], pins, plate.rows]
    if problem.limits.min_compounds:
        few += [rows[np.unique(end, return_index=True)[1]] for end in problem.pair[rows].T]
    return np.unique(np.concatenate(few))


def counts_lines(problem: Problem) -> bool:
    """Whether the number of cell lines in the batch is limited at all."""
    return problem.limits.lines_in_batch < problem.n_lines


def _batch_rules(
    program: Program,
    problem: Problem,
    rows: IntArray,
    y: IntArray,
    z: IntArray,
    q: IntArray,
) -> None:
    """What holds for the batch as a whole; ``y`` stand for ``rows``, ``q`` for used plates."""
    limits, m, n = problem.limits, len(problem), problem.n_compounds
    present = np.unique(rows)
    place = np.full(m, -1, dtype=np.int64)
    place[present] = np.arange(len(present))
    pinned = problem.pinned[present]
    program.rows(len(present), [(place[rows], y, 1.0)], 1.0, np.where(pinned, 1.0, -np.inf))
    a, b = problem.pair[rows].T
    tight = problem.room < len(present)
    if tight.any():
        room = np.where(tight, problem.room, len(present))
        program.rows(n, [(a, y, 1.0), (b, y, 1.0)], room.astype(np.float64))
    if limits.per_line < len(present):
        program.rows(problem.n_lines, [(problem.line[rows], y, 1.0)], float(limits.per_line))
    program.total([(q, 1.0)], float(min(limits.plates, len(q))))
    program.total([(y, 1.0)], float(min(limits.batch, len(present))))
    if math.isfinite(limits.budget):
        prices = [(y, limits.block_cost), (q, limits.plate_cost)]
        program.total(prices, limits.budget * (1 + 1e-12))
    if counts_lines(problem):
        opened = program.variables(problem.n_lines)
        flat = np.arange(z.size)
        owner = opened[flat // z.shape[1]]
        program.rows(z.size, [(flat, z.ravel(), 1.0), (flat, owner, -1.0)], 0.0)
        program.total([(opened, 1.0)], float(limits.lines_in_batch))
    if limits.min_compounds:
        held = program.variables(n)
        program.rows(n, [(np.arange(n), held, 1.0), (a, y, -1.0), (b, y, -1.0)], 0.0)
        program.total([(held, 1.0)], np.inf, float(limits.min_compounds))
