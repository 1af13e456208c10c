"""Good plates one at a time: a set of compounds grown by marginal value, then exchanged.

What a plate is worth, given its compounds X and lines Z, is the sum of its K best admissible rows,
and for any threshold t that sum is at most K t + sum of (v - t)+ over all of them (equal at the
K-th value). The right side is a sum over pairs, so that all exchanges of one compound for another
are judged in one matrix; only those that may win are looked at exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.acquisition.lab_rules import NO_LIMIT
from models.acquisition.plate_problem import Ledger, Plate, Problem
from models.screen import BoolArray, FloatArray, IntArray

ROWS_PER_LINE = 2000
"""Best rows of a line that its plates are grown from; later ones only fill what stays empty."""
ROWS_OF_SEVERAL_LINES = 6000
SEEDS = 12
"""Lines from which a plate of several lines is begun."""
THRESHOLDS = (0.0, 0.6, 0.9)
"""Shares of the K-th value of the view at which sets are grown."""
SWAPS = 60
LOOKED_AT = 12
_EPS = 1e-12


@dataclass(frozen=True)
class View:
    """The rows that a plate may take, best first; ``value`` after prices, all above 0."""

    rows: IntArray
    a: IntArray
    b: IntArray
    line: IntArray
    value: FloatArray


@dataclass(frozen=True)
class Grown:
    """A plate and what it is worth after prices, fixed rows not counted."""

    plate: Plate
    value: float


class Grower:
    """Finds the best next plate given what is used up. Deterministic; remembers what it found."""

    def __init__(self, problem: Problem, price: FloatArray | None = None) -> None:
        self.problem = problem
        self.value = problem.value if price is None else problem.value - price
        order = np.argsort(-self.value, kind="stable")
        self.order = order[self.value[order] > 0]
        lines = problem.line[self.order]
        by_line = np.argsort(lines, kind="stable")
        cuts = np.searchsorted(lines[by_line], np.arange(problem.n_lines + 1))
        self.by_line = [self.order[by_line[cuts[i] : cuts[i + 1]]] for i in range(problem.n_lines)]
        best = min(problem.limits.blocks, len(problem))
        self.most = np.array([self.value[rows[:best]].sum() for rows in self.by_line])
        self.known: dict[bytes, Grown | None] = {}
        self.last: dict[tuple[int, int], float] = {}

    def forget(self, lines: IntArray) -> None:
        """What these lines were last worth says nothing more: rows in them became free."""
        for key in [key for key in self.last if key[0] in lines]:
            del self.last[key]

    def best(self, ledger: Ledger, start: Plate | None = None) -> Grown | None:
        """The best plate that the ledger has room for; on top of ``start``, booked already."""
        capacity = ledger.capacity(new_plate=start is None)
        if start is not None:
            capacity = min(capacity, self.problem.limits.blocks - len(start.rows))
        if capacity <= 0 or not len(self.problem):
            return None
        best: Grown | None = None
        for lines, most in self._seeds(ledger, start, capacity):
            if best is not None and most <= best.value + _EPS:
                break
            grown = self._remembered(ledger, start, lines, capacity)
            if start is None:
                self.last[int(lines[0]), capacity] = 0.0 if grown is None else grown.value
            if grown is not None and (best is None or grown.value > best.value + _EPS):
                best = grown
        return best

    def _seeds(
        self, ledger: Ledger, start: Plate | None, capacity: int
    ) -> Iterator[tuple[IntArray, float]]:
        """Lines to begin with, and the most that a plate of them can be worth, best first.

        A line's last plate says what the next can be worth at most: rows and room only get fewer
        while a plan is built.
        """
        limit = self.problem.limits.lines
        allowed = ledger.open_lines()
        fixed = np.empty(0, np.int64) if start is None else np.unique(self.problem.line[start.rows])
        if limit >= len(allowed) and ledger.new_lines() >= len(allowed):
            yield np.flatnonzero(allowed), np.inf
            return
        if len(fixed) >= limit:
            yield fixed, np.inf
            return
        most = np.array([self.last.get((i, capacity), self.most[i]) for i in range(len(allowed))])
        order = [int(i) for i in np.argsort(-most, kind="stable") if allowed[i]]
        if limit == 1:
            yield from ((np.array([i]), float(most[i])) for i in order)
            return
        for i in order[:SEEDS]:
            yield np.union1d(fixed, [i]), np.inf

    def _remembered(
        self, ledger: Ledger, start: Plate | None, lines: IntArray, capacity: int
    ) -> Grown | None:
        several = self.problem.limits.lines > 1
        view = self._view(ledger, None if several else int(lines[0]))
        room = ledger.room.tobytes() + ledger.line_room.tobytes() if ledger.capped else b""
        lines_left = ledger.open_lines().tobytes() if several else b""
        fixed = b"" if start is None else start.rows.tobytes()
        parts = (view.rows.tobytes(), lines.tobytes(), room, lines_left, fixed)
        key = b"|".join((*parts, str(capacity).encode()))
        if key not in self.known:
            growth = _Growth(self.problem, view, ledger, start, lines, capacity)
            self.known[key] = growth.run()
        return self.known[key]

    def _view(self, ledger: Ledger, line: int | None) -> View:
        rows = self.order if line is None else self.by_line[line]
        rows = rows[ledger.free[rows]]
        if ledger.capped:
            pair = self.problem.pair[rows]
            open_ = (ledger.room[pair] > 0).all(axis=1)
            rows = rows[open_ & (ledger.line_room[self.problem.line[rows]] > 0)]
        if line is None:
            rows = rows[ledger.open_lines()[self.problem.line[rows]]]
        rows = rows[: ROWS_OF_SEVERAL_LINES if line is None else ROWS_PER_LINE]
        a, b = self.problem.pair[rows].T
        return View(rows, a, b, self.problem.line[rows], self.value[rows])


class _Growth:
    """One plate, from given lines."""

    def __init__(
        self,
        problem: Problem,
        view: View,
        ledger: Ledger,
        start: Plate | None,
        lines: IntArray,
        capacity: int,
    ) -> None:
        self.problem, self.view, self.ledger = problem, view, ledger
        self.capacity = capacity
        self.fixed_rows = np.empty(0, np.int64) if start is None else start.rows
        self.fixed = _mask(np.unique(problem.pair[self.fixed_rows]), problem.n_compounds)
        self.fixed_lines = np.unique(problem.line[self.fixed_rows])
        self.lines = _mask(lines, problem.n_lines)
        self.apart = problem.apart
        self.limit = min(problem.limits.compounds, problem.n_compounds)
        # A full plate holds at most two compounds a block: beyond that the limit says nothing.
        if self.limit >= 2 * capacity + self.fixed.sum() and self.apart is None:
            self.limit = problem.n_compounds

    def run(self) -> Grown | None:
        """The best of several sets, exchanged; ``None`` where nothing fits."""
        if not len(self.view.rows):
            return None
        found = [(self._worth(x, z), x, z) for x, z in self._sets()]
        found.sort(key=lambda one: -one[0])
        improved = [self._improved(x, z) for _, x, z in found[:2]]
        value, x, z = max(improved, key=lambda one: one[0])
        rows = self.view.rows[self._take(x, z)]
        if not len(rows):
            return None
        every = np.concatenate([self.fixed_rows, rows])
        compounds, lines = np.flatnonzero(x), np.flatnonzero(z)
        if self.limit >= self.problem.n_compounds:
            compounds = np.arange(self.problem.n_compounds)
        return Grown(Plate(np.sort(every), compounds, lines), value)

    def _sets(self) -> Iterator[tuple[BoolArray, BoolArray]]:
        if self.limit >= self.problem.n_compounds and self.apart is None:
            everything = np.ones(self.problem.n_compounds, dtype=bool)
            yield everything, self._best_lines(everything, self.lines)
            return
        here = self.view.value[self.lines[self.view.line]]
        reference = float(here[min(self.capacity, len(here)) - 1]) if len(here) else 0.0
        for share in THRESHOLDS:
            weight = self._weight(reference * share, self.lines)
            for x in (self._added(weight), self._dropped(weight)):
                if x is not None:
                    yield x, self._best_lines(x, self.lines)

    def _weight(self, threshold: float, lines: BoolArray) -> FloatArray:
        above = np.maximum(self.view.value - threshold, 0.0)
        return np.asarray(above * lines[self.view.line])

    def _added(self, weight: FloatArray) -> BoolArray:
        """Compounds one by one, each the one that adds most to those there."""
        a, b, x = self.view.a, self.view.b, self.fixed.copy()
        outlook = 1e-3 * self._sums(weight)
        for _ in range(int(self.limit - x.sum())):
            inside_a, inside_b = x[a], x[b]
            joins = np.bincount(b, weight * inside_a, len(x))
            gain = joins + np.bincount(a, weight * inside_b, len(x)) + outlook
            gain[~self._may_join(x)] = -1.0
            best = int(np.argmax(gain))
            if gain[best] < 0:
                break
            x[best] = True
        return x

    def _dropped(self, weight: FloatArray) -> BoolArray | None:
        """All compounds, less one by one the one that adds least to those left."""
        if self.apart is not None:
            return None
        a, b = self.view.a, self.view.b
        degree = self._sums(weight)
        x = self.fixed.copy()
        x[np.argsort(-degree, kind="stable")[: 4 * self.limit]] = True
        while x.sum() > self.limit:
            degree = self._sums(weight * x[a] * x[b])
            degree[~x | self.fixed] = np.inf
            x[int(np.argmin(degree))] = False
        return x

    def _sums(self, weight: FloatArray) -> FloatArray:
        """Of each compound: the weight of the rows that hold it."""
        n = len(self.fixed)
        ends = np.bincount(self.view.a, weight, n) + np.bincount(self.view.b, weight, n)
        return np.asarray(ends, dtype=np.float64)

    def _may_join(self, x: BoolArray) -> BoolArray:
        return ~x if self.apart is None else ~x & ~self.apart[:, x].any(axis=1)

    def _best_lines(self, x: BoolArray, lines: BoolArray) -> BoolArray:
        """The lines that make most of the compounds ``x``; the fixed ones always."""
        limit = self.problem.limits.lines
        if limit == 1 or (limit >= NO_LIMIT and self.ledger.new_lines() >= len(lines)):
            return lines
        view = self.view
        weight = view.value * x[view.a] * x[view.b]
        worth = np.bincount(view.line, weight, len(lines))
        worth[self.fixed_lines] = np.inf
        used, new = self.ledger.line_plates > 0, self.ledger.new_lines()
        chosen = np.zeros(len(lines), dtype=bool)
        for i in np.argsort(-worth, kind="stable"):
            if worth[i] <= 0 or chosen.sum() >= limit:
                break
            if used[i] or new > 0:
                chosen[i] = True
                new -= int(not used[i])
        return chosen

    def _take(self, x: BoolArray, z: BoolArray) -> IntArray:
        """Positions in the view of the best rows of these compounds and lines."""
        view = self.view
        fits = np.flatnonzero(x[view.a] & x[view.b] & z[view.line])
        if not self.ledger.capped:
            return fits[: self.capacity]
        room: dict[int, int] = {}
        line_room: dict[int, int] = {}
        taken: list[int] = []
        for i in fits.tolist():
            if len(taken) == self.capacity:
                break
            a, b, line = int(view.a[i]), int(view.b[i]), int(view.line[i])
            left = (
                room.setdefault(a, int(self.ledger.room[a])),
                room.setdefault(b, int(self.ledger.room[b])),
                line_room.setdefault(line, int(self.ledger.line_room[line])),
            )
            if min(left) > 0:
                room[a], room[b], line_room[line] = (one - 1 for one in left)
                taken.append(i)
        return np.array(taken, dtype=np.int64)

    def _worth(self, x: BoolArray, z: BoolArray) -> float:
        return float(self.view.value[self._take(x, z)].sum())

    def _improved(self, x: BoolArray, z: BoolArray) -> tuple[float, BoolArray, BoolArray]:
        """Exchanges until none helps."""
        value = self._worth(x, z)
        for _ in range(SWAPS):
            better = self._better(x, z, value)
            if better is None:
                break
            x = better
            value = self._worth(x, z)
            other = self._best_lines(x, z)
            if (worth := self._worth(x, other)) > value + _EPS:
                z, value = other, worth
        return value, x, z

    def _better(self, x: BoolArray, z: BoolArray, value: float) -> BoolArray | None:
        """The best of the most promising exchanges of one compound (or of nothing) for another."""
        if self.limit >= self.problem.n_compounds and self.apart is None:
            return None
        bound, outside, leaving = self._bounds(x, z)
        best, found = value + max(_EPS, 1e-10 * value), None
        order = np.argsort(-bound, axis=None, kind="stable")[:LOOKED_AT]
        for flat in order:
            i, j = divmod(int(flat), bound.shape[1])
            if bound[i, j] <= best:
                break
            other = x.copy()
            other[outside[i]] = True
            if leaving[j] >= 0:
                other[leaving[j]] = False
            worth = self._worth(other, z)
            if worth > best:
                best, found = worth, other
        return found

    def _bounds(self, x: BoolArray, z: BoolArray) -> tuple[FloatArray, IntArray, IntArray]:
        """``(new, old)`` most that each exchange can reach, and the compounds of both axes.

        The last column stands for no compound leaving, where there is room for one more.
        """
        view, chosen, n = self.view, self._take(x, z), len(x)
        full = len(chosen) == self.capacity
        threshold = float(view.value[chosen[-1]]) if full else 0.0
        weight = self._weight(threshold, z)
        inside_a, inside_b = x[view.a], x[view.b]
        both, one = np.flatnonzero(inside_a & inside_b), np.flatnonzero(inside_a ^ inside_b)
        within = np.where(inside_a, view.a, view.b)[one]
        beyond = np.where(inside_a, view.b, view.a)[one]
        old = np.flatnonzero(x)
        new, at = np.unique(beyond, return_inverse=True)
        flat = at * len(old) + np.searchsorted(old, within)
        shared = np.bincount(flat, weight[one], len(new) * len(old)).reshape(len(new), len(old))
        loss = np.bincount(view.a[both], weight[both], n) + np.bincount(
            view.b[both], weight[both], n
        )
        base = self.capacity * threshold + float(weight[both].sum())
        gain = shared.sum(axis=1)
        bound = base - loss[old][None, :] + gain[:, None] - shared
        add = base + gain if x.sum() < self.limit else np.full(len(new), -np.inf)
        bound[:, self.fixed[old]] = -np.inf
        bound = np.concatenate([bound, add[:, None]], axis=1)
        if self.apart is not None and len(new):
            meets = self.apart[np.ix_(new, old)]
            count = meets.sum(axis=1, keepdims=True)
            bound[:, :-1][count - meets > 0] = -np.inf
            bound[count[:, 0] > 0, -1] = -np.inf
        return bound, new, np.append(old, -1)


def _mask(members: IntArray, n: int) -> BoolArray:
    mask = np.zeros(n, dtype=bool)
    mask[members] = True
    return mask
