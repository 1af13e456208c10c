"""Response surfaces with interaction parameters: BRAID, MuSyC and effective dose.

All broadcast; the ``k`` compounds are on the last axis of ``dose_um``, ``log_c`` and ``log_h``.
Viability goes from ``e0`` (untreated, 1 unless given) to the maximum effects. Doses and ``C`` are
in one unit, whichever it is. Where a dose is 0 every surface is the curve of the others.
"""

from __future__ import annotations

import numpy as np

from models.pharmacology.hill import hill
from models.screen import FloatArray, ScreenError

_MOST_STEPS = 2000
_SOLVED = 1e-12


def braid(
    dose_um: FloatArray,
    log_c: FloatArray,
    log_h: FloatArray,
    emax: FloatArray,
    e3: FloatArray | float,
    kappa: FloatArray | float,
    e0: FloatArray | float = 1.0,
) -> FloatArray:
    """BRAID: ``kappa`` 0 is additive, above 0 synergy, ``(..., 2)`` -> ``(...)``.

    With ``h = sqrt(h1 h2)``, ``u_i = (E_i - E0) / (E3 - E0)``, ``x_i = (d_i / C_i)^h_i`` and
    ``D_i = u_i x_i / (1 + (1 - u_i) x_i)``,

        S = D1^(1/h) + D2^(1/h) + kappa sqrt(D1^(1/h) D2^(1/h)),
        E = E0 + (E3 - E0) S^h / (1 + S^h)

    ``kappa`` is above -2. Defined for two compounds, ``E3`` at least as far from ``E0`` as both
    ``E_i``; NaN elsewhere. Source: Twarog et al., Sci Rep 6 (2016), 25523.
    """
    dose, log_c, log_h, emax = np.broadcast_arrays(dose_um, log_c, log_h, emax)
    if dose.shape[-1] != 2:
        raise ScreenError(f"BRAID is defined for two compounds, not {dose.shape[-1]}")
    e3, e0 = np.asarray(e3, np.float64), np.asarray(e0, np.float64)
    log_mean = 0.5 * (log_h[..., 0] + log_h[..., 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (emax - e0[..., None]) / (e3 - e0)[..., None]
        x = np.exp(np.exp(log_h) * (np.log(dose) - log_c))
        scaled = share * x / (1.0 + (1.0 - share) * x)
        root = scaled ** np.exp(-log_mean)[..., None]
    bent = np.asarray(kappa) * np.sqrt(root[..., 0] * root[..., 1])
    total = (root[..., 0] + root[..., 1]) + bent
    power = np.where(total > 0, total, np.nan) ** np.exp(log_mean)
    untreated = (dose <= 0).all(axis=-1)
    inside = ((share >= 0) & (share <= 1)).all(axis=-1) & (np.asarray(kappa) > -2)
    value = e0 + (e3 - e0) * (power / (1.0 + power))
    value = np.where(np.isinf(power), e3, value)
    return np.where(inside, np.where(untreated, e0, value), np.nan)


def musyc(
    dose_um: FloatArray,
    log_c: FloatArray,
    log_h: FloatArray,
    emax: FloatArray,
    e3: FloatArray | float,
    log_alpha: FloatArray,
    log_gamma: FloatArray,
    e0: FloatArray | float = 1.0,
) -> FloatArray:
    """MuSyC of two compounds: the steady state of the states U, A1, A2, A12, ``(...)``.

    ``log_alpha``, ``log_gamma``: ``(..., 2)`` logarithms of (alpha12, alpha21) and (gamma12,
    gamma21): 12 is what compound 1 does to compound 2. With ``r_i = C_i^-h_i`` every reverse rate
    is 1 and the forward rates are

        U-A1: (d1/C1)^h1              A2-A12: (alpha21 d1/C1)^(gamma21 h1)    and likewise for d2.

    The four states form a ring, whose steady state is a sum over its four spanning trees
    (Hill, J Theor Biol 10 (1966), 442): no subtraction, no pivot. ``alpha = gamma = 1`` with
    ``E3 = E1 E2`` is Bliss. Source: Meyer et al., Cell Syst 8 (2019), 97; Wooten et al., Nat
    Commun 12 (2021), 4607.
    """
    # What 1 does to 2 beside compound 2; copies, because the last bit of numpy's exponential
    # depends on strides.
    alpha, gamma = (np.ascontiguousarray(t[..., ::-1]) for t in (log_alpha, log_gamma))
    with np.errstate(divide="ignore"):
        relative = np.log(np.ascontiguousarray(dose_um)) - log_c
    h = np.exp(np.ascontiguousarray(log_h))
    free = _rate(h * relative)
    other = _rate(h * np.exp(gamma) * (relative + alpha))
    r1, r2 = free[..., 0], free[..., 1]  # U-A1 and U-A2
    b1, b2 = other[..., 0], other[..., 1]  # A2-A12 (binding 1) and A1-A12 (binding 2)
    # Each tree leaves out one edge; its weight is the product of the rates towards the state.
    u = 2.0 + (b1 + b2)
    a1, a2 = (r2 * b1 + r1 * b1) + 2.0 * r1, (r1 * b2 + r2 * b2) + 2.0 * r2
    both = (r1 + r2) * (b1 * b2) + (r2 * b1 + r1 * b2)
    total = (u + both) + (a1 + a2)
    effect = (e0 * u + e3 * both) + (emax[..., 0] * a1 + emax[..., 1] * a2)
    return np.asarray(effect / total, dtype=np.float64)


def _rate(log_rate: FloatArray) -> FloatArray:
    """Rates up to ``exp(100)``: beyond, a state is empty or full to the last bit of a double."""
    return np.asarray(np.exp(np.minimum(log_rate, 100.0)), dtype=np.float64)


def musyc_many(
    dose_um: FloatArray,
    log_c: FloatArray,
    log_h: FloatArray,
    effect: FloatArray,
    log_alpha: FloatArray,
    log_gamma: FloatArray,
) -> FloatArray:
    """MuSyC of ``k`` compounds, ``(..., k)`` -> ``(...)``.

    States are numbered by the compounds bound (bit ``i``: compound ``i``); ``effect``:
    ``(..., 2^k)``, state 0 is untreated. ``log_alpha``, ``log_gamma``: ``(..., 2^k, k)`` what a
    state does to the binding of compound ``i``, 0 in state 0. Rates as in :func:`musyc`; the
    steady state comes from eliminating one state after the other without a subtraction
    (Grassmann, Taksar & Heyman, Oper Res 33 (1985), 1107).
    """
    k = np.shape(dose_um)[-1]
    n = 1 << k
    if np.shape(effect)[-1] != n or np.shape(log_alpha)[-2:] != (n, k):
        raise ScreenError(f"{k} compounds have {n} states, each with an effect and {k} alphas")
    with np.errstate(divide="ignore"):
        relative = (np.log(dose_um) - log_c)[..., None, :]
    forward = _rate(np.exp(log_h[..., None, :] + log_gamma) * (relative + log_alpha))
    rates = np.zeros((*forward.shape[:-2], n, n))
    for state in range(n):
        for i in range(k):
            if not state >> i & 1:
                rates[..., state, state | 1 << i] = forward[..., state, i]
                rates[..., state | 1 << i, state] = 1.0
    share = _steady_state(rates)
    return np.asarray((share * effect).sum(axis=-1), dtype=np.float64)


def _steady_state(rates: FloatArray) -> FloatArray:
    """``(..., n)`` stationary distribution of rates ``(..., n, n)`` from row to column."""
    rates = rates.copy()
    n = rates.shape[-1]
    for m in range(n - 1, 0, -1):
        rates[..., :m, m] /= rates[..., m, :m].sum(axis=-1)[..., None]
        rates[..., :m, :m] += rates[..., :m, m, None] * rates[..., m, None, :m]
    share = np.ones(rates.shape[:-1])
    for m in range(1, n):
        share[..., m] = (share[..., :m] * rates[..., :m, m]).sum(axis=-1)
    return np.asarray(share / share.sum(axis=-1, keepdims=True), dtype=np.float64)


def musyc_beta(e0: float, emax: FloatArray, e3: FloatArray) -> FloatArray:
    """Synergistic efficacy: ``(min(E1, E2) - E3) / (E0 - min(E1, E2))``, ``(..., 2)`` -> ``(...)``.

    NaN where neither compound has an effect of its own.
    """
    strongest = np.min(emax, axis=-1)
    span = e0 - strongest
    return np.asarray((strongest - e3) / np.where(span > 0, span, np.nan), dtype=np.float64)


def effective_dose(
    dose_um: FloatArray,
    log_c: FloatArray,
    log_h: FloatArray,
    emax: FloatArray,
    interaction: FloatArray,
) -> FloatArray:
    """Effective dose model, ``(..., k)`` -> ``(...)``; ``interaction``: ``(..., k, k)``, ``a_ij``
    is what compound ``j`` does to ``i`` (below 0 synergy; the diagonal is not read).

        d_i' = d_i / (1 + sum_j a_ij d_j' / (C_j + d_j')),      E = prod_i Hill_i(d_i')

    Two compounds have one quadratic equation, with exactly one root between 0 and 1; more are
    solved by a damped fixed point. NaN where a compound's ``a_ij`` sum to -1 or less (its
    effective dose could be infinite) and where the fixed point does not settle.
    Source: Zimmer et al., PNAS 113 (2016), 10442; the sum over ``j`` for three and more.
    """
    dose, log_c, log_h, emax = np.broadcast_arrays(dose_um, log_c, log_h, emax)
    k = dose.shape[-1]
    pull = np.where(np.eye(k, dtype=bool), 0.0, interaction)
    valid = (np.minimum(pull, 0.0).sum(axis=-1) > -1.0).all(axis=-1)
    scaled = dose * np.exp(-log_c)
    pull = np.broadcast_to(np.where(valid[..., None, None], pull, 0.0), (*scaled.shape, k))
    bound = _pair_bound(scaled, pull) if k == 2 else _many_bound(scaled, pull)
    effective = scaled / (1.0 + (pull * bound[..., None, :]).sum(axis=-1))
    value = hill(effective * np.exp(log_c), log_c, log_h, emax).prod(axis=-1)
    return np.where(valid, value, np.nan)


def _pair_bound(x: FloatArray, pull: FloatArray) -> FloatArray:
    """``(..., 2)`` bound shares ``s_i = x_i / (x_i + 1 + a_ij s_j)``, each from its own quadratic
    ``A s^2 + B s - P = 0`` with ``P >= 0``, so that swapping the compounds changes no bit."""
    parts = []
    for i, j in ((0, 1), (1, 0)):
        own, across, back = x[..., i], pull[..., i, j], pull[..., j, i]
        a = (own + 1.0) * back
        b = (own + 1.0) * (x[..., j] + 1.0) + across * x[..., j] - own * back
        p = own * (x[..., j] + 1.0)
        root = np.sqrt(np.maximum(b * b + 4.0 * a * p, 0.0))
        parts.append(2.0 * p / (b + root))
    return np.stack(parts, axis=-1)


def _many_bound(x: FloatArray, pull: FloatArray) -> FloatArray:
    """``(..., k)`` bound shares by a damped fixed point; NaN where it does not settle."""
    share = x / (x + 1.0)
    for _ in range(_MOST_STEPS):
        new = x / (x + 1.0 + (pull * share[..., None, :]).sum(axis=-1))
        moved = np.abs(new - share).max(axis=-1)
        if np.all(moved < _SOLVED):
            return np.asarray(new, dtype=np.float64)
        share = 0.5 * (share + new)
    return np.where((moved < _SOLVED)[..., None], new, np.nan)
