"""Ridge regression of responses on doses: linear, without intercept, hence additive.

    Y = X W + E,   W ~ N(0, noise / penalty),   E Student-t of learned scale and tails

The penalty is the one with the least squared error when each judged condition (each treated one,
where no pairs are judged) is left out, in closed form. ``ridge`` learns from all conditions,
``ridge_singles`` from those of one perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from models.perturbation.baselines import judged_rows
from models.perturbation.data import ResponseTable, require_doses
from models.perturbation.features import typical_doses
from models.perturbation.forecast import fit_noise
from models.perturbation.learnable import learnable
from models.perturbation.saving import (
    df_from_json,
    df_to_json,
    head_of,
    read_head,
    to_arrays,
    to_tensors,
)
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

VERSION = 1
PENALTIES = tuple(float(x) for x in np.geomspace(0.003, 30.0, 17))
"""Tried, in units of the mean square of a typical dose."""

_ARRAYS = ("weights", "root", "noise_scale")


@dataclass(frozen=True)
class RidgePosterior:
    """``weights`` ``(p, g)``; ``root`` ``(p, p)``: a root of their covariance, in squares of the
    noise scale of a readout; ``noise_scale`` ``(g,)`` and ``noise_df``; ``penalty`` chosen."""

    model: str
    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]
    weights: FloatArray
    root: FloatArray
    noise_scale: FloatArray
    noise_df: float
    penalty: float

    def mean(self, doses: FloatArray) -> FloatArray:
        """``(m, g)``."""
        return require_doses(doses, self.perturbations) @ self.weights

    def moments(self, doses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(m, g)`` mean and variance."""
        spread = np.square(require_doses(doses, self.perturbations) @ self.root).sum(axis=1)
        return self.mean(doses), spread[:, None] * np.square(self.noise_scale)

    def draws(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)``: draws of the weights."""
        at = require_doses(doses, self.perturbations)
        unit = np.random.default_rng(seed).standard_normal((n, *self.weights.shape))
        spread = np.einsum("mp,npg->nmg", at @ self.root, unit) * self.noise_scale
        return np.asarray((at @ self.weights)[None] + spread)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able metadata."""
        tensors = to_tensors({name: getattr(self, name) for name in _ARRAYS})
        head = head_of(self, self.model, VERSION)
        return tensors, head | {"penalty": self.penalty, "noise_df": df_to_json(self.noise_df)}


@dataclass(frozen=True)
class Ridge:
    """The model. ``singles_only``: pairs only tell the spread. ``penalties``: what is tried."""

    singles_only: bool = False
    penalties: tuple[float, ...] = PENALTIES

    @property
    def name(self) -> str:
        """``ridge`` or ``ridge_singles``."""
        return "ridge_singles" if self.singles_only else "ridge"

    def fit(
        self,
        table: ResponseTable,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> RidgePosterior:
        """Weights under the best penalty. Uses no randomness."""
        if should_stop():
            raise Stopped
        on_progress(self.name, 0, 1)
        rows = learnable(table)
        used = np.flatnonzero(rows.n_present <= 1) if self.singles_only else np.arange(len(rows))
        if not np.any(rows.n_present[used] > 0):
            raise ScreenError(f"{self.name} needs conditions of a single perturbation")
        judged = judged_rows(rows)
        unit = float(np.mean(np.square(typical_doses(rows.doses[used]))))
        tried = [penalty * unit for penalty in self.penalties]
        # For a penalty a single at the largest dose is as good a judge as any other.
        choosing = (
            judged if np.any(rows.n_present[judged] > 1) else np.flatnonzero(~rows.is_control)
        )
        errors = [_left_out(rows, used, choosing, penalty)[0] for penalty in tried]
        best = int(np.argmin([float(np.square(error).mean()) for error in errors]))
        error, inflation = _left_out(rows, used, judged, tried[best])
        # A held-out error has the noise and, in units of it, the doubt of the weights.
        scale, df = fit_noise(error / np.sqrt(inflation)[:, None])
        x, y = rows.doses[used], rows.values[used]
        inverse = _inverse(x, tried[best])
        root = np.asarray(np.linalg.cholesky(inverse), np.float64)
        return RidgePosterior(
            self.name,
            rows.perturbations,
            rows.readouts,
            inverse @ (x.T @ y),
            root,
            scale,
            df,
            tried[best],
        )

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> RidgePosterior:
        """Inverse of :meth:`RidgePosterior.save`."""
        return RidgePosterior(
            model=self.name,
            **read_head(metadata, self.name, VERSION),
            **to_arrays(tensors, _ARRAYS),
            noise_df=df_from_json(metadata["noise_df"]),
            penalty=metadata["penalty"],
        )


def _inverse(x: FloatArray, penalty: float) -> FloatArray:
    return np.asarray(np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1])))


def _left_out(
    rows: ResponseTable, used: IntArray, judged: IntArray, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """``(k, g)`` errors of the judged rows when each is left out, and ``(k,)`` 1 + the variance of
    its prediction over the noise."""
    x, y = rows.doses[used], rows.values[used]
    inverse = _inverse(x, penalty)
    at = rows.doses[judged]
    residual = rows.values[judged] - at @ (inverse @ (x.T @ y))
    leverage = np.einsum("ip,pq,iq->i", at, inverse, at)
    inside = np.isin(judged, used)
    share = np.where(inside, 1.0 - leverage, 1.0)
    inflation = np.where(inside, 1.0 / (1.0 - leverage), 1.0 + leverage)
    return residual / share[:, None], inflation
