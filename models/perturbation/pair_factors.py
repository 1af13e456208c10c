"""Responses of pairs from those of their parts: main effects in shared directions of the readouts,
and interactions that similar pairs share.

In each direction of the readouts (:mod:`models.perturbation.readout_factors`) a measured response
is Gaussian with the covariance of :mod:`models.perturbation.pair_prior` plus noise of variance 1.
The embedding behind the shared interactions is what each perturbation does by itself, so that a
pair never measured borrows its interaction from pairs of perturbations with like effects. Unit and
power of the dose and the variance of interactions are those of highest evidence. All is
conjugate: milliseconds for a hundred conditions, growing with the cube of their number.

What a fit chooses, it chooses by its own training conditions. The form of the model was chosen on
the CellBox screen, and so were :data:`EXPECTED`, :data:`POWERS` and the strengths of shrinkage in
:mod:`models.perturbation.readout_factors`: scores on that screen flatter it to that extent.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from torch import Tensor

from models.perturbation.data import ResponseTable, require_doses
from models.perturbation.features import main_features, typical_doses
from models.perturbation.learnable import learnable
from models.perturbation.pair_prior import PairPrior, Parts
from models.perturbation.readout_factors import ReadoutFactors, fit_factors
from models.perturbation.saving import head_of, read_head, to_arrays, to_tensors
from models.screen import (
    FloatArray,
    ProgressCallback,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

NAME = "pair_factors"
VERSION = 1
POWERS = (0.7, 0.85, 1.0)
INTERACTIONS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Variances of interactions that are tried, in noise variances of a typical pair."""
EXPECTED = 0.2
"""The same where no pair was measured (half of what the pairs of CellBox say)."""
RANK = 12
"""Directions of the embedding."""


@dataclass(frozen=True)
class PairFactorsPosterior:
    """``prior``; ``doses`` ``(n, p)`` learned from; ``directions`` ``(g, r)`` of the readouts over
    ``noise_scale`` ``(g,)``, with ``strength`` ``(r,)``, and ``rest`` for all others; ``targets``
    ``(n, r)`` the responses in the directions and ``rest_targets`` ``(n, g)`` outside of them."""

    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]
    prior: PairPrior
    doses: FloatArray
    noise_scale: FloatArray
    directions: FloatArray
    strength: FloatArray
    rest: float
    targets: FloatArray
    rest_targets: FloatArray

    model: str = field(default=NAME, init=False)
    noise_df: float = field(default=float("inf"), init=False)

    def mean(self, doses: FloatArray) -> FloatArray:
        """``(m, g)`` expected response."""
        return self.moments(doses)[0]

    def moments(self, doses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(m, g)`` mean and ``(m, g)`` variance of the noise-free response, exact."""
        at = self.prior.parts(require_doses(doses, self.perturbations))
        crosses = self._crosses(at)
        mean = [c @ w for c, w in zip(crosses, self._solved, strict=True)]
        main, pair = self.prior.main_variance(at), self.prior.pair_variance(at)
        left = [
            strength * main + pair - np.square(_half(factor, cross)).sum(axis=0)
            for strength, factor, cross in zip(self._strengths, self._factors, crosses, strict=True)
        ]
        # Rounding can leave a variance of -1e-16 where everything is known.
        spread = np.maximum(np.stack(left, axis=1), 0.0)
        share = np.square(self.directions)
        scaled = np.concatenate(mean[:-1], axis=1) @ self.directions.T + mean[-1]
        inside = spread[:, :-1] @ share.T
        total = inside + spread[:, -1:] * np.maximum(1.0 - share.sum(axis=1), 0.0)
        return scaled * self.noise_scale, total * np.square(self.noise_scale)

    def draws(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)`` whole functions: draws of the prior, corrected by what was measured
        (Matheron's rule; Wilson et al. 2020, eq. 10)."""
        at = self.prior.parts(require_doses(doses, self.perturbations))
        crosses = self._crosses(at)
        here, there = self.prior.stacked(at), self.prior.stacked(self._parts)
        out = np.empty((n, len(here), len(self.readouts)))
        for i in range(n):
            weights, noise = self._prior_draw(seed, i)
            missed = self._columns - there @ weights - noise
            drawn = here @ weights
            drawn += np.concatenate(
                [c @ s for c, s in zip(crosses, self._solve(missed), strict=True)], axis=1
            )
            out[i] = self._to_readouts(drawn)
        return out

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able metadata."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {"unit": self.prior.unit, "embedding": self.prior.embedding}
        return to_tensors(arrays), head_of(self, NAME, VERSION) | {
            "rest": self.rest,
            "power": self.prior.power,
            "shared": self.prior.shared,
        }

    def log_evidence(self) -> float:
        """Log density of what was learned from, nats."""
        n, g = len(self.doses), len(self.readouts)
        r = self.targets.shape[1]
        targets = [*self.targets.T[:, :, None], self.rest_targets]
        counts = [1] * r + [g - r]
        fit = sum(float((y * w).sum()) for y, w in zip(targets, self._solved, strict=True))
        size = sum(
            2 * k * float(np.log(np.diag(factor)).sum())
            for k, factor in zip(counts, self._factors, strict=True)
        )
        scale = 2 * n * float(np.log(self.noise_scale).sum())
        return float(-0.5 * (fit + size + scale + n * g * np.log(2 * np.pi)))

    def _prior_draw(self, seed: int, i: int) -> tuple[FloatArray, FloatArray]:
        """Weights ``(p + q, r + g)`` and noise ``(n, r + g)`` of world ``i``."""
        rng = np.random.default_rng([seed, i])
        r, g = len(self.strength), len(self.readouts)
        p, q = self._parts.main.shape[1], self._parts.pairs.shape[1]
        weights = rng.standard_normal((p + q, r + g))
        weights[:p, :r] *= np.sqrt(self.strength)
        weights[:p, r:] *= np.sqrt(self.rest)
        return weights, rng.standard_normal((len(self.doses), r + g))

    def _to_readouts(self, columns: FloatArray) -> FloatArray:
        """``(m, g)`` from ``(m, r + g)``: the directions, and the rest outside of them."""
        r = len(self.strength)
        inside, rest = columns[:, :r], columns[:, r:]
        outside = rest - (rest @ self.directions) @ self.directions.T
        return np.asarray((inside @ self.directions.T + outside) * self.noise_scale)

    def _crosses(self, at: Parts) -> list[FloatArray]:
        main = self.prior.main_cross(at, self._parts)
        pair = self.prior.pair_cross(at, self._parts)
        return [strength * main + pair for strength in self._strengths]

    def _solve(self, columns: FloatArray) -> list[FloatArray]:
        r = len(self.strength)
        parts = [*columns.T[:r, :, None], columns[:, r:]]
        return [
            scipy.linalg.cho_solve((factor, True), y, check_finite=False)
            for factor, y in zip(self._factors, parts, strict=True)
        ]

    @property
    def _strengths(self) -> list[float]:
        return [*self.strength.tolist(), self.rest]

    @cached_property
    def _parts(self) -> Parts:
        return self.prior.parts(self.doses)

    @cached_property
    def _factors(self) -> list[FloatArray]:
        eye = np.eye(len(self.doses))
        crosses = self._crosses(self._parts)
        return [np.asarray(np.linalg.cholesky(cross + eye), np.float64) for cross in crosses]

    @cached_property
    def _columns(self) -> FloatArray:
        return np.concatenate([self.targets, self.rest_targets], axis=1)

    @cached_property
    def _solved(self) -> list[FloatArray]:
        return self._solve(self._columns)


_ARRAYS = (
    "doses",
    "noise_scale",
    "directions",
    "strength",
    "targets",
    "rest_targets",
)


@dataclass(frozen=True)
class PairFactors:
    """The model; see the module. ``powers`` and ``interactions``: what is tried."""

    powers: tuple[float, ...] = POWERS
    interactions: tuple[float, ...] = INTERACTIONS
    name: str = NAME

    def fit(
        self,
        table: ResponseTable,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> PairFactorsPosterior:
        """The posterior under the choices of highest evidence. Uses no randomness.

        First unit and power of the dose by the evidence of main effects alone, then the variance
        of interactions (:data:`EXPECTED` where no condition holds two perturbations).
        """
        rows = learnable(table)
        typical = typical_doses(rows.doses)
        together = np.full_like(typical, float(np.median(typical)))
        choices = list(itertools.product((together, typical), self.powers))
        fits = []
        for done, (unit, power) in enumerate(choices):
            _report(on_progress, should_stop, "main effects", done, len(choices))
            fits.append(fit_factors(main_features(rows.doses, unit, power), rows.values))
        best = int(np.argmax([factors.evidence for factors in fits]))
        base = _posterior(rows, *choices[best], fits[best])
        if not np.any(rows.n_present > 1):
            return _with_interactions(base, EXPECTED)
        chosen, evidence = base, -np.inf
        for done, shared in enumerate(self.interactions):
            _report(on_progress, should_stop, "interactions", done, len(self.interactions))
            tried = _with_interactions(base, shared)
            if (found := tried.log_evidence()) > evidence:
                chosen, evidence = tried, found
        return chosen

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
    ) -> PairFactorsPosterior:
        """Inverse of :meth:`PairFactorsPosterior.save`."""
        head = read_head(metadata, NAME, VERSION)
        kernel = to_arrays(tensors, ("unit", "embedding"))
        prior = PairPrior(
            kernel["unit"], metadata["power"], kernel["embedding"], metadata["shared"]
        )
        return PairFactorsPosterior(
            **head, prior=prior, rest=metadata["rest"], **to_arrays(tensors, _ARRAYS)
        )


def _posterior(
    rows: ResponseTable, unit: FloatArray, power: float, factors: ReadoutFactors
) -> PairFactorsPosterior:
    """Main effects alone."""
    scaled = rows.values / factors.noise_sd
    inside = scaled @ factors.directions
    return PairFactorsPosterior(
        perturbations=rows.perturbations,
        readouts=rows.readouts,
        prior=PairPrior(unit, power, embed(factors), 0.0),
        doses=rows.doses,
        noise_scale=factors.noise_sd,
        directions=factors.directions,
        strength=factors.strength,
        rest=factors.rest,
        targets=inside,
        rest_targets=scaled - inside @ factors.directions.T,
    )


def embed(factors: ReadoutFactors) -> FloatArray:
    """``(p, r)`` main effects over the noise, in their leading directions, so that a typical row
    has norm 1."""
    left, singular, _ = np.linalg.svd(factors.weights / factors.noise_sd, full_matrices=False)
    rank = min(RANK, len(singular))
    found = left[:, :rank] * singular[:rank]
    size = float(np.sqrt(np.square(found).sum(axis=1).mean()))
    return np.asarray(found / size) if size > 0 else np.zeros_like(found)


def _with_interactions(base: PairFactorsPosterior, shared: float) -> PairFactorsPosterior:
    return replace(base, prior=replace(base.prior, shared=shared))


def _half(factor: FloatArray, cross: FloatArray) -> FloatArray:
    return np.asarray(
        scipy.linalg.solve_triangular(factor, cross.T, lower=True, check_finite=False)
    )


def _report(
    on_progress: ProgressCallback, should_stop: StopCallback, stage: str, done: int, total: int
) -> None:
    if should_stop():
        raise Stopped
    on_progress(stage, done, total)
