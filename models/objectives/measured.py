"""What was measured, in the terms of the objective: hits, the best so far, what is not known yet.

    known = measure_objective(Selectivity(kill=(("A375", 1.0),), spare=(("HEKN", 1.0),)), blocks,
                              curves.noise, screen.cell_lines)
    known.hits(20.0), known.best

A score is measured as it is, an inhibition from the block's own wells, and sums and differences
are taken of these. Where cell lines are compared, a block is a hit where its pair is; a pair that
is not measured in all the lines is not known yet, and counts neither as a hit nor as a miss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.objectives.evaluating import evaluate, objective_noise_sd
from models.objectives.objective import (
    PAIR,
    Objective,
    Pareto,
    Quantity,
    Scalar,
    Score,
    candidate_unit,
    lines_of,
    quantities_of,
)
from models.objectives.scores import POINTS, Blocks
from models.objectives.selectivity import PairsInLines
from models.pharmacology.noise import NoiseModel
from models.screen import BoolArray, Candidates, CellLineTable, FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class MeasuredObjective:
    """The objective where it is known.

    ``rows`` ``(q,)``: blocks, ascending, by their row among all measured ones, of which there are
    ``n_blocks``. ``group`` ``(q,)``: number of the candidate that each block belongs to: its own,
    or that of its pair. ``each`` ``(q, k)`` and ``each_sd`` ``(q, k)``: every objective (one, or
    those of a front) and the standard deviation of its noise, percentage points. ``reference``:
    that of a front. ``partial``: blocks of pairs that are not measured in all lines that are
    compared. ``elsewhere``: blocks in other lines.
    """

    rows: IntArray
    group: IntArray
    each: FloatArray
    each_sd: FloatArray
    n_blocks: int
    reference: tuple[float, ...] | None = None
    partial: int = 0
    elsewhere: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def value(self) -> FloatArray:
        """``(q,)`` one number per block: the objective, or the margin of a front (see
        :class:`models.objectives.posterior.FrontPosterior`)."""
        if self.reference is None:
            return self.each[:, 0]
        return np.asarray((self.each - np.array(self.reference)).min(axis=1, initial=np.inf))

    @cached_property
    def noise_sd(self) -> FloatArray:
        """``(q,)`` standard deviation of the noise of :attr:`value`."""
        return np.asarray(self.each_sd.max(axis=1, initial=0.0))

    @property
    def best(self) -> float | None:
        """The largest measured value, ``None`` before one is known."""
        return float(self.value.max()) if len(self) else None

    def is_hit(self, threshold: float) -> BoolArray:
        """``(q,)`` which blocks are hits."""
        return np.asarray(self.value > threshold)

    def hits(self, threshold: float) -> int:
        """Blocks that are hits."""
        return int(self.is_hit(threshold).sum())

    def within(self, kept: BoolArray) -> MeasuredObjective:
        """The same without the blocks that are not ``kept``, ``(n_blocks,)``. Of a pair that is
        compared between lines all blocks are kept or none."""
        out = np.unique(self.group[~kept[self.rows]])
        stay = ~np.isin(self.group, out)
        return replace(
            self,
            rows=self.rows[stay],
            group=self.group[stay],
            each=self.each[stay],
            each_sd=self.each_sd[stay],
        )

    def by_block(self) -> FloatArray:
        """``(n_blocks,)`` the value of each measured block, NaN where it is not known."""
        values = np.full(self.n_blocks, np.nan)
        values[self.rows] = self.value
        return values


def measured_scores(blocks: Blocks) -> MeasuredObjective:
    """The score of every block, for a campaign that wants nothing else."""
    rows = np.arange(len(blocks))
    return MeasuredObjective(rows, rows, blocks.score[:, None], blocks.noise_sd[:, None], len(rows))


def measure_objective(
    objective: Objective, blocks: Blocks, wells: NoiseModel, lines: CellLineTable
) -> MeasuredObjective:
    """The objective of all measured blocks for which it is known.

    ``wells``: noise of one well of the screen. Raises :class:`ScreenError` for a score that is
    not that of ``blocks``, a cell line outside of ``lines``, and a front without a reference.
    """
    reference = None
    if isinstance(objective, Pareto):
        reference = objective.reference
        if reference is None:
            raise ScreenError("a front needs a reference point before its hits can be counted")
    parts = objective.objectives if isinstance(objective, Pareto) else (objective,)
    known = _Known(blocks, wells)
    if candidate_unit(objective) != PAIR:
        rows = np.arange(len(blocks))
        each, sd = known.of(parts, blocks.candidates)
        return MeasuredObjective(rows, rows, each, sd, len(rows), reference)
    named = PairsInLines.of(blocks.candidates, lines_of(objective), lines)
    where = named.rows_in(blocks.candidates)
    whole = (where >= 0).all(axis=1)
    rows = where[whole]
    each, sd = known.of(parts, named.select(np.flatnonzero(whole)))
    group = np.repeat(np.arange(len(rows)), len(named.lines))
    order = np.argsort(rows.ravel(), kind="stable")
    return MeasuredObjective(
        rows=rows.ravel()[order],
        group=group[order],
        each=each[group[order]],
        each_sd=sd[group[order]],
        n_blocks=len(blocks),
        reference=reference,
        partial=int((where[~whole] >= 0).sum()),
        elsewhere=int((~np.isin(blocks.candidates.cell_line, named.lines)).sum()),
    )


def measured_efficacy(
    blocks: Blocks, wells: NoiseModel, summary: str
) -> tuple[FloatArray, FloatArray]:
    """``(m,)`` measured inhibition of each block and the standard deviation of its noise, points.

    ``summary``: "mean" over the measured dose pairs or the largest ("max"). Wells scatter as
    ``wells`` says, times ``blocks.noise.well_factor``, and share ``blocks.shared_sd``; compare
    :func:`models.objectives.efficacy.efficacy_noise_sd`.
    """
    m, owner = len(blocks), blocks.block
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    if summary == "mean":
        weight = 1.0 / blocks.n_dose_pairs[owner]
    else:
        least = np.minimum.reduceat(blocks.viability, first) if m else blocks.viability
        chosen = (blocks.viability == least[owner]).astype(np.float64)
        weight = chosen / np.bincount(owner, chosen, m)[owner]
    level = np.maximum(blocks.viability, 0.0)
    replicates = (blocks.n_wells / blocks.n_dose_pairs)[owner]
    if blocks.precision is not None:
        replicates = replicates * blocks.precision
    own = np.bincount(
        owner, (weight * blocks.noise.well_factor * wells.sd(level)) ** 2 / replicates, m
    )
    shared = np.bincount(owner, weight * level * blocks.shared_sd, m)
    inhibition = np.asarray(POINTS * (1.0 - np.bincount(owner, weight * blocks.viability, m)))
    return inhibition.astype(np.float64), np.asarray(POINTS * np.sqrt(own + shared**2))


@dataclass(frozen=True)
class _Known:
    """Measured quantities of blocks, in the place of draws: one world, the one we are in."""

    blocks: Blocks
    wells: NoiseModel

    def of(
        self, parts: tuple[Scalar, ...], at: Candidates | PairsInLines
    ) -> tuple[FloatArray, FloatArray]:
        """``(len(at), k)`` each objective and the standard deviation of its noise."""
        rows = self._rows(at.blocks() if isinstance(at, PairsInLines) else at)
        values, sds = [], []
        for part in parts:
            noise = {q: self._quantity(q)[1][rows] for q in quantities_of(part)}
            if isinstance(at, PairsInLines):
                noise = {q: at.split(sd) for q, sd in noise.items()}
            values.append(evaluate(part, self, at, 1, 0)[0])
            sds.append(objective_noise_sd(part, noise, at))
        return np.stack(values, axis=1), np.stack(sds, axis=1)

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        """``(n, len(at))``, the same in each row; see
        :class:`models.objectives.efficacy.BlockFunctions`."""
        values = self._quantity(quantity)[0][self._rows(at)]
        return np.broadcast_to(values, (n, len(at)))

    def _quantity(self, quantity: Quantity) -> tuple[FloatArray, FloatArray]:
        if isinstance(quantity, Score):
            if quantity.score != self.blocks.score_name:
                raise ScreenError(
                    f"blocks were scored by {self.blocks.score_name}, not by {quantity.score}"
                )
            return self.blocks.score, self.blocks.noise_sd
        return measured_efficacy(self.blocks, self.wells, quantity.summary)

    def _rows(self, at: Candidates) -> IntArray:
        """Row of each block, all of which are measured."""
        own = self.blocks.candidates
        n = 1 + int(max(own.compounds.max(initial=0), at.compounds.max(initial=0)))
        keys = own.keys(n)
        order = np.argsort(keys, kind="stable")
        return order[np.searchsorted(keys, at.keys(n), sorter=order)]
