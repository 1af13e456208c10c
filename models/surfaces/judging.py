"""Surface models side by side: the same held-out blocks, the same masks, the same scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.bayes.forecast import number
from models.bayes.predictive import coverage, log_predictive_density, rmse
from models.pharmacology.dose_response import CurveTable
from models.screen import (
    CellLineTable,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.surfaces.baselines import Start, fit_bliss, fit_musyc, fit_start
from models.surfaces.blocks import Blocks
from models.surfaces.fitting import Plan, fit_surfaces
from models.surfaces.gp import fit_gp
from models.surfaces.masks import draw_masks
from models.surfaces.model import SurfaceModel
from models.surfaces.prediction import SurfacePredictor
from models.surfaces.shift_folds import FOLDS, fit_shift_folds, fold_numbers

PLAIN = Plan(betas=(0.0,), structured=False, wavelet="", random_targets=False, name="deep ensemble")
"""A deep ensemble of per-well networks: no operator, no prior, no structure, no target noise."""
OPERATOR = "operator"
MODELS = (OPERATOR, "shifts and field", "deep ensemble", "gaussian process", "musyc", "bliss")
"""Every model by its name; of equals the first is served."""


@dataclass(frozen=True)
class Request:
    """What is to be fitted: the operator's plan, the seed, and which models beside it."""

    plan: Plan
    seed: int
    models: tuple[str, ...] = MODELS


def fit_models(
    tables: Sequence[Blocks],
    curves: CurveTable,
    cell_lines: CellLineTable,
    request: Request,
    *,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> dict[str, SurfacePredictor]:
    """Every model of ``request`` fitted to the measured blocks, by its name."""
    n = curves.shape[0]
    plan, seed, wanted = request.plan, request.seed, request.models
    operator = fit_surfaces(
        tables, cell_lines, n, plan, seed, on_progress=on_progress, should_stop=should_stop
    )
    found: dict[str, SurfacePredictor] = {OPERATOR: operator}
    if "shifts and field" in wanted:
        found["shifts and field"] = fit_start(operator, tables, seed)
    if "deep ensemble" in wanted:
        plain = Plan(
            members=plan.members, betas=PLAIN.betas, steps=plan.steps, held_out=plan.held_out,
            structured=False, wavelet="", random_targets=False, name=PLAIN.name,
        )  # fmt: skip
        found["deep ensemble"] = fit_surfaces(
            tables, cell_lines, n, plain, seed, on_progress=on_progress, should_stop=should_stop
        )
    if "gaussian process" in wanted:
        found["gaussian process"] = fit_gp(tables, operator.context.scale, seed)
    if "musyc" in wanted:
        found["musyc"] = fit_musyc(tables, curves, seed)
    if "bliss" in wanted:
        found["bliss"] = fit_bliss(tables, seed)
    return found


def score(
    model: SurfacePredictor, tables: Sequence[Blocks], pattern: str, seed: int
) -> dict[str, Any]:
    """Scores on the wells that ``pattern`` leaves hidden: ``rmse``, ``elpd`` (nats a well),
    ``coverage_90``, ``coverage_50`` and how many wells."""
    draws, observed, noises, df = [], [], [], 0.0
    for table in tables:
        rng = np.random.default_rng([seed, 47])
        mask = draw_masks(pattern, len(table), table.shape, rng)
        said = model.predict(table.seen_only(mask))
        asked = (table.measured & ~mask).reshape(-1)
        draws.append(said.flat_draws()[:, asked])
        observed.append(table.viability.reshape(-1)[asked])
        noises.append(said.noise().select(asked).scale)
        df = said.df
    every, seen = np.concatenate(draws, axis=1), np.concatenate(observed)
    noise = type(said.noise())(np.concatenate(noises), df)
    inside = coverage(every, seen, noise, (0.5, 0.9))
    return {
        "rmse": number(rmse(every.mean(axis=0), seen)),
        "elpd": number(float(log_predictive_density(every, seen, noise).mean())),
        "coverage_50": number(inside[0.5]),
        "coverage_90": number(inside[0.9]),
        "n_wells": len(seen),
    }


def with_measured(
    models: Mapping[str, SurfacePredictor],
    learned: Sequence[Blocks],
    sparse: Sequence[Blocks],
    seed: int,
) -> dict[str, SurfacePredictor]:
    """The models told of sparse blocks: shifts are learned with their wells, the rest stays."""
    found = dict(models)
    operator = found[OPERATOR]
    if not isinstance(operator, SurfaceModel):
        raise ScreenError("only an operator can learn shifts anew")
    shifts = fit_shift_folds(
        [*learned, *sparse], operator.context.scale, operator.shifts.whole.sizes, seed
    )
    told = operator.with_shifts(shifts)
    found[OPERATOR] = told
    start = found.get("shifts and field")
    if isinstance(start, Start):
        found["shifts and field"] = replace(start, model=told)
    return found


@dataclass(frozen=True)
class Verdict:
    """``scores``: by pattern, model and score, means over ``folds`` of held-out pairs. ``served``:
    the model of the highest log density over patterns, and why, in words."""

    scores: Mapping[str, Mapping[str, Mapping[str, Any]]]
    folds: int
    served: str
    words: str

    def report(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "scores": self.scores,
            "folds": self.folds,
            "served": self.served,
            "words": self.words,
        }


def judge(
    tables: Sequence[Blocks],
    curves: CurveTable,
    cell_lines: CellLineTable,
    request: Request,
    *,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Verdict:
    """Every model on pairs that it has not seen, by folds; with too few blocks for that, Bliss."""
    folds = fold_numbers(tables, "pair", curves.shape[0], request.seed)
    results: list[dict[str, dict[str, Any]]] = []
    for fold in range(FOLDS):
        learn = [b.select(f != fold) for b, f in zip(tables, folds, strict=True)]
        test = [b.select(f == fold) for b, f in zip(tables, folds, strict=True)]
        learn, test = ([each for each in side if each.touched.any()] for side in (learn, test))
        try:
            models = fit_models(
                learn, curves, cell_lines, request, on_progress=on_progress, should_stop=should_stop
            )
        except ScreenError as error:
            words = f"bliss is served: too little is measured to judge another model: {error}"
            return Verdict({}, 0, "bliss", words)
        results.append(_scores_of(models, test, request.seed))
    means = {
        pattern: {name: _mean([one[pattern][name] for one in results]) for name in request.models}
        for pattern in results[0]
        if all(pattern in one for one in results)
    }
    served, words = choose(_mean_over_patterns(means))
    return Verdict(means, FOLDS, served, words)


def choose(scores: Mapping[str, float]) -> tuple[str, str]:
    """The model of the highest held-out log density, nats a well, and the reason in words."""
    best = max(scores, key=lambda name: scores[name])
    others = {name: value for name, value in scores.items() if name not in (best, OPERATOR)}
    if best != OPERATOR:
        beside = f"; the operator has {scores[OPERATOR]:.3f}" if OPERATOR in scores else ""
    elif others:
        second = max(others, key=lambda name: others[name])
        beside = f"; the best of the others, {second}, has {others[second]:.3f}"
    else:
        beside = ""
    return best, (
        f"{best} is served: its log density on held-out pairs is the highest, "
        f"{scores[best]:.3f} nats a well{beside}"
    )


def _scores_of(
    models: Mapping[str, SurfacePredictor], test: Sequence[Blocks], seed: int
) -> dict[str, dict[str, Any]]:
    """Bare, and with a part of each block measured where blocks have wells enough."""
    found = {
        "nothing": {name: score(model, test, "nothing", seed) for name, model in models.items()}
    }
    full = [blocks for blocks in test if min(blocks.shape) > 1 and blocks.measured.all()]
    if full:
        found["five"] = {name: score(model, full, "five", seed) for name, model in models.items()}
    return found


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    wells = float(sum(row["n_wells"] for row in rows))
    means: dict[str, Any] = {
        key: number(sum(row[key] * row["n_wells"] for row in rows) / wells)
        for key in ("rmse", "elpd", "coverage_50", "coverage_90")
    }
    return {**means, "n_wells": int(wells)}


def _mean_over_patterns(means: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, float]:
    names = next(iter(means.values()))
    return {
        name: float(np.mean([by_model[name]["elpd"] for by_model in means.values()]))
        for name in names
    }
