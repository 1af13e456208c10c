"""Edges of gene networks from knock-outs and knock-downs, beside what has to be beaten.

    python -m benchmarks.network_dream4 [--data FOLDER] [--simulated 3] [--seeds 3]

DREAM4, size 100, network 1 (100 knock-outs, 100 knock-downs, 11 untreated samples, 176 true
edges), then simulated networks of our own. Prints the average precision of each method and, for
ours with each seed of the sampler, the false-discovery rate that came true at nominal 10 % and
20 %; at the end that of all simulated networks and seeds together.
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
from models.screen import BoolArray, IntArray, ScreenError

RATES = (0.1, 0.2)
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


def report(
    name: str, table: InterventionTable, truth: BoolArray, seeds: int, signs: IntArray | None = None
) -> IntArray:
    """Prints one data set; ``(seeds, 2, 2)`` edges called and false ones at each rate."""
    print(f"\n{name}: {len(table)} conditions, {len(table.genes)} genes, {truth.sum()} edges")
    for label, score in BASELINES.items():
        print(f"  {label:22s} {average_precision(score(table), truth):.3f}")
    return np.array([one_seed(table, truth, seed, signs) for seed in range(seeds)])


def one_seed(
    table: InterventionTable, truth: BoolArray, seed: int, signs: IntArray | None
) -> list[tuple[int, int]]:
    """Prints ours with one seed of the sampler; edges called and false ones at each rate."""
    start = time.process_time()
    found = learn_network(table, seed=seed)
    spent = time.process_time() - start
    line = f"  {f'ours, seed {seed}':22s} {average_precision(found.probability, truth):.3f}"
    counts = []
    for fdr in RATES:
        called = found.called(fdr)
        n, rate = realised_fdr(called, truth)
        counts.append((n, round(n * rate)))
        line += f"   nominal {fdr:.0%}: {n} edges, {rate:.1%} false"
        if signs is not None and (real := called & truth).any():
            right = np.mean(np.sign(found.weight[real]) == signs[real])
            line += f", sign right in {right:.0%}"
    print(f"{line}   {spent:.0f} CPU s", flush=True)
    return counts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    data = Path(os.environ.get("NEXTROUND_DATA", root)) / "dream4"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--simulated", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print(describe())
    report("DREAM4, network 1", *load(given.data), given.seeds)
    counts = []
    for number in range(100, 100 + given.simulated):
        made = simulate_network(number)
        truth = made.signs != 0
        counts.append(report(f"simulated {number}", made.table, truth, given.seeds, made.signs))
    if counts:
        total = np.concatenate(counts).sum(axis=0)
        for fdr, (n, false) in zip(RATES, total, strict=True):
            rate = false / max(n, 1)
            print(f"\nsimulated, all, nominal {fdr:.0%}: {n} edges, {rate:.1%} false")


if __name__ == "__main__":
    main()
