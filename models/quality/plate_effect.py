"""Is a plate uneven, and how: smooth effects of rows and columns and a step at the edge.

The signal of a well above the dead level is its true signal times ``exp(effect)``. Wells of equal
content (:mod:`models.quality.neutral`) follow

    log signal = level of the content + row(r) + column(c) + edge(r, c) + noise,

where ``row`` and ``column`` are Gaussian processes with few smooth eigenfunctions and ``edge`` is a
step at the outermost ring. Levels have flat priors, the noise variance the prior 1/variance, and
the sizes of the three parts, in units of the noise, run over a grid with 0 in it; the plate
without any effect has half of the prior. All of it integrates in closed form (normal inverse-gamma
model; Rasmussen and Williams 2006, 2.7, for the flat levels), so the probability that an effect is
there at all is exact on the grid, and the estimate, averaged over the grid, shrinks itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from models.quality.neutral import NeutralWells, neutral_wells
from models.quality.plate import PlateReadings, Role
from models.quality.spread import MAD_TO_SD
from models.screen import FloatArray, IntArray

PARTS = ("row", "column", "edge")
SIZES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Standard deviations of a part in units of the noise of one well."""

PRIOR_OF_NONE = 0.5
FEWEST_WELLS = 8
"""Degrees of freedom below which no effect is looked for."""

_LENGTH = 0.4
_EIGENFUNCTIONS = 4
_FAR = 3.0
_ROUNDS = 3


@dataclass(frozen=True)
class PlateEffect:
    """What the neutral wells of a plate say about its unevenness.

    ``probability``: that any effect is there. ``part_probability``: that of each of ``PARTS`` the
    wells can speak about. ``present``: probability above one half; only then is the effect to be
    divided out. ``log_effect``, ``log_sd``: ``(n_rows, n_columns)`` mean and standard deviation of
    the logarithm of the effect, relative to the average over the vehicle wells; zeros where not
    present. ``noise_sd``: standard deviation of a neutral well's logarithm around its level and
    the effect, None where nothing was fitted, and ``noise_dof`` its degrees of freedom.
    ``shared_log_sd``: standard deviation of the logarithm of the effect averaged over the treated
    wells: the error that they share. ``n_wells``: neutral wells used. ``notes``: in words.
    """

    probability: float
    part_probability: dict[str, float]
    present: bool
    log_effect: FloatArray
    log_sd: FloatArray
    noise_sd: float | None
    n_wells: int
    notes: tuple[str, ...]
    noise_dof: int = 0
    shared_log_sd: float = 0.0


@dataclass(frozen=True)
class _Fit:
    """All models of the grid: posterior ``(m,)``, coefficients ``(m, k)``, covariances."""

    sizes: FloatArray
    posterior: FloatArray
    mean: FloatArray
    covariance: FloatArray
    variance: FloatArray


def estimate_plate_effect(plate: PlateReadings, dead: float) -> PlateEffect:
    """The effect of ``plate`` on signals above the reading ``dead``; never refuses a plate."""
    wells = neutral_wells(plate, dead)
    features, part = _features(plate.n_rows, plate.n_columns)
    if wells.freedom < FEWEST_WELLS:
        words = f"{len(wells)} wells of repeated content are too few to see a plate effect"
        return _nothing(plate, len(wells), 0.0, {}, None, (words,))
    at = wells.within(features[wells.row, wells.column])
    seen = np.array([bool(np.ptp(at[:, part == p], axis=0).max() > 1e-9) for p in range(3)])
    notes = [
        f"no two wells of equal content differ in their {name}: its effect cannot be seen"
        for name, visible in zip(PARTS, seen, strict=True)
        if not visible
    ]
    kept = seen[part]
    features, part = features[..., kept], part[kept]
    if not len(part):
        return _nothing(plate, len(wells), 0.0, {}, None, tuple(notes))
    weight = _robust_weights(wells, features[wells.row, wells.column], part)
    fit = _fit(wells, features[wells.row, wells.column], part, weight)
    return _summary(plate, wells, features, fit, notes)


def _summary(
    plate: PlateReadings, wells: NeutralWells, features: FloatArray, fit: _Fit, notes: list[str]
) -> PlateEffect:
    none = np.all(fit.sizes == 0, axis=1)
    probability = float(fit.posterior[~none].sum())
    parts = {
        name: float(fit.posterior[fit.sizes[:, p] > 0].sum())
        for p, name in enumerate(PARTS)
        if np.any(fit.sizes[:, p] > 0)
    }
    noise = float(np.sqrt(fit.posterior @ fit.variance))
    if probability <= 0.5:
        words = f"no plate effect: probability {probability:.2f} from {len(wells)} wells"
        return _nothing(plate, len(wells), probability, parts, noise, (words, *notes))
    origin = wells.vehicle if wells.vehicle.any() else np.ones(len(wells), bool)
    centre = features[wells.row, wells.column][origin].mean(axis=0)
    mean, sd = _average(fit, features - centre)
    size = float(np.exp(np.ptp(mean)) - 1.0)
    words = (
        f"plate effect divided out: probability {probability:.2f} from {len(wells)} wells, "
        f"{100 * size:.0f} % between the dimmest and the brightest place"
    )
    return PlateEffect(
        probability,
        parts,
        True,
        mean,
        sd,
        noise,
        len(wells),
        (words, *notes),
        wells.freedom,
        _shared_sd(plate, fit, features - centre),
    )


def _shared_sd(plate: PlateReadings, fit: _Fit, features: FloatArray) -> float:
    treated = plate.usable & np.isin(plate.role, (Role.SAMPLE, Role.SINGLE))
    if not treated.any():
        return 0.0
    middle = features[plate.row[treated], plate.column[treated]].mean(axis=0)
    return float(_average(fit, middle[None, None])[1][0, 0])


def _nothing(
    plate: PlateReadings,
    n_wells: int,
    probability: float,
    parts: dict[str, float],
    noise_sd: float | None,
    notes: tuple[str, ...],
) -> PlateEffect:
    flat = np.zeros((plate.n_rows, plate.n_columns))
    return PlateEffect(probability, parts, False, flat, flat.copy(), noise_sd, n_wells, notes)


def _features(n_rows: int, n_columns: int) -> tuple[FloatArray, IntArray]:
    """``(n_rows, n_columns, k)`` features of every place and ``(k,)`` the part of each."""
    rows, columns = _smooth(n_rows), _smooth(n_columns)
    edge = np.zeros((n_rows, n_columns, 1))
    edge[[0, -1]] = 1.0
    edge[:, [0, -1]] = 1.0
    by_row = np.broadcast_to(rows[:, None], (n_rows, n_columns, rows.shape[1]))
    by_column = np.broadcast_to(columns[None], (n_rows, n_columns, columns.shape[1]))
    part = np.repeat([0, 1, 2], [rows.shape[1], columns.shape[1], 1])
    return np.concatenate([by_row, by_column, edge], axis=2), part


def _smooth(n: int) -> FloatArray:
    """``(n, k)`` eigenfunctions of a squared-exponential kernel along one side, scaled so that
    independent coefficients of variance 1 give mean 0 and average variance 1."""
    place = np.linspace(0.0, 1.0, n)
    kernel = np.exp(-0.5 * ((place[:, None] - place) / _LENGTH) ** 2)
    middle = np.eye(n) - 1.0 / n
    value, vector = np.linalg.eigh(middle @ kernel @ middle)
    keep = [k for k in range(n)[::-1] if value[k] > 1e-9][:_EIGENFUNCTIONS]
    table = vector[:, keep] * np.sqrt(value[keep])
    return np.asarray(table * np.sqrt(n / np.sum(table**2))) if keep else np.zeros((n, 0))


def _robust_weights(wells: NeutralWells, x: FloatArray, part: IntArray) -> FloatArray:
    """``(n,)`` precisions: 1, less for wells that stand out from the likeliest model's fit to the
    other wells, so that a failed dispense is not taken for an edge."""
    weight = np.ones(len(wells))
    for _ in range(_ROUNDS):
        fit = _fit(wells, x, part, weight)
        best = int(np.argmax(fit.posterior))
        inside, y = wells.within(x, weight), wells.within(wells.log_signal, weight)
        residual = y - inside @ fit.mean[best]
        spread = fit.covariance[best] / fit.variance[best]
        leverage = weight / np.bincount(wells.group, weight)[wells.group]
        leverage = leverage + weight * np.einsum("ik,kl,il->i", inside, spread, inside)
        residual = residual / np.maximum(1.0 - leverage, 0.05)
        sd = MAD_TO_SD * float(np.median(np.abs(residual)))
        if sd == 0.0:
            break
        weight = np.minimum(1.0, (_FAR * sd / np.maximum(np.abs(residual), 1e-300)) ** 2)
    return weight


def _fit(wells: NeutralWells, x: FloatArray, part: IntArray, weight: FloatArray) -> _Fit:
    """Posterior of every model of the grid given precisions ``weight`` up to one factor."""
    inside, y = wells.within(x, weight), wells.within(wells.log_signal, weight)
    sizes = np.array(list(product(*[SIZES if np.any(part == p) else (0.0,) for p in range(3)])))
    scale = sizes[:, part]
    gram, toward = inside.T @ (weight[:, None] * inside), inside.T @ (weight * y)
    inner = np.eye(len(part)) + scale[:, :, None] * gram * scale[:, None, :]
    inverse = np.linalg.inv(inner)
    solved = np.einsum("mkl,ml->mk", inverse, scale * toward)
    # A perfect fit has no noise to measure effects by; the floor only keeps the logarithm finite.
    total = float(weight @ y**2)
    rest = np.maximum(total - np.einsum("mk,mk->m", scale * toward, solved), 1e-12 * total + 1e-300)
    log_evidence = -0.5 * np.linalg.slogdet(inner)[1] - 0.5 * wells.freedom * np.log(rest)
    prior = np.full(len(sizes), (1.0 - PRIOR_OF_NONE) / (len(sizes) - 1))
    prior[np.all(sizes == 0, axis=1)] = PRIOR_OF_NONE
    posterior = prior * np.exp(log_evidence - log_evidence.max())
    variance = rest / (wells.freedom - 2)
    covariance = scale[:, :, None] * inverse * scale[:, None, :] * variance[:, None, None]
    return _Fit(sizes, posterior / posterior.sum(), scale * solved, covariance, variance)


def _average(fit: _Fit, features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the effect at ``features`` ``(..., k)`` over the grid."""
    each = np.tensordot(fit.mean, features, axes=(1, -1))
    mean = np.tensordot(fit.posterior, each, axes=(0, 0))
    within = np.tensordot(fit.posterior, fit.covariance, axes=(0, 0))
    variance = np.einsum("...k,kl,...l->...", features, within, features)
    between = np.tensordot(fit.posterior, (each - mean) ** 2, axes=(0, 0))
    return mean, np.sqrt(variance + between)
