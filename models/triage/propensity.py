"""Blocks that a model chose to measure are no random sample: weights that undo the choice.

A block that was chosen with probability ``e`` stands for ``1 / e`` like it (Horvitz & Thompson
1952). Weights are stabilised, ``share chosen / e``, so that they are 1 where the choice was random,
and truncated at ``LARGEST`` times their median (Cole & Hernan 2008): a block that was chosen
against all odds would else outweigh everything. What that costs is said with the effective number
of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.screen import BoolArray, FloatArray, ScreenError
from models.triage.logistic import Penalty, fit_logistic

LARGEST = 10.0
FEWEST_CHOSEN = 5
"""Chosen, and not chosen: with fewer no propensity can be estimated."""


@dataclass(frozen=True)
class Weights:
    """``weight`` ``(n,)`` of each row, mean 1; ``truncated`` of them were held at the bound;
    ``effective_rows``: rows of an unweighted sample that say as much; ``words`` for people."""

    weight: FloatArray
    truncated: int
    effective_rows: float
    words: str


def inverse_propensity_weights(propensity: FloatArray, share: FloatArray | None = None) -> Weights:
    """From the probability ``(n,)`` with which each measured row was chosen, in (0, 1].

    ``share`` ``(n,)``: of all candidates of its round that were chosen; the mean propensity of
    all rows where it is not given. Raises :class:`ScreenError` for a propensity outside (0, 1].
    """
    if not len(propensity) or not np.all((propensity > 0) & (propensity <= 1)):
        raise ScreenError("a propensity is a probability above 0: what was measured was possible")
    top = np.full(len(propensity), propensity.mean()) if share is None else share
    raw = top / propensity
    bound = LARGEST * float(np.median(raw))
    held = raw > bound
    weight = np.minimum(raw, bound)
    weight = weight / weight.mean()
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    if np.allclose(weight, 1.0):
        words = "All measured blocks count alike: none was more likely to be chosen than another."
    else:
        words = (
            f"Measured blocks count by the inverse of the probability with which they were chosen: "
            f"{len(weight)} blocks are worth {effective:.0f} random ones"
        )
        words += f", {int(held.sum())} held at {LARGEST:g} times the median." if held.any() else "."
    return Weights(weight, int(held.sum()), effective, words)


def estimate_propensity(known: FloatArray, chosen: BoolArray) -> FloatArray:
    """``(n,)`` probability that each candidate of one round was chosen, by what was known of it.

    ``known`` ``(n, p)``: what the choice looked at, such as the log-odds of a hit; ``chosen``
    ``(n,)``. A ridge regression on the standardised columns and their squares: a greedy choice has
    propensities near 0 and 1, and the ridge keeps them inside. Raises :class:`ScreenError` where
    fewer than five were chosen, or left.
    """
    n_chosen = int(chosen.sum())
    if min(n_chosen, len(chosen) - n_chosen) < FEWEST_CHOSEN:
        raise ScreenError(
            f"{n_chosen} of {len(chosen)} candidates were chosen: a propensity needs "
            f"{FEWEST_CHOSEN} that were, and as many that were not"
        )
    spread = known.std(axis=0)
    scaled = (known - known.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(len(known)), scaled, scaled**2])
    p = design.shape[1] - 1
    fit = fit_logistic(
        design, chosen.astype(np.float64), np.ones(len(known)), [Penalty(1, np.eye(p), p, 1.0)]
    )
    return np.asarray(expit(design @ fit.coefficients), dtype=np.float64)
