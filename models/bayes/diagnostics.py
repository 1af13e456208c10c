"""Has it converged? R-hat and effective sample size of chains, agreement of ensemble members.

Chains are ``(chains, draws, ...)``: every further axis is another quantity, all done at once.
Source: Vehtari, Gelman, Simpson, Carpenter & Buerkner, "Rank-normalization, folding, and
localization: an improved R-hat", Bayesian Analysis 2021 (R-hat: eqs. 1-4 and section 4.1-4.2; ESS:
eqs. 5-8 with Geyer's initial monotone sequence). Their advice: at least four chains, R-hat below
1.01, an effective sample size of at least 100 a chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import scipy.special
import scipy.stats

from models.screen import FloatArray, ScreenError

FEWEST_DRAWS = 4
"""Draws a chain below which neither number means anything."""
TAILS = (0.05, 0.95)


def rank_rhat(chains: FloatArray) -> FloatArray:
    """``(...)`` rank-normalised split R-hat: the larger of bulk and folded (tails); 1 is mixed.

    NaN where all draws are equal: a quantity that never moved shows neither way. Raises
    :class:`ScreenError` for draws that are not finite or too few.
    """
    halves = _split(chains)
    folded = np.abs(halves - np.median(halves, axis=(0, 1)))
    return np.fmax(_rhat(_rank_normal(halves)), _rhat(_rank_normal(folded)))


def bulk_ess(chains: FloatArray) -> FloatArray:
    """``(...)`` effective sample size of the rank-normalised split chains; NaN if constant."""
    return _ess(_rank_normal(_split(chains)))


def tail_ess(chains: FloatArray) -> FloatArray:
    """``(...)`` the smaller effective sample size of the 5 % and the 95 % quantile."""
    halves = _split(chains)
    sizes = [_ess((halves <= np.quantile(halves, q, axis=(0, 1))).astype(float)) for q in TAILS]
    return np.fmin(*sizes)


def describe_chains(chains: FloatArray) -> dict[str, Any]:
    """The worst of all quantities, JSON-able, for ``diagnostics()`` of a sampled posterior.

    ``stuck``: quantities whose chains never move though they differ (R-hat is infinite, which JSON
    cannot say); ``constant``: those that are equal everywhere, which show nothing.
    """
    flat = chains.reshape(*chains.shape[:2], -1)
    rhat, bulk, tail = rank_rhat(flat), bulk_ess(flat), tail_ess(flat)
    return {
        "chains": int(flat.shape[0]),
        "draws": int(flat.shape[1]),
        "quantities": int(flat.shape[2]),
        "rhat_max": _worst(rhat, np.max),
        "ess_bulk_min": _worst(bulk, np.min),
        "ess_tail_min": _worst(tail, np.min),
        "stuck": int(np.sum(np.isinf(rhat))),
        "constant": int(np.sum(np.isnan(rhat))),
        "share_rhat_above_1.01": round(float(np.mean(rhat > 1.01)), 6) if rhat.size else None,
    }


def describe_members(members: FloatArray) -> dict[str, Any]:
    """Agreement of an ensemble: ``members`` is ``(k, m)``, one member's predictions a row.

    ``correlation_mean`` and ``_min``: of each pair of members; null for fewer than two members or
    a constant one. ``spread_share``: variance between members over the total variance of all
    predictions, 0 where they agree to the bit, towards 1 where they share nothing. JSON-able.
    """
    if members.ndim != 2 or not np.all(np.isfinite(members)):
        raise ScreenError("members need one row of finite predictions each")
    count = len(members)
    pairs = None
    if count > 1 and members.shape[1] > 2 and np.all(np.ptp(members, axis=1) > 0):
        pairs = np.asarray(np.corrcoef(members))[np.triu_indices(count, k=1)]
    total = float(members.var())
    between = float(members.var(axis=0).mean())
    return {
        "members": count,
        "correlation_mean": None if pairs is None else round(float(pairs.mean()), 6),
        "correlation_min": None if pairs is None else round(float(pairs.min()), 6),
        "spread_share": round(between / total, 6) if total > 0 else None,
    }


def _split(chains: FloatArray) -> FloatArray:
    """Each chain as two: ``(2 chains, draws // 2, ...)``; a middle draw is dropped."""
    values = np.asarray(chains, np.float64)
    if values.ndim < 2 or values.shape[1] < FEWEST_DRAWS:
        raise ScreenError(f"chains need two axes and {FEWEST_DRAWS} draws, not {values.shape}")
    if not np.all(np.isfinite(values)):
        raise ScreenError("chains hold draws that are not finite")
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]], axis=0)


def _rank_normal(chains: FloatArray) -> FloatArray:
    """Normal scores of the ranks over all chains, z = Phi^-1((r - 3/8) / (S + 1/4))."""
    flat = chains.reshape(-1, *chains.shape[2:])
    ranks = scipy.stats.rankdata(flat, axis=0)
    return np.asarray(scipy.special.ndtri((ranks - 0.375) / (len(flat) + 0.25))).reshape(
        chains.shape
    )


def _variances(chains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Within-chain variance W, and var+ = (N - 1) / N W + B / N; both ``(...)``."""
    n = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean(axis=0)
    between = chains.mean(axis=1).var(axis=0, ddof=1)
    return within, (n - 1) / n * within + between


def _rhat(chains: FloatArray) -> FloatArray:
    within, total = _variances(chains)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.asarray(np.sqrt(total / within))
    return np.where(total > 0, ratio, np.nan)


def _ess(chains: FloatArray) -> FloatArray:
    """Effective sample size by Geyer's initial monotone positive sequence of paired lags."""
    m, n = chains.shape[:2]
    within, total = _variances(chains)
    constant = np.ptp(chains, axis=(0, 1)) == 0
    safe = np.where(constant, 1.0, total)
    covariance = _autocovariance(chains).mean(axis=0) * n / (n - 1)
    rho = 1.0 - (within - covariance) / safe
    rho[0] = 1.0
    pairs = rho[0 : n - n % 2 : 2] + rho[1:n:2]
    alive = np.logical_and.accumulate(pairs > 0, axis=0)
    monotone = np.minimum.accumulate(np.where(alive, pairs, np.inf), axis=0)
    time = -1.0 + 2.0 * np.where(alive, monotone, 0.0).sum(axis=0)
    # Antithetic chains can beat independent draws, but no more than this (Stan's bound).
    size = m * n / np.maximum(time, 1.0 / math.log10(m * n))
    return np.where(constant, np.nan, size)


def _autocovariance(chains: FloatArray) -> FloatArray:
    """``(chains, draws, ...)`` biased autocovariance at every lag, by FFT."""
    n = chains.shape[1]
    centred = chains - chains.mean(axis=1, keepdims=True)
    length = scipy.fft.next_fast_len(2 * n, real=True)
    power = np.abs(scipy.fft.rfft(centred, length, axis=1)) ** 2
    return np.asarray(scipy.fft.irfft(power, length, axis=1)[:, :n] / n)


def _worst(values: FloatArray, pick: Callable[[FloatArray], Any]) -> float | None:
    """The worst finite value, ``None`` if there is none."""
    finite = values[np.isfinite(values)]
    return round(float(pick(finite)), 6) if finite.size else None
