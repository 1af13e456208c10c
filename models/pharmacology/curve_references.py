"""What the fitted single agents predict for dose pairs under any reference, and how well.

The error of a reference comes from both curves' parameters (a gradient, to be combined with their
covariance) and from where a compound departs from a Hill curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.hill import inverse_hill
from models.pharmacology.references import REFERENCES, loewe
from models.pharmacology.zip_fits import ZipFit, fit_zip
from models.screen import BoolArray, FloatArray, ScreenError

UNDEFINED = (
    "Loewe additivity is undefined beyond the maximum effect of the weaker compound, or where a "
    "compound does not inhibit alone"
)


@dataclass(frozen=True)
class CurveReference:
    """The reference at ``t`` dose pairs, what it is compared with, and the sources of error.

    ``single``: ``(t, 2)`` single viabilities. ``viability``: ``(t,)`` the reference, NaN where it
    is undefined. ``gradient``: ``(t, 2, 3)`` derivatives of *reference minus observed* by the
    parameters of both curves. ``slope``: ``(t, 2)`` the same by the single viabilities.
    ``smooth``: for ZIP the fitted surface that stands in for the measured wells, else ``None``.
    """

    single: FloatArray
    viability: FloatArray
    gradient: FloatArray
    slope: FloatArray
    smooth: ZipFit | None = None

    @property
    def defined(self) -> BoolArray:
        """``(t,)`` false where the reference is undefined."""
        return np.isfinite(self.viability)

    def select(self, rows: BoolArray) -> CurveReference:
        """The dose pairs of a mask; :class:`ScreenError` for ZIP, whose dose pairs go together."""
        if self.smooth is not None:
            raise ScreenError("dose pairs of a ZIP surface cannot be taken apart")
        return CurveReference(
            self.single[rows], self.viability[rows], self.gradient[rows], self.slope[rows]
        )

    def observed(self, viability: FloatArray) -> FloatArray:
        """``(t,)`` what the reference is compared with: the wells, or the surface through them."""
        return viability if self.smooth is None else self.smooth.viability

    def on_wells(self, weight: FloatArray) -> FloatArray:
        """``(t,)`` weights on the measured viabilities, given those on the compared ones."""
        return weight if self.smooth is None else self.smooth.pull_back(weight)

    def observed_variance(self, variance: FloatArray) -> FloatArray:
        """``(t,)`` variance of what the reference is compared with, given that of the wells."""
        return variance if self.smooth is None else self.smooth.variance(variance)


def curve_reference(
    name: str, pairs: DosePairs, curves: CurveTable, well_sd: FloatArray
) -> CurveReference:
    """The reference ``name`` (a key of ``REFERENCES``) at every dose pair.

    ``well_sd``: ``(t,)`` standard deviation of the measured viabilities, which weighs the rows and
    columns of ZIP. Raises :class:`ScreenError` for an unknown name.
    """
    if name not in REFERENCES:
        raise ScreenError(f"unknown reference {name!r}; known are {', '.join(REFERENCES)}")
    at = (pairs.compounds, pairs.cell_line[:, None], pairs.doses_um)
    single, gradient = curves.viability(*at), curves.gradient(*at)
    if name == "loewe":
        return _loewe_reference(pairs, curves, single)
    if name == "hsa":
        strongest = single <= single.min(axis=-1, keepdims=True)
        slope = strongest / strongest.sum(axis=-1, keepdims=True)
    else:
        slope = np.zeros_like(single) if name == "none" else single[:, ::-1].copy()
    viability = REFERENCES[name](single)
    if name != "zip":
        return CurveReference(single, viability, slope[..., None] * gradient, slope)
    smooth = fit_zip(pairs, curves, well_sd)
    return CurveReference(
        single,
        viability,
        slope[..., None] * gradient - smooth.by_curve,
        slope - smooth.by_single,
        smooth,
    )


def _loewe_reference(pairs: DosePairs, curves: CurveTable, single: FloatArray) -> CurveReference:
    """Loewe with derivatives from the implicit function theorem; 0 where it is undefined.

    A departure of one compound from its curve counts by that compound's share of the sum of
    equivalent doses, which is 1 when it is alone.
    """
    at = (pairs.compounds, pairs.cell_line[:, None])
    log_c, log_h, emax = curves.log_c[at], curves.log_h[at], curves.emax[at]
    viability = loewe(pairs.doses_um, log_c, log_h, emax)
    level = viability[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = pairs.doses_um / inverse_hill(level, log_c, log_h, emax)
        left, h = level - emax, np.exp(log_h)
        by_level = (share / h * (1.0 / (1.0 - level) + 1.0 / left)).sum(axis=-1)
        by_parameter = np.stack(
            [-share, share / h * np.log((1.0 - level) / left), -share / h * emax / left], axis=-1
        )
        gradient = -by_parameter / by_level[:, None, None]
    sound = np.isfinite(gradient).all(axis=(1, 2)) & np.isfinite(viability)
    return CurveReference(
        single=single,
        viability=np.where(sound, viability, np.nan),
        gradient=np.where(sound[:, None, None], gradient, 0.0),
        slope=np.where(sound[:, None], share / share.sum(axis=-1, keepdims=True), 0.0),
    )
