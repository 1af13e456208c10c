"""A whole pool valued for several objectives at once: what each candidate may add to the front.

    found = value_front(posterior, candidates, usable, waiting, measured, rules,
                        "expected_hypervolume", seed)

``expected_hypervolume``: with ``V_i`` the volume that the measured front and, in world ``i``, what
is waiting (in the lab, pinned) dominate above the reference point, the value of a candidate is
(1/n) sum_i [V_i(j) - V_i], in percentage points to the power of the number of objectives. A plain
list is grown greedily, each candidate given those before it
(:func:`models.acquisition.pareto_batch.front_batch`); the plates of a laboratory are filled by
what each candidate adds alone, since a plate's rules need values that add up.

``front_probability``: share of worlds in which nothing in the pool, in the lab or measured
dominates the candidate.

The pool is streamed: what is dominated within its block in every world is on no front, so memory
is that of one block and of the candidates that are on the front somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.acquisition.pareto_batch import front_batch
from models.acquisition.rules import HYPERVOLUME, RoundRules
from models.bayes.training import one_thread
from models.objectives.measured import MeasuredObjective
from models.objectives.pareto import FreeRegion, non_dominated
from models.objectives.posterior import FrontPosterior
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
)
from models.synergy.worlds import nearby

ELEMENTS_PER_BLOCK = 1 << 19
"""Candidates times draws between two looks at ``should_stop``."""
COMPETING = 1000
"""Candidates that may be chosen greedily: those that alone add most."""
MOST_WAITING = 200
"""Candidates in the lab that are conditioned on, those that alone add most."""


@dataclass(frozen=True)
class FrontValues:
    """Per candidate of the pool, ``(m,)``. ``values``: what the order follows. ``first_gain``: the
    volume that each would add alone, given what was measured. ``front_probability``: 0 for what
    may not compete and is not in the lab. ``on_mean_front``: on the front of the posterior means
    of the pool and of what is in the lab."""

    values: FloatArray
    first_gain: FloatArray
    front_probability: FloatArray
    on_mean_front: BoolArray


def value_front(
    posterior: FrontPosterior,
    candidates: Candidates,
    usable: BoolArray,
    waiting: BoolArray,
    measured: MeasuredObjective,
    rules: RoundRules,
    acquisition: str,
    seed: int,
    *,
    should_stop: StopCallback = never_stop,
) -> FrontValues:
    """Value every candidate; ``usable`` ``(m,)`` may compete, ``waiting`` ``(m,)`` are pinned or
    in the lab and are conditioned on.

    Raises :class:`ScreenError` where ``measured`` has other objectives than ``posterior``.
    """
    reference = np.array(posterior.reference)
    if measured.each.shape[1] != len(reference):
        raise ScreenError("measured objectives and those of the model are not the same")
    known = measured_front(measured)
    taking_part = np.flatnonzero(usable | waiting)
    stream = _Stream(posterior, candidates, known, rules.draws, seed)
    with one_thread():
        alone = stream.run(taking_part, should_stop)
        first = alone
        if waiting.any():
            rows = np.flatnonzero(waiting)
            rows = np.sort(rows[np.argsort(-alone[rows], kind="stable")[:MOST_WAITING]])
            first = stream.gains_given(rows, np.flatnonzero(usable), should_stop)
        chance = stream.chance()
        values = first if acquisition == HYPERVOLUME else chance
        if acquisition == HYPERVOLUME and rules.lab is None:
            values = _grown(stream, first, chance, usable & ~waiting, waiting, rules)
    on_front = np.zeros(len(candidates), bool)
    on_front[taking_part] = non_dominated(stream.mean[:, taking_part].T)
    return FrontValues(values, first, chance, on_front)


def measured_front(measured: MeasuredObjective) -> FloatArray:
    """``(f, k)`` the measured values that no other dominates, each once."""
    distinct = np.unique(measured.each, axis=0)
    return distinct[non_dominated(distinct)] if len(distinct) else distinct


def front_improvement(
    draws: FloatArray, measured: MeasuredObjective
) -> tuple[FloatArray, FloatArray]:
    """``(m,)`` each from draws ``(k, n, m)``: the share of worlds in which a candidate adds volume
    to the measured front, and the volume that it adds on average."""
    if measured.reference is None:
        raise ScreenError("a front needs a reference point")
    region = _region(np.array(measured.reference), measured_front(measured))
    gain = np.stack([region.gain(world) for world in np.moveaxis(draws, 0, -1)])
    return np.asarray((gain > 0).mean(axis=0), dtype=np.float64), np.asarray(gain.mean(axis=0))


def _grown(
    stream: _Stream,
    first: FloatArray,
    chance: FloatArray,
    free: BoolArray,
    waiting: BoolArray,
    rules: RoundRules,
) -> FloatArray:
    """Gains of a greedy batch in its order; all others their chance of being on the front minus
    one, below every gain."""
    values = chance - 1.0
    rows = np.flatnonzero(free)
    rows = rows[np.argsort(-first[rows], kind="stable")[:COMPETING]]
    if not len(rows):
        return values
    lab = np.flatnonzero(waiting)
    lab = lab[np.argsort(-first[lab], kind="stable")[:MOST_WAITING]]
    # A cap per compound passes over some: more are put in order than the batch takes.
    size = rules.batch_size * (1 if rules.max_per_compound is None else 3)
    together = np.concatenate([rows, lab])
    batch = front_batch(
        stream.draw(together),
        min(size, len(rows)),
        stream.reference,
        pending=np.arange(len(rows), len(together)),
        measured=stream.known,
    )
    values[rows[batch.rows]] = batch.gain
    return values


def _region(reference: FloatArray, points: FloatArray) -> FreeRegion:
    region = FreeRegion(reference)
    for point in points:
        region.add(point)
    return region


class _Stream:
    """The pool in blocks: means, gains alone, and who is on the front of which world."""

    def __init__(
        self,
        posterior: FrontPosterior,
        candidates: Candidates,
        known: FloatArray,
        n: int,
        seed: int,
    ) -> None:
        self.posterior, self.candidates, self.n, self.seed = posterior, candidates, n, seed
        self.known, self.reference = known, np.array(posterior.reference)
        m = len(candidates)
        self.mean = np.zeros((len(self.reference), m))
        # Who is on some front so far: rows (-1: measured), their draws, and where.
        self._rows = np.full(len(known), -1, np.int64)
        self._draws = np.broadcast_to(known, (n, *known.shape))
        self._on = np.ones((n, len(known)), bool)

    def draw(self, rows: IntArray) -> FloatArray:
        """``(k, n, len(rows))`` draws of the objectives."""
        return self.posterior.each(self.candidates.select(rows), self.n, self.seed)

    def run(self, rows: IntArray, should_stop: StopCallback) -> FloatArray:
        """Meet the candidates at ``rows``; ``(m,)`` volume that each adds to what was measured."""
        region = _region(self.reference, self.known)
        gains = np.zeros(len(self.candidates))
        for block in self._blocks(rows, should_stop):
            drawn = self.draw(block)
            self.mean[:, block] = drawn.mean(axis=1)
            gains[block] = np.mean([region.gain(w) for w in np.moveaxis(drawn, 0, -1)], axis=0)
            self._meet(drawn, block)
        return gains

    def gains_given(
        self, waiting: IntArray, rows: IntArray, should_stop: StopCallback
    ) -> FloatArray:
        """``(m,)`` volume that each of ``rows`` adds where ``waiting`` are measured, too."""
        pending = np.moveaxis(self.draw(waiting), 0, -1)
        regions = [_region(self.reference, np.concatenate([self.known, w])) for w in pending]
        gains = np.zeros(len(self.candidates))
        for block in self._blocks(rows, should_stop):
            worlds = np.moveaxis(self.draw(block), 0, -1)
            each = [region.gain(world) for region, world in zip(regions, worlds, strict=True)]
            gains[block] = np.mean(each, axis=0)
        return gains

    def chance(self) -> FloatArray:
        """``(m,)`` share of worlds in which each is on the front of all that was met."""
        chance = np.zeros(len(self.candidates))
        own = self._rows >= 0
        chance[self._rows[own]] = self._on[:, own].mean(axis=0)
        return chance

    def _meet(self, drawn: FloatArray, rows: IntArray) -> None:
        """Dominance is transitive: what is on no front now will be on none later."""
        together = np.concatenate([self._draws, np.moveaxis(drawn, 0, -1)], axis=1)
        on = non_dominated(together)
        kept = on.any(axis=0)
        self._rows = np.concatenate([self._rows, rows])[kept]
        self._draws, self._on = together[:, kept], on[:, kept]

    def _blocks(self, rows: IntArray, should_stop: StopCallback) -> Iterator[IntArray]:
        size = max(1, ELEMENTS_PER_BLOCK // self.n)
        order = rows[nearby(self.candidates.select(rows), size)]
        for start in range(0, len(order), size):
            if should_stop():
                raise Stopped
            yield order[start : start + size]
