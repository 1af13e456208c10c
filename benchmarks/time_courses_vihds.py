"""Hierarchical differential equations on the paper's 312 plate-reader series, held out.

    python -m benchmarks.time_courses_vihds --out DIR [--models prescribed neural ...]
        [--splits folds devices] [--parts 0 1 2 3]

One part (a fold, or a device left out) is one fit and one file of results in ``--out``: a part
that is there is not run again, and a fit that was broken off goes on from its last checkpoint.
``--table`` prints what is there. ``python -m benchmarks.time_courses_growth`` times more and more
series.
Data: ``--data``, or vihds under NEXTROUND_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.machine import describe
from benchmarks.vihds_data import CHANNELS, merged
from models.dynamics.inference import Fit, Training, build
from models.dynamics.observation import Observation
from models.dynamics.posterior import DynamicPosterior
from models.dynamics.series import TimeCourses
from models.dynamics.solver import Solver
from models.dynamics.systems.double_receiver import DoubleReceiver
from models.dynamics.systems.hybrid import HybridSystem
from models.dynamics.systems.neural import NeuralSystem

FOLDS = 4
SAMPLES = 1000
REFINING = 120
HIDDEN = 0.2
"""Share of the readings of held-out series that is hidden for the coverage of bands."""
RECEIVERS = (("LuxR", "Pcat"), ("LasR", "Pcat"))
STATE_SCALE = (0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.5, 0.5)
BARS = {"prescribed": 911, "neural": 1288}
COARSE = 0.4
"""Hours between the nodes of the neural and hybrid solvers (the data have 0.19)."""


def parts_of(model: str, seed: int):
    """System, observation, solver and training of a model by name."""
    generator = torch.Generator().manual_seed(seed)
    mechanism = DoubleReceiver(RECEIVERS, ("plate", "device"))
    seen = Observation(CHANNELS)
    if model == "prescribed":
        return mechanism, seen, Solver("exact"), Training(steps=450, series=117)
    if model == "prescribed, independent noise":
        noise = Observation(CHANNELS, memory=None)
        return mechanism, noise, Solver("exact"), Training(steps=450, series=117)
    if model == "neural":
        system = NeuralSystem(CHANNELS, 2, generator)
        return system, seen, Solver("heun", COARSE), Training(steps=450, series=117)
    if model == "neural, independent noise":
        system = NeuralSystem(CHANNELS, 2, generator, variance_states=True)
        noise = Observation(CHANNELS, memory=None)
        return system, noise, Solver("heun", COARSE), Training(steps=450, series=117)
    if model == "hybrid":
        system = HybridSystem(mechanism, STATE_SCALE, 2, generator)
        return system, seen, Solver("heun", COARSE), Training(steps=300, series=64)
    raise SystemExit(f"no model {model!r}")


def split(series: TimeCourses, kind: str) -> list[tuple[str, np.ndarray]]:
    """Names and held-out rows of each part."""
    if kind == "folds":
        fold = np.random.default_rng(0).permutation(len(series)) % FOLDS
        return [(f"fold {i}", fold == i) for i in range(FOLDS)]
    device = series.factor("device")
    return [(label, device.index == i) for i, label in enumerate(device.labels)]


def run_part(series, model, kind, name, held_out, out, seed=0):
    """Fit without the held-out series, score them; the results are kept in ``out``."""
    stem = f"{model}-{kind}-{name}".replace(", ", "_").replace(" ", "_")
    result, kept = out / f"{stem}.json", out / f"{stem}.checkpoint"
    weights = out / f"{stem}.safetensors"
    if result.exists():
        return json.loads(result.read_text())
    training_set = series.select(~held_out)
    system, observation, solver, training = parts_of(model, seed)
    fitted = build(training_set, system, observation, solver, seed)
    fit = Fit(fitted, training_set, training, seed)
    before = 0.0
    if kept.exists():
        state = load_file(kept)
        before = float(state.pop("seconds"))
        fit.resume(state)
    start, first = time.perf_counter(), fit.step

    def progress(stage, done, total):
        if done % 50 == 0:
            spent = time.perf_counter() - start
            left = spent / max(1, done - first) * (total - done)
            print(f"{model} {name}: {stage} {done}/{total}, {left:.0f} s left", flush=True)

    def keep(checkpoint):
        seconds = torch.tensor(before + time.perf_counter() - start)
        save_file({**checkpoint, "seconds": seconds}, kept)

    fit.run(progress, on_checkpoint=keep)
    fit_seconds = before + time.perf_counter() - start
    keep(fit.checkpoint())
    save_file({k: v.contiguous() for k, v in fitted.state_dict().items()}, weights)
    found = score(fitted, series.select(held_out), seed)
    found |= {"model": model, "split": kind, "part": name, "fit_seconds": round(fit_seconds, 1)}
    found["kl_shared"] = round(float(fitted.shared.kl()), 1)
    result.write_text(json.dumps(found, indent=1))
    kept.unlink(missing_ok=True)
    print(json.dumps(found), flush=True)
    return found


def score(fitted, held_out, seed):
    """Bounds before and after refinement, coverage by channel, diagnostics."""
    start = time.perf_counter()
    amortised = DynamicPosterior(fitted, held_out)
    posterior = amortised.refined(steps=REFINING, seed=seed)
    refined = time.perf_counter() - start
    scores = posterior.scores(SAMPLES, seed)
    first = amortised.scores(SAMPLES, seed)
    inside, hidden = hidden_coverage(fitted, held_out, seed)
    return {
        **scores.describe(),
        "bound_amortised": round(float(first.bound.mean()), 3),
        "coverage": {
            channel: round(float(inside[:, c][hidden[:, c]].mean()), 4)
            for c, channel in enumerate(CHANNELS)
        },
        "refine_seconds": round(refined, 1),
        "score_seconds": round(time.perf_counter() - start, 1),
    }


def hidden_coverage(fitted, held_out, seed):
    """Which readings lie within their 90 % bands, and which were hidden from the posterior."""
    hidden = np.random.default_rng(seed).uniform(size=held_out.values.shape) < HIDDEN
    shown = replace(held_out, values=np.where(hidden, np.nan, held_out.values))
    posterior = DynamicPosterior(fitted, shown).refined(steps=REFINING // 2, seed=seed)
    bands = posterior.predict(level=0.9, seed=seed)
    inside = (held_out.values >= bands.lower) & (held_out.values <= bands.upper)
    return inside, hidden


def table(out: Path) -> None:
    """Print means over the parts that are there."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    print(
        "| model | split | parts | bound, nats/series | amortised | "
        "coverage OD/RFP/YFP/CFP | k < 0.7 | fit s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for model, kind in sorted({(r["model"], r["split"]) for r in found}):
        rows = [r for r in found if (r["model"], r["split"]) == (model, kind)]
        weight = np.array([r["series"] for r in rows])

        def mean(values, weight=weight):
            return float(np.average(np.array(values), weights=weight))

        cover = "/".join(f"{mean([r['coverage'][c] for r in rows]):.3f}" for c in CHANNELS)
        bounds = [r["bound_mean"] for r in rows]
        print(
            f"| {model} | {kind} | {len(rows)} | {mean(bounds):.0f} ({min(bounds):.0f} to "
            f"{max(bounds):.0f}) | {mean([r['bound_amortised'] for r in rows]):.0f} | {cover} | "
            f"{mean([r['share_reliable'] for r in rows]):.2f} | "
            f"{np.mean([r['fit_seconds'] for r in rows]):.0f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=["prescribed", "neural"])
    parser.add_argument("--splits", nargs="*", default=["folds"], choices=["folds", "devices"])
    parser.add_argument("--parts", nargs="*", type=int)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    print(describe())
    folder = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "vihds"
    series = merged(options.data or folder)
    if not options.table:
        for model in options.models:
            for kind in options.splits:
                for number, (name, held_out) in enumerate(split(series, kind)):
                    if options.parts is None or number in options.parts:
                        run_part(series, model, kind, name, held_out, options.out)
    table(options.out)


if __name__ == "__main__":
    main()
