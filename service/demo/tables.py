"""The demo's tables: the batch of a round, what the campaign found, how good the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from service.demo.report import Found, RoundTally, Tally

_SHOWN = 12


def batch_table(recommendation: Mapping[str, Any]) -> Table:
    """The top of a recommended batch and how many more there are."""
    batch = [row for row in recommendation["candidates"] if row["in_batch"]]
    table = _table()
    table.add_column("Rank", justify="right", no_wrap=True)
    table.add_column("Pair", no_wrap=True)
    table.add_column("Cell line", no_wrap=True)
    table.add_column("Mean ± sd", justify="right", no_wrap=True)
    table.add_column("P(hit)", justify="right", no_wrap=True)
    table.add_column("Nearest measurement")
    for row in batch[:_SHOWN]:
        table.add_row(*(Text(cell) for cell in _cells(row)))
    more = len(batch) - _SHOWN
    if more > 0:
        table.add_row("", Text(f"and {more} more in the batch", style="dim"), "", "", "", "")
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = [compound["name"] for compound in row["compounds"]]
    return (
        str(row["rank"]),
        " + ".join(names),
        row["cell_line"]["name"],
        f"{row['mean']:+.1f} ± {row['sd']:.1f}",
        percent(row["hit_probability"]),
        _nearest(row["nearest_measured"], names),
    )


def _nearest(nearest: Mapping[str, Any] | None, names: Sequence[str]) -> str:
    if nearest is None:
        return "nothing similar yet"
    same = set(nearest["compounds"]) == set(names)
    pair = "this pair" if same else " + ".join(nearest["compounds"])
    return f"{pair} in {nearest['cell_line']}: {nearest['score']:+.1f}"


def first_reason(recommendation: Mapping[str, Any]) -> str:
    """Why the first of the batch is in it, in the service's own words."""
    first = recommendation["candidates"][0]
    return f"Rank 1, in words: {first['reason']}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a scientist writes it: 1.5 %."""
    return f"{100 * share:.{digits}f} %"


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def found_table(tally: Tally, forecast: Sequence[float], seconds: Sequence[float]) -> Table:
    """Round by round: hits and best blocks, each beside what chance would have found.

    ``forecast``: hits that the model expected in each batch.
    """
    table = _table()
    columns = ("Round", "Blocks", "Hits", "forecast", "by chance", "Best 1 %", "by chance", "Time")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    rows = zip(tally.rounds, forecast, seconds, strict=True)
    for number, (row, expected, took) in enumerate(rows, start=1):
        table.add_row(str(number), *_counts(row, expected, took))
    table.add_section()
    table.add_row("All", *_counts(tally.total, sum(forecast), sum(seconds)), style="bold")
    return table


def _counts(row: RoundTally, forecast: float, seconds: float) -> tuple[str, ...]:
    return (
        f"{row.n_blocks:,}",
        _of(row.hits),
        f"{forecast:.1f}",
        _chance(row.hits),
        _of(row.top),
        _chance(row.top),
        f"{seconds:.0f} s",
    )


def _of(found: Found) -> str:
    return f"{found.n_found} of {found.n_left}"


def _chance(found: Found) -> str:
    return f"{found.chance.expected:.1f} ({found.chance.low} to {found.chance.high})"


def found_in_words(tally: Tally) -> str:
    """The result in two sentences."""
    top, n_pool, n_drawn = tally.total.top, tally.n_pool, tally.total.n_blocks
    if not top.n_left:
        return "The random blocks held all of the best ones: none was left to find."
    low, high = (percent(count / top.n_left) for count in (top.chance.low, top.chance.high))
    times = top.times_chance
    compared = "" if times is None else f", {times:.1f} times what chance finds"
    return (
        f"The rounds measured {n_drawn:,} of {n_pool:,} blocks ({percent(n_drawn / n_pool)}) and "
        f"found {top.n_found} of the {top.n_left} best ({percent(top.share)}){compared}. As many "
        f"blocks at random find {top.chance.expected:.1f} on average, and {top.chance.low} to "
        f"{top.chance.high} ({low} to {high}) in nine of ten draws."
    )


def evidence_table(evidence: Mapping[str, Any]) -> Table:
    """The model beside its baselines, on blocks that none of them saw."""
    table = _table()
    columns = ("", "Pearson", "Spearman", "RMSE", "log density", "90 % holds")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=place > 0)
    table.add_row("The model", *_scores(evidence["model"]), style="bold")
    for name, scores in evidence["baselines"].items():
        table.add_row(_BASELINES.get(name, name), *_scores(scores))
    return table


_BASELINES = {"mean": "Mean of all blocks", "additive": "Compounds + cell line"}


def _scores(scores: Mapping[str, Any]) -> tuple[str, ...]:
    held = scores["coverage"].get("90")
    return (
        *(_number(scores[name], 2) for name in ("pearson", "spearman", "rmse", "elpd")),
        "-" if held is None else percent(held, 0),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
