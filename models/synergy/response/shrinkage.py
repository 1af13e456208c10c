"""Gibbs steps for scales: inverse gammas, half-Cauchy scales, the horseshoe, Student-t scales.

A half-Cauchy scale ``s ~ C+(0, A)`` is ``s^2 | v ~ IG(1/2, 1/v), v ~ IG(1/2, 1/A^2)``, so that
both conditionals are inverse gammas (Makalic & Schmidt, IEEE Signal Process Lett 23 (2016)).
All arrays are numpy: scales are few beside the wells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.screen import FloatArray

_SMALLEST, _LARGEST = 1e-10, 1e10


def inverse_gamma(
    rng: np.random.Generator, shape: FloatArray | float, rate: FloatArray
) -> FloatArray:
    """Draws of IG(shape, rate), kept within 1e-10 to 1e10: beyond that arithmetic ends first."""
    drawn = rate / np.maximum(rng.standard_gamma(shape, np.shape(rate)), 1e-300)
    return np.asarray(np.clip(drawn, _SMALLEST, _LARGEST), dtype=np.float64)


@dataclass
class HalfCauchy:
    """Scales with prior C+(0, ``unit``) each; ``square``: ``(k,)`` their squares."""

    unit: float
    square: FloatArray
    helper: FloatArray = field(default_factory=lambda: np.ones(1))

    @classmethod
    def start(cls, unit: float, size: int, at: float) -> HalfCauchy:
        """``size`` scales that start at ``at``."""
        return cls(unit, np.full(size, at**2), np.full(size, unit**2))

    def draw(self, rng: np.random.Generator, squares: FloatArray, count: FloatArray | int) -> None:
        """New scales given sums of squares ``(k,)`` of ``count`` normals with those scales."""
        self.helper = inverse_gamma(rng, 1.0, 1.0 / self.unit**2 + 1.0 / self.square)
        shape = 0.5 * (np.asarray(count, dtype=np.float64) + 1.0)
        rate = 1.0 / self.helper + 0.5 * squares
        self.square = inverse_gamma(rng, np.broadcast_to(shape, rate.shape), rate)


@dataclass
class Horseshoe:
    """Effects ``b_k ~ N(0, local_k^2 overall^2)`` times a slab ``exp(-b_k^2 / (2 slab^2))``.

    The slab bounds the largest effects and leaves the conditionals of the scales as they are
    (Nishimura & Suchard, J Am Stat Assoc 118 (2023); Carvalho et al., Biometrika 97 (2010)).
    """

    overall: HalfCauchy
    local: HalfCauchy
    slab: float

    @classmethod
    def start(cls, size: int, unit: float, slab: float) -> Horseshoe:
        """``size`` effects, overall scale C+(0, ``unit``)."""
        return cls(HalfCauchy.start(unit, 1, 0.3 * unit), HalfCauchy.start(1.0, size, 1.0), slab)

    def precision(self) -> FloatArray:
        """``(size,)`` of the effects given the scales."""
        return 1.0 / (self.local.square * self.overall.square) + 1.0 / self.slab**2

    def draw(self, rng: np.random.Generator, effects: FloatArray) -> None:
        """New scales given the effects ``(size,)``."""
        if not len(effects):
            self.overall.draw(rng, np.zeros(1), 0)
            return
        self.local.draw(rng, effects**2 / self.overall.square, 1)
        self.overall.draw(rng, np.array([(effects**2 / self.local.square).sum()]), len(effects))


@dataclass
class StudentScales:
    """Effects ``b_k ~ t_df(0, overall)`` as normals with own variances IG(df/2, df/2), times the
    same slab as :class:`Horseshoe`."""

    df: float
    overall: HalfCauchy
    local: FloatArray
    slab: float

    @classmethod
    def start(cls, size: int, unit: float, df: float, slab: float) -> StudentScales:
        """``size`` effects, overall scale C+(0, ``unit``)."""
        return cls(df, HalfCauchy.start(unit, 1, 0.5 * unit), np.ones(size), slab)

    def precision(self) -> FloatArray:
        """``(size,)`` of the effects given the scales."""
        return 1.0 / (self.local * self.overall.square) + 1.0 / self.slab**2

    def draw(self, rng: np.random.Generator, effects: FloatArray) -> None:
        """New scales given the effects ``(size,)``."""
        rate = 0.5 * (self.df + effects**2 / self.overall.square)
        self.local = inverse_gamma(rng, 0.5 * (self.df + 1.0), rate)
        self.overall.draw(rng, np.array([(effects**2 / self.local).sum()]), len(effects))
