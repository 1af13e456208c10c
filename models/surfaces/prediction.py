"""What a model says of blocks: surfaces of worlds, the spread of a well, and bands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from models.bayes.predictive import Noise, predictive_quantiles
from models.screen import FloatArray
from models.surfaces.blocks import Blocks


@dataclass(frozen=True)
class SurfacePrediction:
    """``draws``: ``(k, b, m, n)`` surfaces of ``k`` worlds, viabilities. ``scale``: ``(b, m, n)``
    of one measured well around a world's surface, Student-t with ``df`` degrees of freedom. It
    holds what is the block's own and unknown as well as noise; ``noise_sd``: ``(b, m, n)`` of the
    noise alone. ``correlation``: ``(b, p, p)`` of what is the block's own, wells row by row."""

    draws: FloatArray
    scale: FloatArray
    df: float
    noise_sd: FloatArray
    correlation: FloatArray

    @property
    def mean(self) -> FloatArray:
        """``(b, m, n)`` expected surface."""
        return np.asarray(self.draws.mean(axis=0))

    @property
    def well_sd(self) -> FloatArray:
        """``(b, m, n)`` standard deviation of one well around its world's surface."""
        return self.noise().sd().reshape(self.scale.shape)

    def noise(self) -> Noise:
        """Of all wells, flat, for :mod:`models.bayes.predictive`."""
        return Noise(self.scale.reshape(-1), self.df)

    def flat_draws(self) -> FloatArray:
        """``(k, b m n)``."""
        return self.draws.reshape(len(self.draws), -1)

    def band(self, level: float) -> tuple[FloatArray, FloatArray]:
        """``(b, m, n)`` ends between which a measured well lies with probability ``level``."""
        ends = predictive_quantiles(
            self.flat_draws(), self.noise(), (0.5 - level / 2, 0.5 + level / 2)
        )
        low, high = ends.reshape(2, *self.scale.shape)
        return low, high

    def covariance(self) -> FloatArray:
        """``(b, p, p)`` of the true surface: between worlds, and what is the block's own.

        The variance of the latter is that of a well less that of noise, nothing where the noise is
        the larger.
        """
        k, b = self.draws.shape[:2]
        flat = self.draws.reshape(k, b, -1)
        away = flat - flat.mean(axis=0)
        between = np.einsum("kbp,kbq->bpq", away, away) / max(k - 1, 1)
        own = np.maximum(self.well_sd**2 - self.noise_sd**2, 0.0).reshape(b, -1)
        return np.asarray(between + self.correlation * np.sqrt(own[:, :, None] * own[:, None, :]))

    def widened(self, factor: FloatArray | float) -> SurfacePrediction:
        """All spreads times ``factor``, a number or one for each block ``(b,)``; noise stays."""
        by_block = np.broadcast_to(np.asarray(factor, np.float64), self.scale.shape[:1])
        wide = by_block[:, None, None]
        mean = self.draws.mean(axis=0)
        return replace(self, draws=mean + wide * (self.draws - mean), scale=wide * self.scale)

    def select(self, rows: np.ndarray) -> SurfacePrediction:
        """Some of the blocks."""
        return replace(
            self,
            draws=self.draws[:, rows],
            scale=self.scale[rows],
            noise_sd=self.noise_sd[rows],
            correlation=self.correlation[rows],
        )


class SurfacePredictor(Protocol):
    """Anything that predicts whole surfaces from margins, context and measured wells."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def predict(self, blocks: Blocks) -> SurfacePrediction:
        """Surfaces of ``blocks``, given whatever wells of them are measured."""
        ...


def join_predictions(parts: list[SurfacePrediction]) -> SurfacePrediction:
    """Predictions for blocks of one shape, one after the other."""
    return SurfacePrediction(
        np.concatenate([part.draws for part in parts], axis=1),
        np.concatenate([part.scale for part in parts]),
        parts[0].df,
        np.concatenate([part.noise_sd for part in parts]),
        np.concatenate([part.correlation for part in parts]),
    )
