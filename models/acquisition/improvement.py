"""How much better than the best so far, and who is among the best of the pool.

``draws`` ``(n, m)``: noise-free scores f_ij of ``m`` candidates in ``n`` worlds; ``(m,)`` values,
higher is better. The incumbent ``b`` is a number from data that the caller gives, never the best
of the candidate's own draws.
"""

from __future__ import annotations

import numpy as np

from models.acquisition.draws import AcquisitionError, require_draws, require_number
from models.screen import FloatArray, IntArray


def expected_improvement(draws: FloatArray, incumbent: float | None, xi: float = 0.0) -> FloatArray:
    """a_j = (1/n) sum_i max(f_ij - b - xi, 0), in the score's unit (Jones et al. 1998, eq. 15).

    ``incumbent``: b, the best score that was measured. It carries noise: the best of many is
    too high by about the noise, which makes the rule cautious alike for all candidates.
    ``xi >= 0``: improvement that is not worth counting. Equals
    sd (u Phi(u) + phi(u)), u = (mean - b - xi) / sd, where the draws are Gaussian.
    Raises :class:`AcquisitionError` for no or a broken incumbent and a negative ``xi``.
    """
    return np.asarray(_gain(draws, incumbent, xi).clip(min=0.0).mean(axis=0))


def probability_of_improvement(
    draws: FloatArray, incumbent: float | None, xi: float = 0.0
) -> FloatArray:
    """a_j = (1/n) sum_i 1[f_ij > b + xi] (Kushner 1964); arguments of
    :func:`expected_improvement`."""
    return np.asarray((_gain(draws, incumbent, xi) > 0).mean(axis=0))


def _gain(draws: FloatArray, incumbent: float | None, xi: float) -> FloatArray:
    checked = require_draws(draws)
    best = require_number("the incumbent", incumbent)
    return np.asarray(checked - (best + require_number("xi", xi, least=0.0)))


def top_k(draws: FloatArray, k: int) -> FloatArray:
    """P(candidate is one of the ``k`` best): a_j = (1/n) sum_i 1[rank_ij < k].

    rank_ij is the rank of candidate j in world i, 0 for the best; of equal scores the earlier
    candidate is the better. The sum over a batch is the expected number of its candidates among
    the ``k`` best. Over all candidates it is ``min(k, m)``.
    """
    checked = require_draws(draws)
    require_k(k)
    return top_k_values(np.argsort(-checked, axis=1, kind="stable")[:, :k], checked.shape[1])


def top_k_values(order: IntArray, m: int) -> FloatArray:
    """Share of worlds that name each of ``m`` candidates; ``order`` ``(n, <= k)`` as they do."""
    return np.asarray(np.bincount(order.ravel(), minlength=m) / len(order))


def require_k(k: int) -> int:
    """``k`` if it is at least 1."""
    if k < 1:
        raise AcquisitionError(f"the {k} best candidates are nobody; k must be at least 1")
    return k
