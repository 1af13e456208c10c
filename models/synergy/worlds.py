"""Whole functions drawn from a :class:`~models.synergy.network.Network`, on any candidates.

What depends on one compound in one cell line (its encoding h and all that is linear in it) is
computed once for each that a call names; what is left for each candidate is

    g = head silu(t_a + t_b + mix p) + w_p p + e_a + e_b + effect_ab,    p = v_a * v_b

with t = U h / sqrt 2 + bias / 2 and e the sum of skip, effects and biases (what the pair has once,
either compound brings the half of). It is done in tiles that stay in a core's cache: worlds in
the outer loop, candidates in the inner one. Candidates that share compounds and cell lines share
that work, so that large pools should come in the order of :func:`nearby`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.bayes.layers import LinearDraws, VariationalEmbedding, VariationalLinear
from models.screen import Candidates, IntArray
from models.synergy.inputs import InputTables
from models.synergy.network import HALF, PAIR_HIDDEN, PRIOR, RANK, SLOPE, Effects, Network
from models.synergy.warp import LIMIT, Warp

CPU_TILE = 1 << 14
"""Candidates times worlds in the inner loop: 16 float32 each fill a core's cache of 1 MB."""
ACCELERATOR_TILE = 1 << 24
TILE_WORLDS = 16
TABLE_ELEMENTS = 1 << 18
"""Worlds times (compound, cell line) encoded at once on a CPU."""
NORMALS_AT_ONCE = 1 << 15
NEARBY_LINES = 32

# The constants of models.pharmacology.random_numbers as signed words.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_A = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_B = 0x94D049BB133111EB - (1 << 64)


class Worlds:
    """``n`` functions drawn once from a network; evaluates any candidates.

    The functions follow from ``seed`` alone; how candidates are split into calls or ordered
    changes values by rounding only. Scores are ``centre + spread * f``. Safe to call from several
    threads.
    """

    def __init__(
        self,
        network: Network,
        tables: InputTables,
        effects: Effects,
        n: int,
        seed: int,
        *,
        centre: float = 0.0,
        spread: float = 1.0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.n, self.seed, self.tables = n, seed, tables
        self.bend = _Bend.of(network.warp, centre, spread)
        self.linear: dict[str, LinearDraws] = {}
        self.embedded: dict[str, Tensor] = {}
        for name, layer in network.named_children():
            if isinstance(layer, VariationalLinear):
                self.linear[name] = layer.sample(n, generator)
            elif isinstance(layer, VariationalEmbedding):
                self.embedded[name] = layer.sample(n, generator)
        self.device = tables.compounds.device
        self.singles = torch.as_tensor(effects.singles, device=self.device)
        self.pairs = torch.as_tensor(effects.pairs, device=self.device)
        self._compounds = self.linear["fingerprint"](tables.compounds)
        self._compounds += self.embedded["compound"]
        self._contexts = self.linear["features"](tables.cell_lines)
        self._contexts += self.embedded["cell_line"]

    @torch.no_grad()
    def __call__(self, candidates: Candidates) -> Tensor:
        """``(n, rows)`` scores."""
        columns = (candidates.compounds[:, 0], candidates.compounds[:, 1], candidates.cell_line)
        return self.at(
            *(torch.as_tensor(np.ascontiguousarray(c), device=self.device) for c in columns)
        )

    @torch.no_grad()
    def at(self, first: Tensor, second: Tensor, cell_line: Tensor) -> Tensor:
        """``(n, rows)`` scores of candidates as ``(rows,)`` int64 on the device."""
        lines, compounds = self.tables.n_cell_lines, self.tables.n_compounds
        singles, where = torch.unique(
            torch.stack([first, second]) * lines + cell_line, return_inverse=True
        )
        keys = torch.minimum(first, second) * compounds + torch.maximum(first, second)
        pairs, which = torch.unique(keys, return_inverse=True)
        own = self._lookup("effect_single", 1, self.singles, singles)
        joint = self._lookup("effect_pair", 2, self.pairs, pairs).mul_(self.bend.bend)
        score = torch.empty((self.n, len(keys)), device=self.device)
        tile, worlds_at_once = self._tile(len(singles))
        rows_at_once = max(1, tile // worlds_at_once)
        scratch = _Scratch(worlds_at_once * min(rows_at_once, len(keys)), self.device)
        for start in range(0, self.n, worlds_at_once):
            worlds = slice(start, min(start + worlds_at_once, self.n))
            table = self._table(worlds, singles, own)
            effect, into = joint[worlds], score[worlds]
            for row in range(0, len(keys), rows_at_once):
                rows = slice(row, row + rows_at_once)
                self._contract(table, scratch, where[:, rows], effect, which[rows], into[:, rows])
        return score

    def _tile(self, singles: int) -> tuple[int, int]:
        """Elements of the inner loop and worlds of the outer one."""
        if self.device.type != "cpu":
            return ACCELERATOR_TILE, self.n
        worlds = min(self.n, TILE_WORLDS, max(1, TABLE_ELEMENTS // max(singles, 1)))
        return CPU_TILE, worlds

    def _table(self, worlds: slice, singles: Tensor, effect: Tensor) -> _Table:
        """All that (compound, cell line) ``singles`` ``(u,)`` bring to their pairs."""
        lines = self.tables.n_cell_lines
        compound, line = singles.div(lines, rounding_mode="floor"), singles.remainder(lines)
        layer = {name: _some(draws, worlds) for name, draws in self.linear.items()}
        hidden = layer["curve"](self.tables.curves[singles])
        hidden += self._compounds[worlds].index_select(1, compound)
        hidden += self._contexts[worlds].index_select(1, line)
        functional.silu(hidden, inplace=True)
        level = torch.bmm(SLOPE * HALF * layer["skip"].weight, hidden.transpose(1, 2))[:, 0]
        level += effect[worlds]
        level += self.embedded["main_compound"][worlds, :, 0].index_select(1, compound)
        # What the pair has once, either compound brings the half of.
        level += 0.5 * self.embedded["main_cell_line"][worlds, :, 0].index_select(1, line)
        level += 0.5 * _bias(layer["head"])
        bend = self.bend.bend
        return _Table(
            total=_linear(hidden, SLOPE * HALF * layer["sum"].weight, 0.5 * _bias(layer["mix"])),
            form=_linear(hidden, SLOPE * layer["product"].weight, _bias(layer["product"])),
            level=level.mul_(bend).add_(0.5 * self.bend.skew),
            mix=layer["mix"].weight.transpose(1, 2),
            head=SLOPE * bend * layer["head"].weight,
            bilinear=bend * layer["bilinear"].weight,
        )

    def _contract(
        self,
        table: _Table,
        scratch: _Scratch,
        where: Tensor,
        effect: Tensor,
        which: Tensor,
        into: Tensor,
    ) -> None:
        """``into`` ``(worlds, rows)``: scores of pairs at ``where`` ``(2, rows)`` of the table.

        Only sums and products of what the two compounds bring: they commute to the bit.
        """
        a, b = where
        product = scratch.pick(0, table.form, a).mul_(scratch.pick(1, table.form, b))
        mixed = scratch.pick(1, table.total, a).add_(scratch.pick(2, table.total, b))
        mixed.baddbmm_(product, table.mix)
        functional.silu(mixed, inplace=True)
        # The transposed product is five times faster than one with a single column.
        score = scratch.pick(2, table.level, a).add_(scratch.pick(3, table.level, b))
        score += scratch.pick(3, effect, which)
        score = score[:, None]
        score.baddbmm_(table.head, mixed.transpose(1, 2))
        score.baddbmm_(table.bilinear, product.transpose(1, 2))
        self.bend.finish(score[:, 0], into)

    def _lookup(self, name: str, kind: int, known: Tensor, keys: Tensor) -> Tensor:
        """``(n, len(keys))``: learned effects where known, prior draws by address elsewhere."""
        result = torch.empty((self.n, len(keys)), device=self.device)
        new = torch.arange(len(keys), device=self.device)
        if len(known):
            position = torch.searchsorted(known, keys).clamp_(max=len(known) - 1)
            torch.index_select(self.embedded[name][..., 0], 1, position, out=result)
            new = new[known[position] != keys]
        at_once = len(new) if self.device.type != "cpu" else NORMALS_AT_ONCE // self.n
        for part in torch.split(new, max(1, at_once)):
            drawn = PRIOR[name] * prior_normals(self.seed, kind, keys[part], self.n)
            result.index_copy_(1, part, drawn)
        return result


@dataclass(frozen=True)
class _Table:
    """What pairs are made of in some worlds: ``total`` ``(w, u, 16)``, ``form`` ``(w, u, 8)``,
    ``level`` ``(w, u)`` for ``u`` compounds in cell lines; weights ``mix`` ``(w, 8, 16)``,
    ``head`` ``(w, 1, 16)`` and ``bilinear`` ``(w, 1, 8)``."""

    total: Tensor
    form: Tensor
    level: Tensor
    mix: Tensor
    head: Tensor
    bilinear: Tensor


@dataclass(frozen=True)
class _Bend:
    """The last step of the network, :class:`models.synergy.warp.Warp`, for k g + d in place of g:
    what makes g brings the factor k and the summand d along."""

    bend: float
    skew: float
    centre: float
    spread: float

    @classmethod
    def of(cls, warp: Warp, centre: float, spread: float) -> _Bend:
        """That of ``warp``, whose outcome is standardised by ``centre`` and ``spread``."""
        return cls(math.exp(float(warp.log_bend)), float(warp.skew), centre, spread)

    def finish(self, at: Tensor, into: Tensor) -> None:
        """centre + spread (sinh(at) - sinh d) / (k cosh d), straight beyond ``LIMIT``; ``at`` is
        lost."""
        inside = at.clamp(-LIMIT, LIMIT)
        beyond = at.sub_(inside)
        bent = inside.sinh_().add_(beyond, alpha=math.cosh(LIMIT))
        slope = self.spread / (self.bend * math.cosh(self.skew))
        start = torch.tensor(self.centre - slope * math.sinh(self.skew), device=at.device)
        torch.add(start, bent, alpha=slope, out=into)


class _Scratch:
    """Memory used again for every tile: fresh pages cost more than the arithmetic on them."""

    def __init__(self, elements: int, device: torch.device) -> None:
        widths = (RANK, PAIR_HIDDEN, PAIR_HIDDEN, 1)
        self.memory = [torch.empty(elements * width, device=device) for width in widths]

    def pick(self, slot: int, table: Tensor, at: Tensor) -> Tensor:
        """``table[:, at]`` in the memory of a slot, which loses what it held."""
        shape = (len(table), len(at), *table.shape[2:])
        out = self.memory[slot][: math.prod(shape)].view(shape)
        return torch.index_select(table, 1, at, out=out)


def nearby(candidates: Candidates, rows: int) -> IntArray:
    """``(m,)`` an order in which every ``rows`` candidates share compounds and cell lines.

    The pool is cut into boxes of first compound x second compound x cell line that hold about
    ``rows`` candidates each; in a box cell lines follow each other.
    """
    if not len(candidates):
        return np.empty(0, np.int64)
    compounds, line = _ranks(candidates.compounds), _ranks(candidates.cell_line)
    n, n_lines = int(compounds.max()) + 1, int(line.max()) + 1
    depth = math.ceil(n_lines / math.ceil(n_lines / NEARBY_LINES))
    filled = min(1.0, len(line) / max(1.0, n_lines * n * (n - 1) / 2))
    side = max(1, math.isqrt(int(rows / (depth * filled))))
    (box_a, in_a), (box_b, in_b) = (np.divmod(column, side) for column in compounds.T)
    boxes = math.ceil(n / side)
    box = (line // depth * boxes + box_a) * boxes + box_b
    key = (box * depth + line % depth) * side * side + in_a * side + in_b
    return np.argsort(key, kind="stable").astype(np.int64)


def _ranks(column: IntArray) -> IntArray:
    """Positions among the numbers that occur."""
    return np.asarray(np.cumsum(np.bincount(column.ravel()) > 0) - 1)[column]


def prior_normals(seed: int, kind: int, keys: Tensor, n: int) -> Tensor:
    """``(n, len(keys))`` float32 standard normals, each a function of its own address only.

    The numbers of ``normals(seed, combine(kind, keys), n, 1)``
    (:mod:`models.pharmacology.random_numbers`) on the device of ``keys``, int64, whose arithmetic
    is that of unsigned words modulo 2^64.
    """
    kinds, seeds = (_mixed(torch.tensor([value], device=keys.device)) for value in (kind, seed))
    base = _mixed(_mixed(keys ^ kinds) ^ seeds)
    counter = torch.arange(n, device=keys.device) * _GOLDEN
    word = _mixed(base + counter[:, None])
    radius = _uniform(word).log_().mul_(-2.0).sqrt_()
    angle = _uniform(_mixed(word.bitwise_not_())).mul_(2.0 * math.pi)
    return radius.mul_(angle.cos_()).float()


def _mixed(words: Tensor) -> Tensor:
    """The finaliser of SplitMix64, as :func:`models.pharmacology.random_numbers.mix`."""
    z = words + _GOLDEN
    z ^= _shifted(z, 30)
    z *= _MIX_A
    z ^= _shifted(z, 27)
    z *= _MIX_B
    return z.bitwise_xor_(_shifted(z, 31))


def _shifted(words: Tensor, by: int) -> Tensor:
    """Shifted right with zeros from the left, as if unsigned."""
    return (words >> by).bitwise_and_((1 << (64 - by)) - 1)


def _uniform(words: Tensor) -> Tensor:
    """Words to (0, 1), both ends excluded, 53 bits, float64."""
    return _shifted(words, 11).double().add_(0.5).mul_(2.0**-53)


def _some(draws: LinearDraws, worlds: slice) -> LinearDraws:
    return LinearDraws(draws.weight[worlds], None if draws.bias is None else draws.bias[worlds])


def _bias(draws: LinearDraws) -> Tensor:
    if draws.bias is None:
        raise TypeError("this layer has no bias")
    return draws.bias


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``(w, u, in)`` through ``(w, out, in)`` and ``(w, out)`` to ``(w, u, out)``."""
    return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
