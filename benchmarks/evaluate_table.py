"""Reports of ``nextround evaluate`` as Markdown tables for RESULTS.md, one per split and score.

nextround evaluate --data DIR --model all --split pair --json out/pair.json
python benchmarks/evaluate_table.py out/*.json [--against additive]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HEAD = (
    "| model | Pearson | Spearman | RMSE | log density | cover 50/80/90/95 | 90 by predicted third "
    "| 90 by observed third | Pearson gain (wins, p) | log density gain (wins, p) | fit s "
    "| forecast s |"
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--against", default=None, help="model of the paired tests")
    options = parser.parse_args()
    for path in options.reports:
        print("\n".join(table(json.loads(path.read_text()), options.against)) + "\n")


def table(report: dict, against: str | None) -> list[str]:
    """Lines of one report; gains are over ``against`` or the hardest baseline, p is the t test
    corrected for overlapping folds."""
    study, entries = report["study"], report["models"]
    against = against or report["baselines"][-1]
    first = next(iter(entries.values()))
    ceiling = first["summary"]["noise_ceiling"]["pearson"]
    folds = first["summary"]["n_folds"]
    limit = f", at most {study['train_limit']} training blocks" if study["train_limit"] else ""
    return [
        f"**{study['score']}, {study['split']} split**, {folds} of {study['folds']} folds, seed "
        f"{study['seed']}{limit}; noise ceiling {number(ceiling)}; gains over `{against}`, paired "
        "over folds, p of the corrected t test",
        "",
        HEAD,
        "|" + " --- |" * HEAD.count(" | ") + " --- |",
        *(row(name, entry, against) for name, entry in entries.items()),
        *(f"\n`{name}` could not be fitted: {words}" for name, words in report["failed"].items()),
    ]


def row(name: str, entry: dict, against: str) -> str:
    """One model."""
    scores, seconds = entry["summary"]["scores"], entry["summary"]["seconds"]
    cells = [
        f"`{name}`",
        *(number(scores[key]) for key in ("pearson", "spearman", "rmse", "elpd")),
        "/".join(percent(share) for share in scores["coverage"].values()),
        *(
            "/".join(percent(part["90"]) for part in scores[f"coverage_by_{kind}"].values())
            for kind in ("predicted", "observed")
        ),
        *(gain(entry["against"].get(against), metric) for metric in ("pearson", "elpd")),
        *(number(seconds[key], 1) for key in ("fit", "forecast")),
    ]
    return f"| {' | '.join(cells)} |"


def gain(tests: dict | None, metric: str) -> str:
    """Mean difference, folds won and p."""
    if tests is None or tests[metric]["mean"] is None:
        return "-"
    test = tests[metric]
    p = "" if test["corrected_t"] is None else f", p {test['corrected_t']:.2g}"
    return f"{test['mean']:+.3f} ({test['wins']}/{test['n']}{p})"


def number(value: float | None, digits: int = 3) -> str:
    """Or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """Without the sign."""
    return "-" if share is None else f"{100 * share:.0f}"


if __name__ == "__main__":
    main()
