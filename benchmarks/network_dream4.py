"""Edges of gene networks from knock-outs and knock-downs, beside what has to be beaten.

    python -m benchmarks.network_dream4 [--data FOLDER] [--simulated 3] [--seed 0]

DREAM4, size 100, network 1 (100 knock-outs, 100 knock-downs, 11 untreated samples, 176 true
edges), then simulated networks of our own. Prints the average precision of each method and, for
ours, the false-discovery rate that came true at nominal 10 % and 20 %.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from models.perturbation import network_baselines as baselines
from models.perturbation.interventions import InterventionTable, from_expression
from models.perturbation.network import learn_network
from models.perturbation.network_metrics import average_precision, realised_fdr
from models.perturbation.network_simulate import simulate_network
from models.screen import BoolArray, ScreenError

BASELINES = {
    "correlation": baselines.correlation,
    "partial correlation": baselines.partial_correlation,
    "ridge": baselines.ridge_regression,
    "lasso": baselines.lasso_regression,
    "|response| / noise": baselines.response_size,
    "knock-out z": baselines.knock_out_z,
}


def read_table(path: Path) -> list[list[str]]:
    """Rows of a tab-separated file."""
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def load(folder: Path) -> tuple[InterventionTable, BoolArray]:
    """The table and ``(g, g)`` true edges, regulators in rows."""
    header, *rows = read_table(folder / "expression.tsv")
    genes = tuple(row[0] for row in rows)
    values = dict(zip(header, np.array([row[1:] for row in rows], dtype=float).T, strict=True))
    treated = [f"{gene}({kind})" for kind in ("-/-", "+/-") for gene in genes]
    controls = [name for name in header if name == "wt" or name.endswith("delt_0")]
    if len(controls) != 11:
        raise ScreenError(f"expected 11 untreated samples in {folder}, found {len(controls)}")
    own = np.tile(np.eye(len(genes), dtype=bool), (2, 1))
    table = from_expression(
        genes,
        np.array([values[name] for name in controls]),
        np.array([values[name] for name in treated]),
        own,
    )
    regulators, *targets = read_table(folder / "gold_standard.tsv")
    regulators = regulators[-len(genes) :]
    truth = np.zeros((len(genes), len(genes)), dtype=bool)
    for target, *edges in targets:
        for regulator, edge in zip(regulators, edges, strict=True):
            truth[genes.index(regulator), genes.index(target)] = float(edge) != 0
    return table, truth


def report(name: str, table: InterventionTable, truth: BoolArray, seed: int, signs=None) -> None:
    """One data set: average precision of all, and rates of ours."""
    print(f"\n{name}: {len(table)} conditions, {len(table.genes)} genes, {truth.sum()} edges")
    for label, score in BASELINES.items():
        print(f"  {label:22s} {average_precision(score(table), truth):.3f}")
    start = time.process_time()
    found = learn_network(table, seed=seed)
    spent = time.process_time() - start
    print(f"  {'ours':22s} {average_precision(found.probability, truth):.3f}   {spent:.0f} CPU s")
    for fdr in (0.1, 0.2):
        called = found.called(fdr)
        n, rate = realised_fdr(called, truth)
        line = f"  nominal {fdr:.0%}: {n} edges, {rate:.1%} false"
        if signs is not None:
            real = called & truth
            right = np.mean(np.sign(found.weight[real]) == signs[real])
            line += f", sign right in {right:.1%} of the true ones"
        print(line, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    data = Path(os.environ.get("NEXTROUND_DATA", root)) / "dream4"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--simulated", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(describe())
    report("DREAM4, network 1", *load(given.data), given.seed)
    for number in range(given.simulated):
        made = simulate_network(100 + number)
        report(f"simulated {100 + number}", made.table, made.signs != 0, given.seed, made.signs)


if __name__ == "__main__":
    main()
