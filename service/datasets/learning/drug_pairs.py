"""Drug pairs watched over time: rates of growth and death, synergy taken apart, viability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from models.dynamics.drug_pair import PairOptions
from models.dynamics.growth_rates import gr_metrics, plate_corrected_viability
from models.dynamics.pair_health import describe_pair_health
from models.dynamics.pair_posterior import DrugPairPosterior, fit_pair
from models.dynamics.series import TimeCourses
from models.dynamics.well_checks import outlier_wells, worth_of_waiting
from models.screen import FloatArray, ProgressCallback, ScreenError, StopCallback
from service.datasets.learning.learned import Learned, ModuleFeatures
from service.datasets.learning.levels import levels_of_pair
from service.datasets.reading.found import Courses

GROWTH_CHANNELS = ("phase", "green", "red")
MODEL = "growth and death"
FEWEST_HELD_OUT = 2
MOST_RHAT, MOST_SHAPE = 1.05, 0.7
"""Vehtari et al. 2021, 2024: beyond these, draws are not of the posterior."""
LONGER = 1.5
"""Further readings are considered until this many times the length of the experiment."""


def learn_drug_pairs(
    found: Courses, *, seed: int, on_progress: ProgressCallback, should_stop: StopCallback
) -> Learned:
    """One fit for each pair of drugs that were given together, in each cell line."""
    fits: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    skills = []
    health: dict[str, Any] = {}
    for name, pair, series in experiments(found):
        fitted = fit_pair(series, seed=seed, on_progress=on_progress, should_stop=should_stop)
        judged = _judge(series, seed, on_progress, should_stop)
        doubt = why_not_trusted(fitted.diagnostics)
        if doubt is not None:
            judged = {**judged, "skill": 0.0, "doubt": doubt}
        skills.append(judged["skill"])
        health[name] = describe_pair_health(fitted)
        fits[name] = {"pair": pair, "judged": judged, **_results(fitted, seed)}
        tensors |= {f"{name}.shared": fitted.shared, f"{name}.own": fitted.own}
    skill = float(np.mean(skills))
    report = {
        "judged": "dose pairs on a chequerboard, held out of the fit that predicts their curves",
        "experiments": {name: each["judged"] for name, each in fits.items()},
        "notes": list(found.notes),
        "health": {
            "experiments": health,
            "warnings": [
                f"{name}: {said}" for name, of in health.items() for said in of["warnings"]
            ],
        },
    }
    return Learned(
        MODEL, skill, report, {"experiments": fits}, _features(found, fits), tensors,
        {"model": MODEL, "experiments": list(fits)},
    )  # fmt: skip


def experiments(found: Courses) -> list[tuple[str, tuple[int, int], TimeCourses]]:
    """Name, drugs and series of each pair in each cell line, with its singles and controls.

    Raises :class:`ScreenError` where no pair has controls beside it.
    """
    from service.datasets.learning.courses import as_series, growth_channels, only_seen

    doses = found.doses()
    lines = np.array([course.cell_line for course in found.courses])
    places = growth_channels(found.channels)
    kept = [at for at in places if at is not None]
    names = tuple(n for n, at in zip(GROWTH_CHANNELS, places, strict=True) if at is not None)
    together = sorted({tuple(np.flatnonzero(row)) for row in doses if (row > 0).sum() == 2})
    result = []
    for line in sorted(set(lines.tolist())):
        for first, second in together:
            others = np.delete(doses, [first, second], axis=1)
            rows = (lines == line) & ~others.any(axis=1)
            both = rows & (doses[:, first] > 0) & (doses[:, second] > 0)
            if not both.any() or not (rows & ~doses.any(axis=1)).any():
                continue
            series = as_series(found, rows, (int(first), int(second)))
            series = only_seen(replace(series, values=series.values[:, kept], channels=names))
            pair = (found.perturbations[first], found.perturbations[second])
            name = " / ".join(filter(None, (line, " + ".join(pair))))
            result.append((name, (int(first), int(second)), series))
    if not result:
        raise ScreenError("no pair of drugs has wells without drugs beside it: add controls")
    return result


def why_not_trusted(diagnostics: Mapping[str, Any]) -> str | None:
    """Why the intervals of a fit must not be believed, or None where nothing speaks against it."""
    rhat, shape = diagnostics.get("rhat_max"), diagnostics.get("pareto_k")
    if rhat is not None and not rhat <= MOST_RHAT:
        words = f"the chains did not agree (R-hat {rhat:.2f}, above {MOST_RHAT})"
        return f"{words}: do not trust its intervals"
    if shape is not None and not shape < MOST_SHAPE:
        words = f"the weights of its draws are too uneven (k {shape:.2f}, not below {MOST_SHAPE})"
        return f"{words}: do not trust its intervals"
    return None


def _judge(
    series: TimeCourses, seed: int, on_progress: ProgressCallback, should_stop: StopCallback
) -> dict[str, Any]:
    """Held-out dose pairs: the model with and without interaction on rates, and no change."""
    doses = series.inputs
    ranks = [np.searchsorted(np.unique(doses[:, i]), doses[:, i]) for i in (0, 1)]
    even = (ranks[0] + ranks[1]) % 2 == 0
    held = np.asarray(np.all(doses > 0, axis=1) & even, np.bool_)
    if len(np.unique(doses[held], axis=0)) < FEWEST_HELD_OUT:
        return {"skill": 0.0, "why": "too few dose pairs to hold some out"}
    train, test = series.select(np.asarray(~held)), series.select(held)
    scores: dict[str, Any] = {}
    errors: dict[str, float] = {}
    for name, interaction in (("growth and death", True), ("additive on rates", False)):
        fitted = fit_pair(
            train, PairOptions(interaction=interaction), seed=seed,
            on_progress=on_progress, should_stop=should_stop,
        )  # fmt: skip
        plates = None if not test.factors else _plates(test)
        curves = np.median(fitted.curves(test.inputs, test.times, plates=plates, seed=seed), axis=0)
        errors[name] = _squared_error(curves, test)
        scores[name] = {
            "log_score": float(np.nanmean(fitted.log_score(test, seed))),
            "rmse_phase": float(np.sqrt(errors[name])),
        }
    control = train.values[~train.inputs.any(axis=1)]
    unchanged = np.broadcast_to(np.nanmean(control, axis=0), test.values.shape)
    errors["no change"] = _squared_error(unchanged, test)
    scores["no change"] = {"log_score": None, "rmse_phase": float(np.sqrt(errors["no change"]))}
    best = min(errors["additive on rates"], errors["no change"])
    skill = max(0.0, 1.0 - errors["growth and death"] / best) if best > 0 else 0.0
    pairs = len(np.unique(test.inputs, axis=0))
    return {"skill": float(skill), "held_out_dose_pairs": pairs, "models": scores}


def _plates(series: TimeCourses) -> list[str]:
    plate = series.factor("plate")
    return [plate.labels[at] for at in plate.index]


def _squared_error(curves: FloatArray, series: TimeCourses) -> float:
    """Of the first channel, confluence."""
    return float(np.nanmean(np.square(curves[:, 0] - series.values[:, 0])))


def _results(fitted: DrugPairPosterior, seed: int) -> dict[str, Any]:
    series = fitted.model.data.series
    doses = np.unique(series.inputs, axis=0)
    viability = plate_corrected_viability(fitted, doses, seed=seed)
    both = doses.all(axis=1)
    waiting = np.linspace(series.times[-1], LONGER * series.times[-1], 6)[1:]
    quantity = viability.draws[:, both].mean(axis=1)
    worth = worth_of_waiting(fitted, quantity, waiting, seed=seed)
    outliers = outlier_wells(fitted, seed=seed)
    return {
        "drugs": list(fitted.input_names),
        "diagnostics": fitted.diagnostics,
        "rates": _rates(fitted, doses),
        "growth_rate_metrics": {drug: _metrics(fitted, drug) for drug in fitted.input_names},
        "viability": [
            {"doses": pair, "mean": mean, "sd": sd}
            for pair, mean, sd in zip(
                doses.tolist(), viability.mean.tolist(), viability.sd.tolist(), strict=True
            )
        ],
        "curves": _curves(fitted, doses, seed),
        "levels": levels_of_pair(fitted, doses, seed),
        "wells": [
            {"name": name, "p": p, "outlier": odd, "worth_of_waiting": more, "exhausted": done}
            for name, p, odd, more, done in zip(
                outliers.names, outliers.p.tolist(), outliers.outlier.tolist(),
                worth.reduction.tolist(), worth.exhausted.tolist(), strict=True,
            )
        ],
    }  # fmt: skip


def _rates(fitted: DrugPairPosterior, doses: FloatArray) -> list[dict[str, Any]]:
    """Growth and death an hour, and synergy on each, at every dose pair."""
    drawn = fitted.rates(doses)
    rows = []
    for at, pair in enumerate(doses.tolist()):
        row: dict[str, Any] = {"doses": pair}
        for name, draws in drawn.items():
            row[name] = {"mean": float(draws[:, at].mean()), "sd": float(draws[:, at].std(ddof=1))}
        for name in ("cytostatic", "cytotoxic"):
            row[name]["above_zero"] = float((drawn[name][:, at] > 0).mean())
        rows.append(row)
    return rows


def _metrics(fitted: DrugPairPosterior, drug: str) -> dict[str, Any]:
    """GR metrics of one drug with 90 % intervals; null where GR never falls to a half."""
    column = fitted.model.data.series.inputs[:, fitted.input_names.index(drug)]
    found = gr_metrics(fitted, drug, np.unique(column[column > 0]))
    said: dict[str, Any] = {"doses": found.doses.tolist()}
    for name in ("gr50", "gr_max", "aoc"):
        low, middle, high = np.quantile(getattr(found, name), [0.05, 0.5, 0.95], method="lower")
        said[name] = [float(v) if np.isfinite(v) else None for v in (low, middle, high)]
    for name in ("gr", "static", "toxic"):
        said[name] = np.quantile(getattr(found, name), [0.05, 0.5, 0.95], axis=0).T.tolist()
    return said


def _curves(fitted: DrugPairPosterior, doses: FloatArray, seed: int) -> dict[str, Any]:
    """Median and 90 % band of each channel at each dose pair, to plot."""
    times = fitted.model.data.series.times
    drawn = fitted.curves(doses, times, seed=seed)
    low, middle, high = np.quantile(drawn, [0.05, 0.5, 0.95], axis=0)
    return {
        "times_h": times.tolist(),
        "channels": list(GROWTH_CHANNELS),
        "doses": doses.tolist(),
        "low": low.tolist(),
        "median": middle.tolist(),
        "high": high.tolist(),
    }


def _features(found: Courses, fits: dict[str, Any]) -> ModuleFeatures:
    """Each drug's rates at its largest dose alone, each pair's synergy at the largest of both;
    means over cell lines."""
    singles: dict[int, list[tuple[float, float]]] = {}
    pairs: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for each in fits.values():
        first, second = each["pair"]
        rows = {tuple(row["doses"]): row for row in each["rates"]}
        top = [max(doses[k] for doses in rows) for k in (0, 1)]
        for place, at in ((first, (top[0], 0.0)), (second, (0.0, top[1]))):
            if at in rows:
                row = rows[at]
                singles.setdefault(place, []).append((row["growth"]["mean"], row["death"]["mean"]))
        largest = max((d for d in rows if all(d)), key=lambda d: (d[0] / top[0]) * (d[1] / top[1]))
        row = rows[largest]
        pairs.setdefault((first, second), []).append(
            (row["cytostatic"]["mean"], row["cytotoxic"]["mean"])
        )
    return ModuleFeatures(
        found.perturbations,
        ("growth an hour", "death an hour"),
        tuple(
            tuple(np.mean(singles[at], axis=0).tolist()) if at in singles else (None, None)
            for at in range(len(found.perturbations))
        ),
        ("cytostatic synergy", "cytotoxic synergy"),
        tuple((i, j, tuple(np.mean(v, axis=0).tolist())) for (i, j), v in sorted(pairs.items())),
    )
