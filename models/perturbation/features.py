"""Doses as the inputs of linear models: main effects that saturate, and interactions.

With x the doses in units of what is used, the main feature of perturbation k is

    F_k = x_k |x|^(power - 1),   |x| the Euclidean norm of the whole condition:

alone a perturbation acts as the power of its dose, and together they compete, so that the sum of
two effects is less than additive for a power below 1 and additive for a power of 1. The
interaction features of a pair are products of both main features with what the two are known to
do (an embedding), so that they are exactly 0 when either dose is 0 and do not know an order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, IntArray


def typical_doses(doses: FloatArray) -> FloatArray:
    """``(p,)`` median positive dose of each perturbation; 1 where it was never used."""
    return np.array([np.median(c[c > 0]) if np.any(c > 0) else 1.0 for c in doses.T])


def main_features(doses: FloatArray, unit: FloatArray, power: float) -> FloatArray:
    """``(m, p)`` features F of the main effects, 0 exactly where the dose is."""
    x = doses / unit
    norm = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
    size = np.power(np.where(norm > 0, norm, 1.0), power - 1.0)
    return np.asarray(x * size)


@dataclass(frozen=True)
class PresentPairs:
    """Every two perturbations that stand together: condition ``row`` ``(k,)`` of ``m``, the two
    columns ``first`` < ``second`` and the product ``amount`` of their main features."""

    m: int
    row: IntArray
    first: IntArray
    second: IntArray
    amount: FloatArray

    @classmethod
    def of(cls, features: FloatArray) -> PresentPairs:
        """Those of ``(m, p)`` main features."""
        rows, first, second = [], [], []
        for row in np.flatnonzero((features != 0).sum(axis=1) > 1):
            present = np.flatnonzero(features[row])
            a, b = np.triu_indices(len(present), 1)
            rows.append(np.full(len(a), row))
            first.append(present[a])
            second.append(present[b])
        at, i, j = (
            np.concatenate(part).astype(np.int64) if part else np.empty(0, np.int64)
            for part in (rows, first, second)
        )
        return cls(len(features), at, i, j, features[at, i] * features[at, j])

    def bilinear(self, embedding: FloatArray) -> FloatArray:
        """``(m, r (r + 1) / 2)`` interaction features from an embedding ``(p, r)``: the symmetric
        products of both rows, so that their inner products are
        (s_ac s_bd + s_ad s_bc) / 2 with s the inner products of the embedding."""
        a, b = embedding[self.first], embedding[self.second]
        r, c = np.triu_indices(embedding.shape[1])
        scale = np.where(r == c, 0.5, np.sqrt(0.5))
        products = (a[:, r] * b[:, c] + a[:, c] * b[:, r]) * scale * self.amount[:, None]
        out = np.zeros((self.m, products.shape[1]))
        np.add.at(out, self.row, products)
        return out
