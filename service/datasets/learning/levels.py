"""Parameters and predictions at each level of a hierarchy, with uncertainty, as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.dynamics import pair_levels
from models.dynamics.pair_posterior import DrugPairPosterior
from models.dynamics.posterior import DynamicPosterior
from models.screen import FloatArray

BAND = (0.05, 0.5, 0.95)


def levels_of_pair(fitted: DrugPairPosterior, doses: FloatArray, seed: int) -> dict[str, Any]:
    """Of the population, of each plate and of each well: parameters as [5 %, median, 95 %], and
    the curves that plates and wells are expected to show (those of the population stand under
    ``curves``)."""
    data = fitted.model.data
    times = data.series.times
    plates = data.plates if len(data.plates) > 1 else ()
    of_wells = pair_levels.of_wells(fitted)
    wells = _band(fitted.wells())
    return {
        "population": _all(pair_levels.population(fitted)),
        "spreads": _all(pair_levels.spreads(fitted)),
        "plates": [
            {
                "name": plate,
                "parameters": _all(pair_levels.of_plate(fitted, plate)),
                **_band(fitted.curves(doses, times, plates=[plate] * len(doses), seed=seed)),
            }
            for plate in plates
        ],
        "wells": [
            {
                "name": name,
                "parameters": _all({key: draws[:, at] for key, draws in of_wells.items()}),
                **{edge: curve[at] for edge, curve in wells.items()},
            }
            for at, name in enumerate(fitted.well_names)
        ],
    }


def levels_of_signals(posterior: DynamicPosterior, seed: int) -> dict[str, Any]:
    """The same of any other signals; what series are expected to show stands with them."""
    labels = posterior.model.hierarchy.labels
    own = posterior.individual(seed=seed)
    return {
        "population": _all(posterior.population(seed=seed)),
        "groups": [
            {"factor": factor, "name": label,
             "parameters": _all(posterior.group(factor, label, seed=seed))}
            for factor, names in labels.items() for label in names
        ],
        "series": [
            {"name": name, "parameters": _all({key: d[..., at] for key, d in own.items()})}
            for at, name in enumerate(posterior.series.names)
        ],
    }  # fmt: skip


def _all(draws: dict[str, FloatArray]) -> dict[str, Any]:
    """Quantiles over the last axis, a list of them for a parameter of several elements."""
    found = {name: np.quantile(values, BAND, axis=-1) for name, values in draws.items()}
    return {name: np.moveaxis(values, 0, -1).tolist() for name, values in found.items()}


def _band(curves: FloatArray) -> dict[str, Any]:
    """Quantiles over draws ``(S, ...)``."""
    low, middle, high = np.quantile(curves, BAND, axis=0)
    return {"low": low.tolist(), "median": middle.tolist(), "high": high.tolist()}
