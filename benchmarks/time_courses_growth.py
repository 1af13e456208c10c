"""What time courses cost as they become more: 312 series to 10,000, on a processor or a GPU.

    python -m benchmarks.time_courses_growth [--series 312 1000 3000 10000] [--device cuda]
        [--models prescribed neural] [--same-plates]

Series are copies of the paper's, each copy of the experiment on plates of its own, as more
experiments would be: the shared unknowns grow with them (``--same-plates``: they do not). A few
steps are timed, a pass of coarse scores over all series is run, one part of the series is refined
and predicted; what is said of whole fits is extrapolated from these and called so. Each row runs in
a process of its own: its peak memory is its own. No more than the paper's files is read
(``--data``, or vihds under NEXTROUND_DATA; without them readings are simulated).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.vihds_data import CHANNELS, DEVICES, FILES, INPUTS, merged
from models.dynamics.inference import Fit, Training, build
from models.dynamics.posterior import PART, DynamicPosterior
from models.dynamics.series import GroupFactor, TimeCourses

STEPS, WARM = 10, 2
FIT_STEPS, REFINING = 450, 120
SAMPLES = 25
"""Of the coarse scores of all series."""
REFINED = 6
"""Steps of refining that are timed."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds unless said otherwise; memory in MB."""

    unknowns: int
    ready: float
    step: float
    step_wall: float
    refined: float
    predicted: float
    scored: float
    memory: float
    on_device: float


def copies(series: TimeCourses, count: int, same_plates: bool) -> TimeCourses:
    """``count`` series, copy after copy of the whole table."""
    rows = np.arange(count) % len(series)
    turn = np.arange(count) // len(series)
    names = tuple(f"{series.names[r]} copy {t}" for r, t in zip(rows, turn, strict=True))
    factors = []
    for factor in series.factors:
        own = [factor.labels[i] for i in factor.index[rows]]
        if factor.name == "plate" and not same_plates:
            own = [f"{label} copy {t}" for label, t in zip(own, turn, strict=True)]
        factors.append(GroupFactor.of(factor.name, own))
    return TimeCourses(
        series.times, series.values[rows], series.channels, names, series.inputs[rows],
        series.input_names, tuple(factors),
    )  # fmt: skip


def simulated(count: int = 312, seed: int = 0) -> TimeCourses:
    """Saturating curves of the shape of the paper's table: costs do not depend on the readings."""
    rng = np.random.default_rng(seed)
    times = np.linspace(0.0, 16.5, 86)
    rate = rng.lognormal(-1.0, 0.3, (count, len(CHANNELS), 1))
    values = 1 - np.exp(-rate * times) + 0.01 * rng.normal(size=(count, len(CHANNELS), 86))
    values -= values.min(axis=2, keepdims=True)
    device = [list(DEVICES)[i % len(DEVICES)] for i in range(count)]
    sites = [DEVICES[name] for name in device]
    factors = (
        GroupFactor.of("plate", [FILES[i * len(FILES) // count] for i in range(count)]),
        GroupFactor.of("device", device),
        GroupFactor.of("LuxR", [site[0] for site in sites]),
        GroupFactor.of("LasR", [site[1] for site in sites]),
    )
    names = tuple(f"s{i}" for i in range(count))
    doses = 10.0 ** rng.uniform(0, 4, (count, len(INPUTS)))
    return TimeCourses(times, values, CHANNELS, names, doses, INPUTS, factors)


def measure(series: TimeCourses, model: str, device: str) -> Cost:
    """One row, in this process."""
    from benchmarks.time_courses_vihds import parts_of

    torch.set_num_threads(1)
    start = time.process_time()
    system, observation, solver, training = parts_of(model, 0)
    built = build(series, system, observation, solver, 0).to(torch.device(device))
    fit = Fit(built, series, replace(training, steps=WARM), 0)
    ready = time.process_time() - start
    fit.run()
    fit.training = Training(steps=WARM + STEPS, series=training.series)
    wall, step = _timed(fit.run, device)
    posterior = DynamicPosterior(built, series)
    _, scored = _timed(lambda: posterior.scores(SAMPLES), device)
    part = DynamicPosterior(built, series.select(np.arange(min(PART, len(series)))))
    _, refined = _timed(lambda: part.refined(steps=REFINED), device)
    _, predicted = _timed(part.predict, device)
    each = len(part.series)
    used = torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else 0.0
    return Cost(
        built.hierarchy.shared_size, ready, step / STEPS, wall / STEPS,
        refined / REFINED * REFINING / each, predicted / each, scored,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, used,
    )  # fmt: skip


def _timed(what, device: str) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    what()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def table(
    series: TimeCourses, models: list[str], counts: list[int], device: str, same_plates: bool
) -> None:
    """Print a row for each model and number of series."""
    print(
        "| model | series | shared unknowns | set-up s | CPU s a step | wall s a step | "
        f"scores of all ({SAMPLES} samples), CPU s | peak MB | "
        f"extrapolated: {FIT_STEPS} steps, s | as many passes as 312 series get, s | "
        "refine + predict all, s |"
    )
    print("|" + "---|" * 11)
    spawn = multiprocessing.get_context("spawn")
    for model in models:
        for count in counts:
            many = copies(series, count, same_plates)
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                cost = pool.submit(measure, many, model, device).result()
            memory = f"{cost.memory:.0f}"
            if device != "cpu":
                memory += f" + {cost.on_device:.0f} on {device}"
            fit = FIT_STEPS * cost.step_wall
            print(
                f"| {model} | {count:,} | {cost.unknowns:,} | {cost.ready:.1f} | {cost.step:.3f} | "
                f"{cost.step_wall:.3f} | {cost.scored:.1f} | {memory} | {fit:.0f} | "
                f"{fit * count / len(series):.0f} | "
                f"{count * (cost.refined + cost.predicted):.0f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--series", nargs="*", type=int, default=[312, 1000, 3000, 10000])
    parser.add_argument("--models", nargs="*", default=["prescribed", "neural"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--same-plates", action="store_true")
    options = parser.parse_args()
    folder = options.data or Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "vihds"
    found = (folder / f"{FILES[0]}.csv").exists()
    print(describe())
    print("the paper's series" if found else "simulated series: no files under NEXTROUND_DATA")
    if options.device != "cpu":
        print(torch.cuda.get_device_name(options.device))
    series = merged(folder) if found else simulated()
    table(series, options.models, options.series, options.device, options.same_plates)


if __name__ == "__main__":
    main()
