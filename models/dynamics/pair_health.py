"""How healthy a fit of a drug pair is: what it learned against what was read, wells that
contradict their replicates, chains that do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats

from models.dynamics.drug_pair import bends
from models.dynamics.pair_posterior import DrugPairPosterior
from models.dynamics.systems.growth_death import CHANNELS
from models.dynamics.well_checks import discoveries
from models.screen import FloatArray, IntArray

MOST_RHAT = 1.05
FEWEST_DRAWS = 100
"""Vehtari et al. 2021: chains agree below the one, tails of intervals need the other."""
MOST_DIVERGENT = 0.01
FALSE_DISCOVERY = 0.1
FEW_READINGS = 5.0
"""Readings an unknown below which priors speak as loudly as readings."""


def describe_pair_health(posterior: DrugPairPosterior) -> dict[str, Any]:
    """JSON-able: ``counts`` of unknowns and readings, ``chains``, ``replicates`` that contradict
    each other (:func:`contradictions`), and ``warnings``: sentences, none where all is well."""
    counts = _counts(posterior)
    chains = _chains(posterior.diagnostics)
    replicates = contradictions(posterior)
    warnings = [*counts.pop("warnings"), *chains.pop("warnings")]
    again = [row["name"] for row in replicates["wells"]]
    if again:
        named = ", ".join(again[:5]) + (f" and {len(again) - 5} more" if len(again) > 5 else "")
        warnings.append(f"measure again: {named} differ from wells of the same doses beyond noise")
    return {"counts": counts, "chains": chains, "replicates": replicates, "warnings": warnings}


def _counts(posterior: DrugPairPosterior) -> dict[str, Any]:
    model = posterior.model
    readings = int(model.readings.observed.sum())
    free = len(model.free) + len(model.hyper)
    each = readings / free
    few = [f"{readings} readings for {free} parameters: priors speak as loudly as readings"]
    return {
        "parameters": free,
        "effects": sum(len(places) for places in model.misfit_places.values())
        + int(posterior.own[0].numel())
        + int(posterior.frames[0].numel()),
        "readings": readings,
        "wells": len(posterior.well_names),
        "readings_per_parameter": round(each, 2),
        "warnings": few if each < FEW_READINGS else [],
    }


def _chains(diagnostics: Mapping[str, Any]) -> dict[str, Any]:
    """What the chains say of themselves; a figure that is not known is null and warns of nothing
    but itself."""
    rhat, divergent = diagnostics.get("rhat_max"), diagnostics.get("divergent")
    count = diagnostics.get("ess_bulk_min")
    warnings = []
    if rhat is not None and not rhat <= MOST_RHAT:
        warnings.append(f"the chains do not agree (R-hat {rhat:.2f}, above {MOST_RHAT})")
    if count is not None and not count >= FEWEST_DRAWS:
        warnings.append(f"the draws count for {count:.0f} independent ones, below {FEWEST_DRAWS}")
    if divergent is not None and not divergent <= MOST_DIVERGENT:
        warnings.append(
            f"{divergent:.1%} of the trajectories broke off: the tails are not explored"
        )
    return {"agree": not warnings, "rhat_max": rhat, "divergent": divergent, "warnings": warnings}


def contradictions(posterior: DrugPairPosterior, rate: float = FALSE_DISCOVERY) -> dict[str, Any]:
    """Wells that differ from the others of their doses and plate by more than noise.

    The distance of a well from the mean of its replicates, in each channel the mean over time of
    transformed readings, over the spread of such distances in the whole experiment (robust: the
    median absolute deviation), which holds noise and what wells have of their own; two replicates
    that differ are both named. Benjamini & Hochberg at ``rate``. ``groups`` of replicates,
    ``wells``: name, doses, channel and ``z``.
    """
    model = posterior.model
    cell = model.cell.numpy()
    z = distances(model.data.values(), bends(model.scale).numpy()[..., 0], cell)
    sizes = np.bincount(cell)
    at = np.argwhere(np.isfinite(z))
    freedom = max(1, int((sizes - 1).sum()))
    p = 2 * scipy.stats.t.sf(np.abs(z[np.isfinite(z)]), freedom)
    called = at[discoveries(p, rate)] if len(p) else at
    doses = model.data.series.inputs
    worst: dict[int, int] = {}
    for well, channel in called.tolist():
        if well not in worst or abs(z[well, channel]) > abs(z[well, worst[well]]):
            worst[well] = channel
    wells = [
        {
            "name": posterior.well_names[well],
            "doses": doses[well].tolist(),
            "channel": CHANNELS[channel],
            "z": round(float(z[well, channel]), 3),
        }
        for well, channel in sorted(worst.items())
    ]
    return {"groups": int((sizes > 1).sum()), "wells": wells}


def distances(values: FloatArray, bend: FloatArray, cell: IntArray) -> FloatArray:
    """``(n, 3)`` how far wells are from their replicates, in spreads of the experiment; NaN for
    what has no replicate, or where nothing differs.

    ``values`` ``(n, 3, t)``, NaN where nothing was read; ``bend`` ``(3, 1)`` where noise turns from
    additive to relative; ``cell`` ``(n,)``: wells of one number are replicates.
    """
    bent = np.arcsinh(values / bend)
    away = np.full(bent.shape[:2], np.nan)
    for number in np.unique(cell):
        rows = np.flatnonzero(cell == number)
        if len(rows) < 2:
            continue
        seen = np.isfinite(bent[rows])
        count = seen.sum(axis=0)
        total = np.where(seen, bent[rows], 0.0).sum(axis=0)
        rest = bent[rows] - total / np.maximum(count, 1)
        usable = seen & (count > 1)
        taken = usable.sum(axis=2)
        mean = np.where(usable, rest, 0.0).sum(axis=2) / np.maximum(taken, 1)
        # The mean holds the well itself: of m wells the distance is short by sqrt(1 - 1/m).
        mean = mean / np.sqrt(1 - 1 / len(rows))
        away[rows] = np.where(taken > 0, mean, np.nan)
    # The median absolute deviation of a normal law is its sd over 1.4826.
    spread = 1.4826 * np.array([_median(np.abs(column)) for column in away.T])
    return np.where(spread > 0, away / np.where(spread > 0, spread, 1.0), np.nan)


def _median(values: FloatArray) -> float:
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if len(seen) else 0.0
