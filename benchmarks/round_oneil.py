"""Time and accuracy of one round on the O'Neil screen: 2,000 measured blocks, the rest is the pool.

    python benchmarks/round_oneil.py [--measured 2000] [--seed 0] [--device cpu] [--threads 1]

Data: NEXTROUND_DATA (default ../shared/data). Fingerprints need RDKit; without it none are used.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from models.bayes.predictive import Noise, coverage, log_predictive_density, pearson, spearman
from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.objectives.scores import measure_blocks
from models.rounds import Pool, RoundResult, RoundRules, run_round
from models.screen import Screen


def main() -> None:
    """Run and print."""
    options = parse()
    torch.set_num_threads(options.threads)
    root = Path(os.environ.get("NEXTROUND_DATA", "../shared/data"))
    folder = load_oneil_layout(root / "oneil")
    bits = fingerprints(folder)
    order = np.random.default_rng(options.seed).permutation(len(folder.blocks))
    measured, rest = order[: options.measured], np.sort(order[options.measured :])
    screen = folder.screen(measured, bits)
    pool = Pool.of(folder.blocks.select(rest))
    started = time.perf_counter()
    result = run_round(screen, pool, RoundRules(), options.seed, device=options.device)
    total = time.perf_counter() - started
    print(f"{len(result.blocks)} measured blocks, {len(pool.candidates)} candidates")
    for stage, seconds in result.timings.items():
        print(f"  {stage:<12}{seconds:7.2f} s")
    print(f"  {'total':<12}{total:7.2f} s (target: under 12 s on two free cores)")
    print_evidence(result)
    print_pool(result, folder, folder.screen(None, bits), rest, pool)
    for row in range(3):
        print("  " + result.ranked.reason[row])


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def fingerprints(folder: ScreenFolder) -> np.ndarray | None:
    """``(n, 2048)`` Morgan bits, or ``None`` where RDKit is missing."""
    try:
        from rdkit import Chem
        from rdkit.Chem import rdFingerprintGenerator
    except ImportError:
        return None
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    table = np.zeros((len(folder.smiles), 2048), dtype=np.uint8)
    for row, smiles in enumerate(folder.smiles):
        if smiles:
            table[row] = generator.GetFingerprintAsNumPy(Chem.MolFromSmiles(smiles))
    return table


def print_evidence(result: RoundResult) -> None:
    """The held-out fifth: model beside baselines."""
    named = {"model": result.evidence["model"], **result.evidence["baselines"]}
    print(f"evidence on {result.evidence['n_held_out']} held-out blocks")
    for name, row in named.items():
        print(
            f"  {name:<10} elpd {row['elpd']:.3f}  rmse {row['rmse']:.2f}  pearson "
            f"{row['pearson'] or 0:.3f}  spearman {row['spearman'] or 0:.3f}  {row['coverage']}"
        )


def print_pool(
    result: RoundResult, folder: ScreenFolder, whole: Screen, rest: np.ndarray, pool: Pool
) -> None:
    """The posterior against everything that was not measured."""
    blocks = measure_blocks(whole, "bliss_mean")
    keys = blocks.candidates.keys(len(folder.smiles))
    known = dict(zip(keys.tolist(), blocks.score.tolist(), strict=True))
    truth = np.array([known[k] for k in pool.candidates.keys(len(folder.smiles)).tolist()])
    assert result.posterior is not None
    draws = result.posterior.draws(pool.candidates, 128, 1).numpy().astype(np.float64)
    scale = result.posterior.noise_scale(pool.candidates).numpy().astype(np.float64)
    noise = Noise(scale, result.posterior.noise_df)
    print(f"all {len(rest)} unmeasured blocks")
    print(
        f"  elpd {log_predictive_density(draws, truth, noise).mean():.3f}  pearson "
        f"{pearson(draws.mean(0), truth):.3f}  spearman {spearman(draws.mean(0), truth):.3f}  "
        f"{ {k: round(v, 3) for k, v in coverage(draws, truth, noise).items()} }"
    )
    hits = truth[result.ranked.batch] > 10
    print(f"  hits in the batch {hits.mean():.2f}, in the pool {(truth > 10).mean():.3f}")


if __name__ == "__main__":
    main()
