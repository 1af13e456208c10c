"""How well a model predicts this campaign: scored on a held-out fifth, beside its baselines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from models.bayes.forecast import mark, noise_ceiling, number, score_forecast, score_marks
from models.bayes.predictive import Noise, probability_below
from models.bayes.recalibration import describe_recalibration
from models.pharmacology.plate_noise import describe_plates
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.baselines import PointPrediction, predict_additive, predict_mean
from models.synergy.inputs import Features, ScoredBlocks, Training
from models.synergy.training import Schedule

if TYPE_CHECKING:
    from models.synergy.registry import Model, ModelPosterior

HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Evidence:
    """``report`` is JSON-able (see :func:`measure_evidence`); ``schedule`` what the fit chose;
    ``log_density`` ``(n_held_out,)`` nats of each held-out block, in the order of the keys, for
    :func:`models.synergy.choice.choose_model`."""

    report: dict[str, Any]
    schedule: Schedule
    log_density: FloatArray


def measure_evidence(
    model: Model,
    training: Training,
    *,
    seed: int,
    draws: int = 128,
    device: str = "cpu",
    hit_threshold: float | None = None,
    judged: BoolArray | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Evidence:
    """Fit to four fifths of the blocks, score on the other, which the fit never sees.

    Report: ``n_train``, ``n_held_out``; ``model``: all that
    :func:`models.bayes.forecast.score_marks` says; ``baselines``: the same for ``mean`` and
    ``additive``; ``noise_ceiling``: the Pearson correlation that the truth itself would reach;
    ``convergence``: the fit in the terms of its method; ``recalibration``: what mending the
    intervals on these blocks would take (nothing is applied), null for few blocks;
    ``hit_forecast``: null without a ``hit_threshold``, else that ``threshold`` and, for each
    held-out block in the order of the keys, the ``chance`` that its measurement exceeds it and
    whether it does (``hit``, 0 or 1); ``seconds``; ``plates``, where their controls are known:
    see :func:`models.pharmacology.plate_noise.describe_plates`.
    A number that so few blocks cannot give is null.
    ``judged`` ``(m,)``: blocks among which a fifth is held out, ``None`` for all; the fit sees the
    others whole.
    """
    started = time.perf_counter()
    if judged is not None:
        judged = judged[training.blocks.order(len(training.features.compounds))]
    training = training.sorted()
    kept, left_out = split_rows(len(training.blocks), seed, judged)
    held_out, train = training.blocks.select(left_out), training.select(kept)
    posterior = model.fit(
        train,
        seed=seed,
        device=device,
        on_progress=on_progress,
        should_stop=should_stop,
        refit=False,
    )
    functions, noise = forecast_blocks(posterior, train.blocks, held_out, draws, seed)
    marks = mark(functions, held_out.score, noise)
    report = {
        "split": "one fifth of the blocks, at random",
        "n_train": len(train.blocks),
        "n_held_out": len(held_out),
        "seed": seed,
        "model": score_marks(marks, held_out.score),
        "baselines": _baselines(train.blocks, held_out, training.features),
        "noise_ceiling": {"pearson": noise_ceiling(held_out.score, held_out.noise_sd)},
        "convergence": posterior.diagnostics(),
        "recalibration": describe_recalibration(functions, held_out.score, noise, marks),
        "hit_forecast": _hit_forecast(functions, noise, held_out.score, hit_threshold),
        "seconds": round(time.perf_counter() - started, 3),
        **_plates(training),
    }
    return Evidence(report, posterior.schedule, marks.log_density)


@runtime_checkable
class KnowsErrors(Protocol):
    """A posterior with a rule for measurements whose standard error is known."""

    def noise_scale_given(self, candidates: Candidates, noise_sd: FloatArray) -> FloatArray:
        """``(m,)`` scale of the noise of measurements with these standard errors, ``(m,)``."""
        ...


def forecast_blocks(
    posterior: ModelPosterior, train: ScoredBlocks, at: ScoredBlocks, draws: int, seed: int
) -> tuple[FloatArray, Noise]:
    """``(draws, len(at))`` noise-free scores, and the noise with which each block was measured.

    A posterior's noise is that of a typical block; here the typical known error gives way to the
    block's own, by the posterior's own rule where it has one (:class:`KnowsErrors`). Of ``at`` the
    candidates and the standard errors are used, never the scores.
    """
    functions = posterior.draws(at.candidates, draws, seed).numpy().astype(np.float64)
    if isinstance(posterior, KnowsErrors):
        own = posterior.noise_scale_given(at.candidates, at.noise_sd)
        return functions, Noise(np.maximum(own, 1e-6), posterior.noise_df)
    scale = posterior.noise_scale(at.candidates).numpy().astype(np.float64)
    typical = float(np.median(train.noise_sd))
    own = np.sqrt(np.maximum(scale**2 - typical**2, 0) + at.noise_sd**2)
    return functions, Noise(np.maximum(own, 1e-6), posterior.noise_df)


def _plates(training: Training) -> dict[str, Any]:
    """What is known of the plates, nothing where that is nothing."""
    said = None if training.wells is None else describe_plates(training.wells)
    return {} if said is None else {"plates": said}


def _hit_forecast(
    functions: FloatArray, noise: Noise, score: FloatArray, threshold: float | None
) -> dict[str, Any] | None:
    if threshold is None:
        return None
    chance = 1.0 - probability_below(functions, threshold, noise)
    return {
        "threshold": threshold,
        "chance": [number(p) for p in chance.tolist()],
        "hit": (score > threshold).astype(int).tolist(),
    }


def split_rows(
    n: int, seed: int, judged: BoolArray | None = None, fold: int = 0
) -> tuple[IntArray, IntArray]:
    """Positions of the training four fifths and of the held-out fifth of ``n`` sorted blocks, or
    of a fifth of those that are ``judged`` and of all others. Each ``fold`` has its own fifth."""
    order = np.random.default_rng([seed, n]).permutation(n)
    if judged is not None:
        order = np.concatenate([order[judged[order]], order[~judged[order]]])
        n = int(judged.sum())
    count = max(1, round(HELD_OUT_SHARE * n))
    first = fold * count
    rest = np.concatenate([order[:first], order[first + count :]])
    return np.sort(rest), np.sort(order[first : first + count])


def held_out_rows(
    training: Training, seed: int, judged: BoolArray | None = None
) -> tuple[IntArray, IntArray]:
    """Rows of ``training``, as it is given, that :func:`measure_evidence` fits to and holds out,
    both in the order of their keys."""
    order = training.blocks.order(len(training.features.compounds))
    kept, left_out = split_rows(len(order), seed, None if judged is None else judged[order])
    return order[kept], order[left_out]


def baseline_predictions(
    train: ScoredBlocks, at: ScoredBlocks, features: Features
) -> dict[str, PointPrediction]:
    """What has to be beaten, by name, at the candidates of ``at``."""
    shape = (len(features.compounds), len(features.cell_lines))
    return {
        "mean": predict_mean(train, at.candidates),
        "additive": predict_additive(train, at.candidates, *shape),
    }


def _baselines(
    train: ScoredBlocks, held_out: ScoredBlocks, features: Features
) -> dict[str, dict[str, Any]]:
    return {
        name: score_forecast(point.mean[None], held_out.score, point.noise)
        for name, point in baseline_predictions(train, held_out, features).items()
    }
