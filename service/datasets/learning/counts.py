"""Learning from counts of cells: rates of division, death and sleep, and who dies out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from models.dynamics.stochastic.calibration import RankCheck
from models.dynamics.stochastic.cell_counts import (
    MOST_WELLS,
    NUISANCES,
    RATES,
    Experiment,
    WellCounts,
)
from models.dynamics.stochastic.growth import (
    GrowthModel,
    GrowthOptions,
    extinction_draws,
    independent_pair,
    learn_growth,
    untrained,
)
from models.dynamics.stochastic.guard import Verdict
from models.dynamics.stochastic.sampling_times import Gain
from models.screen import FloatArray, ProgressCallback, ScreenError, StopCallback
from service.datasets.learning.learned import Learned, ModuleFeatures
from service.datasets.reading.found import Courses
from service.kit.database import dump_json

MODEL = "stochastic growth"
DRAWS = 400
CHECKED = 100
REPLICAS = 200
SHOWN = 200
"""Draws of rates; draws that are ranked; replicas; simulations that judge sampling times."""
MOST_TIMES = 40
DAYS = (7.0, 14.0)
OPTIONS = GrowthOptions()
"""A minute or two of one core."""
NETWORK_VERSION = 1
"""Counted up with every change of what is simulated or trained: older networks are not reused."""


@dataclass(frozen=True)
class Condition:
    """Replicate wells of one treatment in one cell line; ``doses`` by perturbation."""

    cell_line: str
    doses: tuple[float, ...]
    wells: WellCounts


@dataclass(frozen=True)
class Network:
    """What an earlier fit was trained with; reused where the experiment is of the same design."""

    design: str
    tensors: Callable[[], Mapping[str, Tensor]]


def learn_counts(
    found: Courses,
    earlier: Iterable[Network] = (),
    *,
    seed: int,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> Learned:
    """Raises :class:`models.screen.ScreenError` in words for what nothing can be learned from."""
    conditions, notes = conditions_of(found)
    experiment = Experiment.of([one.wells for one in conditions])
    design = design_of(experiment)
    start = int(design[:7], 16)
    known = next((one for one in earlier if one.design == design), None)
    if known is not None:
        posterior = untrained(experiment, start)
        posterior.load_state_dict(dict(known.tensors()))
        notes = (*notes, "the network of an earlier fit of this very design was used again")
        health: dict[str, Any] = {}
    else:
        posterior = learn_growth(
            experiment, seed=start, options=OPTIONS, on_progress=on_progress,
            should_stop=should_stop,
        )  # fmt: skip
        health = {"health": _health(posterior.channels or {})}
    model = GrowthModel(posterior, experiment, seed=seed, options=OPTIONS)
    on_progress("judging the network", 0, 1)
    checked = model.calibration(CHECKED)
    results, refused = _results(found, conditions, model, should_stop)
    report = {
        "judged": "ranks of true parameters of simulations that the network had not seen",
        "calibration": _calibration(checked),
        "conditions": len(conditions),
        "refused": refused,
        "notes": [*found.notes, *notes],
        **health,
    }
    tensors = {name: t.detach().clone() for name, t in posterior.state_dict().items()}
    metadata = {"model": MODEL, "design": design}
    return Learned(
        MODEL, 0.0, report, results, ModuleFeatures(found.perturbations), tensors, metadata
    )


def design_of(experiment: Experiment) -> str:
    """Digest of all that the training of a network depends on."""
    facts = {
        "version": NETWORK_VERSION,
        "options": repr(OPTIONS),
        "times": experiment.times.tolist(),
        "first": experiment.first.tolist(),
        "wells": experiment.wells.tolist(),
        "levels": experiment.levels.tolist(),
        "missing": experiment.missing,
    }
    return hashlib.sha256(dump_json(facts).encode()).hexdigest()


def conditions_of(found: Courses) -> tuple[list[Condition], tuple[str, ...]]:
    """Conditions of a file, and notes of what was left aside. Raises :class:`ScreenError`."""
    times = np.unique(found.time_h)
    kept = times
    notes = []
    if len(times) > MOST_TIMES:
        kept = times[np.unique(np.linspace(0, len(times) - 1, MOST_TIMES).round().astype(int))]
        notes.append(f"{MOST_TIMES} of {len(times)} times were used, evenly spaced")
    counts = np.full((len(found.courses), len(times)), np.nan)
    counts[found.series, np.searchsorted(times, found.time_h)] = found.values[:, 0]
    counts = counts[:, np.isin(times, kept)]
    usable = np.isfinite(counts[:, 0]) & (np.nan_to_num(counts[:, 0]) > 0)
    if not usable.all():
        notes.append(f"{int((~usable).sum())} wells without cells counted at 0 h were left out")
    doses = found.doses()
    most = doses.max(axis=0, initial=0.0)
    groups: dict[tuple[str, tuple[float, ...]], list[int]] = {}
    for at in np.flatnonzero(usable).tolist():
        key = (found.courses[at].cell_line, tuple(doses[at].tolist()))
        groups.setdefault(key, []).append(at)
    if not groups:
        raise ScreenError("no well has cells counted at 0 h: rates have nothing to start from")
    if any(len(rows) > MOST_WELLS for rows in groups.values()):
        notes.append(f"of conditions with more than {MOST_WELLS} wells the first were used")
    return [
        Condition(line, given, WellCounts(kept, counts[rows[:MOST_WELLS]], _levels(given, most)))
        for (line, given), rows in sorted(groups.items())
    ], tuple(notes)


def _levels(doses: tuple[float, ...], most: FloatArray) -> tuple[float, float]:
    given = [dose / top for dose, top in zip(doses, most.tolist(), strict=True) if dose > 0]
    first, second, *_ = [*given, 0.0, 0.0]
    return first, second


def _results(
    found: Courses, conditions: list[Condition], model: GrowthModel, should_stop: StopCallback
) -> tuple[dict[str, Any], int]:
    wells = [one.wells for one in conditions]
    verdicts, draws = model.verdicts(wells), model.draws(wells, DRAWS)
    times = horizons(model.experiment)
    rows = []
    for at, (one, verdict) in enumerate(zip(conditions, verdicts, strict=True)):
        row = _facts(found, one, verdict)
        if not verdict.refused:
            row["rates"] = _intervals((*RATES, *NUISANCES), draws[:, at])
            gone = extinction_draws(draws[:, at], row["cells_at_start"], times)
            row["extinction"] = _band(times, gone)
            row["predictive"] = model.predictive(one.wells, draws[:REPLICAS, at])
        rows.append(row)
    spoken = {
        (one.cell_line, one.doses): at
        for at, one in enumerate(conditions)
        if not verdicts[at].refused
    }
    return {
        "unit": "an hour",
        "conditions": rows,
        "extinction_of_pairs": _pairs(found, conditions, spoken, draws, times),
        "sampling_times": _times(model, should_stop),
        "assumed": "all cells divide at 0 h; wells differ and counting errs, both log-normally",
    }, sum(verdict.refused for verdict in verdicts)


def horizons(experiment: Experiment) -> FloatArray:
    """Hours for which extinction is forecast: within the experiment, at its end, and weeks on."""
    last = float(experiment.times[-1])
    further = [24 * days for days in DAYS if 24 * days > last]
    return np.array([last / 2, last, *further])


def _facts(found: Courses, one: Condition, verdict: Verdict) -> dict[str, Any]:
    names = zip(found.perturbations, one.doses, strict=True)
    return {
        "cell_line": one.cell_line,
        "treatment": {name: dose for name, dose in names if dose > 0},
        "wells": len(one.wells.counts),
        "cells_at_start": float(np.median(one.wells.counts[:, 0])),
        "guard": {"p": verdict.p, "refused": verdict.refused, "words": verdict.words},
        "rates": None,
        "extinction": None,
        "predictive": None,
    }


def _pairs(
    found: Courses,
    conditions: list[Condition],
    spoken: dict[tuple[str, tuple[float, ...]], int],
    draws: FloatArray,
    times: FloatArray,
) -> list[dict[str, Any]]:
    """Each pair whose control and singles, at the same doses, have rates: its extinction beside
    that of drugs that do not interact."""
    rows = []
    for (line, doses), at in spoken.items():
        drugs = [k for k, dose in enumerate(doses) if dose > 0]
        if len(drugs) != 2:
            continue
        alone = [tuple(d if k == drug else 0.0 for k, d in enumerate(doses)) for drug in drugs]
        keys = [(line, (0.0,) * len(doses)), *((line, single) for single in alone)]
        if not all(key in spoken for key in keys):
            continue
        control, first, second = (draws[:, spoken[key], :4] for key in keys)
        cells = float(np.median(conditions[at].wells.counts[:, 0]))
        own = extinction_draws(draws[:, at], cells, times)
        expected = extinction_draws(independent_pair(control, first, second), cells, times)
        names = [found.perturbations[k] for k in drugs]
        rows.append(
            {
                "cell_line": line,
                "drugs": names,
                "doses": [doses[k] for k in drugs],
                "extinction": _band(times, own),
                "without_interaction": _band(times, expected),
                "beyond": _band(times, own - expected),
                "words": _words(names, times, own, expected),
            }
        )
    return rows


def _words(names: list[str], times: FloatArray, own: FloatArray, expected: FloatArray) -> str:
    """At the horizon where both differ most."""
    at = int(np.abs((own - expected).mean(axis=0)).argmax())
    low, high = np.quantile(own[:, at] - expected[:, at], [0.05, 0.95])
    clear = "clearly " if low > 0 or high < 0 else "not clearly "
    more = "more" if own[:, at].mean() >= expected[:, at].mean() else "less"
    return (
        f"{' and '.join(names)}: a well has died out by {times[at] / 24:.3g} days with chance "
        f"{own[:, at].mean():.2f}, {clear}{more} than the {expected[:, at].mean():.2f} of drugs "
        "that do not interact."
    )


def _times(model: GrowthModel, should_stop: StopCallback) -> dict[str, Any]:
    times = model.experiment.times
    value = model.times_value(min(4, len(times) - 1), SHOWN, should_stop)
    first, gain = value.chosen[0]
    return {
        "times_h": times[1:].tolist(),
        "all": _gain(value.all),
        "alone": [_gain(one) for one in value.alone],
        "left_out": [_gain(one) for one in value.left_out],
        "chosen": [{"time_h": float(times[at]), **_gain(one)} for at, one in value.chosen],
        "words": f"Beside the first count, the one at {times[first]:g} h teaches most: "
        f"{gain.nats:.2f} of {value.all.nats:.2f} nats.",
    }


def _gain(gain: Gain) -> dict[str, float]:
    return {"nats": gain.nats, "se": gain.se}


def _intervals(names: tuple[str, ...], draws: FloatArray) -> dict[str, Any]:
    low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
    rows = zip(names, draws.mean(axis=0).tolist(), low.tolist(), middle.tolist(), high.tolist(),
               strict=True)  # fmt: skip
    return {name: {"mean": mean, "low": a, "median": b, "high": c} for name, mean, a, b, c in rows}


def _band(times: FloatArray, draws: FloatArray) -> dict[str, list[float]]:
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return {
        "time_h": times.tolist(), "mean": draws.mean(axis=0).tolist(), "low": low.tolist(),
        "high": high.tolist(),
    }  # fmt: skip


def _calibration(checked: RankCheck) -> dict[str, Any]:
    names = (*RATES, *NUISANCES)
    return {
        "sound": checked.sound,
        "p": dict(zip(names, checked.p.tolist(), strict=True)),
        "coverage_90": dict(zip(names, checked.coverage_90.tolist(), strict=True)),
    }


def _health(channels: dict[str, Any]) -> dict[str, Any]:
    warnings = [str(channels["words"])] if channels.get("alert") else []
    return {"channels": channels, "warnings": warnings}
