"""What ``nextround evaluate`` prints: accuracy, coverage, and what each model gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

_THIRDS = ("low", "middle", "high")
_LEVELS = ("50", "80", "90", "95")


def study_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """The tables of a report of :func:`models.evaluation.running.describe`."""
    yield _accuracy(report)
    yield _coverage(report)
    if any(len(entry["folds"]) > 1 for entry in report["models"].values()):
        yield _gains(report)


def _accuracy(report: Mapping[str, Any]) -> Table:
    table = _table(_title(report, "accuracy, mean over folds"))
    names = ("Pearson", "Spearman", "RMSE", "log\ndensity", "top 5 %\nfound %")
    for name in ("Model", *names, "fit\ns", "forecast\ns", "convergence"):
        _column(table, name)
    for model, entry in report["models"].items():
        summary = entry["summary"]
        scores, seconds = summary["scores"], summary["seconds"]
        table.add_row(
            Text(model),
            *(_number(scores[key], 3) for key in ("pearson", "spearman")),
            _number(scores["rmse"], 3),
            _number(scores["elpd"], 3),
            _percent(scores["top"]["recall"]),
            _number(seconds["fit"], 1),
            _number(seconds["forecast"], 1),
            Text(_convergence(entry["folds"])),
        )
    ceiling = next(iter(report["models"].values()))["summary"]["noise_ceiling"]["pearson"]
    table.caption = f"The truth itself would reach a Pearson of {_number(ceiling, 3)}: the noise"
    table.caption += " of the measurements puts the ceiling there."
    return table


def _coverage(report: Mapping[str, Any]) -> Table:
    table = _table(_title(report, "share of held-out values inside the predictive intervals, %"))
    _column(table, "Model")
    for level in _LEVELS:
        _column(table, level)
    for kind in ("predicted", "observed"):
        for third in _THIRDS:
            _column(table, f"90 %\n{third}\n{kind}")
    for model, entry in report["models"].items():
        scores = entry["summary"]["scores"]
        table.add_row(
            Text(model),
            *(_percent(scores["coverage"][level]) for level in _LEVELS),
            *(
                _percent(scores[f"coverage_by_{kind}"][third]["90"])
                for kind in ("predicted", "observed")
                for third in _THIRDS
            ),
        )
    table.caption = (
        "Thirds by predicted and by observed value. Observed thirds pick values by their noise: "
        "even perfect intervals hold less in the outer two."
    )
    return table


def _gains(report: Mapping[str, Any]) -> Table:
    """Against the baseline that is hardest to beat: the last of them."""
    baseline = report["baselines"][-1]
    table = _table(_title(report, f"gain over {baseline}, paired over folds"))
    _column(table, "Model")
    for metric in ("Pearson", "log density"):
        for name in (metric, "wins", "p\nt", "p\ncorrected", "p\nflip"):
            _column(table, name)
    for model, entry in report["models"].items():
        if model == baseline or len(entry["folds"]) < 2:
            continue
        cells = []
        for metric in ("pearson", "elpd"):
            test = entry["against"][baseline][metric]
            wins = f"{test['wins']}/{test['n']}"
            ps = (_number(test[key], 4) for key in ("t", "corrected_t", "sign_flip"))
            cells += [_number(test["mean"], 3), wins, *ps]
        table.add_row(Text(model), *cells)
    return table


def _convergence(folds: list[Mapping[str, Any]]) -> str:
    """The worst of the folds, in the terms of the method."""
    found = [fold["convergence"] for fold in folds if fold["convergence"]]
    for key, name, worst in (
        ("rhat_max", "R-hat", max),
        ("correlation_min", "agreement", min),
        ("steps", "steps", max),
    ):
        values = [v for f in found if (v := _find(f, key)) is not None]
        if values:
            value = worst(values)
            return f"{name} {value:.0f}" if key == "steps" else f"{name} {value:.3f}"
    return str(found[0].get("kind", "-")) if found else "-"


def _find(entry: Mapping[str, Any], key: str) -> float | None:
    """The number called ``key`` in ``entry`` or in a part of it."""
    if isinstance(entry.get(key), int | float):
        return float(entry[key])
    parts = (_find(part, key) for part in entry.values() if isinstance(part, Mapping))
    return next((value for value in parts if value is not None), None)


def _title(report: Mapping[str, Any], what: str) -> str:
    study = report["study"]
    controls = [key for key in ("shuffled_features", "permuted_labels") if study[key]]
    broken = f", control: {', '.join(controls).replace('_', ' ')}" if controls else ""
    return f"{study['score']}, {study['split']} split{broken}: {what}"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)


def _column(table: Table, name: str) -> None:
    first = not table.columns
    table.add_column(name, justify="left" if first else "right", no_wrap=True)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"
