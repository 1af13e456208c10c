"""BRAID and MuSyC parameters of measured blocks, all blocks at once.

The unknowns of a block are both single-agent curves (their prior: what the single-agent wells said,
as a normal distribution with the curves' covariance), the error of the vehicle control that all its
wells share, and the interaction's own parameters under weak priors. The mode comes from
Levenberg-Marquardt steps, the intervals from draws of all unknowns together
(:mod:`models.pharmacology.importance`), so that what the curves leave open widens them, and a bent
posterior bends them: intervals of MuSyC by the curvature at the mode held 79 to 89 % instead of 90.
A parameter whose posterior is hardly narrower than its prior is flagged: its interval is then
mostly the prior's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.pharmacology.dose_pairs import DosePairs, padded_groups
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.importance import sample_posteriors
from models.pharmacology.least_squares import minimise, numeric_jacobian
from models.pharmacology.surfaces import braid, musyc
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    ScreenError,
    StopCallback,
    never_stop,
)

CONSTRAINED_BELOW = 0.5
"""A parameter is constrained where the data at least halve its prior's standard deviation."""

_STEPS, _BLOCKS_AT_ONCE, _SAMPLED_AT_ONCE = 250, 1024, 64
_CURVE_UNKNOWNS = 6
_BRAID_SPREAD = 1.2
_ALPHA_SPREAD, _GAMMA_SPREAD, _E3_SPREAD = 2.0, 0.5, 0.3

Surface = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""Log doses' doses ``(b, c, 2)``, curves ``(b, 2, 3)`` and ``z`` ``(b, p)`` to viabilities."""


@dataclass(frozen=True)
class InteractionFits:
    """One model's parameters for ``m`` blocks.

    ``names``: the ``p`` parameters. ``estimate`` (the mode of all unknowns together), ``low``,
    ``high`` (5 and 95 % of each parameter by itself): ``(m, p)``. ``narrowing``: ``(m, p)``
    posterior over prior standard deviation (on the fitted scale).
    ``settled``: ``(m,)`` false where the search ran out of steps or the model is undefined (BRAID
    where a compound stimulates growth); all numbers are NaN there. ``rmse``: ``(m,)`` of the dose
    pairs around the surface, fractions.
    """

    model: str
    names: tuple[str, ...]
    candidates: Candidates
    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    narrowing: FloatArray
    settled: BoolArray
    rmse: FloatArray

    @property
    def constrained(self) -> BoolArray:
        """``(m, p)`` false where the interval is mostly the prior's."""
        return self.settled[:, None] & (self.narrowing < CONSTRAINED_BELOW)

    def words(self, block: int) -> tuple[str, ...]:
        """What to say of one block's parameters; nothing where all is well determined."""
        if not self.settled[block]:
            return (f"the {self.model} fit did not settle or is undefined: there are no numbers",)
        return tuple(
            f"the wells hardly constrain {name}: its interval is mostly the prior's"
            for name, known in zip(self.names, self.constrained[block], strict=True)
            if not known
        )


@dataclass(frozen=True)
class _Model:
    """``to_value``: ``z`` ``(b, p)`` and curves ``(b, 2, 3)`` to parameters ``(b, p)``."""

    names: tuple[str, ...]
    to_value: Callable[[FloatArray, FloatArray], FloatArray]
    surface: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def _braid_values(z: FloatArray, curves: FloatArray) -> FloatArray:
    return np.asarray(np.exp(np.log(2.0) + _BRAID_SPREAD * z) - 2.0)


def _braid_surface(dose: FloatArray, curves: FloatArray, value: FloatArray) -> FloatArray:
    log_c, log_h, emax = (curves[:, None, :, k] for k in range(3))
    emax = np.exp(emax)
    # With E3 the stronger maximum, rounding must not put E_i beyond it.
    return braid(dose, log_c, log_h, emax, emax.min(axis=-1), value)


def _musyc_values(z: FloatArray, curves: FloatArray) -> FloatArray:
    spread = np.array([_ALPHA_SPREAD] * 2 + [_GAMMA_SPREAD] * 2)
    independent = np.exp(curves[:, 0, 2] + curves[:, 1, 2])
    return np.column_stack([np.exp(spread * z[:, :4]), independent + _E3_SPREAD * z[:, 4]])


def _musyc_surface(dose: FloatArray, curves: FloatArray, value: FloatArray) -> FloatArray:
    log_c, log_h, emax = (curves[:, None, :, k] for k in range(3))
    log = np.log(value[:, None, :4])
    return musyc(dose, log_c, log_h, np.exp(emax), value[:, 4:], log[..., :2], log[..., 2:])


INTERACTION_MODELS: Mapping[str, _Model] = MappingProxyType(
    {
        "braid": _Model(("kappa",), _braid_values, _braid_surface),
        "musyc": _Model(
            ("alpha12", "alpha21", "gamma12", "gamma21", "e3"), _musyc_values, _musyc_surface
        ),
    }
)
"""``braid``: ``kappa`` with ``log((kappa + 2) / 2) ~ N(0, 1.2^2)``, ``E3`` the stronger maximum.
``musyc``: ``log alpha ~ N(0, 2^2)``, ``log gamma ~ N(0, 0.5^2)``, ``E3 ~ N(E1 E2, 0.3^2)``: no
interaction is in the middle of all priors."""


def fit_interactions(
    model: str,
    pairs: DosePairs,
    curves: CurveTable,
    *,
    well_factor: float = 1.0,
    shared_sd: float = 0.0,
    should_stop: StopCallback = never_stop,
) -> InteractionFits:
    """Fit ``model`` (a key of ``INTERACTION_MODELS``) to every block.

    ``well_factor``, ``shared_sd``: noise of combination wells and the relative error of the
    vehicle control, as in :class:`models.pharmacology.block_draws.BlockErrors`. Wells scatter
    around the surface also by what the single agents depart from their curves. Raises
    :class:`ScreenError` for an unknown model, ``Stopped``.
    """
    if model not in INTERACTION_MODELS:
        known = ", ".join(INTERACTION_MODELS)
        raise ScreenError(f"unknown interaction model {model!r}; known are {known}")
    rule, m = INTERACTION_MODELS[model], len(pairs.first)
    p = len(rule.names)
    columns = np.empty((4, m, p))
    settled, rmse = np.zeros(m, bool), np.empty(m)
    table, filled = padded_groups(pairs.block)
    for first in range(0, m, _BLOCKS_AT_ONCE):
        rows = slice(first, first + _BLOCKS_AT_ONCE)
        task = _Task.of(pairs, curves, table[rows], filled[rows], well_factor, shared_sd)
        columns[:, rows], settled[rows], rmse[rows] = task.solve(rule, should_stop)
    estimate, low, high, narrowing = columns
    return InteractionFits(
        model, rule.names, pairs.candidates, estimate, low, high, narrowing, settled, rmse
    )


@dataclass(frozen=True)
class _Task:
    """Some blocks, padded: ``dose`` ``(b, c, 2)``, ``viability``, ``weight`` ``(b, c)``,
    ``filled``; curves ``mode`` ``(b, 2, 3)`` and the ``factor`` of their covariance."""

    dose: FloatArray
    viability: FloatArray
    weight: FloatArray
    filled: BoolArray
    mode: FloatArray
    factor: FloatArray
    shared_sd: float

    @classmethod
    def of(
        cls,
        pairs: DosePairs,
        curves: CurveTable,
        table: IntArray,
        filled: BoolArray,
        well_factor: float,
        shared_sd: float,
    ) -> _Task:
        """The blocks whose rows are ``table`` ``(b, c)``, ``filled`` where one is real; other
        arguments as in :func:`fit_interactions`."""
        head = table[:, 0]
        at = (pairs.compounds[head], pairs.cell_line[head][:, None])
        viability, compounds = pairs.viability[table], pairs.compounds[table]
        dose = pairs.doses_um[table]
        single = curves.viability(compounds, pairs.cell_line[table][..., None], dose)
        misfit = np.square(curves.misfit_sd_at(single)).sum(-1)
        well = well_factor * curves.noise.sd(np.maximum(viability, 0.0))
        sd = np.sqrt(well**2 / pairs.usual_wells[table] + misfit)
        return cls(
            dose=dose,
            viability=viability,
            weight=filled / sd,
            filled=filled,
            mode=np.stack([curves.log_c[at], curves.log_h[at], np.log(curves.emax[at])], axis=-1),
            factor=np.asarray(np.linalg.cholesky(curves.covariance[at]), dtype=np.float64),
            shared_sd=shared_sd,
        )

    def solve(
        self, rule: _Model, should_stop: StopCallback
    ) -> tuple[FloatArray, BoolArray, FloatArray]:
        """``(4, b, p)`` estimate, low, high, narrowing; which settled; rmse."""
        p = len(rule.names)
        size = _CURVE_UNKNOWNS + 1 + p

        def problem(z: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
            def residual(at: FloatArray) -> FloatArray:
                level = self._levels(rule, at, rows)
                return (level - self.viability[rows]) * self.weight[rows]

            prior = np.broadcast_to(np.eye(size), (len(z), size, size))
            jacobian = np.concatenate([numeric_jacobian(residual, z), prior], axis=1)
            return np.concatenate([residual(z), z], axis=1), jacobian

        found = minimise(
            problem, np.zeros((len(self.dose), size)), steps=_STEPS, should_stop=should_stop
        )
        known = found.settled
        every = np.arange(len(self.dose))
        values = rule.to_value(found.theta[:, -p:], self._curves(found.theta, every))
        table = np.full((4, len(self.dose), p), np.nan)
        table[0, known] = values[known]
        rows = np.flatnonzero(known)
        for some in np.array_split(rows, -(-len(rows) // _SAMPLED_AT_ONCE)) if len(rows) else ():
            table[1:, some] = self._intervals(
                rule, some, found.theta[some], found.precision[some], should_stop
            )
        away = np.where(self.filled, self._levels(rule, found.theta, every) - self.viability, 0.0)
        rmse = np.sqrt(np.square(away).sum(1) / self.filled.sum(1))
        return table, known, np.where(known, rmse, np.nan)

    def _intervals(
        self,
        rule: _Model,
        rows: IntArray,
        mode: FloatArray,
        precision: FloatArray,
        should_stop: StopCallback,
    ) -> FloatArray:
        """``(3, r, p)`` low, high, posterior over prior standard deviation."""
        p, size = len(rule.names), mode.shape[1]

        def log_posterior(z: FloatArray) -> FloatArray:
            flat = z.reshape(-1, size)
            owner = np.repeat(rows, z.shape[1])
            away = (self._levels(rule, flat, owner) - self.viability[owner]) * self.weight[owner]
            half = np.square(away).sum(1) + np.square(flat).sum(1)
            return np.asarray(-0.5 * half.reshape(z.shape[:2]))

        drawn = sample_posteriors(log_posterior, mode, precision, should_stop)
        flat = drawn.points.reshape(-1, size)
        curves = self._curves(flat, np.repeat(rows, drawn.points.shape[1]))
        values = rule.to_value(flat[:, -p:], curves).reshape(len(rows), -1, p)
        low, high = drawn.quantiles(values, (0.05, 0.95))
        return np.stack([low, high, drawn.sd()[:, -p:]])

    def _curves(self, z: FloatArray, rows: IntArray) -> FloatArray:
        """``(r, 2, 3)`` parameters of both curves."""
        own = z[:, :_CURVE_UNKNOWNS].reshape(-1, 2, 3)
        away = np.einsum("bkij,bkj->bki", self.factor[rows], own)
        return np.asarray(self.mode[rows] + away, dtype=np.float64)

    def _levels(self, rule: _Model, z: FloatArray, rows: IntArray) -> FloatArray:
        """``(r, c)`` what the wells should read, the vehicle control's error included."""
        curves = self._curves(z, rows)
        value = rule.to_value(z[:, _CURVE_UNKNOWNS + 1 :], curves)
        level = rule.surface(self.dose[rows], curves, value)
        return np.asarray(level * (1.0 + self.shared_sd * z[:, _CURVE_UNKNOWNS, None]))
