"""What ``nextround replay`` prints: what was found, how forecasts held, what each arm gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

_LEVELS = ("50", "80", "90", "95")
_SHOWN = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 75, 100, 150, 200)

Report = Mapping[str, Any]


def replay_tables(report: Report) -> Iterator[Table]:
    """The tables of a report of :func:`models.evaluation.replay_running.describe_replays`."""
    if not report["strategies"]:
        return
    yield _curve(report)
    yield _found(report)
    yield _forecasts(report)
    if _several_units(report) and len(report["strategies"]) > 1:
        yield _gains(report)


def promise_tables(name: str, found: Report) -> Iterator[Table]:
    """The tables of :func:`models.evaluation.promises.promises` of the strategy ``name``."""
    settled = found["settled"] if found["settled"]["n"] else None
    table = _table(f"{name}: hits promised and found, by round")
    for column in ("Round", "blocks", "promised", "found", "found / promised", "bins held"):
        _column(table, column)
    rows = [(str(entry["number"]), entry) for entry in found["by_round"]]
    for label, entry in [*rows, *([("after 3", settled)] if settled else [])]:
        ends = {"mean": entry["ratio"], "low": entry["ratio_low"], "high": entry["ratio_high"]}
        table.add_row(
            label,
            str(entry["n"]),
            _number(entry["expected"], 1),
            str(entry["found"]),
            _interval(ends),
            f"{sum(_held(row) for row in entry['bins'])}/{len(entry['bins'])}",
        )
    table.caption = "Intervals: 95 %, over campaigns. Bins held: as below, of each round."
    yield table
    if settled is None:
        return
    table = _table(f"{name}: all rounds after the third, by probability")
    for column in ("Probability", "blocks", "promised", "found", "exact 95 %", "over campaigns"):
        _column(table, column)
    for row in settled["bins"]:
        exact, clustered = (
            "-"
            if row[f"{key}_low"] is None
            else f"{_number(row[f'{key}_low'], 3)} to {_number(row[f'{key}_high'], 3)}"
            for key in ("share", "campaign")
        )
        mark = "" if _held(row) else " *"
        edges = f"{row['low']:g} to {row['high']:g}"
        shares = (_number(row[key], 3) for key in ("p", "share"))
        table.add_row(edges, str(row["n"]), *shares, exact + mark, clustered)
    table.caption = (
        "Promised: mean probability; found: share of hits. *: the promise is outside the exact "
        "interval, for which blocks are independent; blocks of one campaign err together."
    )
    yield table


def _held(row: Report) -> bool:
    return bool(row["share_low"] <= row["p"] <= row["share_high"])


def _curve(report: Report) -> Table:
    table = _table(_title(report, "share of the top 1 % found, 95 % interval"))
    strategies = report["strategies"]
    for name in ("Round", "Measured\n%", *strategies):
        _column(table, name)
    longest = max((entry["summary"] for entry in strategies.values()), key=_length)
    last = _length(longest) - 1
    for number in sorted({*(k for k in _SHOWN if k < last), last}):
        cells = [
            _interval(curve[number]) if number < len(curve) else "-"
            for entry in strategies.values()
            for curve in [entry["summary"]["curves"]["top_1"]]
        ]
        share = f"{100 * longest['measured_share'][number]:.1f}"
        table.add_row(str(number), share, *cells)
    return table


def _found(report: Report) -> Table:
    table = _table(_title(report, "what was found; first columns: of the top 1 %"))
    found = ("area", "area to\nround 20", "at 5 %", "at 10 %", "last", "rounds to\n50/80/90 %")
    beside = ("top 5 %\nlast", "hits\nlast", "enriched\nlast", "regret\nlast")
    for name in ("Strategy", *found, *beside):
        _column(table, name)
    for name, entry in report["strategies"].items():
        summary = entry["summary"]
        curves, early = summary["curves"], summary["area_early"]["top_1"]
        reached = (summary["rounds_to"][key] for key in ("50", "80", "90"))
        table.add_row(
            Text(name),
            _interval(summary["area"]["top_1"]),
            "-" if early is None else _interval(early),
            *(_budget(summary["budgets"][key]) for key in ("5", "10")),
            _number(curves["top_1"][-1]["mean"], 2),
            "/".join("-" if value is None else str(value) for value in reached),
            _number(curves["top_5"][-1]["mean"], 2),
            _number(curves["hits"][-1]["mean"], 2),
            _number(_last(curves["enrichment_chosen"]), 1),
            _number(curves["regret_best"][-1]["mean"], 1),
        )
    table.caption = (
        "Area: mean over rounds. At 5 % and 10 %: with so much of the screen measured. Enriched: "
        "hit rate of all chosen blocks over chance. Regret: best of all minus best found."
    )
    return table


def _forecasts(report: Report) -> Table:
    table = _table(_title(report, "what chosen batches had promised, after round 3"))
    for name in ("Strategy", "hits\nforecast", "hits\nfound", "bins\nheld"):
        _column(table, name)
    for level in _LEVELS:
        _column(table, f"inside\n{level} %")
    for name in ("log\ndensity", "compounds\na batch", "wall s\na round", "CPU s\na round"):
        _column(table, name)
    for name, entry in report["strategies"].items():
        summary = entry["summary"]
        settled = summary["calibration"]["settled"]
        part = "settled" if settled["n"] else "all"
        pooled, covered = summary["calibration"][part], summary["coverage"][part]
        held = sum(_held(row) for row in pooled["bins"])
        seconds, curves = summary["seconds"], summary["curves"]
        low, high = pooled["expected_low"], pooled["expected_high"]
        table.add_row(
            Text(name if settled["n"] else f"{name} (all rounds)"),
            f"{_number(pooled['expected'], 0)} ({_number(low, 0)} to {_number(high, 0)})",
            str(pooled["found"]),
            f"{held}/{len(pooled['bins'])}",
            *(_percent(covered.get(level)) for level in _LEVELS),
            _number(_last(curves["log_density"]), 2),
            _number(_last(curves["compounds"]), 0),
            *(_number(sum(seconds[key].values()), 2) for key in ("wall", "cpu")),
        )
    table.caption = (
        "Bins held: of the bins of forecast hit probability, those whose mean lies in the exact "
        "95 % interval of the hits in them. Log density and compounds: of the last round."
    )
    return table


def _gains(report: Report) -> Table:
    first = next(iter(report["strategies"]))
    table = _table(_title(report, f"{first} minus the others, share of the top 1 %, paired"))
    _column(table, "Against")
    for what in ("area", "at 5 %", "at 10 %"):
        for name in (f"{what}\ngain (95 %)", "wins", "p\nt", "p\nsign"):
            _column(table, name)
    for other, tests in report["strategies"][first]["against"].items():
        cells = []
        for key in ("area", "5", "10"):
            test = tests[key]["top_1"]
            cells += [
                _interval(test),
                f"{test['wins']}/{test['n']}",
                _number(test["t"], 4),
                _number(test["sign"], 3),
            ]
        table.add_row(Text(other), *cells)
    units = "cell lines" if len(report["study"]["sources"]) > 1 else "seeds"
    table.caption = f"Paired over {units}; with n of these no sign test falls below 2 / 2^n."
    return table


def _several_units(report: Report) -> bool:
    return any(entry["summary"]["n_units"] > 1 for entry in report["strategies"].values())


def _length(summary: Mapping[str, Any]) -> int:
    return len(summary["measured"])


def _last(curve: list[Mapping[str, Any]]) -> float | None:
    """Mean at the last round that has one."""
    known = [point["mean"] for point in curve if point["mean"] is not None]
    return known[-1] if known else None


def _budget(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None else _interval(found["top_1"])


def _title(report: Report, what: str) -> str:
    study = report["study"]
    lines = f", {len(study['sources'])} lines apart" if len(study["sources"]) > 1 else ""
    return f"{study['score']}{lines}, {study['seeds']} seed(s): {what}"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)


def _column(table: Table, name: str) -> None:
    first = not table.columns
    table.add_column(Text(name), justify="left" if first else "right", no_wrap=not first)


def _interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return _number(found["mean"], 3)
    low, high = (_number(found[key], 2) for key in ("low", "high"))
    return f"{_number(found['mean'], 3)} ({low} to {high})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"
