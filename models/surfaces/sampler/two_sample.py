"""Whether two sets of surfaces come from one law: maximum mean discrepancy with an invariant
kernel, and the energy distance.

The kernel is averaged over the swap, k(x, y) = mean over s of g(x, s y): it cannot be fooled by
two plates that list the same pairs in other orders, and loses no power against real differences.
Its p value comes from permutations and needs no theory. Source: Gretton et al., JMLR 13 (2012),
723; Szekely & Rizzo, J Stat Plan Inference 143 (2013), 1249.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, ScreenError

PERMUTATIONS = 499
FEWEST = 4
BANDWIDTHS = (0.5, 1.0, 2.0)
"""Of the median distance; the kernel is the mean over them."""


@dataclass(frozen=True)
class TwoSamples:
    """``statistic``: squared discrepancy, unbiased, about 0 for one law. ``p_value``: of a
    difference this large between random halves. ``sizes``: of both sets."""

    statistic: float
    p_value: float
    sizes: tuple[int, int]

    @property
    def differ(self) -> bool:
        """At one in a hundred."""
        return self.p_value <= 0.01


def compare_samples(
    first: FloatArray,
    second: FloatArray,
    *,
    turned: tuple[FloatArray, FloatArray] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> TwoSamples:
    """Test rows ``(n, d)`` and ``(m, d)``; ``turned``: the same rows under the swap, or ``None``
    for numbers that have no swap. Raises :class:`ScreenError` for fewer than four rows."""
    if min(len(first), len(second)) < FEWEST:
        raise ScreenError(f"two sets of at least {FEWEST} are compared, got "
                          f"{len(first)} and {len(second)}")  # fmt: skip
    whole = np.concatenate([first, second])
    other = None if turned is None else np.concatenate(turned)
    if not np.all(np.isfinite(whole)):
        raise ScreenError("what is compared holds missing or infinite values")
    kernel = invariant_kernel(whole, other)
    n, total = len(first), len(whole)
    rng = np.random.default_rng(seed)
    sides = np.zeros((permutations + 1, total))
    sides[0, :n] = 1.0
    for row in range(1, permutations + 1):
        sides[row, rng.permutation(total)[:n]] = 1.0
    found = _discrepancies(kernel, sides)
    larger = int((found[1:] >= found[0] - 1e-12).sum())
    return TwoSamples(float(found[0]), (1 + larger) / (1 + permutations), (n, total - n))


def compare_surfaces(
    first: FloatArray, second: FloatArray, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> TwoSamples:
    """:func:`compare_samples` for square surfaces ``(n, m, m)`` whose drugs may stand in any
    order: departures from Bliss of the blocks of two plates, say."""
    if first.shape[1] != first.shape[2] or first.shape[1:] != second.shape[1:]:
        raise ScreenError("surfaces of one square shape are compared")
    flat = [each.reshape(len(each), -1) for each in (first, second)]
    other = [each.transpose(0, 2, 1).reshape(len(each), -1) for each in (first, second)]
    return compare_samples(
        flat[0], flat[1], turned=(other[0], other[1]), seed=seed, permutations=permutations
    )


def invariant_kernel(rows: FloatArray, turned: FloatArray | None) -> FloatArray:
    """``(n, n)`` Gaussian kernel at several bandwidths, averaged over the swap."""
    parts = [_squared(rows, rows)]
    if turned is not None:
        parts.append(_squared(rows, turned))
    mean = sum(parts[1:], parts[0]) / len(parts)
    middle = float(np.median(mean[~np.eye(len(rows), dtype=bool)]))
    size = middle if middle > 0 else 1.0
    kernels = [np.exp(-0.5 * part / (b * b * size)) for part in parts for b in BANDWIDTHS]
    return np.asarray(sum(kernels) / len(kernels))


def energy_distance(first: FloatArray, second: FloatArray) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of rows ``(n, d)``, ``(m, d)``; about 0 for one law."""
    across = np.sqrt(_squared(first, second)).mean()
    own = [
        np.sqrt(_squared(each, each)).sum() / (len(each) * (len(each) - 1))
        for each in (first, second)
    ]
    return float(2 * across - own[0] - own[1])


def energy_score(draws: FloatArray, observed: FloatArray) -> FloatArray:
    """``(b,)`` E|X - y| - E|X - X'| / 2 for draws ``(n, b, d)`` of each ``(b, d)``: proper for the
    law of each block given its margins, low is good. Gneiting & Raftery, JASA 102 (2007), 359."""
    n = len(draws)
    near = np.sqrt(np.square(draws - observed).sum(axis=2)).mean(axis=0)
    spread = np.zeros(len(observed))
    for lag in range(1, n):
        spread += np.sqrt(np.square(draws[lag:] - draws[:-lag]).sum(axis=2)).sum(axis=0)
    return np.asarray(near - spread / (n * (n - 1)))


def _discrepancies(kernel: FloatArray, sides: FloatArray) -> FloatArray:
    diagonal = np.diag(kernel)
    inside = np.einsum("pi,pi->p", sides @ kernel, sides)
    n, total = sides.sum(axis=1), kernel.shape[0]
    row = sides @ kernel.sum(axis=1)
    across = row - inside
    outside = kernel.sum() - 2 * across - inside
    m = total - n
    first = (inside - sides @ diagonal) / (n * (n - 1))
    second = (outside - (1 - sides) @ diagonal) / (m * (m - 1))
    return np.asarray(first + second - 2 * across / (n * m))


def _squared(first: FloatArray, second: FloatArray) -> FloatArray:
    own = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None]
    return np.asarray(np.maximum(own - 2 * first @ second.T, 0.0), dtype=np.float64)
