"""The kernel of a Gaussian process over blocks: pairs of compounds in cell lines.

A *cell* u = (a, l) is a compound in a line, v(u) its mean fitted viability. Writing R for a radial
kernel on single-agent responses (one length scale for each feature), C for kernels of compounds
(identity, Tanimoto similarity of fingerprints, of target sets, profile: in which lines a compound
kills more than others do) and H for kernels of lines (identity, expression, profile of
responses),

    k((a, b, l), (c, d, m)) =
          line effects        H(l, m)
        + additive            S(al, cm) + S(bl, dm) + S(al, dm) + S(bl, cm),
                              S = sum over R^0/1 x C x H of weight x product
        + curve shifts        1[al = cm] v(bl) v(dm) + ...:  where a compound kills more than its
                              curve says, Bliss moves by that times what the other leaves
        + response product    M(al, cm) M(bl, dm) + M(al, dm) M(bl, cm),   M = C' R
        + pair product        [P(a, c) P(b, d) + P(a, d) P(b, c)] H'(l, m),   P = C'',
                              H' = H + learned factors of lines
        + plates              [I(a, c) G(b, d) + G(a, c) I(b, d) + ...] (1 or I(l, m)),
                              G = groups of compounds pipetted together (:mod:`.layout`)
        + curve errors        d d',  d = how far Bliss would move if single wells replaced curves
        + modules             what other data say of compounds and pairs (:mod:`.module_terms`)

Swapping the compounds of a block exchanges two terms of a sum: the value does not change. Every
weight and length scale is learned by marginal likelihood. Sources: Rasmussen & Williams (2006)
chapter 4 and 5; symmetrised products as in pairwise kernels (Ben-Hur & Noble 2005; Tanimoto
kernel: Ralaivola et al. 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from models.pharmacology.single_agents import POSITIONS
from models.screen import BoolArray, Candidates, FloatArray
from models.synergy.gaussian_process import module_terms
from models.synergy.gaussian_process.indexing import gather, pick_columns, symmetric_product
from models.synergy.gaussian_process.module_terms import ModuleTables
from models.synergy.inputs import Features

COMPOUND_KERNELS = ("one", "identity", "fingerprint", "target", "profile")
LINE_KERNELS = ("one", "identity", "expression", "profile")
ADDITIVE_TERMS = tuple(
    (curve, compound, line)
    for curve in (False, True)
    for compound in range(len(COMPOUND_KERNELS))
    for line in range(len(LINE_KERNELS))
    if curve or compound
)
"""(whether R is a factor, compound kernel, line kernel) of each additive term."""
RANK = 6
"""Learned factors of each line."""
FACTOR_START = 0.35
START = {
    "length": 2.0,
    "line": 0.005,
    "additive": 0.003,
    "additive_response": 0.15,
    "shift": 0.02,
    "response": 0.12,
    "pair": 0.11,
    "pair_line": 0.09,
    "layout": 0.03,
    "curve": 0.025,
}
"""Where learning starts, for scores of unit variance: near what a screen of 38 compounds in 33
lines taught, so that a few dozen measurements do not have to teach it again."""
SMALL = 1e-6


@dataclass(frozen=True)
class Tables:
    """What the kernel reads, float32.

    ``compounds``: ``(5, n, n)`` and ``lines``: ``(4, l, l)`` kernels in the order of
    ``COMPOUND_KERNELS`` and ``LINE_KERNELS``. ``responses``: ``(n * l, f)`` standardised
    single-agent features of each cell. ``level``, ``departure``: ``(n * l,)`` mean fitted
    viability and mean departure from it. ``groups``: ``(n, n)`` from
    :func:`models.synergy.gaussian_process.layout.compound_groups`. ``modules``: those with skill.
    """

    compounds: Tensor
    lines: Tensor
    responses: Tensor
    level: Tensor
    departure: Tensor
    groups: Tensor
    modules: tuple[ModuleTables, ...] = field(default=(), kw_only=True)

    @classmethod
    def of(cls, features: Features, groups: FloatArray, device: torch.device) -> Tables:
        """From the inputs of a screen; what is absent contributes nothing."""
        n, m = len(features.compounds), len(features.cell_lines)
        table = _response_table(features)
        responses = features.responses
        mean = np.zeros((n * m, 2))
        if responses is not None:
            flat = responses.reshape(n * m, 2, POSITIONS)
            mean = flat.mean(axis=2)
        values = (
            _compound_kernels(features, mean[:, 0].reshape(n, m)),
            _line_kernels(features, table.reshape(n, m, table.shape[1])),
            table,
            mean[:, 0],
            mean[:, 1],
            groups,
        )
        tensors = (torch.tensor(v, dtype=torch.float32, device=device) for v in values)
        used = (module for module in features.modules if module.skill > 0)
        return cls(*tensors, modules=tuple(ModuleTables.of(module, device) for module in used))

    @property
    def n_cell_lines(self) -> int:
        """Lines of the screen."""
        return self.lines.shape[1]

    @property
    def n_compounds(self) -> int:
        """Compounds of the screen."""
        return self.compounds.shape[1]


@dataclass(frozen=True)
class Rows:
    """Blocks as indices ``(m,)``: compounds, line, and the cells of both."""

    a: Tensor
    b: Tensor
    line: Tensor
    cell_a: Tensor
    cell_b: Tensor

    @classmethod
    def of(cls, candidates: Candidates, n_cell_lines: int, device: torch.device) -> Rows:
        """Of any candidates."""
        a, b = candidates.compounds.T
        line = candidates.cell_line
        columns = (a, b, line, a * n_cell_lines + line, b * n_cell_lines + line)
        return cls(*(torch.as_tensor(np.ascontiguousarray(c), device=device) for c in columns))

    def __len__(self) -> int:
        return len(self.a)

    def select(self, rows: Tensor | slice) -> Rows:
        """The blocks at ``rows``."""
        return Rows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class Kernel(nn.Module):
    """Weights (logarithms) and length scales; calling it gives the covariance matrix."""

    line_spare: Tensor
    log_modules: Tensor | None

    def __init__(self, tables: Tables, generator: torch.Generator) -> None:
        super().__init__()
        features = tables.responses.shape[1]
        additive = _start("additive", len(ADDITIVE_TERMS))
        additive[ADDITIVE_TERMS.index((True, 0, 0))] = math.log(START["additive_response"])
        self.log_length = nn.Parameter(_start("length", features))
        self.log_line = nn.Parameter(_start("line", len(LINE_KERNELS)))
        self.log_additive = nn.Parameter(additive)
        self.log_shift = nn.Parameter(_start("shift", 1))
        self.log_response = nn.Parameter(_start("response", len(COMPOUND_KERNELS)))
        self.log_pair = nn.Parameter(_start("pair", len(COMPOUND_KERNELS) - 1))
        self.log_pair_line = nn.Parameter(_start("pair_line", len(LINE_KERNELS)))
        self.log_layout = nn.Parameter(_start("layout", 2))
        self.log_curve = nn.Parameter(_start("curve", 1))
        lines = tables.n_cell_lines
        start = FACTOR_START * torch.randn(lines, RANK, generator=generator)
        self.line_factors = nn.Parameter(start.to(tables.lines.device))
        self.register_buffer("line_spare", torch.zeros(lines))
        modules = module_terms.start(len(tables.modules))
        self.register_parameter("log_modules", nn.Parameter(modules) if len(modules) else None)

    def __call__(self, first: Rows, second: Rows, tables: Tables) -> Tensor:
        """See :meth:`forward`."""
        result: Tensor = super().__call__(first, second, tables)
        return result

    def forward(self, first: Rows, second: Rows, tables: Tables) -> Tensor:
        """``(len(first), len(second))`` covariances of noise-free standardised scores."""
        rows, at_a, at_b = _cells(first)
        columns, at_c, at_d = _cells(second)
        additive, response = self._cell_matrices(rows, columns, tables)
        lines = mixture(self.log_line, tables.lines)
        total = gather(lines, first.line, second.line)
        sums = additive[at_a] + additive[at_b]
        total = total + (pick_columns(sums, at_c) + pick_columns(sums, at_d))
        total = total + torch.exp(self.log_shift) * _shared_shift(first, second, tables)
        left, right = response[at_a], response[at_b]
        total = total + symmetric_product(left, right, at_c, at_d)
        pairs = mixture(self.log_pair, tables.compounds[1:])
        products = symmetric_product(pairs[first.a], pairs[first.b], second.a, second.b)
        over_lines = self.pair_lines(tables)
        total = total + products * gather(over_lines, first.line, second.line)
        total = total + self._layout(first, second, tables)
        shift = torch.outer(bliss_shift(first, tables), bliss_shift(second, tables))
        total = total + torch.exp(self.log_curve) * shift
        if self.log_modules is not None:
            for module, weight in zip(tables.modules, self.log_modules, strict=True):
                total = total + module_terms.covariance(module, weight, tables.lines, first, second)
        return total

    def pair_lines(self, tables: Tables) -> Tensor:
        """``(l, l)`` H': fixed kernels and learned factors; an unmeasured line is like no other."""
        learned = self.line_factors @ self.line_factors.T + torch.diag(self.line_spare)
        return mixture(self.log_pair_line, tables.lines) + learned

    def layout_lines(self, tables: Tables) -> Tensor:
        """``(l, l)`` what a plate has in common with the same plate in another line, and itself."""
        weight = torch.exp(self.log_layout)
        return weight[0] * tables.lines[0] + weight[1] * tables.lines[1]

    @torch.no_grad()
    def forget_unmeasured(self, measured: Tensor) -> None:
        """Lines without data (``measured`` ``(l,)`` bool is false) keep the variance, not a place
        among the others that was never learned."""
        typical = self.line_factors[measured].square().sum(1).mean() if measured.any() else 0.0
        self.line_factors[~measured] = 0.0
        self.line_spare[~measured] = typical

    def _layout(self, first: Rows, second: Rows, tables: Tables) -> Tensor:
        """Blocks that share a compound, a group of partners and a line: probably a plate."""
        plates = mixed_product(tables.compounds[1], tables.groups, first, second)
        return plates * gather(self.layout_lines(tables), first.line, second.line)

    def _cell_matrices(
        self, rows: Tensor, columns: Tensor, tables: Tables
    ) -> tuple[Tensor, Tensor]:
        """S and M between two lists of cells."""
        lines = tables.n_cell_lines
        a, c = (cells.div(lines, rounding_mode="floor") for cells in (rows, columns))
        radial = self.radial(tables.responses[rows], tables.responses[columns])
        compounds = tables.compounds[:, a][:, :, c]
        contexts = tables.lines[:, rows % lines][:, :, columns % lines]
        additive = _cell_sum(self.log_additive, compounds, contexts, radial)
        return additive, mixture(self.log_response, compounds) * radial

    def radial(self, first: Tensor, second: Tensor) -> Tensor:
        """Squared exponential with a length scale for each feature, mean over features."""
        scale = torch.exp(-self.log_length) / max(first.shape[1], 1) ** 0.5
        x, y = first * scale, second * scale
        square = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T
        return torch.exp(-0.5 * square.clamp_min(0.0))


def bliss_shift(rows: Rows, tables: Tables) -> Tensor:
    """``(m,)`` change of the mean Bliss reference if the departures of the single wells were added
    to both curves, in units of 2.5 percentage points."""
    level, departure = tables.level, tables.departure
    both = (level + departure)[rows.cell_a] * (level + departure)[rows.cell_b]
    return 40.0 * (both - level[rows.cell_a] * level[rows.cell_b])


def left_over(rows: Rows, tables: Tables) -> tuple[Tensor, Tensor]:
    """``(m,)`` each: twice the mean fitted viability of either compound, about 1 on average."""
    return 2.0 * tables.level[rows.cell_a], 2.0 * tables.level[rows.cell_b]


def _shared_shift(first: Rows, second: Rows, tables: Tables) -> Tensor:
    """What two blocks have in common where a curve both rest on is wrong, for unit variance."""
    v_a, v_b = left_over(first, tables)
    v_c, v_d = left_over(second, tables)
    total = torch.zeros(len(first), len(second), device=tables.level.device)
    for cell, other in ((first.cell_a, v_b), (first.cell_b, v_a)):
        both = (cell[:, None] == second.cell_a) * v_d + (cell[:, None] == second.cell_b) * v_c
        total = total + other[:, None] * both
    return total


def _cell_sum(log_weights: Tensor, compounds: Tensor, contexts: Tensor, radial: Tensor) -> Tensor:
    """Sum over ``ADDITIVE_TERMS`` of weight x compound kernel x line kernel, x R where it says."""
    weights = torch.exp(log_weights)
    plain, curved = torch.zeros_like(radial), torch.zeros_like(radial)
    for k in range(len(COMPOUND_KERNELS)):
        for curve in (False, True):
            chosen = [i for i, t in enumerate(ADDITIVE_TERMS) if t[:2] == (curve, k)]
            if not chosen:
                continue
            mixed = compounds[k] * torch.einsum("h,hij->ij", weights[chosen], contexts)
            plain, curved = (plain, curved + mixed) if curve else (plain + mixed, curved)
    return plain + curved * radial


def _start(name: str, count: int) -> Tensor:
    return torch.full((count,), math.log(START[name]))


def mixture(log_weights: Tensor, kernels: Tensor) -> Tensor:
    """Sum of kernels ``(k, n, n)`` by the exponentials of ``(k,)`` logarithms."""
    return torch.einsum("k,kij->ij", torch.exp(log_weights), kernels)


def _cells(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct cells and where the two of each block are among them."""
    cells, where = torch.unique(torch.stack([rows.cell_a, rows.cell_b]), return_inverse=True)
    return cells, where[0], where[1]


def mixed_product(same: Tensor, group: Tensor, first: Rows, second: Rows) -> Tensor:
    """Both factors in both roles over both pairings: symmetric in either block's compounds."""
    total = torch.zeros(())
    for one, other in ((same, group), (group, same)):
        left, right = one[first.a], other[first.b]
        total = total + symmetric_product(left, right, second.a, second.b)
    return total


def _compound_kernels(features: Features, level: FloatArray) -> FloatArray:
    """One, identity, Tanimoto on fingerprints and on targets, profile of ``level`` ``(n, l)`` mean
    viabilities; unknown is like nothing else."""
    table = features.compounds
    n = len(table)
    targets = np.zeros((n, 1))
    if table.targets:
        names = sorted({name for own in table.targets for name in own})
        position = {name: k for k, name in enumerate(names)}
        targets = np.zeros((n, max(len(names), 1)))
        for row, own in enumerate(table.targets):
            targets[row, [position[name] for name in own]] = 1.0
    bits = table.fingerprints.astype(np.float64)
    return np.stack(
        [np.ones((n, n)), np.eye(n), _tanimoto(bits), _tanimoto(targets), _profile(level)]
    )


def _profile(level: FloatArray) -> FloatArray:
    """Correlations of compounds over lines, what all lines or all compounds share taken away.

    Compounds that hit the same machinery kill the same lines: on O'Neil the nearest neighbours are
    the inhibitors of Wee1 and Chk1, of EGFR, of topoisomerase II and of tubulin.
    """
    if not level.size:
        return np.eye(len(level))
    own = level - level.mean(axis=1, keepdims=True)
    own = own - own.mean(axis=0)
    return _cosines(own)


def _tanimoto(bits: FloatArray) -> FloatArray:
    """Shared over all bits; a row without any is 1 with itself and 0 with others."""
    common = bits @ bits.T
    size = np.diag(common)
    union = size[:, None] + size[None] - common
    similar = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    np.fill_diagonal(similar, 1.0)
    return np.asarray(similar)


def _line_kernels(features: Features, responses: FloatArray) -> FloatArray:
    """One, identity, expression, profile of responses over all compounds."""
    lines = features.cell_lines
    known = lines.has_features
    profile = responses.transpose(1, 0, 2).reshape(len(lines), -1)
    return np.stack(
        [
            np.ones((len(lines), len(lines))),
            np.eye(len(lines)),
            _correlation(_column_standardised(lines.features, known), known),
            _correlation(profile, np.ones(len(lines), bool)),
        ]
    )


def _column_standardised(table: FloatArray, known: BoolArray) -> FloatArray:
    if not known.any() or not table.shape[1]:
        return np.zeros((len(table), 1))
    centred = np.where(known[:, None], table - table[known].mean(axis=0), 0.0)
    spread = centred[known].std(axis=0)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return np.asarray(scaled)


def _correlation(table: FloatArray, known: BoolArray) -> FloatArray:
    """Correlations of the centred known rows; an unknown row is 1 with itself, 0 with others."""
    rows = (
        np.where(known[:, None], table - table[known].mean(axis=0), 0.0) if known.any() else table
    )
    return _cosines(rows)


def _cosines(rows: FloatArray) -> FloatArray:
    """Of the angles between rows; a row of zeros is 1 with itself, 0 with others."""
    gram = rows @ rows.T
    length = np.sqrt(np.maximum(np.diag(gram), 0.0))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > SMALL)
    result = gram * scale[:, None] * scale[None]
    np.fill_diagonal(result, 1.0)
    return np.asarray(result)


def _response_table(features: Features) -> FloatArray:
    """``(n * l, f)`` curve summaries and responses, standardised over cells, within 3 sd."""
    rows = len(features.compounds) * len(features.cell_lines)
    tables = [t for t in (features.curves, features.responses) if t is not None]
    if not tables or not rows:
        return np.zeros((rows, 0))
    flat = np.concatenate([t.reshape(rows, -1) for t in tables], axis=1)
    known = np.isfinite(flat)
    if not known.all(axis=1).any():
        return np.zeros((rows, 0))
    flat = np.where(known, flat, np.nanmean(np.where(known, flat, np.nan), axis=0))
    spread = flat.std(axis=0)
    scaled = (flat - flat.mean(axis=0)) / np.where(spread > SMALL, spread, np.inf)
    return np.asarray(np.clip(scaled, -3.0, 3.0))
