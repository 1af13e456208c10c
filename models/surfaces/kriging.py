"""What measured wells of a block say of its other wells: a Gaussian field over the two log doses.

Residuals ``e`` of a block around its expected surface are ``amplitude * field + noise``. The field
has four parts, each with a standard deviation: constant over the block, along rows, along columns
(one standard deviation for both, so that a swap changes nothing) and free, with a correlation
``exp(-|distance| / length)`` in decades along each axis. The amplitude is an exponential of a
quadratic in the reference viability and lets dead and untouched corners vary less. All is learned
by maximum likelihood on measured blocks; given wells, the rest is the normal conditional.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray, ScreenError, StopCallback, Stopped, never_stop

NAMES = ("constant", "along", "free", "noise", "level_noise", "length", "level", "level_squared")
_START = (-3.2, -3.2, -3.2, -3.4, -4.0, -0.5, 0.0, 0.0)
_STEPS, _RATE, _MOST_BLOCKS = 60, 0.08, 400
_PULL = 0.02  # of each unknown towards its start, in nats per squared unit


@dataclass(frozen=True)
class Field:
    """Logarithms of the standard deviations and of the length, and the shape of the amplitude, in
    the order of ``NAMES``."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(NAMES) or not np.all(np.isfinite(self.values)):
            raise ScreenError(f"a field has {len(NAMES)} finite numbers: {', '.join(NAMES)}")

    def covariance(self, decades: tuple[Tensor, Tensor], level: Tensor) -> tuple[Tensor, Tensor]:
        """Covariance ``(b, p, p)`` of the field and variance ``(b, p)`` of one well's noise.

        ``decades``: log10 doses ``(b, m)`` and ``(b, n)``; ``level``: the reference ``(b, m, n)``;
        wells are numbered row by row, ``p = m n``. float64.
        """
        return _covariance(torch.tensor(self.values, dtype=torch.float64), decades, level)

    def condition(
        self,
        decades: tuple[Tensor, Tensor],
        level: Tensor,
        residual: Tensor,
        n_wells: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Mean ``(b, p)`` and covariance ``(b, p, p)`` of the field given ``residual`` ``(b, p)``
        where ``n_wells`` ``(b, p)`` is above 0 (the mean of so many wells); float64."""
        field, noise = self.covariance(decades, level)
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


def fit_field(
    parts: Sequence[tuple[tuple[FloatArray, FloatArray], FloatArray, FloatArray, FloatArray]],
    seed: int,
    should_stop: StopCallback = never_stop,
) -> Field:
    """Maximum likelihood on at most some hundred blocks, drawn by ``seed``.

    ``parts``: for each shape the decades ``(b, m)`` and ``(b, n)``, reference ``(b, m, n)``,
    residual ``(b, m, n)`` (NaN: not measured) and replicates. Raises :class:`Stopped`.
    """
    rng = np.random.default_rng([seed, 11])
    total = sum(len(part[1]) for part in parts)
    tables = []
    for (rows, columns), level, residual, n_wells in parts:
        share = min(len(level), max(1, round(_MOST_BLOCKS * len(level) / total)))
        at = np.sort(rng.choice(len(level), share, replace=False))
        flat = residual[at].reshape(share, -1)
        tables.append(
            (
                (torch.from_numpy(rows[at]), torch.from_numpy(columns[at])),
                torch.from_numpy(level[at]),
                torch.from_numpy(np.nan_to_num(flat)),
                torch.from_numpy(~np.isnan(flat)),
                torch.from_numpy(np.maximum(n_wells[at].reshape(share, -1), 1)),
            )
        )
    start = torch.tensor(_START, dtype=torch.float64)
    values = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([values], lr=_RATE)
    for _ in range(_STEPS):
        if should_stop():
            raise Stopped
        loss = _PULL * (values - start).square().sum()
        for decades, surface, known, measured, wells in tables:
            field, noise = _covariance(values, decades, surface)
            loss = loss + _negative_log_likelihood(field, noise / wells, known, measured)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Field(tuple(values.detach().tolist()))


def _covariance(
    values: Tensor, decades: tuple[Tensor, Tensor], level: Tensor
) -> tuple[Tensor, Tensor]:
    constant, along, free, noise, level_noise, length = values[:6].exp()
    rows, columns = (_correlation(axis, length) for axis in decades)
    b, m, n = level.shape
    both = rows[:, :, None, :, None] * columns[:, None, :, None, :]
    lines = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    unit = constant.square() + along.square() * lines + free.square() * both
    flat = level.reshape(b, m * n)
    amplitude = torch.exp(values[6] * (flat - 0.5) + values[7] * (flat - 0.5).square())
    field = unit.reshape(b, m * n, m * n) * amplitude[:, :, None] * amplitude[:, None, :]
    return field, noise.square() + (level_noise * flat).square()


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
