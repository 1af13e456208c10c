"""How much more or less the wells of a plate scatter than usual, as its own controls show it.

A plate's vehicle wells are few, so the variance ``s^2`` of ``d`` degrees of freedom that they
show is not believed as it is. The true variances of plates are taken as draws of one distribution,

    s_p^2 | v_p ~ v_p chi2(d_p) / d_p,        1 / v_p ~ chi2(d_0) / (d_0 v_0),

and each plate gets ``(d_0 v_0 + d_p s_p^2) / (d_0 + d_p)``. How different plates are, ``d_0``,
follows from the scatter of ``log s_p^2`` beyond that of their degrees of freedom. Source: Smyth,
Stat Appl Genet Mol Biol 3 (2004), article 3; with unequal ``d_p`` weighted as in Paule and Mandel,
J Res Natl Bur Stand 87 (1982), 377, and a weak prior, as there are few plates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma, psi

from models.screen import ABSENT, FloatArray, IntArray, PlateTable, Wells

USUAL_SPREAD = 0.1
"""Variance of the logarithm of plates' variances that is believed before any plate is seen: most
standard deviations are within a third of one another."""

BELIEF = 1.0
"""Plates' worth of belief in it."""

NOISY_FROM = 1.5
"""A plate is called noisy from so many times the usual standard deviation on."""

_LEAST_SPREAD, _MOST_SPREAD = 1e-6, 1e3
_MOST_NAMED = 10


def plate_scales(plates: PlateTable) -> FloatArray:
    """``(p,)`` standard deviation of a well of each plate over that of a usual plate.

    The usual plate is the geometric mean of all, so one plate alone is usual. The order of the
    plates and the unit of the standard deviations change nothing.
    """
    if not len(plates):
        return np.ones(0)
    order = np.lexsort([plates.control_dof, plates.control_sd])
    dof = plates.control_dof[order]
    square = np.log(plates.control_sd[order]) * 2.0
    unbiased = square - psi(0.5 * dof) + np.log(0.5 * dof)
    known = polygamma(1, 0.5 * dof)
    spread = _spread(unbiased, known)
    weight = 1.0 / (known + spread)
    half = _inverse_trigamma(spread)
    centre = np.sum(weight * unbiased) / np.sum(weight) + psi(half) - np.log(half)
    # Relative to the centre, so that neither very small nor very large units overflow.
    shrunk = np.log((2.0 * half + dof * np.exp(square - centre)) / (2.0 * half + dof))
    scale = np.empty(len(plates))
    scale[order] = np.exp(0.5 * (shrunk - shrunk.mean()))
    return scale


def well_scales(wells: Wells) -> FloatArray:
    """``(n,)`` :func:`plate_scales` of each well's plate, 1 where nothing is known of it."""
    if wells.plate is None or wells.plates is None:
        return np.ones(len(wells))
    scale = np.append(plate_scales(wells.plates), 1.0)
    return np.asarray(scale[np.where(wells.plate == ABSENT, len(wells.plates), wells.plate)])


def shared_level_sd(wells: Wells, group: IntArray) -> FloatArray | None:
    """``(g,)`` relative error of the mean of each group of wells, by the levels of their plates.

    ``group``: ``(n,)`` numbers from 0. A plate's level moves all its wells alike, and the levels of
    two plates are independent, so plates' errors add in squares by their shares of the group's
    wells. Wells of which nothing is known add nothing. ``None`` where no plate has a level.
    """
    if wells.plate is None or wells.plates is None or wells.plates.level_sd is None:
        return None
    n_groups = int(group.max(initial=-1)) + 1
    known = wells.plate != ABSENT
    cell = group[known] * len(wells.plates) + wells.plate[known]
    cells, count = np.unique(cell, return_counts=True)
    owner, plate = np.divmod(cells, max(len(wells.plates), 1))
    share = count / np.bincount(group, minlength=n_groups)[owner]
    error = (share * wells.plates.level_sd[plate]) ** 2
    # Sums in the order of their size, so that the order of the plates changes no bit.
    order = np.lexsort([error, owner])
    return np.sqrt(np.bincount(owner[order], error[order], n_groups))


def describe_plates(wells: Wells) -> dict[str, Any] | None:
    """What the controls of the wells' plates say, JSON-able; ``None`` where they say nothing.

    ``plates``: how many have wells here. ``wells``: how many lie on them. ``quietest``,
    ``noisiest``: ``scale`` of these plates. ``noisy``: ``plate`` and ``scale`` of those from
    ``NOISY_FROM`` on, worst first, ten at most. ``words``: those in a sentence.
    """
    if wells.plate is None or wells.plates is None:
        return None
    here = np.unique(wells.plate[wells.plate != ABSENT])
    if not len(here):
        return None
    scale = plate_scales(wells.plates)
    listed = sorted((-scale[row], wells.plates.ids[row]) for row in here.tolist())
    noisy = [
        {"plate": name, "scale": round(float(-negative), 3)}
        for negative, name in listed
        if -negative >= NOISY_FROM
    ]
    return {
        "plates": len(here),
        "wells": int(np.sum(wells.plate != ABSENT)),
        "quietest": round(float(scale[here].min()), 3),
        "noisiest": round(float(scale[here].max()), 3),
        "noisy": noisy[:_MOST_NAMED],
        "words": _words(noisy),
    }


def _words(noisy: list[dict[str, Any]]) -> str:
    if not noisy:
        return ""
    said = ", ".join(f"{one['plate']} ({one['scale']:.1f} times)" for one in noisy[:_MOST_NAMED])
    more = len(noisy) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"Noisier than a usual plate by their controls, and counted for less: {said}{rest}."


def _spread(value: FloatArray, known: FloatArray) -> float:
    """Variance between plates of ``value`` ``(p,)``, each known to a variance ``known`` ``(p,)``.

    Where the weighted squares around the mean, and the belief's, are what they should be.
    """

    def beyond(spread: float) -> float:
        weight = 1.0 / (known + spread)
        centre = np.sum(weight * value) / np.sum(weight)
        squares = float(np.sum(weight * (value - centre) ** 2))
        return squares + BELIEF * USUAL_SPREAD / spread - (len(value) - 1 + BELIEF)

    if beyond(_MOST_SPREAD) >= 0:
        return _MOST_SPREAD
    return float(brentq(beyond, _LEAST_SPREAD, _MOST_SPREAD))


def _inverse_trigamma(value: float) -> float:
    """The ``x > 0`` whose trigamma is ``value``; Newton steps on its reciprocal, as Smyth's."""
    x = 0.5 + 1.0 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        x += trigamma * (1.0 - trigamma / value) / float(polygamma(2, x))
    return x
