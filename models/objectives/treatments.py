"""From scores back to treatments: the viability at given doses that a score posterior implies.

A score says how large a block's excess is, not where on the dose surface it sits. The profile is
learned from the measured blocks: excess concentrates where the reference is half-way, so

    excess(d) = score * (b0 + b1 * 4 R (1 - R)) + residual,     R = reference viability at d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.objectives.scores import POINTS, Blocks
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.random_numbers import combine, normals
from models.pharmacology.references import REFERENCES
from models.pharmacology.score_rules import score_rule
from models.screen import ABSENT, MAX_COMPOUNDS, FloatArray, IntArray, ScreenError
from models.synergy.response.treatments import ResponsePosterior

_FEWEST_DOSE_PAIRS = 20


@dataclass(frozen=True)
class ExcessProfile:
    """``base``, ``bend``: ``b0`` and ``b1`` above. ``residual_sd``: percentage points, the part
    of a dose pair's excess that neither the profile nor measurement noise explains.
    ``n_dose_pairs``: how many dose pairs it was learned from."""

    score_name: str
    base: float
    bend: float
    residual_sd: float
    n_dose_pairs: int

    def share(self, reference: FloatArray) -> FloatArray:
        """Excess per unit of score at reference viabilities; same shape."""
        return self.base + self.bend * 4.0 * reference * (1.0 - reference)


def excess_profile(blocks: Blocks) -> ExcessProfile:
    """Least squares of dose-level excess on the block's score, over all measured dose pairs.

    With fewer than 20 dose pairs the excess is taken to be the score at every dose.
    """
    score = blocks.score[blocks.block]
    bend = 4.0 * blocks.reference * (1.0 - blocks.reference)
    coefficients = np.array([1.0, 0.0])
    if len(score) >= _FEWEST_DOSE_PAIRS:
        design = np.stack([score, score * bend], axis=1)
        coefficients = np.linalg.lstsq(design, blocks.excess, rcond=None)[0]
    residual = blocks.excess - score * (coefficients[0] + coefficients[1] * bend)
    beyond = residual**2 - blocks.excess_sd**2
    return ExcessProfile(
        score_name=blocks.score_name,
        base=float(coefficients[0]),
        bend=float(coefficients[1]),
        residual_sd=float(np.sqrt(max(beyond.mean(), 0.0))) if len(score) else 0.0,
        n_dose_pairs=len(score),
    )


def predict_viability(
    curves: CurveTable,
    profile: ExcessProfile,
    compounds: IntArray,
    cell_line: IntArray,
    doses_um: FloatArray,
    score_draws: FloatArray,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Viability of treatments, as joint draws, and the noise of measuring each in one well.

    ``compounds``: ``(m, 2)``, in any order, ``ABSENT`` for none (one compound: the single curve,
    none: vehicle). ``cell_line``: ``(m,)``. ``doses_um``: ``(m, 2)``. ``score_draws``: ``(n, m)``
    percentage points, ignored where a compound is missing. Returns ``(n, m)`` draws of the true
    viability, the profile's residual included, and ``(m,)`` standard deviation of one well.
    Draw ``i`` of one treatment is the same in every call with one seed.
    """
    _require_treatments(compounds, cell_line, doses_um, score_draws)
    n = len(score_draws)
    single = np.stack(
        [_single(curves, compounds[:, k], cell_line, doses_um[:, k], n, seed) for k in (0, 1)],
        axis=-1,
    )
    both = (compounds != ABSENT).all(axis=1) & (doses_um > 0).all(axis=1)
    reference = REFERENCES[score_rule(profile.score_name).reference](single)
    alone = single.prod(axis=-1)
    residual = profile.residual_sd * _residual_normals(compounds, cell_line, doses_um, n, seed)
    excess = (score_draws * profile.share(reference) + residual) / POINTS
    viability = np.where(both, reference - excess, alone)
    return viability, curves.noise.sd(np.maximum(viability.mean(axis=0), 0.0))


def respond(
    posterior: ResponsePosterior,
    compounds: IntArray,
    cell_line: IntArray,
    doses_um: FloatArray,
    n: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """What :func:`predict_viability` returns, from a model of responses itself.

    ``compounds``, ``doses_um``: ``(m, k)`` with up to three compounds, ``ABSENT`` for none.
    """
    spare = MAX_COMPOUNDS - compounds.shape[1]
    padded = np.pad(compounds, ((0, 0), (0, spare)), constant_values=ABSENT)
    doses = np.pad(doses_um, ((0, 0), (0, spare)))
    draws = posterior.viability_draws(padded, doses, cell_line, n, seed)
    viability = draws.cpu().numpy().astype(np.float64)
    return viability, np.asarray(posterior.well_noise_sd(viability.mean(axis=0)))


def _single(
    curves: CurveTable,
    compound: IntArray,
    cell_line: IntArray,
    dose_um: FloatArray,
    n: int,
    seed: int,
) -> FloatArray:
    """``(n, m)`` draws of one compound's viability, 1 where it is absent."""
    present = compound != ABSENT
    viability = np.ones((n, len(compound)))
    viability[:, present] = curves.curve_draws(
        compound[present], cell_line[present], dose_um[present], n, seed
    )
    return viability


def _residual_normals(
    compounds: IntArray, cell_line: IntArray, doses_um: FloatArray, n: int, seed: int
) -> FloatArray:
    """``(n, m)`` standard normals that belong to a treatment, whichever compound comes first."""
    order = np.argsort(compounds, axis=1, kind="stable")
    pair = np.take_along_axis(compounds, order, axis=1)
    dose = np.take_along_axis(doses_um, order, axis=1)
    key = combine(pair[:, 0], pair[:, 1], cell_line, dose[:, 0], dose[:, 1])
    return normals(seed, key, n, 1)[..., 0]


def _require_treatments(
    compounds: IntArray, cell_line: IntArray, doses_um: FloatArray, score_draws: FloatArray
) -> None:
    m = len(cell_line)
    if compounds.shape != (m, 2) or doses_um.shape != (m, 2):
        raise ScreenError("treatments need two compound and two dose columns")
    if score_draws.ndim != 2 or score_draws.shape[1] != m:
        raise ScreenError(f"score draws have shape {score_draws.shape}, expected (n, {m})")
    if np.any((doses_um < 0) | ~np.isfinite(doses_um)):
        raise ScreenError("doses must be finite and not negative")
