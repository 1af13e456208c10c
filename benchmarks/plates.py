"""Plates under a laboratory's rules: value, bound, gap and seconds, for three levels of effort.

    python -m benchmarks.plates [--data DIR] [--candidates 17000] [--large]

A plate holds 24 blocks of at most 12 compounds in one cell line. Values are synthetic (some
compounds and lines are better than others, much is chance) and, where ``NEXTROUND_DATA`` (default
../shared/data) holds the O'Neil screen, the chances to be a hit that its true scores suggest.
"loss" compares with the same number of blocks without any rule: what the plates cost.

Aims on one core: 17,000 candidates on 8 plates under 3 s, 200,000 on 36 plates under 10 s.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from models.acquisition.lab_rules import LabRules
from models.acquisition.plates import EFFORTS, choose_plates
from models.evaluation.oneil import load_oneil_layout
from models.objectives.scores import measure_blocks
from models.screen import Candidates, FloatArray

PLATE = LabRules(plates=8, blocks_per_plate=24, compounds_per_plate=12, lines_per_plate=1)
SETTINGS = {
    "8 plates": PLATE.as_dict(),
    "at most 20 per compound": {**PLATE.as_dict(), "max_per_compound": 20},
    "3 cell lines": {**PLATE.as_dict(), "lines_in_batch": 3},
    "3 lines a plate": {**PLATE.as_dict(), "lines_per_plate": 3},
    "stock and apart": {
        **PLATE.as_dict(),
        "stock": {0: 4, 3: 0, 5: 6},
        "never_together": [[1, 2], [4, 6, 7]],
    },
    "no plates, 8 per compound": {"batch_size": 96, "max_per_compound": 8},
}
LARGE = {
    "36 plates": {**PLATE.as_dict(), "plates": 36},
    "36 plates, 40 per compound": {**PLATE.as_dict(), "plates": 36, "max_per_compound": 40},
}


def main() -> None:
    options = parse()
    print(describe())
    for seed in range(options.seeds):
        pool, values = synthetic(options.candidates, 38, seed)
        compare(f"synthetic {seed}", pool, values, SETTINGS)
    if (options.data / "README.md").exists():
        compare("O'Neil", *oneil(options.data), SETTINGS)
    if options.large:
        compare("large", *synthetic(200_000, 120, 0), LARGE)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--candidates", type=int, default=17_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="200,000 candidates on 36 plates, too")
    return parser.parse_args()


def synthetic(count: int, compounds: int, seed: int) -> tuple[Candidates, FloatArray]:
    """Some of all pairs in as many lines as it takes; hit probabilities with structure."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(compounds, k=1)
    lines = -(-count // len(first)) + 1
    pool = Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    ).select(np.sort(rng.choice(lines * len(first), count, replace=False)))
    compound, own = rng.normal(size=compounds), rng.normal(0, 0.5, size=(lines, compounds))
    logit = rng.normal(-3.0, 1.0, size=count)
    for end in pool.compounds.T:
        logit += 0.7 * compound[end] + own[pool.cell_line, end]
    return pool, 1 / (1 + np.exp(-logit))


def oneil(data: Path) -> tuple[Candidates, FloatArray]:
    """All measured blocks; the chance that one more measurement says more than 10."""
    blocks = measure_blocks(load_oneil_layout(data).screen(None), "bliss_mean")
    return blocks.candidates, 1 / (1 + np.exp(-(blocks.score - 10.0) / 4.0))


def compare(name: str, pool: Candidates, values: FloatArray, settings: dict[str, dict]) -> None:
    """A row for each setting and effort."""
    none = np.zeros(len(pool), dtype=bool)
    print(f"{name}: {len(pool):,} candidates")
    for title, plain in settings.items():
        rules = LabRules.from_dict(plain)
        free = float(np.sort(values)[::-1][: rules.asked].sum())
        for effort in EFFORTS:
            started = time.perf_counter()
            batch = choose_plates(pool, values, rules, pinned=none, excluded=none, effort=effort)
            seconds = time.perf_counter() - started
            print(
                f"  {title:<28}{effort:<10}{len(batch.rows):>4} blocks  value {batch.value:9.3f}  "
                f"bound {batch.bound:9.3f}  gap {batch.gap:7.3%}  "
                f"loss {1 - batch.value / free:6.1%}  {seconds:6.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
