"""How well a model predicts this campaign: scored on a held-out fifth, beside its baselines."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.bayes.predictive import (
    LEVELS,
    Noise,
    coverage,
    log_predictive_density,
    pearson,
    rmse,
    spearman,
)
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.baselines import PointPrediction, predict_additive, predict_mean
from models.synergy.inputs import Features, ScoredBlocks, Training
from models.synergy.registry import Model
from models.synergy.training import Schedule

HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Evidence:
    """``report`` is JSON-able (see :func:`measure_evidence`); ``schedule`` what the fit chose."""

    report: dict[str, Any]
    schedule: Schedule


def measure_evidence(
    model: Model,
    training: Training,
    *,
    seed: int,
    draws: int = 128,
    device: str = "cpu",
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Evidence:
    """Fit to four fifths of the blocks, score on the other, which the fit never sees.

    Report: ``n_train``, ``n_held_out``, ``model``: ``elpd`` (nats per block, higher is better),
    ``rmse``, ``pearson``, ``spearman``, ``coverage`` by level in percent; ``baselines``: the same
    for ``mean`` and ``additive``; ``seconds``. A number that so few blocks cannot give is null.
    """
    started = time.perf_counter()
    training = training.sorted()
    kept, left_out = split_rows(len(training.blocks), seed)
    train, held_out = training.select(kept).blocks, training.blocks.select(left_out)
    posterior = model.fit(
        training.select(kept),
        seed=seed,
        device=device,
        on_progress=on_progress,
        should_stop=should_stop,
        refit=False,
    )
    at = held_out.candidates
    functions = posterior.draws(at, draws, seed).numpy().astype(np.float64)
    scale = posterior.noise_scale(at).numpy().astype(np.float64)
    typical = float(np.median(train.noise_sd))
    own = np.sqrt(np.maximum(scale**2 - typical**2, 0) + held_out.noise_sd**2)
    noise = Noise(np.maximum(own, 1e-6), posterior.noise_df)
    report = {
        "split": "one fifth of the blocks, at random",
        "n_train": len(train),
        "n_held_out": len(held_out),
        "seed": seed,
        "model": _scores(functions, held_out.score, noise),
        "baselines": _baselines(train, held_out, training.features),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Evidence(report, posterior.schedule)


def split_rows(n: int, seed: int) -> tuple[IntArray, IntArray]:
    """Positions of the training four fifths and of the held-out fifth of ``n`` sorted blocks."""
    order = np.random.default_rng([seed, n]).permutation(n)
    count = max(1, round(HELD_OUT_SHARE * n))
    return np.sort(order[count:]), np.sort(order[:count])


def _baselines(
    train: ScoredBlocks, held_out: ScoredBlocks, features: Features
) -> dict[str, dict[str, Any]]:
    at, shape = held_out.candidates, (len(features.compounds), len(features.cell_lines))
    found: dict[str, PointPrediction] = {
        "mean": predict_mean(train, at),
        "additive": predict_additive(train, at, *shape),
    }
    return {
        name: _scores(point.mean[None], held_out.score, point.noise)
        for name, point in found.items()
    }


def _scores(draws: FloatArray, observed: FloatArray, noise: Noise) -> dict[str, Any]:
    mean = draws.mean(axis=0)
    shares = coverage(draws, observed, noise, LEVELS)
    return {
        "elpd": _number(float(log_predictive_density(draws, observed, noise).mean())),
        "rmse": _number(rmse(mean, observed)),
        "pearson": _number(pearson(mean, observed)),
        "spearman": _number(spearman(mean, observed)),
        "coverage": {f"{100 * q:.0f}": _number(share) for q, share in shares.items()},
    }


def _number(value: float | None) -> float | None:
    """Rounded, and null rather than NaN: JSON has no NaN."""
    return round(value, 6) if value is not None and math.isfinite(value) else None
