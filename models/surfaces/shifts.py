"""What blocks of the same compounds, cell lines and pairs say of a block: partly pooled shifts.

A single-agent curve that is off in one cell line is off in every block with that compound, and what
a pair does in one line it tends to do in others. The residuals ``r`` of the Bliss surface are

    r(a, b) = g(a, b) { [u_{A,l}(a) + u_A(a)] f_B(b) + [u_{B,l}(b) + u_B(b)] f_A(a)
                        + v_l(a, b) + w_{AB}(a, b) } + e,          e ~ N(0, s^2)

with ``f`` the margins, ``g`` the gate that is 0 on the margins, ``u``, ``v``, ``w`` piecewise
linear in the place of the log dose, all coefficients normal around 0 with one standard deviation
for each kind (Lindley & Smith, JRSS B 34 (1972), 1), a fixed share of the residuals' size: what a
compound and what its cell lines do can hardly be told apart, and variances learned with independent
posteriors grew without end on that. Solved by conjugate gradients. ``v`` is the same after a swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg

from models.screen import BoolArray, FloatArray, IntArray, ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.scales import BASIS, DoseScale, basis

Seen = tuple[FloatArray, FloatArray, FloatArray]
"""Blocks seen with each curve, line and pair."""
KINDS = ("curve", "compound", "line", "pair")
"""Shift of a compound in a cell line, of a compound, of a cell line, of a pair."""
SPREADS = (0.3, 0.1, 0.1, 0.15)
"""Prior standard deviation of each kind's coefficients, in root mean squares of the residuals."""
NOISE = 0.7
"""The same of a well around the shifts of its block."""
_TOLERANCE, _MOST_STEPS = 1e-3, 400


@dataclass(frozen=True)
class Sizes:
    """Compounds and cell lines that indices may point at."""

    compounds: int
    lines: int

    @property
    def of_kinds(self) -> tuple[int, ...]:
        """Coefficients of each kind."""
        n, m = self.compounds, self.lines
        return n * m * BASIS, n * BASIS, m * BASIS**2, n * n * BASIS**2


@dataclass(frozen=True)
class Shifts:
    """``coefficients``: one array for each of ``KINDS``, 0 where nothing was learned.

    ``seen``: blocks behind each (compound, cell line) ``(n, l)``, each line ``(l,)`` and each pair
    ``(n, n)``.
    """

    sizes: Sizes
    scale: DoseScale
    coefficients: tuple[FloatArray, ...]
    seen: Seen

    def parts(self, blocks: Blocks) -> FloatArray:
        """``(b, m, n, 4)`` what each kind adds to the Bliss surface, gate included."""
        designs = design(blocks, self.scale, self.sizes)
        found = [x @ c for x, c in zip(designs, self.coefficients, strict=True)]
        shape = (len(blocks), *blocks.shape)
        return np.stack([part.reshape(shape) for part in found], axis=-1)

    def counts(self, blocks: Blocks) -> FloatArray:
        """``(b, 3)`` log(1 + blocks) seen with either curve, with the line, with the pair."""
        (a, b), line = blocks.compounds.T, blocks.cell_line
        curve = np.log1p(self.seen[0])
        own = curve[a, line] + curve[b, line]
        low, high = np.minimum(a, b), np.maximum(a, b)
        return np.stack(
            [own, np.log1p(self.seen[1][line]), np.log1p(self.seen[2][low, high])], axis=-1
        )


@dataclass(frozen=True)
class Rows:
    """The measured wells of blocks. ``matrix``: their designs side by side, a row for each well;
    ``residual``: of the Bliss surface; ``block``: number of each well's block over all tables."""

    tables: tuple[Blocks, ...]
    scale: DoseScale
    sizes: Sizes
    matrix: sparse.csr_matrix
    residual: FloatArray
    block: IntArray

    @classmethod
    def of(cls, tables: Sequence[Blocks], scale: DoseScale, sizes: Sizes) -> Rows:
        """Made once, for all the fits that leave some blocks out."""
        parts, residuals, numbers, start = [], [], [], 0
        for blocks in tables:
            seen = blocks.measured.reshape(-1)
            parts.append(sparse.hstack(design(blocks, scale, sizes), format="csr")[seen])
            residuals.append((blocks.viability - blocks.reference).reshape(-1)[seen])
            own = np.repeat(np.arange(start, start + len(blocks)), seen.size // len(blocks))
            numbers.append(own[seen])
            start += len(blocks)
        matrix = sparse.vstack(parts, format="csr")
        return cls(
            tuple(tables), scale, sizes, matrix, np.concatenate(residuals), np.concatenate(numbers)
        )


def fit_shifts(rows: Rows, keep: BoolArray | None = None) -> Shifts:
    """Learn the shifts from measured blocks, those of ``keep`` (one a block, over all tables).

    Nothing is learned where nothing was measured. Raises :class:`ScreenError` where the solver does
    not settle.
    """
    matrix, residual, sizes = rows.matrix, rows.residual, rows.sizes
    keep = np.ones(sum(map(len, rows.tables)), bool) if keep is None else keep
    if not keep.all():
        matrix, residual = matrix[keep[rows.block]], residual[keep[rows.block]]
    coefficients = np.zeros(matrix.shape[1])
    used = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    if used.any() and np.any(residual):
        kind = np.repeat(np.arange(len(KINDS)), sizes.of_kinds)
        penalty = (NOISE / np.array(SPREADS)[kind[used]]) ** 2
        coefficients[used] = _solve(matrix.tocsc()[:, used].tocsr(), residual, penalty)
    splits = np.cumsum(sizes.of_kinds)[:-1]
    return Shifts(
        sizes, rows.scale, tuple(np.split(coefficients, splits)), _seen(rows.tables, keep, sizes)
    )


def design(blocks: Blocks, scale: DoseScale, sizes: Sizes) -> tuple[sparse.csr_matrix, ...]:
    """One matrix for each of ``KINDS``, rows: the wells of the blocks, all of them, in order."""
    b, (m, n) = len(blocks), blocks.shape
    one, two = blocks.compounds.T
    place = [basis(scale.position(blocks.compounds[:, k], blocks.doses[k])) for k in (0, 1)]
    gate = [scale.gate(blocks.compounds[:, k], blocks.doses[k]) for k in (0, 1)]
    through = gate[0][:, :, None] * gate[1][:, None, :]
    row = np.arange(b * m * n).reshape(b, m, n, 1)
    # What the row compound's shift is worth at each well, by knot: (b, m, n, BASIS).
    first = (through * blocks.margins[1][:, None, :])[..., None] * place[0][:, :, None, :]
    second = (through * blocks.margins[0][:, :, None])[..., None] * place[1][:, None, :, :]
    knot = np.arange(BASIS)
    both = through[..., None, None] * (
        place[0][:, :, None, :, None] * place[1][:, None, :, None, :]
    )
    wide = (b, m, n, BASIS * BASIS)
    line = blocks.cell_line
    square = knot[:, None] * BASIS + knot
    flipped = np.where((one < two)[:, None, None], square, square.T)
    low, high = np.minimum(one, two), np.maximum(one, two)
    mirror = np.minimum(square, square.T)  # a line's shift does not know which compound is which
    curves = [(each * sizes.lines + line)[:, None] * BASIS + knot for each in (one, two)]
    columns = (
        curves,
        [one[:, None] * BASIS + knot, two[:, None] * BASIS + knot],
        [line[:, None] * BASIS**2 + mirror.reshape(1, -1)],
        [(low * sizes.compounds + high)[:, None] * BASIS**2 + flipped.reshape(b, -1)],
    )
    values = ([first, second], [first, second], [both.reshape(wide)], [both.reshape(wide)])
    return tuple(
        _sparse(row, parts, weights, width)
        for parts, weights, width in zip(columns, values, sizes.of_kinds, strict=True)
    )


def _sparse(
    row: IntArray, columns: Sequence[IntArray], values: Sequence[FloatArray], width: int
) -> sparse.csr_matrix:
    """Entries ``(b, m, n, k)`` in the columns ``(b, k)`` as a matrix; equal places add up."""
    data = np.concatenate([each.reshape(-1) for each in values])
    rows = np.concatenate([np.broadcast_to(row, each.shape).reshape(-1) for each in values])
    at = np.concatenate(
        [
            np.broadcast_to(c[:, None, None, :], v.shape).reshape(-1)
            for c, v in zip(columns, values, strict=True)
        ]
    )
    kept = data != 0
    shape = (int(row.size), width)
    return sparse.csr_matrix((data[kept], (rows[kept], at[kept])), shape=shape)


def _solve(matrix: sparse.csr_matrix, residual: FloatArray, penalty: FloatArray) -> FloatArray:
    """Minimise ``|r - X c|^2 + sum penalty c^2`` by preconditioned conjugate gradients."""
    size = matrix.shape[1]
    transposed = matrix.T.tocsr()
    diagonal = np.asarray(matrix.multiply(matrix).sum(axis=0)).reshape(-1) + penalty
    normal = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=lambda c: transposed @ (matrix @ c) + penalty * c, dtype=np.float64
    )
    inverse = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=lambda c: c / diagonal, dtype=np.float64
    )
    found, unsettled = scipy.sparse.linalg.cg(
        normal, transposed @ residual, rtol=_TOLERANCE, maxiter=_MOST_STEPS, M=inverse
    )
    if unsettled:
        raise ScreenError(f"the shifts of the blocks did not settle in {_MOST_STEPS} steps")
    return np.asarray(found)


def _seen(tables: Sequence[Blocks], keep: BoolArray, sizes: Sizes) -> Seen:
    n, m = sizes.compounds, sizes.lines
    curve, line, pair = np.zeros((n, m)), np.zeros(m), np.zeros((n, n))
    for blocks, kept in zip(
        tables, np.split(keep, np.cumsum(list(map(len, tables)))), strict=False
    ):
        at = blocks.touched & kept
        (a, b), own = blocks.compounds[at].T, blocks.cell_line[at]
        np.add.at(curve, (a, own), 1)
        np.add.at(curve, (b, own), 1)
        np.add.at(line, own, 1)
        np.add.at(pair, (np.minimum(a, b), np.maximum(a, b)), 1)
    return curve, line, pair


def _by_table(keep: BoolArray, tables: Sequence[Blocks]) -> list[BoolArray]:
    return np.split(keep, np.cumsum([len(blocks) for blocks in tables])[:-1])
