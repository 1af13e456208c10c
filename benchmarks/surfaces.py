"""Surface models on the 4x4 blocks of O'Neil 2016, pairs or cell lines left out.

    python -m benchmarks.surfaces --split pair --out surfaces-pair.json

Margins are single-agent fits (other doses, other wells). For each fold every model learns from the
same blocks and is asked for the same held-out ones: bare, and with a row, the diagonal or five
wells measured. Tests over folds are those of ``models.evaluation.comparing``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.comparing import paired_tests
from models.evaluation.oneil import load_oneil_layout
from models.evaluation.splits import make_folds
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.screen import CellLineTable
from models.surfaces.blocks import Blocks, gather_blocks
from models.surfaces.fitting import Plan
from models.surfaces.judging import MODELS, Request, fit_models, score, with_measured
from models.surfaces.masks import draw_masks

PATTERNS = ("nothing", "row", "diagonal", "five")
JOINT = "diagonal of all"
"""The diagonal of every held-out block is measured, and shifts are learned from those, too."""
APART = "diagonal, lines apart"
"""The diagonal, scored without the held-out blocks of the lines that ``--apart`` names."""


def main() -> None:
    """Run the folds and write what came of each; then the tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--split", default="pair", choices=("pair", "cell-line"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=6000, help="most blocks to learn from")
    parser.add_argument("--test", type=int, default=1000, help="most held-out blocks to ask for")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--apart", nargs="*", default=[], help="lines also scored without")
    parser.add_argument("--only", type=int, nargs="*", help="fold numbers; all where not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("surfaces.json"))
    asked = parser.parse_args()
    folder = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"
    screen = load_oneil_layout(folder)
    curves = fit_curves(screen.singles, len(screen.compound_names), len(screen.cell_line_names))
    (blocks,) = gather_blocks(screen.combinations, curves)
    lines = screen.screen(np.array([0])).cell_lines
    results = []
    for fold in make_folds(blocks.candidates, asked.split, asked.folds, asked.seed):
        if asked.only is not None and fold.number not in asked.only:
            continue
        rng = np.random.default_rng([asked.seed, fold.number])
        train = np.sort(rng.permutation(fold.train)[: asked.blocks])
        test = np.sort(rng.permutation(fold.test)[: asked.test])
        start = time.process_time()
        one = run_fold(blocks.select(train), blocks.select(test), curves, lines, asked)
        one |= {"fold": fold.number, "cpu_s": round(time.process_time() - start, 1)}
        one |= {
            "n_train": len(train),
            "n_test": len(test),
            "share": len(fold.test) / len(fold.train),
        }
        results.append(one)
        print(json.dumps(one), flush=True)
        asked.out.write_text(json.dumps(report(results), indent=1))
    print(json.dumps(report(results)["means"], indent=1))


def run_fold(
    train: Blocks, test: Blocks, curves: CurveTable, lines: CellLineTable, asked: Any
) -> dict[str, Any]:
    """Scores of every model under every pattern, and how the operator was fitted."""
    plan = Plan(members=asked.members, trial_members=2, steps=asked.steps, held_out=asked.split)
    models = fit_models([train], curves, lines, Request(plan, asked.seed))
    found: dict[str, Any] = {
        pattern: {name: score(models[name], [test], pattern, asked.seed) for name in MODELS}
        for pattern in PATTERNS
    }
    mask = draw_masks("diagonal", len(test), test.shape, np.random.default_rng(0))
    told = with_measured(models, [train], [test.seen_only(mask)], asked.seed)
    found[JOINT] = {name: score(told[name], [test], "diagonal", asked.seed) for name in MODELS}
    if asked.apart:
        kept = test.select(~np.isin(np.array(lines.ids)[test.cell_line], asked.apart))
        found[APART] = {
            name: score(models[name], [kept], "diagonal", asked.seed) for name in MODELS
        }
    return {"scores": found, "fit": models["operator"].report}  # type: ignore[attr-defined]


def report(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over folds, and the operator against every other model."""
    means: dict[str, Any] = {}
    tests: dict[str, Any] = {}
    for pattern in results[0]["scores"]:
        rows = [result["scores"][pattern] for result in results]
        means[pattern] = {
            name: {
                key: round(float(np.mean([row[name][key] for row in rows])), 4)
                for key in ("rmse", "elpd", "coverage_50", "coverage_90")
            }
            for name in MODELS
        }
        for name in MODELS:
            means[pattern][name]["rmse_over_bliss"] = round(
                means[pattern][name]["rmse"] / means[pattern]["bliss"]["rmse"], 4
            )
        share = float(np.mean([result["share"] for result in results]))
        tests[pattern] = {
            name: {
                key: paired_tests(
                    [(row["operator"][key], row[name][key]) for row in rows], test_to_train=share
                )
                for key in ("rmse", "elpd")
            }
            for name in MODELS[1:]
        }
    return {"means": means, "tests": tests, "folds": results}


if __name__ == "__main__":
    main()
