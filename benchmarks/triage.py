"""Scorecards: estimators on a simulation, O'Neil's hits with compounds left out, and speed.

    python -m benchmarks.triage simulation [--simulations 600]
    python -m benchmarks.triage oneil [--data DIR] [--folds 5] [--model gp_pairs] [--limit 1500]
    python -m benchmarks.triage speed [--rows 20000]

The simulation: 60 categories, base rate 6 %, sizes geometric with mean 25, true rates
Beta(0.9, 14.1). Log loss and squared error are weighed by rows, the error of the weight of evidence
is that of a category. O'Neil: a hit is a Bliss score above 10; blocks with a held-out compound are
forecast from those without any. The boosted trees are scikit-learn's: logistic loss, depth 3, 150
trees at rate 0.08, of the same numbers and out-of-fold evidence as the card, on compounds, lines,
targets and pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.machine import describe
from models.bayes.predictive import probability_below
from models.evaluation.study import FoldData, Study, load_study
from models.screen import BoolArray, Candidates, FloatArray
from models.synergy.evidence import forecast_blocks
from models.synergy.registry import find_model
from models.triage.attributes import describe_compounds
from models.triage.calibration import area_under_curve, log_loss
from models.triage.encoding import FOLDS, Encoder, deal, encode_out_of_fold
from models.triage.evidence import shrink_rates
from models.triage.features import NUMBERS, BlockTable, SingleAgents, describe_blocks
from models.triage.history import (
    History,
    compounds_out_of_fold,
    pairs_out_of_fold,
)
from models.triage.making import make_scorecard
from models.triage.rates import fit_beta_binomial

CATEGORIES, BASE, STRENGTH, SIZE = 60, 0.06, 15.0, 25
THRESHOLD = 10.0
TREES, RATE, DEPTH, LEAST_LEAF, RIDGE = 150, 0.08, 3, 30, 5.0


def simulation(n: int) -> dict[str, Any]:
    """Mean over simulations of each estimator's marks, with standard errors of the log loss."""
    rng = np.random.default_rng(0)
    marks: dict[str, list[list[float]]] = {name: [] for name in ESTIMATORS}
    for _ in range(n):
        truth = rng.beta(BASE * STRENGTH, (1 - BASE) * STRENGTH, CATEGORIES)
        rows = rng.geometric(1 / SIZE, CATEGORIES).astype(np.float64)
        hits = rng.binomial(rows.astype(np.int64), truth).astype(np.float64)
        for name, estimator in ESTIMATORS.items():
            marks[name].append(_marks(truth, estimator(hits, rows), rows))
    table = {}
    for name, found in marks.items():
        values = np.array(found)
        error = float(values[:, 1].std(ddof=1) / np.sqrt(n))
        mse, loss, evidence = values.mean(axis=0).tolist()
        table[name] = {"mse_1e3": 1e3 * mse, "excess": loss, "error": error, "woe": evidence}
    return table


def _marks(truth: FloatArray, said: FloatArray, rows: FloatArray) -> list[float]:
    """Squared error, excess log loss (Kullback-Leibler), error of the log-odds."""
    share = rows / rows.sum()
    p = np.maximum(truth, 1e-12)
    excess = p * np.log(p / said) + (1 - p) * np.log((1 - p) / (1 - said))
    evidence = np.abs(logit(np.clip(p, 1e-9, 1 - 1e-9)) - logit(said))
    return [float(share @ (p - said) ** 2), float(share @ excess), float(evidence.mean())]


def _raw(hits: FloatArray, rows: FloatArray) -> FloatArray:
    return np.clip(hits / rows, 0.01 / rows, 1 - 0.01 / rows)


ESTIMATORS: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "raw + offset": _raw,
    "global rate": lambda h, n: np.full(len(h), h.sum() / n.sum()),
    "published shrinkage": lambda h, n: shrink_rates(h, n).rate,
    "the same, pooled extremes": lambda h, n: shrink_rates(h, n, pool_extremes=True).rate,
    "beta-binomial": lambda h, n: fit_beta_binomial(h, n).rate(h, n),
}


def oneil(data: Path, folds: int, model: str | None, limit: int | None) -> dict[str, Any]:
    """AUC and log loss of every way, fold by fold."""
    study = Study("compound", folds=folds, seed=0, train_limit=limit)
    loaded = load_study(data, study)
    found: dict[str, list[dict[str, float | None]]] = {}
    for number in range(folds):
        fold = loaded.fold(number)
        train, test = (_table(fold, at.candidates) for at in (fold.training.blocks, fold.test))
        hit = fold.training.blocks.score > THRESHOLD
        outcome = (fold.test.score > THRESHOLD).astype(np.float64)
        said, seconds = _forecasts(fold, train, hit, test, model)
        for name, value in said.items():
            row = {
                "auc": area_under_curve(value, outcome),
                "log_loss": log_loss(value, outcome),
                "seconds": seconds[name],
            }
            found.setdefault(name, []).append(row)
        print(number, {k: (v[-1]["auc"], v[-1]["log_loss"]) for k, v in found.items()}, flush=True)
    summary = {name: _summary(name, found) for name in found}
    return {"n_train": len(train), "n_test": len(test), "summary": summary, "folds": found}


def _forecasts(
    fold: FoldData, train: BlockTable, hit: BoolArray, test: BlockTable, model: str | None
) -> tuple[dict[str, FloatArray], dict[str, float]]:
    said = {"base rate": np.full(len(test), float(logit(hit.mean())))}
    seconds = {"base rate": 0.0}
    started = time.perf_counter()
    card = make_scorecard(train, hit).card
    seconds["scorecard"] = time.perf_counter() - started
    said["scorecard"] = card.score(test).logit
    started = time.perf_counter()
    said["boosted trees"] = boosted(train, hit.astype(np.float64), test)
    seconds["boosted trees"] = time.perf_counter() - started
    if model is not None:
        started = time.perf_counter()
        posterior = find_model(model).fit(fold.training, seed=1)
        blocks = fold.training.blocks
        draws, noise = forecast_blocks(posterior, blocks, fold.test, 256, 1)
        chance = 1 - probability_below(draws, THRESHOLD, noise)
        said[model] = logit(np.clip(chance, 1e-6, 1 - 1e-6))
        seconds[model] = time.perf_counter() - started
    return said, seconds


def _summary(name: str, found: Mapping[str, list[dict[str, float | None]]]) -> dict[str, Any]:
    own = found[name]
    gain = [
        float(a["log_loss"] or 0) - float(b["log_loss"] or 0)
        for a, b in zip(own, found["scorecard"], strict=True)
    ]
    spread = float(np.std(gain, ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else None
    auc = [row["auc"] for row in own if row["auc"] is not None]
    return {
        "auc": float(np.mean(auc)),
        "log_loss": float(np.mean([row["log_loss"] for row in own])),
        "minus_scorecard": float(np.mean(gain)),
        "error": spread,
        "seconds": float(np.mean([row["seconds"] for row in own])),
    }


def _table(fold: FoldData, candidates: Candidates) -> BlockTable:
    features = fold.training.features
    single = SingleAgents.of_screen(fold.training.wells, fold.curves)
    return describe_blocks(candidates, describe_compounds(features.compounds), single)


def boosted(train: BlockTable, hit: FloatArray, test: BlockTable) -> FloatArray:
    """Log-odds of ``test`` by boosted trees (Friedman 2001; binned as by Ke et al. 2017)."""
    weight = np.ones(len(train))
    fold = deal(train.compounds, train.n_compounds, FOLDS, 0)
    base = np.full(len(train), float(logit(hit.mean())))
    shown = compounds_out_of_fold(train, hit, weight, base, fold)
    pairs = pairs_out_of_fold(train, hit, weight, base + shown, 0)
    encoded = encode_out_of_fold(train, hit, weight, fold)
    columns = [*encoded.T, shown, pairs, *(train.numbers[name] for name in NUMBERS)]
    history = History.of(train, hit, weight, base, 1.0)
    both = history.compounds.added[test.compounds].sum(axis=1)
    again = history.pairs.added[history.find(test)]
    evidence = Encoder.fit(train, hit, weight).evidence(test)
    asked = [*evidence.T, both, again, *(test.numbers[name] for name in NUMBERS)]
    trees = HistGradientBoostingClassifier(
        max_iter=TREES, learning_rate=RATE, max_depth=DEPTH, min_samples_leaf=LEAST_LEAF,
        l2_regularization=RIDGE, early_stopping=False, random_state=0,
    )  # fmt: skip
    trees.fit(np.stack(columns, axis=1), hit)
    logits: FloatArray = trees.decision_function(np.stack(asked, axis=1))
    return logits


def speed(rows: int) -> dict[str, Any]:
    """Seconds to make and calibrate a card of simulated blocks, and to score as many."""
    rng = np.random.default_rng(0)
    n_compounds, n_lines = 60, 12
    target = rng.integers(0, 25, n_compounds)
    a, b = np.triu_indices(n_compounds, 1)
    chosen = rng.permutation(len(a) * n_lines)[:rows]
    pair, line = np.stack([a, b], 1)[chosen // n_lines], chosen % n_lines
    numbers = {name: rng.standard_normal(rows) for name in NUMBERS}
    own = 0.7 * rng.standard_normal(n_compounds)
    logits = -3 + own[pair].sum(1) + 0.6 * numbers["more_active"]
    table = BlockTable(
        pair, line, target[pair], target[pair] % 8, numbers, n_compounds, n_lines, 25, 8
    )
    hit = rng.random(rows) < expit(logits)
    started, used = time.perf_counter(), time.process_time()
    card = make_scorecard(table, hit).card
    made, made_cpu = time.perf_counter() - started, time.process_time() - used
    started = time.perf_counter()
    card.score(table)
    return {
        "rows": rows,
        "fit_s": made,
        "fit_processor_s": made_cpu,
        "score_s": time.perf_counter() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("simulation", "oneil", "speed"))
    root = os.environ.get("NEXTROUND_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(root) / "oneil")
    parser.add_argument("--simulations", type=int, default=600)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--model", help="A registered model beside the card; none by default.")
    parser.add_argument("--limit", type=int, help="Training blocks of a fold, at most.")
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    if options.what == "simulation":
        report = simulation(options.simulations)
    elif options.what == "speed":
        report = speed(options.rows)
    else:
        report = oneil(options.data, options.folds, options.model, options.limit)
        report.pop("folds")
    print(describe())
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
