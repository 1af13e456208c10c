"""What a sampler has to beat: independent noise around Bliss, and one Gaussian-like cloud around
a linear prediction. Both have a density; the second is also the learner of admission tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from models.screen import FloatArray, ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.conditions import PairFeatures, features_of

RIDGE = 1.0
DEGREES = (4.0, 8.0, 30.0)
_STEPS = 15


@dataclass(frozen=True)
class AroundBliss:
    """Every well scatters for itself around Bliss: Student-t with a variance additive + (relative
    bliss)^2. Invariant as it stands."""

    additive: float
    relative: float
    df: float

    @classmethod
    def fit(cls, blocks: Blocks) -> AroundBliss:
        """By maximum likelihood over all measured wells."""
        seen = blocks.measured
        level, off = blocks.reference[seen], (blocks.viability - blocks.reference)[seen]

        def loss(x: np.ndarray) -> float:
            scale = np.sqrt(np.exp(2 * x[0]) + np.exp(2 * x[1]) * level**2)
            df = 2.1 + np.exp(x[2])
            return float(-(scipy.stats.t.logpdf(off / scale, df) - np.log(scale)).mean())

        found = scipy.optimize.minimize(loss, np.array([-3.0, -2.5, 1.0]), method="Nelder-Mead")
        additive, relative, tail = np.exp(found.x)
        return cls(float(additive), float(relative), 2.1 + float(tail))

    def scale(self, blocks: Blocks) -> FloatArray:
        """``(b, m, n)`` of each well."""
        return np.asarray(np.hypot(self.additive, self.relative * blocks.reference))

    def log_density(self, blocks: Blocks) -> FloatArray:
        """``(b,)`` nats of the measured wells."""
        scale = self.scale(blocks)
        each = scipy.stats.t.logpdf((blocks.viability - blocks.reference) / scale, self.df)
        each = np.where(blocks.measured, each - np.log(scale), 0.0)
        return np.asarray(each.sum(axis=(1, 2)))

    def readings(self, blocks: Blocks, n: int, seed: int) -> FloatArray:
        """``(n, b, m, n')`` wells as they might be read."""
        rng = np.random.default_rng(seed)
        z = rng.standard_t(self.df, (n, *blocks.viability.shape))
        return np.asarray(blocks.reference + self.scale(blocks) * z)


@dataclass(frozen=True)
class LinearCloud:
    """Complete blocks of one shape as a multivariate Student-t around a ridge regression of the
    departure from Bliss on both margins and the features of each compound and of the cell line.
    Not symmetric unless it is trained on both orders."""

    weights: FloatArray
    root: FloatArray
    df: float
    shape: tuple[int, int]
    features: PairFeatures

    @classmethod
    def fit(cls, blocks: Blocks, features: PairFeatures | None = None) -> LinearCloud:
        """Raises :class:`ScreenError` for missing wells and for fewer blocks than columns."""
        features = features or PairFeatures.none()
        x, y = _inputs(blocks, features), _departures(blocks)
        if len(y) <= x.shape[1]:
            raise ScreenError(f"{len(y)} blocks are too few for {x.shape[1]} columns")
        penalty = RIDGE * np.eye(x.shape[1])
        penalty[0, 0] = 1e-9
        best = None
        for df in DEGREES:
            weights, root, density = _iterated(x, y, penalty, df)
            if best is None or density > best[0]:
                best = (density, cls(weights, root, df, blocks.shape, features))
        if best is None:
            raise ScreenError("there is nothing to fit to")
        return best[1]

    def log_density(self, blocks: Blocks) -> FloatArray:
        """``(b,)`` nats of complete blocks."""
        if blocks.shape != self.shape:
            raise ScreenError(f"learned from {self.shape} doses, asked about {blocks.shape}")
        off = _departures(blocks) - _inputs(blocks, self.features) @ self.weights
        return _student(off, self.root, self.df)

    def readings(self, blocks: Blocks, n: int, seed: int) -> FloatArray:
        """``(n, b, m, n')`` wells as they might be read."""
        rng, d = np.random.default_rng(seed), len(self.root)
        mean = _inputs(blocks, self.features) @ self.weights
        z = rng.normal(size=(n, len(blocks), d)) @ self.root.T
        z *= np.sqrt(self.df / rng.chisquare(self.df, (n, len(blocks), 1)))
        return np.asarray(blocks.reference + (mean + z).reshape(n, len(blocks), *self.shape))


def _iterated(
    x: FloatArray, y: FloatArray, penalty: FloatArray, df: float
) -> tuple[FloatArray, FloatArray, float]:
    """Weights, root of the scale matrix and mean log density, by expectation and maximisation
    (Liu & Rubin 1995, Stat Sin 5)."""
    d = y.shape[1]
    share: FloatArray = np.ones(len(y))
    weights, root = np.zeros((x.shape[1], d)), np.eye(d)
    for _ in range(_STEPS):
        weighted = x * share[:, None]
        weights = np.asarray(np.linalg.solve(weighted.T @ x + penalty, weighted.T @ y))
        off = y - x @ weights
        scatter = (off * share[:, None]).T @ off / len(y) + 1e-6 * np.eye(d)
        root = np.asarray(np.linalg.cholesky(scatter), np.float64)
        distance = np.square(np.linalg.solve(root, off.T)).sum(axis=0)
        share = (df + d) / (df + distance)
    return weights, root, float(_student(off, root, df).mean())


def _student(off: FloatArray, root: FloatArray, df: float) -> FloatArray:
    d = len(root)
    distance = np.square(np.linalg.solve(root, off.T)).sum(axis=0)
    constant = (
        scipy.special.gammaln((df + d) / 2)
        - scipy.special.gammaln(df / 2)
        - 0.5 * d * np.log(df * np.pi)
        - np.log(np.diag(root)).sum()
    )
    return np.asarray(constant - 0.5 * (df + d) * np.log1p(distance / df))


def _inputs(blocks: Blocks, features: PairFeatures) -> FloatArray:
    """1, both margins, Bliss and what is known besides."""
    b = len(blocks)
    own = [features_of(features.compounds, blocks.compounds[:, k]) for k in (0, 1)]
    line = features_of(features.cell_lines, blocks.cell_line)
    parts = [np.ones((b, 1)), *blocks.margins, blocks.reference.reshape(b, -1), *own, line]
    return np.concatenate(parts, axis=1)


def _departures(blocks: Blocks) -> FloatArray:
    if not blocks.measured.all():
        raise ScreenError("a linear cloud takes complete blocks")
    return np.asarray((blocks.viability - blocks.reference).reshape(len(blocks), -1))
