"""What measured wells of a block say of its other wells: a Gaussian field over the two log doses.

Residuals ``e`` of a block around its expected surface are a field and noise. The field has four
parts, each with a standard deviation: constant over the block, one for each row dose, one for each
column dose (the same rule for both, so that a swap changes nothing) and free, with a correlation
``exp(-|distance| / length)`` in decades along each axis. Each part has an amplitude, which is the
exponential of a quadratic in the two margins at the well and in their product: a curve that is off
is off most where it is steep, and shows where its partner leaves cells alive. All is learned by
maximum likelihood on measured blocks; given wells, the rest is the normal conditional.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray, IntArray, ScreenError, StopCallback, Stopped, never_stop

_SIZES = ("constant", "along", "free", "noise", "level_noise", "length")
_LEVEL = ("level", "level_squared")
_SHAPES = ("sum", "product", "squares")
_OWN = ("own", "own_squared", "partner", "partner_squared")
NAMES = (
    *_SIZES,
    *_LEVEL,
    *(f"constant_{name}" for name in _SHAPES),
    *(f"along_{name}" for name in _OWN),
    *(f"free_{name}" for name in _SHAPES),
)
_START = (-3.2, -3.2, -3.2, -3.4, -4.0, -0.5, *[0.0] * (len(NAMES) - len(_SIZES)))
_STEPS, _RATE, _MOST_BLOCKS = 100, 0.08, 400
_SETTLING, _LAST_RATE = 0.7, 0.25  # from this share of the steps at this share of the rate
_PULL = 6.0  # of each unknown towards its start, in nats per squared unit: sd 0.3
_MOST_MARGIN = 1.4  # amplitudes do not grow beyond it: nothing there was learned from
Axes = tuple[Tensor, Tensor]
"""Something for each row dose ``(b, m)`` and for each column dose ``(b, n)``."""


@dataclass(frozen=True)
class Field:
    """Logarithms of the standard deviations and of the length, and the shapes of the amplitudes, in
    the order of ``NAMES``."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(NAMES) or not np.all(np.isfinite(self.values)):
            raise ScreenError(f"a field has {len(NAMES)} finite numbers: {', '.join(NAMES)}")

    @classmethod
    def shaped_by_level(cls, values: Sequence[float]) -> Field:
        """A field whose amplitudes know the reference only, from the first eight of ``NAMES``."""
        return cls((*values, *[0.0] * (len(NAMES) - len(_SIZES) - len(_LEVEL))))

    def covariance(self, decades: Axes, margins: Axes) -> tuple[Tensor, Tensor]:
        """Covariance ``(b, p, p)`` of the field and variance ``(b, p)`` of one well's noise.

        ``decades``: log10 doses ``(b, m)`` and ``(b, n)``; ``margins``: viability of the single
        agents there, whose product is the reference. Wells are numbered row by row, ``p = m n``.
        float64.
        """
        return _covariance(torch.tensor(self.values, dtype=torch.float64), decades, margins)

    def condition(
        self, decades: Axes, margins: Axes, residual: Tensor, n_wells: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean ``(b, p)`` and covariance ``(b, p, p)`` of the field given ``residual`` ``(b, p)``
        where ``n_wells`` ``(b, p)`` is above 0 (the mean of so many wells); float64."""
        field, noise = self.covariance(decades, margins)
        return condition(field, noise / n_wells.clamp(min=1), residual, n_wells > 0)

    def noise_sd(self, level: FloatArray) -> FloatArray:
        """Standard deviation of one well at the reference viability ``level``, any shape."""
        values = np.exp(self.values[3:5])
        return np.asarray(np.sqrt(values[0] ** 2 + (values[1] * level) ** 2))


def condition(
    field: Tensor, noise: Tensor, residual: Tensor, measured: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a Gaussian field given some of its noisy values.

    ``field``: ``(b, p, p)``; ``noise``: ``(b, p)`` variances; ``residual``, ``measured``:
    ``(b, p)``. Wells that were not measured drop out exactly.
    """
    seen = measured.to(field)
    both = seen[:, :, None] * seen[:, None, :]
    matrix = both * (field + torch.diag_embed(noise)) + torch.diag_embed(1.0 - seen)
    factor = torch.linalg.cholesky(matrix)
    across = field * seen[:, :, None]  # measured rows, all columns
    reduced = torch.linalg.solve_triangular(factor, across, upper=False)
    known = torch.where(measured, residual, torch.zeros_like(residual))[..., None]
    whitened = torch.linalg.solve_triangular(factor, known, upper=False)
    mean = (reduced.transpose(1, 2) @ whitened)[..., 0]
    return mean, field - reduced.transpose(1, 2) @ reduced


Grid = tuple[FloatArray, FloatArray]
Part = tuple[Grid, Grid, FloatArray, FloatArray]


def fit_field(
    parts: Sequence[Part],
    seed: int,
    should_stop: StopCallback = never_stop,
) -> Field:
    """Maximum likelihood on at most some hundred blocks, drawn by ``seed``.

    ``parts``: for each shape the decades ``(b, m)`` and ``(b, n)``, the margins there, residual
    ``(b, m, n)`` (NaN: not measured) and replicates. Raises :class:`Stopped`.
    """
    tables = _some_blocks(parts, np.random.default_rng([seed, 11]))
    start = torch.tensor(_START, dtype=torch.float64)
    values = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([values], lr=_RATE)
    pull = _PULL / max(1, sum(int(measured.sum()) for _, _, _, measured, _ in tables))
    for step in range(_STEPS):
        if should_stop():
            raise Stopped
        if step == round(_SETTLING * _STEPS):
            optimizer.param_groups[0]["lr"] = _LAST_RATE * _RATE
        loss = pull * (values - start).square().sum()
        for decades, margins, known, measured, wells in tables:
            field, noise = _covariance(values, decades, margins)
            loss = loss + _negative_log_likelihood(field, noise / wells, known, measured)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Field(tuple(values.detach().tolist()))


def _some_blocks(
    parts: Sequence[Part], rng: np.random.Generator
) -> list[tuple[Axes, Axes, Tensor, Tensor, Tensor]]:
    """Of each shape its share of :data:`_MOST_BLOCKS`: decades, margins, residuals, which of them
    were measured, replicates; the last three flat."""
    total = sum(len(residual) for _, _, residual, _ in parts)
    found = []
    for decades, margins, residual, n_wells in parts:
        share = min(len(residual), max(1, round(_MOST_BLOCKS * len(residual) / total)))
        at = np.sort(rng.choice(len(residual), share, replace=False))
        flat = residual[at].reshape(share, -1)
        found.append(
            (
                _tensors(decades, at),
                _tensors(margins, at),
                torch.from_numpy(np.nan_to_num(flat)),
                torch.from_numpy(~np.isnan(flat)),
                torch.from_numpy(np.maximum(n_wells[at].reshape(share, -1), 1)),
            )
        )
    return found


def _tensors(axes: Grid, at: IntArray) -> Axes:
    return torch.from_numpy(axes[0][at]), torch.from_numpy(axes[1][at])


def _covariance(values: Tensor, decades: Axes, margins: Axes) -> tuple[Tensor, Tensor]:
    length = values[5].exp()
    rows, columns = (_correlation(axis, length) for axis in decades)
    b, m, n = len(rows), rows.shape[1], columns.shape[1]
    constant, along_rows, along_columns, free = _amplitudes(values, margins)
    by_row = rows[:, :, None, :, None].expand(b, m, n, m, n)
    by_column = columns[:, None, :, None, :].expand(b, m, n, m, n)
    unit = (
        _outer(constant)
        + _outer(along_rows) * by_row
        + _outer(along_columns) * by_column
        + _outer(free) * (by_row * by_column)
    )
    return unit.reshape(b, m * n, m * n), _noise(values, margins)


def _noise(values: Tensor, margins: Axes) -> Tensor:
    """``(b, p)`` variance of one well."""
    flat = (margins[0][:, :, None] * margins[1][:, None, :]).flatten(start_dim=1)
    return torch.exp(2.0 * values[3]) + (values[4].exp() * flat).square()


def _amplitudes(values: Tensor, margins: Axes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``(b, m, n)`` standard deviation of each part; those along rows and columns swap with the
    compounds, the others stay."""
    size, (level, level_squared) = values[:3], values[6:8]
    constant, own, free = values[8:11], values[11:15], values[15:18]
    first, second = (each.clamp(0.0, _MOST_MARGIN) for each in margins)
    row, column = first[:, :, None] - 0.5, second[:, None, :] - 0.5
    away = first[:, :, None] * second[:, None, :] - 0.5
    shared = level * away + level_squared * away.square()
    both = row + column, row * column, row.square() + column.square()

    def symmetric(log_sd: Tensor, shape: Tensor) -> Tensor:
        return torch.exp(
            log_sd + shared + (shape[0] * both[0] + shape[1] * both[1] + shape[2] * both[2])
        )

    def one_sided(mine: Tensor, other: Tensor) -> Tensor:
        curve = own[0] * mine + own[1] * mine.square()
        return torch.exp(size[1] + shared + curve + (own[2] * other + own[3] * other.square()))

    return (
        symmetric(size[0], constant),
        one_sided(row, column),
        one_sided(column, row),
        symmetric(size[2], free),
    )


def _outer(amplitude: Tensor) -> Tensor:
    """``(b, m, n, m, n)``."""
    return amplitude[:, :, :, None, None] * amplitude[:, None, None, :, :]


def _correlation(axis: Tensor, length: Tensor) -> Tensor:
    found: Tensor = (-(axis[:, :, None] - axis[:, None, :]).abs() / length).exp()
    return found


def _negative_log_likelihood(
    field: Tensor, noise: Tensor, residual: Tensor, measured: Tensor
) -> Tensor:
    """Per measured well, nats, up to a constant."""
    seen = measured.to(field)
    both = seen[:, :, None] * seen[:, None, :]
    matrix = both * (field + torch.diag_embed(noise)) + torch.diag_embed(1.0 - seen)
    factor = torch.linalg.cholesky(matrix)
    white = torch.linalg.solve_triangular(factor, (seen * residual)[..., None], upper=False)
    log_det = torch.log(torch.diagonal(factor, dim1=1, dim2=2)).sum()
    total: Tensor = log_det + 0.5 * white.square().sum()
    return total / seen.sum().clamp(min=1)
