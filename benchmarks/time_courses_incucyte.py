"""Drug pairs under live-cell imaging: do the curves of unseen dose pairs come out?

``python -m benchmarks.time_courses_incucyte [experiment ...]`` fits the growth and death model to
controls, single drugs and half of the dose pairs (a chequerboard) of each IncuCyte experiment of
the ps-growth-model set, and predicts the whole curves of all wells of the other pairs. Scores are
means over readings of held-out dose pairs: log predictive density of each reading (marginal, in
units of the readings) and error of the median. The mechanism is scored alone, without interaction
(Bliss on rates), and with the correction of its predictions.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.stats
from scipy.interpolate import RBFInterpolator

from benchmarks.machine import describe
from models.dynamics.drug_pair import PairOptions
from models.dynamics.pair_posterior import DrugPairPosterior, fit_pair
from models.dynamics.series import GroupFactor, TimeCourses
from models.dynamics.systems.growth_death import CHANNELS
from service.assays.files_in.sources import open_source
from service.datasets.reading.courses_table import read_courses

DATA = Path(os.environ.get("NEXTROUND_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDER = DATA / "incucyte_pairs"
EXPERIMENTS = ("LCL_OSI", "PIM_OSI", "OSI_Bin", "BYL_PIM", "TXL_Erl")
DEGREES = (3.0, 6.0, 30.0)
Array = np.ndarray
Prediction = tuple[Array, Array, Array]
"""Centre and spread ``(n, 3, t)`` of the readings, and degrees of freedom ``(3,)``."""


def load(name: str) -> TimeCourses:
    """The series of an experiment; a channel of a well that is 0 throughout was never measured:
    in one experiment the control itself was taken for the blank of the dyes."""
    path = next(FOLDER.glob(f"*_{name}_rawdata.xlsx"))
    found = read_courses(open_source(path.name, path.read_bytes()))
    channels = [found.channels.index(channel) for channel in CHANNELS]
    times = np.unique(found.time_h)
    values = np.full((len(found.courses), len(CHANNELS), len(times)), np.nan)
    place = np.searchsorted(times, found.time_h)
    for channel, column in enumerate(channels):
        values[found.series, channel, place] = found.values[:, column]
    values[np.all(values == 0, axis=2)] = np.nan
    return TimeCourses(
        times, values, CHANNELS, tuple(course.name for course in found.courses),
        np.array([course.doses for course in found.courses]), tuple(found.perturbations),
        (GroupFactor.of("plate", [course.plate for course in found.courses]),),
    )  # fmt: skip


def split(series: TimeCourses) -> tuple[TimeCourses, TimeCourses]:
    """Train and held-out: every second dose pair of the grid, as on a chequerboard."""
    doses = series.inputs
    ranks = [np.searchsorted(np.unique(doses[:, i]), doses[:, i]) for i in (0, 1)]
    held = np.all(doses > 0, axis=1) & ((ranks[0] + ranks[1]) % 2 == 0)
    return series.select(~held), series.select(held)


def student_score(series: TimeCourses, prediction: Prediction) -> Array:
    centre, spread, degrees = prediction
    return scipy.stats.t.logpdf(series.values, degrees[None, :, None], centre, spread)


def with_spread(residuals: Array, centre: Array) -> Prediction:
    """Spread by channel and time, and degrees of freedom by channel, that residuals
    ``(m, 3, t)`` score best under."""
    rms = np.sqrt(np.nanmean(residuals**2, axis=0))
    choice, factors = [], []
    for channel in range(residuals.shape[1]):
        scored = []
        for df in DEGREES:
            for factor in (0.4, 0.6, 0.8, 1.0):
                density = scipy.stats.t.logpdf(residuals[:, channel], df, 0, factor * rms[channel])
                scored.append((float(np.nanmean(density)), df, factor))
        choice.append(max(scored)[1])
        factors.append(max(scored)[2])
    spread = rms * np.array(factors)[:, None] + 1e-9
    return centre, np.broadcast_to(spread, centre.shape), np.array(choice)


def no_change(train: TimeCourses, held: TimeCourses) -> Prediction:
    """The controls of the same plate; spread from how far pairs of the training half are."""

    def centre(series: TimeCourses) -> Array:
        control = np.all(train.inputs == 0, axis=1)
        plates = [np.flatnonzero(control & (train.factors[0].index == p)) for p in (0, 1)]
        means = np.array([np.nanmean(np.nan_to_num(train.values[rows]), axis=0) for rows in plates])
        return means[series.factors[0].index]

    pairs = train.select(np.all(train.inputs > 0, axis=1))
    return with_spread(pairs.values - centre(pairs), centre(held))


def logistic(times: Array, values: Array) -> Array:
    """The best logistic curve through the readings of one channel of one well."""
    seen = np.isfinite(values)
    if not seen.any():
        return np.full(len(times), np.nan)
    low, high = np.percentile(values[seen], [5, 95])
    scale = max(high - low, 1e-3)

    def curve(p: Array) -> Array:
        return p[0] + p[1] * scipy.special.expit((times - p[2]) / np.exp(p[3]))

    best = None
    for sign in (1, -1):
        start = np.array([low if sign > 0 else high, sign * scale, times.mean(), 2.3])
        fit = scipy.optimize.least_squares(lambda p: (curve(p) - values)[seen] / scale, start,
                                           max_nfev=100)  # fmt: skip
        if best is None or fit.cost < best.cost:
            best = fit
    return curve(best.x)


def interpolated(curves: Array, train: TimeCourses, held: TimeCourses) -> Prediction:
    """Curves ``(n, 3, t)`` of training wells, interpolated over log doses; spread from leaving
    out each dose pair in turn."""
    doses, rows = np.unique(train.inputs, axis=0, return_inverse=True)
    means = np.array(
        [np.nanmean(np.nan_to_num(curves[rows == i]), axis=0) for i in range(len(doses))]
    )

    def place(given: Array) -> Array:
        least = [np.min(doses[doses[:, i] > 0, i]) for i in (0, 1)]
        return np.log2(1 + given / np.array(least))

    def at(known: Array, wanted: Array) -> Array:
        flat = means[known].reshape(int(known.sum()), -1)
        found = RBFInterpolator(place(doses[known]), flat, kernel="linear", degree=1)(place(wanted))
        return found.reshape(len(wanted), *means.shape[1:])

    residuals = []
    for i in np.flatnonzero(np.all(doses > 0, axis=1)):
        others = np.arange(len(doses)) != i
        residuals.append(train.values[rows == i] - at(others, doses[i : i + 1]))
    everything = np.ones(len(doses), bool)
    return with_spread(np.concatenate(residuals), at(everything, held.inputs))


def by_logistic(train: TimeCourses, held: TimeCourses) -> Prediction:
    fitted = np.array([[logistic(train.times, v) for v in well] for well in train.values])
    return interpolated(fitted, train, held)


def by_reading(train: TimeCourses, held: TimeCourses) -> Prediction:
    return interpolated(train.values, train, held)


def ours(posterior: DrugPairPosterior, held: TimeCourses) -> tuple[Array, Array, Array]:
    """Log score of each reading, medians, and whether the 90 % band covers the reading."""
    plates = [held.factors[0].labels[i] for i in held.factors[0].index]
    curves = posterior.curves(held.inputs, held.times, plates=plates, level="well", seed=1)
    median = np.median(posterior.readings(curves, held.times, 2, noise=False), axis=0)
    low, high = np.quantile(posterior.readings(curves, held.times, 2), [0.05, 0.95], axis=0)
    inside = np.where(np.isnan(held.values), np.nan, (held.values >= low) & (held.values <= high))
    return posterior.log_score(held, seed=3), median, inside


BASELINES: dict[str, Callable[[TimeCourses, TimeCourses], Prediction]] = {
    "no change": no_change,
    "logistic per well, interpolated": by_logistic,
    "readings interpolated": by_reading,
}
MODEL = "growth and death, corrected"
MECHANISM, BLISS = "growth and death alone", "Bliss on rates"


def evaluate(name: str) -> dict[str, tuple[Array, Array, Array]]:
    """Of each model: log score of each held-out dose pair, squared errors and coverage ``(3,)``."""
    train, held = split(load(name))
    _, pair = np.unique(held.inputs, axis=0, return_inverse=True)
    found = {}

    def keep(model: str, score: Array, centre: Array, inside: Array) -> None:
        pairs = np.array([np.nanmean(score[pair == i]) for i in range(pair.max() + 1)])
        errors = np.nanmean((centre - held.values) ** 2, axis=(0, 2))
        found[model] = (pairs, errors, np.nanmean(inside, axis=(0, 2)))
        print(f"  {name:8s} {model:32s} {pairs.mean():8.3f}  RMSE {np.round(np.sqrt(errors), 3)}  "
              f"cover {np.round(found[model][2], 2)}", flush=True)  # fmt: skip

    for model, baseline in BASELINES.items():
        prediction = baseline(train, held)
        centre, spread, degrees = prediction
        bound = scipy.stats.t.ppf(0.95, degrees)[None, :, None] * spread
        inside = np.where(np.isnan(held.values), np.nan, np.abs(held.values - centre) <= bound)
        keep(model, student_score(held, prediction), centre, inside)
    for interaction in (False, True):
        start = time.process_time()
        posterior = fit_pair(train, PairOptions(interaction=interaction), seed=0)
        told = posterior.diagnostics
        keep(MECHANISM if interaction else BLISS, *ours(posterior.uncorrected(), held))
        if interaction:
            keep(MODEL, *ours(posterior, held))
        print(f"  {'':8s} {time.process_time() - start:.1f} s of one core, "
              f"R-hat {told['rhat_max']:.3f}, ESS {told['ess_bulk_min']:.0f}")  # fmt: skip
    return found


def main(names: list[str]) -> None:
    print(describe())
    found = {name: evaluate(name) for name in names or EXPERIMENTS}
    models = list(next(iter(found.values())))
    best = np.concatenate([found[name][MODEL][0] for name in found])
    print(f"\n{len(best)} held-out dose pairs of {len(found)} experiments; nats a reading")
    print(f"{'':34s}log score  model better by (paired)   p      RMSE phase, green, red   cover")
    for model in models:
        scores = np.concatenate([found[name][model][0] for name in found])
        rmse = np.sqrt(np.mean([found[name][model][1] for name in found], axis=0))
        cover = np.mean([found[name][model][2] for name in found], axis=0)
        gain = best - scores
        paired = ""
        if model != MODEL:
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            p = scipy.stats.wilcoxon(gain).pvalue
            paired = f"{gain.mean():6.3f} +- {error:.3f} ({np.mean(gain > 0):4.0%})  {p:7.1e}"
        print(f"{model:34s}{scores.mean():8.3f}  {paired:34s} "
              f"{rmse[0]:6.2f} {rmse[1]:5.3f} {rmse[2]:5.3f}  {np.round(cover, 2)}")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
