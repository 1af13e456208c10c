"""Whether later rounds look like those that a card was made from: the population stability index.

``PSI = sum_k (a_k - b_k) ln(a_k / b_k)`` over the bins or categories of one feature, where ``a``
and ``b`` are the shares of two rounds (Siddiqi 2006, chapter 6: below 0.1 the same, not so above
0.25).
Two samples of one population give ``(k - 1)(1 / n_a + 1 / n_b)`` on average, and ``n_a n_b /
(n_a + n_b) PSI`` is chi-squared (Yurdakul 2018), so small rounds are judged by chance, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from models.screen import IntArray

SAME, OTHER = 0.1, 0.25
CHANCE = 0.01
"""A shift that chance gives more often than this is none."""


@dataclass(frozen=True)
class Drift:
    """``psi`` of one feature, ``by_chance``: how often two samples of one population differ as
    much, ``verdict``: ``same``, ``shifting`` or ``other``, and ``words``."""

    feature: str
    psi: float
    by_chance: float
    verdict: str
    words: str


def measure_drift(feature: str, before: IntArray, after: IntArray) -> Drift:
    """Of the category of each row before and after, integers of any kind.

    Half a row stands in every category, so that an empty one has a logarithm.
    """
    names, code = np.unique(np.concatenate([before, after]), return_inverse=True)
    k = len(names)
    counts = [np.bincount(part, minlength=k) for part in np.split(code, [len(before)])]
    a, b = ((count + 0.5) / (count.sum() + 0.5 * k) for count in counts)
    psi = float(((a - b) * np.log(a / b)).sum())
    n_a, n_b = len(before), len(after)
    if k < 2 or not n_a or not n_b:
        chance = 1.0
    else:
        chance = float(scipy.stats.chi2.sf(psi * n_a * n_b / (n_a + n_b), k - 1))
    real = chance < CHANCE
    verdict = "other" if real and psi > OTHER else "shifting" if real and psi > SAME else "same"
    meaning = {
        "same": "the same blocks as before",
        "shifting": "blocks are shifting; look at the card again soon",
        "other": "these are other blocks than the card was made from; make a new card",
    }[verdict]
    if verdict == "same" and psi > SAME:
        meaning = "no more than chance in so few blocks"
    return Drift(feature, psi, chance, verdict, f"{feature}: PSI {psi:.2f}, {meaning}")
