"""Pairs across cell lines: the candidates of an objective that compares lines, and their blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import Candidates, CellLineTable, FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class PairsInLines:
    """``compounds``: ``(p, 2)`` distinct pairs, ascending in each row; ``lines``: ``(L,)`` indices
    of distinct cell lines, called ``line_ids``. Candidate ``i`` is pair ``i`` in all lines."""

    compounds: IntArray
    lines: IntArray
    line_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.lines) != len(self.line_ids):
            raise ScreenError(f"{len(self.lines)} cell lines with {len(self.line_ids)} names")
        if not len(self.lines) or len(np.unique(self.lines)) < len(self.lines):
            raise ScreenError("pairs across cell lines need one or more distinct lines")
        if len(np.unique(self.compounds, axis=0)) != len(self.compounds):
            raise ScreenError("a pair of compounds is listed twice")

    @classmethod
    def of(cls, pool: Candidates, line_ids: tuple[str, ...], table: CellLineTable) -> PairsInLines:
        """Every pair of the pool, in any of its cell lines, by first, then second compound.

        Raises :class:`ScreenError` for a cell line that ``table`` lacks.
        """
        position = {name: at for at, name in enumerate(table.ids)}
        unknown = [name for name in line_ids if name not in position]
        if unknown:
            raise ScreenError(f"the objective names cell lines not in the screen: {unknown}")
        lines = np.array([position[name] for name in line_ids], dtype=np.int64)
        return cls(np.unique(pool.compounds, axis=0), lines, line_ids)

    def __len__(self) -> int:
        return len(self.compounds)

    def select(self, rows: IntArray) -> PairsInLines:
        """The pairs at ``rows``, in the same lines."""
        return PairsInLines(self.compounds[rows], self.lines, self.line_ids)

    def stand_ins(self) -> Candidates:
        """``(p,)`` each pair's block in the first line, to stand for the pair in a pool."""
        return self.blocks_in(np.zeros(1, np.int64))

    def blocks(self) -> Candidates:
        """``(p * L,)`` blocks, all lines of a pair together, in the order of ``lines``."""
        return self.blocks_in(np.arange(len(self.lines)))

    def blocks_in(self, columns: IntArray) -> Candidates:
        """:meth:`blocks` in the lines at ``columns`` (positions in ``lines``)."""
        pairs = np.repeat(self.compounds, len(columns), axis=0)
        return Candidates(pairs, np.tile(self.lines[columns], len(self)))

    def split(self, values: FloatArray) -> FloatArray:
        """Values per block ``(..., p * L)`` as ``(..., p, L)``."""
        return values.reshape(*values.shape[:-1], len(self), len(self.lines))

    def rows_in(self, pool: Candidates) -> IntArray:
        """``(p, L)`` row of the pool that holds each pair's block in each line, -1 for none."""
        n = 1 + int(max(self.compounds.max(initial=0), pool.compounds.max(initial=0)))
        keys, wanted = pool.keys(n), self.blocks().keys(n)
        order = np.argsort(keys, kind="stable")
        return self._found(keys, order, wanted).reshape(len(self), len(self.lines))

    def pairs_of(self, blocks: Candidates) -> IntArray:
        """``(m,)`` candidate that each block belongs to, -1 where pair or line is not here."""
        n = 1 + int(max(self.compounds.max(initial=0), blocks.compounds.max(initial=0)))
        keys = self.compounds[:, 0] * n + self.compounds[:, 1]
        wanted = blocks.compounds[:, 0] * n + blocks.compounds[:, 1]
        at = self._found(keys, np.argsort(keys, kind="stable"), wanted)
        return np.where(np.isin(blocks.cell_line, self.lines), at, -1)

    @staticmethod
    def _found(keys: IntArray, order: IntArray, wanted: IntArray) -> IntArray:
        """Position of each wanted key in ``keys``, -1 where it is not; ``order`` sorts ``keys``."""
        if not len(keys):
            return np.full(len(wanted), -1, np.int64)
        at = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        return np.where(keys[order][at] == wanted, order[at], -1).astype(np.int64)
