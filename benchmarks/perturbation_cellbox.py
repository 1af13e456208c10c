"""Responses of 66 drug pairs in 87 readouts, predicted: the CellBox screen of SK-Mel-133.

    python -m benchmarks.perturbation_cellbox [--models ridge pair_factors stacked]

Three settings: each pair left out of all other conditions; trained on single drugs only; all pairs
of one drug left out, its singles kept (a pair stands in two folds, so its p values are too small).
Data: NEXTROUND_DATA (default ../shared/data), folder cellbox. Doses are the drug activities of the
data set. ``p``: two-sided paired tests over pairs against the best baseline of that setting, of
squared error and of log density, and against the reference: ridge with the fixed penalty of 0.1
behind the published bars.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from models.bayes.predictive import pearson
from models.perturbation.choice import BASELINES
from models.perturbation.data import ResponseTable
from models.perturbation.evaluate import (
    HeldOutResponses,
    compare,
    each_row,
    hold_out,
    pairs_of_each,
    skill,
    transfer,
)
from models.perturbation.learnable import learnable
from models.perturbation.registry import response_models

N_READOUTS = 87


def read_cellbox(folder: Path) -> ResponseTable:
    """The table; the last twelve nodes are the drugs' activities, their size is the dose."""
    values = np.loadtxt(folder / "expr.csv", delimiter=",")
    doses = np.abs(np.loadtxt(folder / "pert.csv", delimiter=",")[:, N_READOUTS:])
    nodes = (folder / "node_Index.csv").read_text().split()
    lines = (folder / "expr_index.txt").read_text().splitlines()
    return ResponseTable.of(
        perturbations=nodes[N_READOUTS:],
        readouts=nodes[:N_READOUTS],
        conditions=[line.split()[0] for line in lines],
        doses=doses,
        values=values[:, :N_READOUTS],
    )


def reference_ridge(train: ResponseTable, doses: np.ndarray, penalty: float = 0.1) -> np.ndarray:
    """Ridge without intercept and with a fixed penalty."""
    x = train.doses
    inner = x.T @ x + penalty * np.eye(x.shape[1])
    return np.asarray(doses @ np.linalg.solve(inner, x.T @ train.values))


def reference(table: ResponseTable, rows: ResponseTable) -> dict[str, np.ndarray]:
    """The published bars again, on ``table`` without averaging: predictions of the pairs of
    ``rows`` by setting."""
    order = [table.conditions.index(name) for name in rows.pairs().conditions]
    seen = table.values[order]
    everything = np.arange(len(table))
    said = {
        "each pair left out": np.stack(
            [reference_ridge(table.select(everything != i), table.doses[i]) for i in order]
        ),
        "trained on singles only": reference_ridge(table.singles(), table.doses[order]),
    }
    for name, mean in said.items():
        mse, r = float(np.square(mean - seen).mean()), pearson(mean.ravel(), seen.ravel())
        print(f"reference ridge, {name}: r {r:.4f}, MSE {mse:.4f}")
    return said


def tests(own: np.ndarray, other: np.ndarray) -> str:
    """Both p values of a paired comparison."""
    found = compare(own, other)
    return f"{found['t']:>11.1e}{found['wilcoxon']:>9.1e}"


def show(found: dict[str, HeldOutResponses], bar: np.ndarray | None) -> None:
    """One setting: a row for each model, with tests against the best baseline and ``bar``."""
    known = {name: held for name, held in found.items() if name in BASELINES}
    best = min(known, key=lambda name: float(known[name].squared_error.mean()))
    print(f"{'model':<15}{'r':>7}{'MSE':>9}{'elpd':>8}{'90 %':>7}", end="")
    print(f"{'MSE: p t, W':>20}{'elpd: p t, W':>20}{'MSE, reference':>20}")
    for name, held in found.items():
        s = held.scores()
        r = f"{s['pearson']:.4f}" if s["pearson"] is not None else "-"
        row = f"{name:<15}{r:>7}{s['mse']:>9.5f}{s['elpd']:>8.3f}{s['coverage']:>7.3f}"
        if name not in BASELINES:
            row += tests(held.squared_error, known[best].squared_error)
            row += tests(held.elpd, known[best].elpd)
            if bar is not None:
                row += tests(held.squared_error, np.square(bar - held.observed).mean(axis=1))
            s = skill(held, known)
            row += f"   skill over {s.baseline} {s.value:.3f} ({s.low:.3f} to {s.high:.3f})"
        print(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    models = response_models()
    parser.add_argument("--models", nargs="+", choices=models, default=list(models))
    chosen = [models[name] for name in parser.parse_args().models]
    table = read_cellbox(Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "cellbox")
    print(describe())
    rows = learnable(table)
    bars = reference(table, rows)
    pairs = np.flatnonzero(rows.n_present == 2)
    settings = {
        "each pair left out": lambda model: hold_out(model, rows, each_row(pairs), seed=0),
        "trained on singles only": lambda model: transfer(
            model.fit(rows.singles(), seed=0), rows, pairs
        ),
        "pairs of each drug left out": lambda model: hold_out(
            model, rows, pairs_of_each(rows), seed=0
        ),
    }
    for what, run in settings.items():
        started = time.process_time()
        found = {model.name: run(model) for model in chosen}
        print(f"\n{what}, {time.process_time() - started:.0f} s of processor time")
        show(found, bars.get(what))


if __name__ == "__main__":
    main()
