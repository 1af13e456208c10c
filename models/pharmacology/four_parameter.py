"""Four-parameter Hill curves with weak priors: thousands at once, honest where data are silent.

    E(d) = E0 + (Emax - E0) d^h / (C^h + d^h)

    E0 ~ N(1, 0.1^2)   Emax ~ N(0.3, 0.5^2)   log h ~ N(0.2, 0.6^2)
    log C ~ N(upper half of the doses, (three quarters of their span, 2.3 at least)^2)
    mean at a dose ~ N(E(d), scale * sd^2),   nu / scale ~ chi-square(nu),   nu = 8

The scale of the noise is integrated out, so that a curve that its Hill function does not fit is an
uncertain one. Modes come from Levenberg-Marquardt steps. Given potency and slope the curve is
linear in ``E0`` and ``Emax``, so that the posterior is integrated over a grid of the other two
(:mod:`models.pharmacology.hill_posterior`): a curved or half-open posterior, the rule where EC50 is
beyond the doses, is no normal one, and Laplace intervals would be far too short there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.pharmacology.hill import hill_gradient
from models.pharmacology.hill_posterior import (
    CurveData,
    Prior,
    curve_levels,
    noise_scale,
    posterior_draws,
)
from models.pharmacology.least_squares import minimise
from models.pharmacology.noise import NoiseModel, gather_replicates, robust_means
from models.screen import (
    BoolArray,
    FloatArray,
    IntArray,
    ScreenError,
    StopCallback,
    Stopped,
    Wells,
    never_stop,
)

PARAMETERS = ("e0", "emax", "log_c", "log_h")
QUANTILES = (0.05, 0.5, 0.95)

_STARTS = (-0.2, 0.15, 0.5)  # log C as a share of the log-dose span from its middle
_ROUNDS, _CURVES_AT_ONCE = 3, 128
_BOUND, _OPEN_EMAX, _OPEN_SLOPE = 0.25, 0.5, 0.75

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "no_effect": "no effect beyond noise at the doses tested: EC50 and slope are the prior's",
        "ec50_above": "EC50 above the top dose: only a bound",
        "ec50_below": "EC50 below the lowest dose: only a bound",
        "emax_open": "no plateau at the doses tested: the maximum effect is not determined",
        "slope_open": "too few doses on the flank: the slope is not determined",
    }
)
"""What can be wrong with a curve, in words."""


@dataclass(frozen=True)
class HillFits:
    """Posteriors of ``b`` curves, parameters in the order of ``PARAMETERS``.

    ``mode``: ``(b, 4)``. ``covariance``: ``(b, 4, 4)`` Laplace. ``draws``: ``(b, s, 4)``, and from
    them ``mean``, ``sd``, ``low``, ``median``, ``high``: ``(b, 4)`` (5, 50, 95 %).
    ``noise_factor``: ``(b,)`` by how much the curve's points scatter more than ``sd`` said.
    ``flags``: ``(b,)`` each, keys of ``FLAGS``.
    """

    mode: FloatArray
    covariance: FloatArray
    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    median: FloatArray
    high: FloatArray
    noise_factor: FloatArray
    draws: FloatArray
    flags: Mapping[str, BoolArray]

    @property
    def unconstrained(self) -> BoolArray:
        """``(b,)`` true where the data leave a parameter open."""
        return np.asarray(
            np.stack([self.flags[name] for name in FLAGS]).any(axis=0), dtype=np.bool_
        )

    def words(self, curve: int) -> tuple[str, ...]:
        """What is wrong with one curve; nothing for a well determined one."""
        return tuple(text for name, text in FLAGS.items() if self.flags[name][curve])


def curve_data(
    wells: Wells, noise: NoiseModel, n_compounds: int
) -> tuple[IntArray, IntArray, CurveData]:
    """Compound ``(b,)``, cell line ``(b,)`` and dose means of every curve among the wells.

    The error of a mean follows from the noise model at its level and its number of replicates.
    """
    single = wells.select(wells.n_compounds == 1)
    replicates = gather_replicates(single)
    row = replicates.order[replicates.first]
    mean = robust_means(replicates, single.viability[replicates.order], noise)
    key = single.cell_line[row] * n_compounds + single.compounds[row, 0]
    keys, curve = np.unique(key, return_inverse=True)
    count = np.bincount(curve, minlength=len(keys))
    place = np.empty(len(row), np.int64)
    order = np.argsort(curve, kind="stable")
    place[order] = np.arange(len(row)) - (np.cumsum(count) - count)[curve[order]]
    shape = (len(keys), int(count.max(initial=1)))
    dose, viability, sd = np.ones(shape), np.zeros(shape), np.full(shape, np.inf)
    dose[curve, place], viability[curve, place] = single.doses_um[row, 0], mean
    sd[curve, place] = noise.sd(np.maximum(mean, 0.0)) / np.sqrt(
        replicates.count * replicates.precision
    )
    return keys % n_compounds, keys // n_compounds, CurveData(dose, viability, sd)


def fit_hill(data: CurveData, *, seed: int = 0, should_stop: StopCallback = never_stop) -> HillFits:
    """Fit every curve; a curve's result does not depend on which others are fitted with it.

    Doses in other units give the same curves with ``log C`` moved by the factor's logarithm.
    Raises ``Stopped``.
    """
    parts = []
    for first in range(0, len(data), _CURVES_AT_ONCE):
        if should_stop():
            raise Stopped
        parts.append(_fit(data.select(slice(first, first + _CURVES_AT_ONCE)), seed, should_stop))
    if not parts:
        raise ScreenError("there are no curves to fit")
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in vars(parts[0])
        if name != "flags"
    }
    flags = {name: np.concatenate([part.flags[name] for part in parts]) for name in FLAGS}
    return HillFits(**columns, flags=MappingProxyType(flags))


def _fit(data: CurveData, seed: int, should_stop: StopCallback) -> HillFits:
    prior = Prior.of(data)
    mode, covariance = _modes(data, prior, should_stop)
    draws = posterior_draws(data, prior, mode, covariance, seed)
    sd = draws.std(axis=1)
    low, median, high = np.quantile(draws, QUANTILES, axis=1)
    return HillFits(
        mode=mode,
        covariance=covariance,
        mean=draws.mean(axis=1),
        sd=sd,
        low=low,
        median=median,
        high=high,
        noise_factor=np.sqrt(noise_scale(data, mode)),
        draws=draws,
        flags=_flags(data, prior, draws, sd),
    )


def _modes(
    data: CurveData, prior: Prior, should_stop: StopCallback
) -> tuple[FloatArray, FloatArray]:
    """Mode and Laplace covariance; the noise scale is that of the mode, found in a few rounds."""
    low, high = data.log_range()
    starts = np.repeat(prior.mean[None], len(_STARTS), axis=0)
    starts[..., 2] = 0.5 * (low + high) + np.multiply.outer(_STARTS, high - low)
    scale = np.ones(len(data))
    ends = [_descend(data, prior, scale, start, should_stop) for start in starts]
    best = np.argmin([loss for _, _, loss in ends], axis=0)
    theta = np.stack([end[0] for end in ends])[best, np.arange(len(data))]
    for _ in range(_ROUNDS):
        scale = np.sqrt(noise_scale(data, theta))
        theta, precision, _ = _descend(data, prior, scale, theta, should_stop)
    return theta, np.asarray(np.linalg.inv(precision), dtype=np.float64)


def _descend(
    data: CurveData, prior: Prior, scale: FloatArray, start: FloatArray, should_stop: StopCallback
) -> tuple[FloatArray, FloatArray, FloatArray]:
    weight = 1.0 / (data.sd * scale[:, None])

    def problem(theta: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        e0, emax, log_c, log_h = (theta[:, k, None] for k in range(4))
        # Hill curves from 1 to 1 + (Emax - E0): the slopes by C and h are the same.
        by_hill = hill_gradient(data.dose_um[rows], log_c, log_h, 1.0 + emax - e0)
        s = by_hill[..., 2]
        columns = [1.0 - s, s, by_hill[..., 0], by_hill[..., 1]]
        jacobian = np.stack(columns, axis=-1) * weight[rows, :, None]
        fit = (e0 + (emax - e0) * s - data.viability[rows]) * weight[rows]
        away = (theta - prior.mean[rows]) / prior.sd[rows]
        diagonal = np.zeros((len(rows), 4, 4))
        np.einsum("bii->bi", diagonal)[...] = 1.0 / prior.sd[rows]
        return (
            np.concatenate([fit, away], axis=1),
            np.concatenate([jacobian, diagonal], axis=1),
        )

    found = minimise(problem, start, steps=40, should_stop=should_stop)
    return found.theta, found.precision, found.loss


def _flags(
    data: CurveData, prior: Prior, draws: FloatArray, sd: FloatArray
) -> Mapping[str, BoolArray]:
    low, high = data.log_range()
    top = curve_levels(draws, np.exp(high)[:, None, None])[..., 0]
    drop = np.quantile(draws[..., 0] - top, QUANTILES, axis=1)
    return {
        "no_effect": (drop[0] < 0.0) & (drop[2] > 0.0),
        "ec50_above": (draws[..., 2] > high[:, None]).mean(axis=1) > _BOUND,
        "ec50_below": (draws[..., 2] < low[:, None]).mean(axis=1) > _BOUND,
        "emax_open": sd[:, 1] > _OPEN_EMAX * prior.sd[:, 1],
        "slope_open": sd[:, 3] > _OPEN_SLOPE * prior.sd[:, 3],
    }
