"""Which sampling times teach most: expected information gain of a set of readings.

EIG(S) = E[log p(theta | y_S) - log p(theta)], over parameters of the prior and data simulated from
them. With q for p it is a lower bound (Barber & Agakov 2003; Foster et al. 2019), as tight as q is
good. One q that was trained with readings left out at random serves every set, and simulations
are shared between sets, so that differences between them are surer than each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, FloatArray, ScreenError

Score = Callable[[BoolArray], FloatArray]
"""Log density ``(N,)`` of the true parameters given the readings at which a mask ``(T,)`` is true,
nats; of the same simulations at every call."""


@dataclass(frozen=True)
class Gain:
    """``nats`` and their standard error ``se`` over simulations."""

    nats: float
    se: float


def gain(score: FloatArray, baseline: FloatArray) -> Gain:
    """Paired difference of two rows of scores ``(N,)``. Raises :class:`ScreenError` for fewer than
    thirty, or any that is not finite."""
    difference = score - baseline
    if len(difference) < 30 or not np.all(np.isfinite(difference)):
        raise ScreenError("an information gain needs at least 30 finite scores")
    return Gain(float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference))))


@dataclass(frozen=True)
class TimesValue:
    """``all``: what all readings teach beyond the first; ``alone`` what each one does beside the
    first only; ``left_out`` what is lost without it; ``chosen``: which to take first, second ...
    each with what it adds to those before."""

    all: Gain
    alone: tuple[Gain, ...]
    left_out: tuple[Gain, ...]
    chosen: tuple[tuple[int, Gain], ...]


def value_of_times(score: Score, n_times: int, choose: int) -> TimesValue:
    """Of ``n_times`` readings, the first of which is always there. Places are counted from 0.

    Raises :class:`ScreenError` unless 1 <= choose < n_times.
    """
    if not 1 <= choose < n_times:
        raise ScreenError(f"choose 1 to {n_times - 1} times, not {choose}")
    first, every = _mask([0], n_times), np.ones(n_times, np.bool_)
    base, full = score(first), score(every)
    others = range(1, n_times)
    single = {at: score(_mask([0, at], n_times)) for at in others}
    alone = tuple(gain(single[at], base) for at in others)
    left_out = tuple(gain(full, score(every & ~_mask([at], n_times))) for at in others)
    return TimesValue(gain(full, base), alone, left_out, _greedy(score, n_times, choose, base))


def _greedy(
    score: Score, n_times: int, choose: int, base: FloatArray
) -> tuple[tuple[int, Gain], ...]:
    taken, chosen = [0], []
    for _ in range(choose):
        left = [at for at in range(n_times) if at not in taken]
        scores = {at: score(_mask([*taken, at], n_times)) for at in left}
        best = max(left, key=lambda at: float(scores[at].mean()))
        chosen.append((best, gain(scores[best], base)))
        taken, base = [*taken, best], scores[best]
    return tuple(chosen)


def _mask(places: Sequence[int], n: int) -> BoolArray:
    mask = np.zeros(n, np.bool_)
    mask[list(places)] = True
    return mask
