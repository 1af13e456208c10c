"""Worlds: what a finished fit of ``hierarchical_bliss`` predicts from.

A world is one state of the chain. Draw ``i`` under a seed takes the state at place ``i`` of a
permutation of the states that the seed fixes. What that state does not hold, the curves of
compounds in cell lines without wells and the interactions of pairs without wells, is drawn from
the state's own priors with normal numbers addressed by name: the seed, the compounds and the cell
line, and ``i``. So one draw is one function, whatever is asked first or together, and draws
beyond the number of states differ in all that was not measured.

Unmeasured pairs take the horseshoe with its slab as in Piironen & Vehtari, Electron J Stat 11
(2017); unmeasured blocks likewise the Student-t with 4 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.special
import torch
from torch import Tensor

from models.pharmacology.random_numbers import combine, normals
from models.screen import ABSENT, FloatArray, IntArray, ScreenError
from models.synergy.response.chain import BLOCK_SLAB, PAIR_SLAB
from models.synergy.response.surface import PAIR_SLOTS, effect_and_gate
from models.synergy.response.table import DoseScale
from models.synergy.response.treatments import Treatments, distinct

ELEMENTS_PER_BLOCK = 1 << 21
"""Treatments times draws evaluated at once: bounds memory to some tens of megabytes."""

_CURVE, _PAIR, _BLOCK, _UNKNOWN = 1, 2, 3, 4


@dataclass(frozen=True)
class Worlds:
    """States ``s`` of a chain, last axis; see :meth:`models.synergy.response.chain.Chain.snapshot`.

    ``states``: float32 arrays ``(..., s)``. ``cells``: ``(c, 2)`` compound, line of ``theta``.
    ``pairs``: ``(q, 2)`` compounds; ``blocks``: ``(b, 2)`` position in ``pairs``, line.
    """

    states: Mapping[str, np.ndarray]
    cells: IntArray
    pairs: IntArray
    blocks: IntArray
    scale: DoseScale

    def __len__(self) -> int:
        return int(self.states["gamma"].shape[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_compounds, n_cell_lines)``."""
        return self.states["mean"].shape[0], self.states["factor"].shape[0]

    @cached_property
    def _cell_at(self) -> IntArray:
        table = np.full(self.shape, -1, np.int64)
        table[self.cells[:, 0], self.cells[:, 1]] = np.arange(len(self.cells))
        return table

    @cached_property
    def _pair_keys(self) -> IntArray:
        return np.asarray(self.pairs[:, 0] * self.shape[0] + self.pairs[:, 1], dtype=np.int64)

    @cached_property
    def _block_keys(self) -> IntArray:
        return np.asarray(self.blocks[:, 0] * self.shape[1] + self.blocks[:, 1], dtype=np.int64)

    def draws(
        self, treatments: Treatments, n: int, seed: int, *, fresh_blocks: bool = False
    ) -> Tensor:
        """``(n, m)`` float32 viabilities. ``fresh_blocks``: draw the own term of every block from
        its prior, as if the block had not been measured."""
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        result = torch.empty((n, len(treatments)), dtype=torch.float32)
        size = max(1, ELEMENTS_PER_BLOCK // n)
        for start in range(0, len(treatments), size):
            rows = slice(start, start + size)
            _, joint = self.surface(treatments.select(rows), n, seed, fresh_blocks=fresh_blocks)
            result[:, rows] = joint.T
        return result

    def surface(
        self, treatments: Treatments, n: int, seed: int, *, fresh_blocks: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """Single viabilities of each slot and the joint one, ``(m, n)`` each."""
        k = treatments.compounds.shape[1]
        view = _View(self, n, seed)
        effects, gates = view.singles(treatments)
        joint = torch.stack(effects).prod(0)
        for i, j in PAIR_SLOTS[k]:
            rows = np.flatnonzero(treatments.compounds[:, j] != ABSENT)
            if not len(rows):
                continue
            pair = treatments.compounds[rows][:, [i, j]]
            kappa, where = view.interactions(pair, treatments.cell_line[rows], fresh_blocks)
            at = torch.from_numpy(rows)
            strength = kappa.index_select(0, torch.from_numpy(where))
            both = gates[i].index_select(0, at) * gates[j].index_select(0, at)
            joint[at] = joint[at] * torch.exp(-strength * both)
        return effects, joint


@dataclass(frozen=True)
class _View:
    """``n`` draws of the worlds under one seed."""

    worlds: Worlds
    n: int
    seed: int

    @cached_property
    def place(self) -> IntArray:
        """``(n,)`` state of each draw."""
        order = np.random.default_rng([self.seed & 0xFFFFFFFF, 7]).permutation(len(self.worlds))
        return np.asarray(order[np.arange(self.n) % len(order)], dtype=np.int64)

    def state(self, name: str, rows: IntArray | slice = slice(None)) -> Tensor:
        """``(rows, ..., n)`` float32."""
        return torch.from_numpy(np.take(self.worlds.states[name][rows], self.place, axis=-1))

    def normals(self, kind: int, keys: tuple[IntArray, ...], components: int) -> FloatArray:
        """``(rows, components, n)`` standard normals addressed by kind and keys."""
        address = combine(np.full(len(keys[0]), kind, np.int64), *keys)
        return normals(self.seed, address, self.n, components).transpose(1, 2, 0)

    def singles(self, treatments: Treatments) -> tuple[list[Tensor], list[Tensor]]:
        """Effects and gates of each slot, ``(m, n)``; 1 and 0 where it is empty."""
        scale, shape = self.worlds.scale, treatments.compounds.shape
        present = (treatments.compounds != ABSENT).ravel()
        compound = treatments.compounds.ravel()[present]
        line = np.repeat(treatments.cell_line, shape[1])[present]
        x = np.log(treatments.doses_um.ravel()[present]) - scale.centre[compound]
        (compound, line, x), at_dose = distinct(compound, line, x)
        (c, cell_line), at_cell = distinct(compound, line)
        theta = self.curves(c, cell_line)[torch.from_numpy(at_cell)]
        relative = torch.from_numpy(x.astype(np.float32))[:, None] - self._unknown(compound)
        columns = torch.stack([theta[:, k] for k in range(3)], dim=-1)
        effect, gate = effect_and_gate(columns, relative, self.state("gamma"))
        position = np.full(present.shape, len(x), np.int64)
        position[present] = at_dose
        position = position.reshape(shape)
        effect = torch.cat([effect, torch.ones((1, self.n))])
        gate = torch.cat([gate, torch.zeros((1, self.n))])
        rows = [torch.from_numpy(np.ascontiguousarray(position[:, k])) for k in range(shape[1])]
        return [effect.index_select(0, r) for r in rows], [gate.index_select(0, r) for r in rows]

    def _unknown(self, compound: IntArray) -> Tensor:
        """``(rows, n)`` how far the middle of a compound without wells is from its guess."""
        away = torch.zeros((len(compound), 1))
        unknown = ~self.worlds.scale.known[compound]
        if unknown.any():
            away = away.repeat(1, self.n)
            z = self.normals(_UNKNOWN, (compound[unknown],), 1)[:, 0]
            away[torch.from_numpy(unknown)] = torch.from_numpy(
                (self.worlds.scale.spread * z).astype(np.float32)
            )
        return away

    def curves(self, compound: IntArray, line: IntArray) -> Tensor:
        """``(rows, 3, n)`` unknowns of curves."""
        at = self.worlds._cell_at[compound, line]
        measured = at >= 0
        theta = torch.empty((len(at), 3, self.n))
        theta[torch.from_numpy(measured)] = self.state("theta", at[measured])
        if not measured.all():
            c, own_line = compound[~measured], line[~measured]
            load, factor = self.state("load", c), self.state("factor", own_line)
            mean = self.state("mean", c) + (load * factor[:, None]).sum(2)
            z = torch.from_numpy(self.normals(_CURVE, (c, own_line), 3).astype(np.float32))
            theta[torch.from_numpy(~measured)] = mean + self.state("scatter", c).sqrt() * z
        return theta

    def interactions(
        self, pair: IntArray, line: IntArray, fresh_blocks: bool
    ) -> tuple[Tensor, IntArray]:
        """Strengths of the distinct (pair, line), ``(b, n)``, and the position of each row."""
        (first, second, line), where = distinct(pair[:, 0], pair[:, 1], line)
        (p_first, p_second), at_pair = distinct(first, second)
        own, number = self._pairs(p_first, p_second)
        strength = own.index_select(0, torch.from_numpy(at_pair))
        ends, place = distinct(np.concatenate([first, second]))
        factors = self.state("compound", ends[0])
        one, two = (torch.from_numpy(np.ascontiguousarray(p)) for p in np.split(place, 2))
        (lines,), at_line = distinct(line)
        weights, at_line_ = self.state("line", lines), torch.from_numpy(at_line)
        size, k = factors.shape[1], factors.shape[1]
        for r in range(size):
            a = [factors[:, r].index_select(0, end) for end in (one, two)]
            strength += weights[:, r].index_select(0, at_line_) * (a[0] * a[1])
            for t in range(r + 1, size):
                b = [factors[:, t].index_select(0, end) for end in (one, two)]
                feature = a[0] * b[1] + b[0] * a[1]
                strength += weights[:, k].index_select(0, at_line_) * feature
                k += 1
        strength += self._blocks(first, second, line, number[at_pair], fresh_blocks)
        return strength, where

    def _pairs(self, first: IntArray, second: IntArray) -> tuple[Tensor, IntArray]:
        """``(q, n)`` own strengths of pairs, and their places among the measured (-1: none)."""
        keys = self.worlds._pair_keys
        number = _find(keys, first * self.worlds.shape[0] + second)
        own = torch.empty((len(first), self.n))
        known = number >= 0
        own[torch.from_numpy(known)] = self.state("pair", number[known])
        if not known.all():
            z = self.normals(_PAIR, (first[~known], second[~known]), 3)
            overall = self.state("pair_scale").numpy()[0].astype(np.float64)
            local = np.square(z[:, 1] / z[:, 2]) * overall**2
            drawn = z[:, 0] * np.sqrt(local / (1.0 + local / PAIR_SLAB**2))
            own[torch.from_numpy(~known)] = torch.from_numpy(drawn.astype(np.float32))
        return own, number

    def _blocks(
        self, first: IntArray, second: IntArray, line: IntArray, number: IntArray, fresh: bool
    ) -> Tensor:
        """``(b, n)`` own strengths of blocks."""
        keys = number * self.worlds.shape[1] + line
        at = np.where(number >= 0, _find(self.worlds._block_keys, keys), -1)
        known = (at >= 0) & (not fresh)
        own = torch.empty((len(line), self.n))
        own[torch.from_numpy(known)] = self.state("block", at[known])
        if not known.all():
            z = self.normals(_BLOCK, (first[~known], second[~known], line[~known]), 3)
            # The sum of two exponentials is a gamma of shape 2: half the degrees of freedom.
            spread = 2.0 / -scipy.special.log_ndtr(z[:, 1:]).sum(axis=1)
            spread = spread * np.square(self.state("block_scale").numpy()[0].astype(np.float64))
            drawn = z[:, 0] * np.sqrt(spread / (1.0 + spread / BLOCK_SLAB**2))
            own[torch.from_numpy(~known)] = torch.from_numpy(drawn.astype(np.float32))
        return own


def _find(keys: IntArray, wanted: IntArray) -> IntArray:
    """Position of each wanted key among ascending ``keys``, -1 where it is not there."""
    at = np.searchsorted(keys, wanted)
    inside = np.minimum(at, max(len(keys) - 1, 0))
    found = keys[inside] == wanted if len(keys) else np.zeros(len(wanted), bool)
    return np.where(found, inside, -1)
