"""What is expected of main effects and interactions before anything was measured.

In units of the noise the response of a condition has, in a direction of the readouts where main
effects have variance ``strength``, the covariance

    strength F F' + shared B B'

with the main features F and the interaction features B of :mod:`models.perturbation.features`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.perturbation.features import PresentPairs, main_features
from models.screen import FloatArray


@dataclass(frozen=True)
class Parts:
    """Features of ``m`` conditions: ``main`` ``(m, p)`` and ``pairs`` ``(m, q)``."""

    main: FloatArray
    pairs: FloatArray


@dataclass(frozen=True)
class PairPrior:
    """``unit`` ``(p,)`` and ``power`` of the doses, ``embedding`` ``(p, r)`` of what each
    perturbation does, and the variance ``shared`` of interactions, in noise variances of a typical
    pair."""

    unit: FloatArray
    power: float
    embedding: FloatArray
    shared: float

    def parts(self, doses: FloatArray) -> Parts:
        """Features of ``doses`` ``(m, p)``."""
        main = main_features(doses, self.unit, self.power)
        return Parts(main, PresentPairs.of(main).bilinear(self.embedding))

    def main_cross(self, a: Parts, b: Parts) -> FloatArray:
        """``(m, n)`` covariance of main effects for a strength of 1."""
        return np.asarray(a.main @ b.main.T)

    def pair_cross(self, a: Parts, b: Parts) -> FloatArray:
        """``(m, n)`` covariance of interactions."""
        return np.asarray(self.shared * (a.pairs @ b.pairs.T))

    def main_variance(self, a: Parts) -> FloatArray:
        """``(m,)`` diagonal of :meth:`main_cross` with itself."""
        return np.asarray(np.square(a.main).sum(axis=1))

    def pair_variance(self, a: Parts) -> FloatArray:
        """``(m,)`` diagonal of :meth:`pair_cross` with itself."""
        return np.asarray(self.shared * np.square(a.pairs).sum(axis=1))

    def stacked(self, a: Parts) -> FloatArray:
        """``(m, p + q)`` features whose weights are independent: those of main effects have the
        variance of their strength, those of interactions are standard normal."""
        return np.concatenate([a.main, np.sqrt(self.shared) * a.pairs], axis=1)
