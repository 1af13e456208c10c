"""What the operator sees of a block: tables of numbers made once, channels made for each mask."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from models.screen import CellLineTable, FloatArray, IntArray, ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.kriging import Field
from models.surfaces.scales import DoseScale

DOSE_FEATURES = 4
SHARED_FEATURES = 13
MOST_DESCRIPTORS = 4


@dataclass(frozen=True)
class Context:
    """What is known of compounds and cell lines besides their wells.

    ``scale``: dose ranges. ``compound_known``, ``line_known``: ``(n,)`` whether blocks of them were
    learned from; the others share one row of the embeddings. ``descriptors``: ``(n_lines, d)``
    principal components of the cell lines' features, zeros where there are none.
    """

    scale: DoseScale
    compound_known: IntArray
    line_known: IntArray
    descriptors: FloatArray

    def compound_rows(self, compounds: IntArray) -> IntArray:
        """Rows of the embedding: 0 for an unknown compound."""
        return np.where(self.compound_known[compounds] > 0, compounds + 1, 0)

    def line_rows(self, lines: IntArray) -> IntArray:
        """Rows of the embedding: 0 for an unknown cell line."""
        return np.where(self.line_known[lines] > 0, lines + 1, 0)


@dataclass(frozen=True)
class Encoded:
    """``b`` blocks of one shape as float32 tensors (indices int64).

    ``doses``: two of ``(b, m, 4)``; ``compound``: ``(b, 2)`` and ``line``: ``(b,)`` rows of the
    embeddings; ``descriptors``: ``(b, d)``; ``decades``, ``margin``: two each of ``(b, m)``,
    float64; ``reference``, ``gate``: ``(b, m, n)``; ``parts``: ``(b, m, n, 4)`` shifts by kind;
    ``counts``: ``(b, 3)``; ``viability`` (0 where nothing was measured) and ``n_wells``:
    ``(b, m, n)``.
    """

    row_doses: Tensor
    column_doses: Tensor
    compound: Tensor
    line: Tensor
    descriptors: Tensor
    row_decades: Tensor
    column_decades: Tensor
    row_margin: Tensor
    column_margin: Tensor
    reference: Tensor
    gate: Tensor
    parts: Tensor
    counts: Tensor
    viability: Tensor
    n_wells: Tensor

    def __len__(self) -> int:
        return len(self.line)

    @property
    def shape(self) -> tuple[int, int]:
        """Doses of the rows and of the columns."""
        return self.reference.shape[1], self.reference.shape[2]

    def select(self, rows: Tensor) -> Encoded:
        """Some of the blocks."""
        return Encoded(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def with_shifts(self, parts: Tensor, counts: Tensor) -> Encoded:
        """The same blocks with other shifts."""
        return replace(self, parts=parts, counts=counts)


@dataclass(frozen=True)
class Channels:
    """What the network and its output need for one mask.

    ``shared``: ``(b, m, n, 13)`` inputs. ``base``: ``(b, m, n)`` expected surface before the
    network. ``free``: what the network's output is multiplied with: the gate where nothing was
    measured, 0 where it was. ``field_sd``: of the Gaussian field there.
    """

    shared: Tensor
    base: Tensor
    free: Tensor
    field_sd: Tensor


def encode(blocks: Blocks, context: Context, parts: FloatArray, counts: FloatArray) -> Encoded:
    """Tables of ``blocks``; ``parts``, ``counts``: of :class:`models.surfaces.shifts.Shifts`."""
    scale, (one, two) = context.scale, blocks.compounds.T
    sides = [
        _dose_features(scale, compound, blocks.doses[k], blocks.margins[k])
        for k, compound in ((0, one), (1, two))
    ]
    gates = [scale.gate(c, blocks.doses[k]) for k, c in ((0, one), (1, two))]
    rows, columns = (scale.decades(c, blocks.doses[k]) for k, c in ((0, one), (1, two)))
    return Encoded(
        row_doses=_float(sides[0]),
        column_doses=_float(sides[1]),
        compound=torch.from_numpy(context.compound_rows(blocks.compounds)),
        line=torch.from_numpy(context.line_rows(blocks.cell_line)),
        descriptors=_float(context.descriptors[blocks.cell_line]),
        row_decades=torch.from_numpy(rows),
        column_decades=torch.from_numpy(columns),
        row_margin=torch.from_numpy(np.array(blocks.margins[0], np.float64)),
        column_margin=torch.from_numpy(np.array(blocks.margins[1], np.float64)),
        reference=_float(blocks.reference),
        gate=_float(gates[0][:, :, None] * gates[1][:, None, :]),
        parts=_float(parts),
        counts=_float(counts),
        viability=_float(np.nan_to_num(blocks.viability)),
        n_wells=_float(np.array(blocks.n_wells, np.float64)),
    )


def channels(
    encoded: Encoded, mask: Tensor, field: Field, unit: float, *, structured: bool = True
) -> Channels:
    """Inputs with the wells of ``mask`` ``(b, m, n)`` measured; ``unit``: what residuals are
    divided by. ``structured`` false: neither shifts nor field, for plain networks."""
    if not structured:
        return _plain_channels(encoded, mask, unit)
    b, (m, n) = len(encoded), encoded.shape
    shift = encoded.parts.sum(-1)
    expected = encoded.reference + shift
    residual = (encoded.viability - expected) * mask
    given = residual.reshape(b, m * n).double()
    n_wells = (encoded.n_wells * mask).reshape(b, m * n).double()
    decades = encoded.row_decades, encoded.column_decades
    margins = encoded.row_margin, encoded.column_margin
    mean, covariance = field.condition(decades, margins, given, n_wells)
    field_sd = torch.diagonal(covariance, dim1=1, dim2=2).clamp(min=1e-10).sqrt()
    kriged = mean.reshape(b, m, n).float() * (encoded.gate > 0)
    field_sd = field_sd.reshape(b, m, n).float() * (encoded.gate > 0)
    seen_share = mask.mean(dim=(1, 2))[:, None, None].expand(b, m, n)
    counts = (encoded.counts / 3.0)[:, None, None, :].expand(b, m, n, 3)
    plain = torch.stack(
        [
            encoded.reference,
            shift / unit,
            kriged / unit,
            field_sd / unit,
            residual / unit,
            mask,
            seen_share,
        ],
        dim=-1,
    )
    shared = torch.cat([plain, encoded.parts[..., 1:] / unit, counts], dim=-1)
    return Channels(shared, expected + kriged, encoded.gate * (1.0 - mask), field_sd)


def _plain_channels(encoded: Encoded, mask: Tensor, unit: float) -> Channels:
    """The reference, the measured wells and their mean, the mask; zeros for all else."""
    residual = (encoded.viability - encoded.reference) * mask / unit
    count = mask.sum(dim=(1, 2), keepdim=True)
    average = (residual.sum(dim=(1, 2), keepdim=True) / count.clamp(min=1)).expand_as(residual)
    zero = torch.zeros_like(residual)
    share = mask.mean(dim=(1, 2), keepdim=True).expand_as(residual)
    known = [encoded.reference, zero, average, zero, residual, mask, share]
    shared = torch.stack([*known, *[zero] * (SHARED_FEATURES - len(known))], dim=-1)
    return Channels(shared, encoded.reference, torch.ones_like(zero), zero)


def describe_lines(cell_lines: CellLineTable) -> FloatArray:
    """``(n, d)`` leading principal components of the features, unit variance, zeros where a line
    has none; ``d`` is 0 for fewer than eight described lines."""
    known = cell_lines.has_features
    if known.sum() < 2 * MOST_DESCRIPTORS or not cell_lines.features.shape[1]:
        return np.zeros((len(cell_lines), 0))
    centred = cell_lines.features[known] - cell_lines.features[known].mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    width = int(min(MOST_DESCRIPTORS, (size > 1e-9 * max(size[0], 1e-300)).sum()))
    found = np.zeros((len(cell_lines), width))
    found[known] = left[:, :width] * np.sqrt(known.sum())
    return found


def context_of(
    tables: tuple[Blocks, ...],
    cell_lines: CellLineTable,
    n_compounds: int,
    scale: DoseScale | None = None,
) -> Context:
    """What the measured blocks and the table of cell lines tell; ``scale`` where dose ranges are
    those of more blocks."""
    compounds, lines = np.zeros(n_compounds, np.int64), np.zeros(len(cell_lines), np.int64)
    for blocks in tables:
        if blocks.compounds.max(initial=-1) >= n_compounds:
            raise ScreenError(f"a block names compound {blocks.compounds.max()} of {n_compounds}")
        compounds[blocks.compounds.reshape(-1)] = 1
        lines[blocks.cell_line] = 1
    scale = DoseScale.of(tables, n_compounds) if scale is None else scale
    return Context(scale, compounds, lines, describe_lines(cell_lines))


def _dose_features(
    scale: DoseScale, compound: IntArray, doses: FloatArray, margin: FloatArray
) -> FloatArray:
    average = np.broadcast_to(margin.mean(axis=1, keepdims=True), margin.shape)
    place = scale.position(compound, doses)
    return np.stack([2.0 * margin - 1.0, 2.0 * place - 1.0, margin * place, average], axis=-1)


def _float(array: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
