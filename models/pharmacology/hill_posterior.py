"""The posterior of one four-parameter curve, integrated; see :mod:`.four_parameter` for the model.

Given ``log C``, ``log h`` and the scale of the noise, the curve is linear in ``E0`` and ``Emax``:
their posterior is normal and their evidence has a closed form. The other two are integrated on a
grid that is narrowed twice to where the mass is, the scale on a few points around that of the mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pharmacology.hill import occupancy
from models.screen import BoolArray, FloatArray, IntArray, ScreenError

NOISE_DOF = 8.0
DRAWS = 400

_E0, _EMAX, _LOG_H = (1.0, 0.1), (0.3, 0.5), (0.2, 0.6)
_LEAST_SPREAD = 2.3
_GRIDS = ((40, 10), (32, 14), (40, 20))  # points of log C and log h, coarse to fine
_REACH, _SURE_REACH = 3.5, 5.0  # of the prior and of the mode, in standard deviations
_NEGLIGIBLE = 1e-4  # mass at either end of a grid that the next one leaves out
_SCALES = 1.2 * np.arange(-2.0, 3.0)  # in standard deviations of the log scale


@dataclass(frozen=True)
class CurveData:
    """Dose means of ``b`` curves, padded to the most doses of any.

    ``dose_um``, ``viability`` (fraction), ``sd`` of the mean: ``(b, d)``; ``sd`` is infinite, the
    dose 1 and the viability 0 in the padding. Doses 0 (vehicle wells) are allowed.
    """

    dose_um: FloatArray
    viability: FloatArray
    sd: FloatArray

    def __post_init__(self) -> None:
        if not self.dose_um.shape == self.viability.shape == self.sd.shape or self.sd.ndim != 2:
            raise ScreenError("doses, viabilities and their errors must be tables of one shape")
        if not (np.all(np.isfinite(self.viability)) and np.all(self.sd > 0)):
            raise ScreenError("viabilities must be finite and their errors positive")
        if np.any(self.dose_um < 0) or not np.all(np.isfinite(self.dose_um)):
            raise ScreenError("doses must be finite and not negative")
        if np.any(~self._informative.any(axis=1)):
            raise ScreenError("a curve has no dose above 0")

    @property
    def _informative(self) -> BoolArray:
        return np.isfinite(self.sd) & (self.dose_um > 0)

    @property
    def n_doses(self) -> IntArray:
        """``(b,)`` dose means of each curve."""
        return np.asarray(np.isfinite(self.sd).sum(axis=1), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.sd)

    def select(self, rows: slice | IntArray) -> CurveData:
        """Some of the curves."""
        return CurveData(self.dose_um[rows], self.viability[rows], self.sd[rows])

    def log_range(self) -> tuple[FloatArray, FloatArray]:
        """``(b,)`` natural logarithms of the lowest and highest dose of each curve."""
        with np.errstate(divide="ignore"):
            log = np.log(self.dose_um)
        real = self._informative
        return np.where(real, log, np.inf).min(axis=1), np.where(real, log, -np.inf).max(axis=1)


@dataclass(frozen=True)
class Prior:
    """``mean``, ``sd``: ``(b, 4)`` of independent normal priors."""

    mean: FloatArray
    sd: FloatArray

    @classmethod
    def of(cls, data: CurveData) -> Prior:
        """Weak, and relative to the doses of each curve, so that units cancel."""
        low, high = data.log_range()
        span, one = high - low, np.ones(len(data))
        centre = 0.5 * (low + high) + 0.2 * span
        spread = np.maximum(0.75 * span, _LEAST_SPREAD)
        mean = np.stack([_E0[0] * one, _EMAX[0] * one, centre, _LOG_H[0] * one], axis=-1)
        sd = np.stack([_E0[1] * one, _EMAX[1] * one, spread, _LOG_H[1] * one], axis=-1)
        return cls(mean, sd)


def curve_levels(theta: FloatArray, dose: FloatArray) -> FloatArray:
    """``(..., d)`` curves of ``(..., 4)`` parameters at ``(..., d)`` doses."""
    e0, emax, log_c, log_h = (theta[..., k, None] for k in range(4))
    return np.asarray(e0 + (emax - e0) * occupancy(dose, log_c, log_h))


def noise_scale(data: CurveData, theta: FloatArray) -> FloatArray:
    """``(b,)`` most likely factor on the variance of the means, given curves ``(b, 4)``."""
    residual = (curve_levels(theta, data.dose_um) - data.viability) / data.sd
    return np.asarray((NOISE_DOF + np.square(residual).sum(-1)) / (NOISE_DOF + data.n_doses))


def log_posterior(data: CurveData, theta: FloatArray) -> FloatArray:
    """``(b, s)`` log posterior density up to a constant of ``theta`` ``(b, s, 4)``.

    The noise scale is integrated out: ``-(nu + n) / 2 log(nu + chi2)`` for ``n`` dose means.
    """
    prior = Prior.of(data)
    residual = curve_levels(theta, data.dose_um[:, None]) - data.viability[:, None]
    chi2 = ((residual / data.sd[:, None]) ** 2).sum(-1)
    away = (theta - prior.mean[:, None]) / prior.sd[:, None]
    fit = -0.5 * (NOISE_DOF + data.n_doses[:, None]) * np.log(NOISE_DOF + chi2)
    return np.asarray(fit - 0.5 * np.square(away).sum(-1))


def posterior_draws(
    data: CurveData, prior: Prior, mode: FloatArray, covariance: FloatArray, seed: int
) -> FloatArray:
    """``(b, DRAWS, 4)`` draws. ``mode``, ``covariance``: where to look, too, on coarse grids."""
    spread = np.sqrt(np.einsum("bii->bi", covariance))[:, 2:]
    low = prior.mean[:, 2:] - _REACH * prior.sd[:, 2:]
    high = prior.mean[:, 2:] + _REACH * prior.sd[:, 2:]
    scale = noise_scale(data, mode)
    for number, shape in enumerate(_GRIDS):
        grid = _Grid.of(low, high, shape)
        cells = _Evidence.of(data, prior, grid, scale)
        if number + 1 < len(_GRIDS):
            low, high = grid.holding(cells.mass)
            near = mode[:, 2:] - _SURE_REACH * spread, mode[:, 2:] + _SURE_REACH * spread
            if number == 0:  # a peak can hide between the points of the first grid
                low, high = np.minimum(low, near[0]), np.maximum(high, near[1])
    return cells.draw(prior, seed)


@dataclass(frozen=True)
class _Grid:
    """``log_c``: ``(b, g)``, ``log_h``: ``(b, g)`` middles of cells, ``width``: ``(b, 2)``."""

    log_c: FloatArray
    log_h: FloatArray
    width: FloatArray
    shape: tuple[int, int]

    @classmethod
    def of(cls, low: FloatArray, high: FloatArray, shape: tuple[int, int]) -> _Grid:
        """Cells of equal size between ``low`` and ``high``, ``(b, 2)`` in log C and log h."""
        width = (high - low) / np.array(shape)
        axes = [low[:, k, None] + width[:, k, None] * (np.arange(shape[k]) + 0.5) for k in (0, 1)]
        return cls(np.repeat(axes[0], shape[1], axis=1), np.tile(axes[1], shape[0]), width, shape)

    def holding(self, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(b, 2)`` ends of the narrowest box that misses next to nothing, a cell to spare."""
        table = mass.reshape(len(mass), *self.shape)
        ends: list[list[FloatArray]] = [[], []]
        for k, middle in enumerate((self.log_c, self.log_h)):
            total = np.cumsum(table.sum(axis=2 - k), axis=1)
            axis = middle.reshape(len(mass), *self.shape)
            axis = axis[:, :, 0] if k == 0 else axis[:, 0]
            first = (total < _NEGLIGIBLE).sum(axis=1)
            last = np.minimum((total < 1.0 - _NEGLIGIBLE).sum(axis=1), self.shape[k] - 1)
            row = np.arange(len(mass))
            ends[0].append(axis[row, first] - 1.5 * self.width[:, k])
            ends[1].append(axis[row, last] + 1.5 * self.width[:, k])
        return np.stack(ends[0], axis=1), np.stack(ends[1], axis=1)


@dataclass(frozen=True)
class _Evidence:
    """Every cell of a grid at every noise scale: ``mass`` ``(b, g)`` (adds up to 1) and
    ``by_scale`` ``(b, g, n)``; the normal posterior of ``(E0, Emax)`` there, mean
    ``(b, g, n, 2)`` and lower Cholesky factor ``(b, g, n, 3)`` as (00, 10, 11)."""

    grid: _Grid
    mass: FloatArray
    by_scale: FloatArray
    mean: FloatArray
    factor: FloatArray

    @classmethod
    def of(cls, data: CurveData, prior: Prior, grid: _Grid, scale: FloatArray) -> _Evidence:
        """Bayesian linear regression in each cell."""
        count = data.n_doses[:, None, None]
        deviation = np.sqrt(2.0 / (NOISE_DOF + count))
        scales = scale[:, None, None] * np.exp(_SCALES * deviation)  # (b, 1, n)
        xx, xr, rr = _moments(data, prior, grid)
        precision = [part[..., None] / scales for part in xx]
        pull = [part[..., None] / scales for part in xr]
        one, two = (1.0 / prior.sd[:, k, None, None] ** 2 for k in (0, 1))
        a, b, c = precision[0] + one, precision[1], precision[2] + two
        determinant = a * c - b * b
        shift = (
            (c * pull[0] - b * pull[1]) / determinant,
            (a * pull[1] - b * pull[0]) / determinant,
        )
        left = rr[..., None] / scales - pull[0] * shift[0] - pull[1] * shift[1]
        log = -0.5 * (count * np.log(scales) + np.log(determinant / (one * two)) + left)
        # nu / scale is chi-square(nu); densities per unit of log scale.
        log = log - 0.5 * NOISE_DOF * (np.log(scales) + 1.0 / scales)
        away = [
            (axis - prior.mean[:, k, None]) / prior.sd[:, k, None]
            for k, axis in ((2, grid.log_c), (3, grid.log_h))
        ]
        log = log - 0.5 * (away[0] ** 2 + away[1] ** 2)[..., None]
        mass = np.exp(log - log.max(axis=(1, 2), keepdims=True))
        mass /= mass.sum(axis=(1, 2), keepdims=True)
        mean = np.stack([prior.mean[:, k, None, None] + shift[k] for k in (0, 1)], axis=-1)
        root = np.sqrt(c / determinant)
        cross = -b / determinant / root
        last = np.sqrt(np.maximum(a / determinant - cross**2, 0.0))
        return cls(grid, mass.sum(axis=2), mass, mean, np.stack([root, cross, last], axis=-1))

    def draw(self, prior: Prior, seed: int) -> FloatArray:
        """Systematic draws of cells and scales, uniform within a cell, normal levels.

        The random numbers are the same for every curve, so that none notices the others.
        """
        rng = np.random.default_rng([seed, DRAWS])
        place = (rng.permutation(DRAWS) + rng.random(DRAWS)) / DRAWS
        jitter, normal = rng.random((DRAWS, 2)) - 0.5, rng.standard_normal((DRAWS, 2))
        b = len(self.mass)
        flat = np.cumsum(self.by_scale.reshape(b, -1), axis=1)
        chosen = np.stack([np.searchsorted(row / row[-1], place) for row in flat])
        cell = chosen // self.by_scale.shape[2]
        row = np.arange(b)[:, None]
        mean = self.mean.reshape(b, -1, 2)[row, chosen]
        factor = self.factor.reshape(b, -1, 3)[row, chosen]
        e0 = mean[..., 0] + factor[..., 0] * normal[:, 0]
        emax = mean[..., 1] + factor[..., 1] * normal[:, 0] + factor[..., 2] * normal[:, 1]
        log_c = self.grid.log_c[row, cell] + jitter[:, 0] * self.grid.width[:, :1]
        log_h = self.grid.log_h[row, cell] + jitter[:, 1] * self.grid.width[:, 1:]
        return np.stack([e0, emax, log_c, log_h], axis=-1)


def _moments(
    data: CurveData, prior: Prior, grid: _Grid
) -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...], FloatArray]:
    """Weighted sums over doses in each cell, ``(b, g)`` each: ``X'X`` (00, 01, 11), ``X'r`` and
    ``r'r`` for ``X = [1 - s, s]`` and ``r`` the viabilities less the prior means' curve."""
    s = occupancy(data.dose_um[:, None], grid.log_c[..., None], grid.log_h[..., None])
    weight = 1.0 / data.sd**2
    above = data.viability - prior.mean[:, :1]
    gap = (prior.mean[:, 1] - prior.mean[:, 0])[:, None]
    w, wy = weight[..., None], (weight * above)[..., None]
    s1, ys, s2 = (s @ w)[..., 0], (s @ wy)[..., 0], (np.square(s) @ w)[..., 0]
    total, y, yy = (t.sum(axis=1)[:, None] for t in (weight, weight * above, weight * above**2))
    xx = (total - 2.0 * s1 + s2, s1 - s2, s2)
    xr = (y - ys - gap * (s1 - s2), ys - gap * s2)
    return xx, xr, yy - 2.0 * gap * ys + gap**2 * s2
