"""What a network is learned from: responses to interventions on named genes.

A knock-out, a knock-down or a drug with known targets moves its own genes by force; what other
genes do then is evidence of edges. Rows are conditions, columns genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, FloatArray, ScreenError

MIN_CONTROLS = 3
"""Fewer untreated samples than this say nothing about what happens without an intervention."""

NOISE_FLOOR = 0.2
"""Smallest noise of a gene, as a part of the median gene's: a gene that is off looks noiseless."""

MAD_TO_SD = 1.4826
"""Median absolute deviation of a normal distribution times this is its standard deviation."""


@dataclass(frozen=True)
class InterventionTable:
    """Responses to interventions, in the unit of the readout minus its untreated level.

    ``genes``: ``g`` distinct names. ``responses``: ``(n, g)``. ``targeted``: ``(n, g)`` bool,
    true where a condition acts on the gene itself, so that its response says nothing about edges
    into it. ``controls``: ``(c, g)`` untreated samples minus the same level, c >= 3.
    ``noise_sd``: ``(g,)`` > 0, of one reading.
    """

    genes: tuple[str, ...]
    responses: FloatArray
    targeted: BoolArray
    controls: FloatArray
    noise_sd: FloatArray

    def __post_init__(self) -> None:
        g = len(self.genes)
        if len(set(self.genes)) != g or g < 2:
            raise ScreenError("a network needs at least two genes, each named once")
        for name, array in (("responses", self.responses), ("controls", self.controls)):
            if array.ndim != 2 or array.shape[1] != g:
                raise ScreenError(f"{name} needs one column for each of {g} genes: {array.shape}")
            if not np.isfinite(array).all():
                raise ScreenError(f"{name} has missing or infinite values; drop those genes first")
        if self.targeted.shape != self.responses.shape or self.targeted.dtype != np.bool_:
            raise ScreenError("targeted must be a table of true and false as large as responses")
        if len(self.controls) < MIN_CONTROLS:
            raise ScreenError(f"a network needs at least {MIN_CONTROLS} untreated samples")
        if not self.targeted.any():
            raise ScreenError("no condition acts on a measured gene: there is no intervention")
        if self.noise_sd.shape != (g,) or not (self.noise_sd > 0).all():
            raise ScreenError("noise_sd needs one value above 0 for each gene")

    def __len__(self) -> int:
        return len(self.responses)

    def pushes(self) -> FloatArray:
        """``(g,)`` largest size of the response of each gene to an intervention on itself."""
        return np.asarray(np.where(self.targeted, np.abs(self.responses), 0).max(axis=0))

    def with_responses(self, responses: FloatArray) -> InterventionTable:
        """The same design with other responses."""
        return InterventionTable(self.genes, responses, self.targeted, self.controls, self.noise_sd)

    def select_genes(self, order: list[int]) -> InterventionTable:
        """The genes at these positions, in this order."""
        return InterventionTable(
            tuple(self.genes[i] for i in order),
            self.responses[:, order],
            self.targeted[:, order],
            self.controls[:, order],
            self.noise_sd[order],
        )

    def select_conditions(self, rows: list[int] | BoolArray) -> InterventionTable:
        """Some of the conditions; levels and noise stay those of all."""
        return InterventionTable(
            self.genes, self.responses[rows], self.targeted[rows], self.controls, self.noise_sd
        )


def from_expression(
    genes: tuple[str, ...], controls: FloatArray, treated: FloatArray, targeted: BoolArray
) -> InterventionTable:
    """A table from expression itself: ``controls`` ``(c, g)``, ``treated`` ``(n, g)``.

    The untreated level of a gene is the median of all samples that do not act on it, and its
    noise 1.4826 times their median absolute deviation: most interventions leave most genes
    alone, and a dozen controls by themselves are too few for either. Not less than a fifth of
    the median gene's noise. Raises :class:`ScreenError` for arrays that do not fit.
    """
    shapes = {controls.shape[1:], treated.shape[1:], targeted.shape[1:]}
    if shapes != {(len(genes),)} or treated.shape != targeted.shape:
        raise ScreenError("controls, treated and targeted need one column for each gene")
    free = np.vstack([controls, np.where(targeted, np.nan, treated)])
    if not np.isfinite(free[: len(controls)]).all() or not np.isfinite(treated).all():
        raise ScreenError("expression has missing or infinite values; drop those genes first")
    level = np.nanmedian(free, axis=0)
    sd = MAD_TO_SD * np.nanmedian(np.abs(free - level), axis=0)
    middle = float(np.median(sd))
    if middle == 0:
        raise ScreenError("most genes never vary: their noise cannot be told from the data")
    noise = np.maximum(sd, NOISE_FLOOR * middle)
    return InterventionTable(genes, treated - level, targeted, controls - level, noise)
