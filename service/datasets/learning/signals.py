"""Any other signals over time: a neural differential equation, its bands and odd wells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from models.dynamics.health import describe_fit_health
from models.dynamics.inference import Fit, Training, build
from models.dynamics.observation import Observation
from models.dynamics.posterior import OUTLYING, DynamicPosterior
from models.dynamics.saving import save
from models.dynamics.series import TimeCourses
from models.dynamics.solver import Solver
from models.dynamics.systems.neural import NeuralSystem
from models.screen import BoolArray, FloatArray, ProgressCallback, ScreenError, StopCallback
from service.datasets.learning.learned import Learned, ModuleFeatures
from service.datasets.learning.levels import levels_of_signals
from service.datasets.reading.found import Courses

MODEL = "neural"
FEWEST_SERIES = 8
STEPS, AT_ONCE, REFINING = 450, 117, 120
HELD_OUT = 0.2
NODES = 60
"""Steps of the solver over the whole experiment, at most one a reading."""


def learn_signals(
    found: Courses, *, seed: int, on_progress: ProgressCallback, should_stop: StopCallback
) -> Learned:
    """Predict whole series that were held out, beside the mean of the others; no say in
    recommendations: such signals tell nothing of drugs by themselves."""
    from service.datasets.learning.courses import as_series, only_seen

    every = np.ones(len(found.courses), bool)
    raw = only_seen(as_series(found, every, tuple(range(len(found.perturbations)))))
    if len(raw) < FEWEST_SERIES:
        raise ScreenError(f"there are {len(raw)} series, at least {FEWEST_SERIES} are needed")
    series, units = scaled(raw)
    held = np.random.default_rng(seed).permutation(len(series)) < max(2, HELD_OUT * len(series))
    judged = _judge(series, held, seed, on_progress, should_stop)
    fit = _fit(series, seed, on_progress, should_stop)
    posterior = DynamicPosterior(fit.model, series).refined(
        steps=REFINING, seed=seed, on_progress=on_progress, should_stop=should_stop
    )
    tensors, metadata = save(fit.model)
    report = {
        "judged": judged,
        "notes": list(found.notes),
        "units": units,
        "health": describe_fit_health(fit, series),
    }
    results = _results(posterior, raw, units, seed)
    features = ModuleFeatures(found.perturbations)
    return Learned(MODEL, 0.0, report, results, features, tensors, metadata)


def scaled(series: TimeCourses) -> tuple[TimeCourses, dict[str, float]]:
    """Each channel by its largest value; the least value of each series is subtracted first."""
    values = series.values - np.nanmin(series.values, axis=2, keepdims=True)
    largest = np.nanmax(values, axis=(0, 2))
    flat = [name for name, top in zip(series.channels, largest, strict=True) if not top > 0]
    if flat:
        raise ScreenError(f"channel {flat[0]!r} never changes: leave it out")
    units = dict(zip(series.channels, largest.tolist(), strict=True))
    return replace(series, values=values / largest[:, None]), units


def _fit(
    series: TimeCourses, seed: int, on_progress: ProgressCallback, should_stop: StopCallback
) -> Fit:
    generator = torch.Generator().manual_seed(seed)
    system = NeuralSystem(series.channels, len(series.input_names), generator)
    step = max(float(series.times[-1]) / NODES, float(np.diff(series.times).min()))
    model = build(series, system, Observation(series.channels), Solver("heun", step), seed)
    fit = Fit(model, series, Training(steps=STEPS, series=min(AT_ONCE, len(series))), seed)
    fit.run(on_progress, should_stop)
    return fit


def _judge(
    series: TimeCourses,
    held: BoolArray,
    seed: int,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> dict[str, Any]:
    """Bounds on held-out series, and how many hidden readings lie in their 90 % bands."""
    fit = _fit(series.select(~held), seed, on_progress, should_stop)
    test = series.select(held)
    hidden = np.random.default_rng(seed).uniform(size=test.values.shape) < HELD_OUT
    hidden &= test.observed
    hidden[np.all(hidden | ~test.observed, axis=(1, 2))] = False
    shown = replace(test, values=np.where(hidden, np.nan, test.values))
    posterior = DynamicPosterior(fit.model, shown).refined(
        steps=REFINING, seed=seed, on_progress=on_progress, should_stop=should_stop
    )
    bands = posterior.predict(level=0.9, seed=seed)
    inside = (test.values >= bands.lower) & (test.values <= bands.upper)
    usual = np.nanmean(series.select(~held).values, axis=0)
    error, other = bands.mean - test.values, usual - test.values
    return {
        "what": f"{int(held.sum())} series held out; {HELD_OUT:.0%} of their readings hidden",
        **posterior.scores(seed=seed).describe(),
        "coverage_90": {
            name: _mean(inside[:, c][hidden[:, c]]) for c, name in enumerate(series.channels)
        },
        "rmse": _mean(np.square(error[hidden])) ** 0.5,
        "rmse_of_the_mean_series": _mean(np.square(other[hidden])) ** 0.5,
    }


def _mean(values: FloatArray | BoolArray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _results(
    posterior: DynamicPosterior, raw: TimeCourses, units: dict[str, float], seed: int
) -> dict[str, Any]:
    """Bands in the file's own unit above each series' least value, odd and exhausted series."""
    bands = posterior.predict(level=0.9, seed=seed)
    top = np.array([units[name] for name in raw.channels])[None, :, None]
    odd = posterior.outliers(seed=seed)
    last = float(raw.times[-1])
    left = posterior.left_to_learn(1.5 * last, every=last / 10, seed=seed)
    return {
        "times_h": bands.times.tolist(),
        "channels": list(raw.channels),
        "levels": levels_of_signals(posterior, seed),
        "series": [
            {
                "name": name,
                "outlier_score": float(odd[at]),
                "outlier": bool(odd[at] < -OUTLYING),
                "left_to_learn_nats": float(left[at]),
                "mean": (bands.mean * top)[at].tolist(),
                "low": (bands.lower * top)[at].tolist(),
                "high": (bands.upper * top)[at].tolist(),
            }
            for at, name in enumerate(raw.names)
        ],
    }
