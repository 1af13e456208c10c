"""How much better a plan could be: numbers that no plan exceeds.

The relaxation adds up the plates of each line and drops the whole numbers. With one line a plate,
lines meet only in scarce things (compounds, money, the size of the batch); at given prices of
these the problem falls into one small program a line, and any prices give a bound (Lagrangian
relaxation: Geoffrion, Mathematical Programming Study 2, 1974).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

import numpy as np

from models.acquisition.lab_rules import NO_LIMIT
from models.acquisition.plate_problem import Problem
from models.acquisition.plate_programs import Program, counts_lines
from models.screen import FloatArray, IntArray

ROWS_OF_BOUND = 4000
ROWS_OF_LINE = 400
"""Best rows that a program holds; what the others could add is bounded by their reduced costs."""
_SLACK = 1e-9


@dataclass(frozen=True)
class Bound:
    """``value``: no plan is worth more. ``price``: ``(m,)`` of each row: what the scarce compounds
    and cell lines in it are worth elsewhere, 0 where nothing is scarce."""

    value: float
    price: FloatArray


def bound_above(problem: Problem) -> Bound:
    """A bound on :func:`models.acquisition.plate_problem.plan_value` over all plans."""
    if not len(problem):
        return Bound(0.0, np.zeros(0))
    rows = max(ROWS_OF_BOUND, 3 * min(problem.limits.batch, len(problem)))
    if problem.limits.lines > 1 or problem.limits.compounds >= problem.n_compounds:
        whole = _relaxation(problem, rows)
        return Bound(whole.value, whole.scarcity)
    if not _coupled(problem):
        return Bound(_by_line(problem, np.zeros(len(problem)), 0.0, 0.0), np.zeros(len(problem)))
    whole = _relaxation(problem, rows)
    apart = _by_line(problem, whole.row_price, whole.plate_price, whole.constant)
    return Bound(min(whole.value, apart), whole.scarcity)


def _coupled(problem: Problem) -> bool:
    """Whether anything but the number of plates is shared by lines."""
    limits, m = problem.limits, len(problem)
    return (
        bool((problem.room < m).any())
        or limits.per_line < m
        or limits.batch < min(limits.plates * limits.blocks, m)
        or math.isfinite(limits.budget)
    )


@dataclass(frozen=True)
class _Relaxation:
    """``value``: the bound; ``added`` of it stands for rows outside of the program. ``row_price``
    ``(m,)``, ``plate_price`` and ``constant``: of what is shared by lines. ``scarcity`` ``(m,)``:
    the part of ``row_price`` that differs by row."""

    value: float
    added: float
    row_price: FloatArray
    plate_price: float
    constant: float
    scarcity: FloatArray


def _relaxation(problem: Problem, rows: int) -> _Relaxation:
    """All lines in one program."""
    limits, n, m = problem.limits, problem.n_compounds, len(problem)
    kept = min(m, rows)
    program, named = _aggregated(problem.subset(np.arange(kept)))
    relaxed = program.relax()
    price = {name: relaxed.price[at] for name, at in named.items()}
    none = np.zeros(1)
    compound = price.get("room", np.zeros(n))
    line = price.get("per_line", np.zeros(problem.n_lines))
    batch, money = float(price["batch"][0]), float(price.get("budget", none)[0])
    scarcity = compound[problem.pair].sum(axis=1) + line[problem.line]
    row_price = scarcity + batch + money * limits.block_cost
    rest = problem.value - row_price - price["blocks"][problem.line] - price["plates"][0]
    over = np.sort(np.maximum(rest[kept:], 0.0))[::-1][: min(limits.batch, m)]
    constant = float(compound @ np.minimum(problem.room, m))
    constant += float(line.sum()) * min(limits.per_line, m) + batch * min(limits.batch, m)
    constant += money * limits.budget if money > 0 else 0.0
    added = float(over.sum())
    return _Relaxation(
        relaxed.value + added, added, row_price, money * limits.plate_cost, constant, scarcity
    )


def _by_line(problem: Problem, row_price: FloatArray, plate_price: float, constant: float) -> float:
    """Each line on its own at these prices; the plates go to the lines where they add most."""
    lines = [
        _Line(problem, np.flatnonzero(problem.line == i), row_price) for i in range(problem.n_lines)
    ]
    plates = min(problem.limits.plates, len(problem))
    most = min(plates, problem.limits.lines_in_batch)
    if most < min(plates, len(lines)):
        return constant + _over_few_lines(lines, plates, most, plate_price)
    return constant + _over_lines(lines, plates, plate_price)


def _over_lines(lines: list[_Line], plates: int, plate_price: float) -> float:
    """Plates one by one to the line where the next adds most, by a heap of what it may add.

    What a line adds is made to fall from plate to plate, which only makes the sum larger.
    """
    heap = [(-line.cheap(1), i, 1, False) for i, line in enumerate(lines)]
    heapq.heapify(heap)
    total = 0.0
    while plates and heap:
        adds, i, count, exact = heapq.heappop(heap)
        if -adds <= plate_price:
            break
        if not exact:
            heapq.heappush(heap, (-lines[i].adds(count), i, count, True))
            continue
        total += -adds - plate_price
        plates -= 1
        heapq.heappush(heap, (adds, i, count + 1, False))
    return total


def _over_few_lines(lines: list[_Line], plates: int, most: int, plate_price: float) -> float:
    """The same where at most ``most`` lines may be used: best value by lines and plates used."""
    best = np.full((most + 1, plates + 1), -np.inf)
    best[0, 0] = 0.0
    for line in lines:
        after = best.copy()
        for count in range(1, plates + 1):
            worth = line.rough(count) - count * plate_price
            reached = best[:-1, : plates + 1 - count] + worth
            after[1:, count:] = np.maximum(after[1:, count:], reached)
        best = after
    return float(best.max())


class _Line:
    """Bounds on what one line's plates hold, after prices."""

    def __init__(self, problem: Problem, rows: IntArray, row_price: FloatArray) -> None:
        value = problem.value[rows] - row_price[rows]
        order = np.argsort(-value, kind="stable")
        order = order[value[order] > 0]
        self.problem, self.rows, self.value = problem, rows[order], value[order]
        self.sums = np.concatenate([[0.0], np.cumsum(self.value)])
        self.blocks = min(problem.limits.blocks, len(problem))
        self.known = [0.0]

    def cheap(self, count: int) -> float:
        """The best rows, whatever compounds they hold."""
        return float(self.sums[min(count * self.blocks, len(self.value))])

    def rough(self, count: int) -> float:
        """Cheap, but never more than so many times the first plate."""
        return min(self.cheap(count), count * self.adds(1))

    def adds(self, count: int) -> float:
        """The most that plate number ``count`` adds to those before it; call in order."""
        while len(self.known) <= count:
            k = len(self.known)
            before = self.known[-1] - self.known[-2] if k > 1 else np.inf
            total = min(self.cheap(k), self._relaxed(k))
            self.known.append(self.known[-1] + max(0.0, min(before, total - self.known[-1])))
        return self.known[count] - self.known[count - 1]

    def _relaxed(self, count: int) -> float:
        limits = replace(
            self.problem.limits,
            plates=count,
            batch=NO_LIMIT,
            per_line=NO_LIMIT,
            lines_in_batch=NO_LIMIT,
            min_compounds=0,
            budget=math.inf,
        )
        if not len(self.rows):
            return 0.0
        alone = self.problem.alone(self.rows, self.value, limits)
        rows = max(ROWS_OF_LINE, 8 * self.blocks * count)
        # Exact relaxations bend downwards with the number of plates; a heap may rely on it.
        while (found := _relaxation(alone, rows)).added > _SLACK and rows < len(alone):
            rows *= 2
        return found.value + _SLACK


def _aggregated(problem: Problem) -> tuple[Program, dict[str, IntArray]]:
    """Plates added up by line: x_al and z_l count plates, y is a row on any of them."""
    limits, n, m = problem.limits, problem.n_compounds, len(problem)
    plates = float(min(limits.plates, m))
    n_lines = problem.n_lines
    program, named = Program(), {}
    a, b = problem.pair.T
    ends = np.concatenate([a, b]) * n_lines + np.tile(problem.line, 2)
    cell, at = np.unique(ends, return_inverse=True)
    of_compound, of_line = cell // n_lines, cell % n_lines
    y = program.variables(m, gain=problem.value, whole=False)
    x = program.variables(len(cell), upper=plates, whole=False)
    z = program.variables(n_lines, upper=plates, whole=False)
    q = program.variables(1, upper=plates, whole=False)
    each, cells, lines = np.arange(m), np.arange(len(cell)), np.arange(n_lines)
    zero = np.zeros(n_lines, dtype=np.int64)
    K = float(min(limits.blocks, m))
    named["blocks"] = program.rows(n_lines, [(problem.line, y, 1.0), (lines, z, -K)], 0.0)
    program.rows(n_lines, [(lines, z, 1.0), (lines, q[zero], -1.0)], 0.0)
    named["plates"] = program.total([(y, 1.0), (q, -K)], 0.0)
    if limits.lines < n_lines:
        program.total([(z, 1.0), (q, -float(limits.lines))], 0.0)
    if limits.compounds < n:
        C = float(limits.compounds)
        for end in (at[:m], at[m:]):
            program.rows(m, [(each, y, 1.0), (each, x[end], -1.0)], 0.0)
        program.rows(len(cell), [(at, np.tile(y, 2), 1.0), (cells, x, 1.0 - C)], 0.0)
        program.rows(len(cell), [(cells, x, 1.0), (cells, z[of_line], -1.0)], 0.0)
        program.rows(n_lines, [(of_line, x, 1.0), (lines, z, -C)], 0.0)
        if limits.lines > 1:
            _compounds_over_lines(program, problem, x, of_compound, q)
    named["batch"] = program.total([(y, 1.0)], float(min(limits.batch, m)))
    if (problem.room < m).any():
        room = np.minimum(problem.room, m).astype(np.float64)
        named["room"] = program.rows(n, [(a, y, 1.0), (b, y, 1.0)], room)
    if limits.per_line < m:
        named["per_line"] = program.rows(n_lines, [(problem.line, y, 1.0)], float(limits.per_line))
    if math.isfinite(limits.budget):
        terms = [(y, limits.block_cost), (q, limits.plate_cost)]
        named["budget"] = program.total(terms, limits.budget * (1 + 1e-12))
    if counts_lines(problem):
        opened = program.variables(n_lines, whole=False)
        program.rows(n_lines, [(lines, z, 1.0), (lines, opened, -plates)], 0.0)
        program.total([(opened, 1.0)], float(limits.lines_in_batch))
    return program, named


def _compounds_over_lines(
    program: Program, problem: Problem, x: IntArray, of_compound: IntArray, q: IntArray
) -> None:
    """Plates of several lines: X_a plates hold compound a, in any of their lines."""
    limits, n = problem.limits, problem.n_compounds
    X = program.variables(n, upper=float(min(limits.plates, len(problem))), whole=False)
    cells = np.arange(len(x))
    program.rows(len(x), [(cells, x, 1.0), (cells, X[of_compound], -1.0)], 0.0)
    if limits.lines < NO_LIMIT:
        program.rows(n, [(of_compound, x, 1.0), (np.arange(n), X, -float(limits.lines))], 0.0)
    program.total([(X, 1.0), (q, -float(limits.compounds))], 0.0)
