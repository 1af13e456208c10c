"""Loewe additivity of millions of dose pairs: one equation each, solved by Newton's method.

With ``M`` the weakest compound's maximum, ``E = M + (1 - M) sigmoid(-z)`` and
``g_i = (M - M_i) / (1 - M)``, the dose of compound ``i`` that gives ``E`` alone is

    log(d_i / D_i) = log(d_i / C_i) + log(g_i + (1 + g_i) exp(-z)) / h_i

so that ``F(z) = log sum d_i / D_i`` falls in ``z`` and is convex: Newton's method finds its one
root from any start; from the left, where it starts here, without overshooting. After a small step
the root is within ``step^2 (1 + 1 / min h) / 2`` (Taylor; ``|F''| <= (1 + 1 / min h) |F'|``), and
``E`` within a quarter of that: no further step is made to see that the last one was small enough.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_STEPS = 60
_LIMIT = 60.0  # of z: beyond, E is at its end to the last bit, and exp(z) nears the end of floats
_AT_ONCE = 1 << 16  # a dozen tensors of so many numbers are worth the call, and fit the caches


def loewe_tensor(relative: Tensor, h: Tensor, emax: Tensor, *, tolerance: float = 1e-6) -> Tensor:
    """As :func:`models.pharmacology.references.loewe`, ``(k, ...)`` -> ``(...)``, the compounds on
    the *first* axis.

    ``relative``: ``log(d_i / C_i)``, minus infinity where absent; ``h``: Hill slopes; any floating
    type. ``tolerance``: of ``E``. A number depends on its neighbours in its last bits only.
    """
    shape = relative.shape[1:]
    flat = [t.reshape(len(t), -1) for t in (relative, h, emax)]
    value = torch.empty_like(flat[0][0])
    for first in range(0, len(value), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        value[part] = _solve(flat[0][:, part], flat[1][:, part], flat[2][:, part], tolerance)
    return value.reshape(shape)


def _solve(relative: Tensor, h: Tensor, emax: Tensor, tolerance: float) -> Tensor:
    """``(k, r)`` -> ``(r,)``."""
    present = relative > -torch.inf
    if not bool(present.all()):
        floor = torch.where(present, emax, -torch.inf).amax(0)
        floor = torch.where(floor > -torch.inf, floor, 0.0)
        emax = torch.where(present, emax, floor)
    floor = emax.amax(0)
    gap = (floor - emax) / (1.0 - floor)
    at_floor = (relative + gap.log() / h).exp().sum(0)  # the weakest compound counts 0
    rows = torch.nonzero((at_floor < 1.0) & (floor < 1.0))[:, 0]
    some = [t.index_select(1, rows) for t in (relative, 1.0 / h, gap)]
    root = _root(_best_alone(*some), some, tolerance)
    value = torch.full_like(floor, torch.nan)
    value[rows] = floor[rows] + (1.0 - floor[rows]) * torch.sigmoid(-root)
    return value


def _root(start: Tensor, some: list[Tensor], tolerance: float) -> Tensor:
    """``(r,)`` roots; what has been found stays as it is while others go on."""
    found, z = start.clone(), start
    rows = torch.arange(len(z))
    going = torch.ones_like(z, dtype=torch.bool)
    enough = (8.0 * tolerance / (1.0 + some[1].amax(0))).sqrt()
    for _ in range(_MOST_STEPS):
        new = (z + _newton(z, *some)).clamp_(-_LIMIT, _LIMIT)
        still = going & ((new - z).abs_() > enough)
        z, going = torch.where(going, new, z), still
        left = int(going.sum())
        if 2 * left < len(going):
            found[rows] = z
            keep = torch.nonzero(going)[:, 0]
            rows, z, going, enough = (t[keep] for t in (rows, z, going, enough))
            some = [t.index_select(1, keep) for t in some]
        if not left:
            break
    found[rows] = z
    return found


def _best_alone(relative: Tensor, inverse_h: Tensor, gap: Tensor) -> Tensor:
    """``(r,)`` the root if only the strongest compound were there: left of the true one."""
    rest = (-relative / inverse_h).exp() - gap
    alone = ((1.0 + gap) / rest).log()
    return alone.nan_to_num(nan=_LIMIT).amax(0).clamp(-_LIMIT, _LIMIT)


def _newton(z: Tensor, relative: Tensor, inverse_h: Tensor, gap: Tensor) -> Tensor:
    """``(r,)`` Newton's step in ``z``."""
    falling = (1.0 + gap) * (-z).exp()
    whole = gap + falling
    shares = torch.addcmul(relative, whole.log(), inverse_h)
    slope = falling.div_(whole).mul_(inverse_h)
    most = shares.amax(0)
    weight = shares.sub_(most).exp_()
    total = weight.sum(0)
    return (most + total.log()).mul_(total).div_(weight.mul_(slope).sum(0))
