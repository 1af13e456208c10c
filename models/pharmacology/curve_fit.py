"""All single-agent curves of a screen fitted in one batched program.

Each (compound, cell line) with data has three parameters ``(log C - centre, log h, log Emax)``,
``centre`` being the middle of the compound's log-dose range, so that units cancel. The model is

    dose mean  ~ Student-t(Hill curve, well noise / replicates + misfit)
    parameters ~ Normal(compound mean, compound spread)      spread partly pooled over compounds
    compound mean ~ Normal(screen mean, screen spread)

The modes come from Levenberg-Marquardt steps on every curve at once; means and spreads from EM
with the Laplace covariance of each curve (empirical Bayes; Lindley & Smith, JRSS B 34 (1972)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.noise import (
    ASSUMED_SD,
    NoiseModel,
    gather_replicates,
    learn_noise,
    noise_of_residuals,
    robust_means,
)
from models.screen import FloatArray, IntArray, Wells

N_PARAMETERS = 3
_START_STEPS, _ROUNDS, _STEPS_PER_ROUND = 10, 7, 4
_STARTS = (-0.15, 0.15, 0.5)  # log C as a share of the log-dose span from its middle
_DEFAULT_SPAN = float(np.log(100.0))
_PRIOR_CURVES = 3.0  # curves' worth of belief in the starting spreads
_SPREAD_CURVES = 5.0  # curves' worth of belief of one compound in the screen's spread
_DOF = 8.0  # Student-t degrees of freedom of the dose means
_CHI2_MEDIAN = 0.4549
_LARGEST_STEP, _FIRST_DAMPING = 1.5, 1e-3
_LEAST_FREEDOM, _FEWEST_MEANS = 0.2, 20

_Freedom = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class DoseMeans:
    """Dose-level means of the measured curves, padded to the most doses of any curve.

    ``compound``, ``cell_line``: ``(b,)``. ``log_dose`` (relative to the compound's centre),
    ``viability``, ``wells``, ``precision``: ``(b, d)``, ``wells`` is 0 in the padding;
    ``precision``: what one well is worth, in wells of a usual plate.
    """

    compound: Tensor
    cell_line: Tensor
    log_dose: Tensor
    viability: Tensor
    wells: Tensor
    precision: Tensor


@dataclass(frozen=True)
class DoseRange:
    """``low``, ``high``: ``(n_compounds,)`` natural logarithm of the doses used, and a span."""

    low: FloatArray
    high: FloatArray
    span: float

    @property
    def centre(self) -> FloatArray:
        """``(n_compounds,)`` middle of each compound's log-dose range."""
        return 0.5 * (self.low + self.high)


@dataclass(frozen=True)
class Pooling:
    """Means and variances that curves share; all in the fitted parametrisation.

    ``mean``, ``mean_variance``, ``within``: ``(n_compounds, 3)`` compound means, how well they
    are known, and the variance of cell lines around them. ``top``, ``between``: ``(3,)`` mean
    and variance of the compounds.
    """

    mean: Tensor
    mean_variance: Tensor
    within: Tensor
    top: Tensor
    between: Tensor


@dataclass(frozen=True)
class FittedCurves:
    """``theta``: ``(b, 3)`` modes. ``covariance``: ``(b, 3, 3)`` Laplace. Both for ``data``."""

    data: DoseMeans
    theta: Tensor
    covariance: Tensor
    pooling: Pooling
    noise: NoiseModel
    misfit_sd: float


def dose_range(wells: Wells, n_compounds: int) -> DoseRange:
    """Range of each compound's doses: of its single agents where it has any, else of all wells.

    A compound without any dose takes the middle of the others.
    """
    low, high = np.full(n_compounds, np.inf), np.full(n_compounds, -np.inf)
    for rows in (wells.n_compounds == 1, wells.n_compounds > 1):
        compounds, doses = wells.compounds[rows], wells.doses_um[rows]
        new = np.isinf(low)[compounds] & (compounds >= 0)
        index, value = compounds[new], np.log(doses[new])
        np.minimum.at(low, index, value)
        np.maximum.at(high, index, value)
    known = np.isfinite(low)
    low = np.where(known, low, np.median(low[known]) if known.any() else 0.0)
    high = np.where(known, high, np.median(high[known]) if known.any() else 0.0)
    span = float(np.median((high - low)[known])) if known.any() else 0.0
    return DoseRange(low, high, span if span > 0 else _DEFAULT_SPAN)


def dose_means(wells: Wells, noise: NoiseModel, centre: FloatArray, n_compounds: int) -> DoseMeans:
    """Average the replicates of each single-agent dose and pad the curves to one shape."""
    single = wells.select(wells.n_compounds == 1)
    replicates = gather_replicates(single)
    row = replicates.order[replicates.first]
    mean = robust_means(replicates, single.viability[replicates.order], noise)
    compound = single.compounds[row, 0]
    curve_key = single.cell_line[row] * n_compounds + compound
    keys, curve = np.unique(curve_key, return_inverse=True)
    start = np.searchsorted(curve_key, keys)
    shape = (len(keys), int(np.bincount(curve, minlength=1).max(initial=1)))
    place = (curve, np.arange(len(row)) - start[curve])
    log_dose = np.log(single.doses_um[row, 0]) - centre[compound]
    columns = (log_dose, mean, replicates.count, replicates.precision)
    return DoseMeans(
        torch.from_numpy(keys % n_compounds),
        torch.from_numpy(keys // n_compounds),
        *(_padded(values, place, shape) for values in columns),
    )


def _padded(
    values: FloatArray | IntArray, place: tuple[IntArray, IntArray], shape: tuple[int, int]
) -> Tensor:
    table = np.zeros(shape)
    table[place] = values
    return torch.from_numpy(table)


def fit_all(wells: Wells, n_compounds: int, doses: DoseRange) -> FittedCurves:
    """Fit every measured curve, the pooled means and spreads, the noise and the misfit."""
    learned = learn_noise(wells, gather_replicates(wells))
    assumed = NoiseModel(ASSUMED_SD, 0.0, "assumed: nothing in this screen repeats")
    noise = learned or assumed
    data = dose_means(wells, noise, doses.centre, n_compounds)
    pooling = _starting_pool(n_compounds, doses.span)
    misfit = 0.0
    variance = _variance(data, torch.ones_like(data.viability), noise, misfit)
    theta = _best_start(data, variance, pooling, doses.span)
    covariance = _laplace(theta, data, variance, pooling)
    for done in range(_ROUNDS):
        level = viability_of(theta, data.log_dose)
        freedom = _freedom(theta, covariance, data, variance)
        if learned is not None:
            misfit = _misfit_sd(data, level, noise, freedom)
        elif done > 0:
            noise = _noise_of_curves(data, level, freedom) or assumed
        variance = _variance(data, level, noise, misfit)
        pooling = _pool(theta, covariance, data.compound, pooling, doses.span)
        theta = _descend(theta, data, variance, pooling, _STEPS_PER_ROUND)
        covariance = _laplace(theta, data, variance, pooling)
    return FittedCurves(data, theta, covariance, pooling, noise, misfit)


def viability_of(theta: Tensor, log_dose: Tensor) -> Tensor:
    """``(..., d)`` Hill curves of parameters ``(..., 3)`` at log doses ``(..., d)``."""
    return _curve(theta, log_dose)[0]


def _curve(theta: Tensor, log_dose: Tensor) -> tuple[Tensor, Tensor]:
    """Curves ``(..., d)`` and their derivatives ``(..., d, 3)`` by the fitted parameters."""
    log_c, log_h, log_emax = (theta[..., k : k + 1] for k in range(N_PARAMETERS))
    h, emax, distance = log_h.exp(), log_emax.exp(), log_dose - log_c
    s = torch.sigmoid(h * distance)
    slope = (emax - 1.0) * s * (1.0 - s) * h
    return 1.0 + (emax - 1.0) * s, torch.stack([-slope, slope * distance, emax * s], dim=-1)


def _variance(data: DoseMeans, level: Tensor, noise: NoiseModel, misfit: float) -> Tensor:
    """``(b, d)`` variance of the dose means around the curve; infinite in the padding."""
    well = _well_variance(noise, level)
    untreated = _well_variance(noise, torch.ones_like(level))
    share = 1.0 / (data.wells * data.precision) + misfit**2 / untreated
    return well * share


def _well_variance(noise: NoiseModel, level: Tensor) -> Tensor:
    return noise.additive_sd**2 + (noise.proportional_sd * level.clamp(min=0.0)) ** 2


def _residuals(data: DoseMeans, level: Tensor) -> Tensor:
    return torch.where(data.wells > 0, data.viability - level, 0.0)


def _loss(theta: Tensor, data: DoseMeans, variance: Tensor, pooling: Pooling) -> Tensor:
    """``(..., b)`` negative log posterior up to a constant."""
    squares = _residuals(data, viability_of(theta, data.log_dose)) ** 2 / variance
    fit = 0.5 * (_DOF + 1.0) * torch.log1p(squares / _DOF).sum(-1)
    away = theta - pooling.mean[data.compound]
    return fit + 0.5 * (away**2 / pooling.within[data.compound]).sum(-1)


def _normal_equations(
    theta: Tensor, data: DoseMeans, variance: Tensor, pooling: Pooling
) -> tuple[Tensor, Tensor]:
    """Matrix ``(..., b, 3, 3)`` and gradient ``(..., b, 3)`` of reweighted Gauss-Newton steps."""
    level, jacobian = _curve(theta, data.log_dose)
    residual = _residuals(data, level)
    weighted = jacobian * _precision(residual, variance)[..., None]
    precision = 1.0 / pooling.within[data.compound]
    away = theta - pooling.mean[data.compound]
    matrix = weighted.transpose(-1, -2) @ jacobian + torch.diag_embed(precision)
    gradient = precision * away - (weighted * residual[..., None]).sum(-2)
    return matrix, gradient


def _precision(residual: Tensor, variance: Tensor) -> Tensor:
    """``(..., d)`` weight of each dose mean: outliers lose theirs, padding has none."""
    return torch.reciprocal(variance + residual**2 / _DOF) * ((_DOF + 1.0) / _DOF)


def _descend(
    theta: Tensor, data: DoseMeans, variance: Tensor, pooling: Pooling, steps: int
) -> Tensor:
    """Levenberg-Marquardt on every curve at once; a step that does not help is not taken."""
    loss = _loss(theta, data, variance, pooling)
    damping = torch.full_like(loss, _FIRST_DAMPING)
    for _ in range(steps):
        matrix, gradient = _normal_equations(theta, data, variance, pooling)
        diagonal = torch.diag_embed(matrix.diagonal(dim1=-2, dim2=-1) * damping[..., None])
        step = torch.linalg.solve(matrix + diagonal, gradient)
        trial = theta - step.clamp(-_LARGEST_STEP, _LARGEST_STEP)
        trial_loss = _loss(trial, data, variance, pooling)
        better = trial_loss < loss
        theta = torch.where(better[..., None], trial, theta)
        loss = torch.where(better, trial_loss, loss)
        damping = torch.where(better, damping * 0.2, damping * 8.0)
    return theta


def _best_start(data: DoseMeans, variance: Tensor, pooling: Pooling, span: float) -> Tensor:
    """Descend from three potencies and keep the best end of each curve."""
    starts = pooling.mean[data.compound].repeat(len(_STARTS), 1, 1)
    starts[..., 0] = torch.tensor(_STARTS, dtype=torch.float64)[:, None] * span
    ends = _descend(starts, data, variance, pooling, _START_STEPS)
    best = _loss(ends, data, variance, pooling).argmin(0)
    return ends[best, torch.arange(len(best))]


def _laplace(theta: Tensor, data: DoseMeans, variance: Tensor, pooling: Pooling) -> Tensor:
    """``(b, 3, 3)`` posterior covariance at the mode.

    The data's part of the Gauss-Newton matrix is scaled by ``(dof + 1) / (dof + 3)``, the
    information that a Student-t observation has relative to its mean weight of one.
    """
    level, jacobian = _curve(theta, data.log_dose)
    weight = _precision(_residuals(data, level), variance) * (_DOF + 1.0) / (_DOF + 3.0)
    information = (jacobian * weight[..., None]).transpose(-1, -2) @ jacobian
    prior = torch.diag_embed(1.0 / pooling.within[data.compound])
    covariance: Tensor = torch.linalg.inv(information + prior)
    return covariance


def _starting_pool(n_compounds: int, span: float) -> Pooling:
    """Weak priors: potency in the upper half of the doses, slope near 1, any efficacy."""
    top = torch.tensor([0.2 * span, 0.1, float(np.log(0.3))], dtype=torch.float64)
    spread = _starting_variance(span)
    wide = spread.expand(n_compounds, N_PARAMETERS).clone()
    return Pooling(top.expand_as(wide).clone(), 0.5 * wide, wide, top, spread)


def _starting_variance(span: float) -> Tensor:
    return torch.tensor([0.35 * span, 0.5, 1.0], dtype=torch.float64) ** 2


def _pool(
    theta: Tensor, covariance: Tensor, compound: Tensor, old: Pooling, span: float
) -> Pooling:
    """One EM step for the compound means and the spreads within and between compounds."""
    count = torch.bincount(compound, minlength=len(old.mean)).to(theta)[:, None]
    precision = count / old.within + 1.0 / old.between
    total = torch.zeros_like(old.mean).index_add_(0, compound, theta)
    mean = (total / old.within + old.top / old.between) / precision
    away = (theta - mean[compound]) ** 2 + covariance.diagonal(dim1=-2, dim2=-1)
    squares = torch.zeros_like(mean).index_add_(0, compound, away + (1.0 / precision)[compound])
    believed = _PRIOR_CURVES * _starting_variance(span) / 4.0
    pooled = (squares.sum(0) + believed) / (count.sum() + _PRIOR_CURVES)
    within = (squares + _SPREAD_CURVES * pooled) / (count + _SPREAD_CURVES)
    seen = (count > 0).to(theta)
    top = ((seen * mean).sum(0) + old.top) / (seen.sum() + 1.0)
    scatter = (seen * ((mean - top) ** 2 + 1.0 / precision)).sum(0)
    between = (scatter + 4.0 * believed) / (seen.sum() + _PRIOR_CURVES)
    return replace(
        old, mean=mean, mean_variance=1.0 / precision, within=within, top=top, between=between
    )


def _freedom(theta: Tensor, covariance: Tensor, data: DoseMeans, variance: Tensor) -> _Freedom:
    """What is left of each dose mean's variance around its curve, ``(b, d)``, and which to use.

    One minus the leverage: a mean that the curve follows closely says little about noise.
    """
    _, jacobian = _curve(theta, data.log_dose)
    leverage = torch.einsum("bdi,bij,bdj->bd", jacobian, covariance, jacobian) / variance
    left = (1.0 - leverage).clamp(min=0.0)
    return left, (data.wells > 0) & (left > _LEAST_FREEDOM)


def _misfit_sd(data: DoseMeans, level: Tensor, noise: NoiseModel, freedom: _Freedom) -> float:
    """Scatter of dose means around the curve beyond well noise, at viability 1, by medians.

    Found by bisection so that the median standardised square is that of chi-square with one
    degree of freedom.
    """
    left, usable = freedom
    if int(usable.sum()) < _FEWEST_MEANS:
        return 0.0
    squares = (_residuals(data, level) ** 2 / left)[usable]
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = 0.5 * (low + high)
        ratio = (squares / _variance(data, level, noise, middle)[usable]).median()
        low, high = (middle, high) if float(ratio) > _CHI2_MEDIAN else (low, middle)
    return low if low > 1e-6 else 0.0


def _noise_of_curves(data: DoseMeans, level: Tensor, freedom: _Freedom) -> NoiseModel | None:
    """Well noise from the scatter around the curves, for screens where nothing repeats."""
    left, usable = freedom
    if int(usable.sum()) < _FEWEST_MEANS:
        return None
    widened = _residuals(data, level) / left.sqrt() * data.precision.sqrt()
    return noise_of_residuals(
        level[usable].numpy(), widened[usable].numpy(), "scatter around the single-agent curves"
    )
