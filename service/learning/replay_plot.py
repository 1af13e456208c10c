"""The picture of a replay: what was found against what was measured, and what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008): told apart by readers who see few colours; black and grey are for references.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A6761D", "#666666")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_FEW = 10
"""Bins with fewer blocks are drawn faint: their intervals span half the axis."""


def save_replay_plot(report: Mapping[str, Any], path: Path) -> None:
    """Write a PNG (or what the name's ending says) of a report with at least one strategy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 5.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1.0))
    _found(left, report)
    _calibration(right, report)
    names = [*report["strategies"]]
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(5, len(names) + 2), frameon=False
    )
    study = report["study"]
    lines = f", mean of {len(study['sources'])} cell lines" if len(study["sources"]) > 1 else ""
    figure.suptitle(f"Replayed campaigns: {study['score']}{lines}, {study['seeds']} seed(s)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def save_promise_plot(found: Mapping[str, Any], path: Path) -> None:
    """Write a PNG of :func:`models.evaluation.promises.promises` by strategy, at least one:
    reliability after round 3, hits by round."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 5.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.25))
    left.plot([0, 1], [0, 1], color="0.45", linestyle="--")
    for k, (name, entry) in enumerate(found.items()):
        _reliability(left, entry["settled"]["bins"], k)
        _ratios(right, entry["by_round"], k, name)
    _reliability_axes(left, "Promised and found, after round 3 (exact 95 %)")
    right.axhline(1.0, color="0.45", linestyle="--")
    right.set(
        xlabel="round",
        ylabel="hits found / hits promised",
        title=f"By round, of those that promised {_FEW} hits (95 %, over campaigns)",
        ylim=(0, None),
    )
    right.grid(color="0.9")
    right.set_axisbelow(True)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _ratios(axes: Axes, rounds: list[Mapping[str, Any]], k: int, name: str) -> None:
    """Hits found for each one promised, round by round; strategies side by side. A ratio to
    almost nothing says nothing: rounds that promised fewer than ``_FEW`` hits are left out."""
    known = [row for row in rounds if row["expected"] >= _FEW]
    x = np.array([row["number"] for row in known]) + 0.08 * k
    ratio, low, high = (_column(known, key) for key in ("ratio", "ratio_low", "ratio_high"))
    ends = np.nan_to_num(np.abs([ratio - low, high - ratio]))
    colour = _COLOURS[k % len(_COLOURS)]
    axes.errorbar(
        x, ratio, yerr=ends, color=colour, marker=_marker(k), markersize=5, linewidth=1, label=name
    )


def _reliability(axes: Axes, bins: list[Mapping[str, Any]], k: int) -> None:
    """Shares of hits by forecast probability; bins of few blocks are faint."""
    for few in (True, False):
        rows = [row for row in bins if (row["n"] < _FEW) == few]
        if rows:
            _bins(axes, rows, k, 0.3 if few else 1.0)


def _reliability_axes(axes: Axes, title: str) -> None:
    axes.set(
        xlabel="hit probability, forecast",
        ylabel="share of hits, measured",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title=title,
    )
    axes.set_aspect("equal")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.text(0.03, 0.95, f"faint: fewer than {_FEW} blocks", color="0.4", fontsize=8)


def _found(axes: Axes, report: Mapping[str, Any]) -> None:
    """Share of the top 1 % by share of the screen, with chance and an oracle beside it."""
    strategies = report["strategies"]
    longest = max((e["summary"] for e in strategies.values()), key=lambda s: len(s["measured"]))
    share = 100 * np.array(longest["measured_share"])
    for k, (name, entry) in enumerate(strategies.items()):
        summary = entry["summary"]
        x, curve = 100 * np.array(summary["measured_share"]), summary["curves"]["top_1"]
        mean, low, high = (_column(curve, key) for key in ("mean", "low", "high"))
        colour = _COLOURS[k % len(_COLOURS)]
        every = max(1, len(x) // 15)
        axes.plot(
            x, mean, color=colour, marker=_marker(k), markersize=4.5, markevery=every, label=name
        )
        axes.fill_between(x, np.maximum(low, 0), np.minimum(high, 1), color=colour, alpha=0.15)
    axes.plot(share, share / 100, color="0.45", linestyle="--", label="chance, expected")
    ceiling = np.array(longest["ceiling"])
    axes.plot(share, ceiling, color="0.1", linestyle=":", label="oracle, only the best")
    axes.set(
        xlabel="share of the screen measured, %",
        ylabel="share of the top 1 % found",
        xlim=(0, float(share[-1]) * 1.02),
        ylim=(0, 1.03),
        title="Found (mean, 95 % interval)",
    )
    axes.grid(color="0.9")
    axes.set_axisbelow(True)


def _calibration(axes: Axes, report: Mapping[str, Any]) -> None:
    """Forecast hit probabilities of chosen blocks against the hits among them."""
    settled = all(
        entry["summary"]["calibration"]["settled"]["n"] for entry in report["strategies"].values()
    )
    part = "settled" if settled else "all"
    axes.plot([0, 1], [0, 1], color="0.45", linestyle="--")
    for k, entry in enumerate(report["strategies"].values()):
        _reliability(axes, entry["summary"]["calibration"][part]["bins"], k)
    when = "after round 3" if settled else "all rounds"
    _reliability_axes(axes, f"Promised, {when} (exact 95 %)")


def _bins(axes: Axes, rows: list[Mapping[str, Any]], k: int, alpha: float) -> None:
    p, share, low, high = (_column(rows, key) for key in ("p", "share", "share_low", "share_high"))
    axes.errorbar(
        p,
        share,
        yerr=np.abs([share - low, high - share]),
        color=_COLOURS[k % len(_COLOURS)],
        marker=_marker(k),
        markersize=5,
        linestyle="none",
        elinewidth=1.2,
        alpha=alpha,
    )


def _column(rows: list[Mapping[str, Any]], key: str) -> np.ndarray:
    """Numbers under one key, NaN where there is none."""
    return np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=np.float64)


def _marker(k: int) -> str:
    return _MARKERS[k % len(_MARKERS)]
