"""Strategies side by side: curves over seeds with intervals, budgets, calibration, paired tests.

A *unit* is what intervals and tests count: a cell line with its own campaigns, averaged over its
seeds, where there are several lines; a seed where there is one screen. Seeds share the screen:
their intervals say how much the first blocks and the fits matter, not what another screen would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.forecast import number
from models.evaluation.campaign_report import (
    EDGES,
    TOPS,
    Round,
    binomial_interval,
    ceiling_share,
)
from models.evaluation.comparing import paired_tests
from models.evaluation.metrics import t_interval
from models.screen import FloatArray

BUDGETS = (0.05, 0.1)
"""Shares of the screen at which strategies are compared."""
SHORT = 0.01
"""Part of a budget that a campaign may miss: batches are whole blocks."""
EARLY = 20
"""Rounds of RECOVER's area under the curve."""
LEVELS_REACHED = (0.5, 0.8, 0.9)
SETTLED = 3
"""Rounds after which forecasts of the batch have to be calibrated."""

Reader = Callable[[Round], float | None]

CURVES: Mapping[str, Reader] = {
    "top_1": lambda r: r["top"]["1"],
    "top_5": lambda r: r["top"]["5"],
    "hits": lambda r: r["hits"]["share"],
    "regret_best": lambda r: r["regret"]["best"],
    "regret_mean_of_best": lambda r: r["regret"]["mean_of_best"],
}
"""What is found so far, by name; the shares come first."""
BATCH_CURVES: Mapping[str, Reader] = {
    "enrichment_batch": lambda r: (r["enrichment"]["batch"] or {}).get("value"),
    "enrichment_chosen": lambda r: (r["enrichment"]["chosen"] or {}).get("value"),
    "compounds": lambda r: r["distinct"]["compounds"],
    "pairs": lambda r: r["distinct"]["pairs"],
    "log_density": lambda r: (r["forecast"] or {}).get("log_density"),
}
COMPARED = ("top_1", "top_5", "hits")


@dataclass(frozen=True)
class Played:
    """One finished campaign: ``source`` it was played on, its ``blocks``, its rounds, and the
    ``threshold`` above which a score is a hit."""

    source: str
    seed: int
    blocks: int
    rounds: Sequence[Round]
    threshold: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "source": self.source,
            "seed": self.seed,
            "blocks": self.blocks,
            "threshold": self.threshold,
            "rounds": list(self.rounds),
        }


def summarise(played: Sequence[Played]) -> dict[str, Any]:
    """One strategy, JSON-able.

    ``curves``: by name, a mean with its 95 % t-interval for each round; ``measured`` blocks (mean)
    of each, their share of the screen, which is what chance finds (``measured_share``), and what
    an oracle finds of the top 1 % (``ceiling``); ``area``: mean of the curve over rounds 1 to the
    last, ``area_early`` over the first ``EARLY``; ``budgets``: shares found where so much of the
    screen is measured; ``rounds_to``: first round whose mean curve of the top 1 % reaches a
    level; ``calibration``: see :func:`calibration`; ``coverage`` of the batches' intervals after
    round 0; ``seconds``.
    """
    length = max(len(one.rounds) for one in played)
    names = [*CURVES, *BATCH_CURVES]
    table = {name: _by_unit(played, name, length) for name in names}
    top = table["top_1"]
    return {
        "n_campaigns": len(played),
        "n_units": len(top),
        "measured": [
            number(float(np.mean([_at(one, k)["measured"] for one in played])))
            for k in range(length)
        ],
        "measured_share": _mean_over(played, _measured_share, length),
        "ceiling": _mean_over(played, _ceiling, length),
        "curves": {
            name: [interval(rows[:, k]) for k in range(length)] for name, rows in table.items()
        },
        "area": {name: interval(_area(table[name], None)) for name in COMPARED},
        "area_early": {
            name: interval(_area(table[name], EARLY)) if length > EARLY else None
            for name in COMPARED
        },
        "budgets": {_percent(b): _budget(played, b) for b in BUDGETS},
        "rounds_to": {_percent(level): _reached(top, level) for level in LEVELS_REACHED},
        "calibration": calibration(played),
        "coverage": _coverage([r for one in played for r in one.rounds]),
        "seconds": _seconds(played),
    }


def compare(first: Sequence[Played], second: Sequence[Played]) -> dict[str, Any]:
    """Paired tests of ``first`` minus ``second`` over the units that both have, of the area under
    each curve and of what is found at each budget: ``mean`` difference with ``low`` and ``high``
    (95 %, t), ``wins`` and ``losses`` of ``n``, two-sided p of ``t``, ``sign`` (ties left out),
    ``wilcoxon`` and ``sign_flip``."""
    report: dict[str, Any] = {"area": {}, **{_percent(b): {} for b in BUDGETS}}
    for name in COMPARED:
        areas = [_unit_areas(played, name) for played in (first, second)]
        report["area"][name] = paired(*areas)
        for share in BUDGETS:
            found = [_unit_budgets(played, name, share) for played in (first, second)]
            report[_percent(share)][name] = paired(*found)
    return report


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, Any]:
    """Tests over the units that both name; see :func:`compare`."""
    both = [(first[key], second[key]) for key in first if key in second]
    tests = paired_tests(both, test_to_train=0.0)
    del tests["corrected_t"]
    d = np.array([a - b for a, b in both])
    wins, losses = int((d > 0).sum()), int((d < 0).sum())
    ends = t_interval(d) if len(d) > 1 else None
    sign = scipy.stats.binomtest(wins, wins + losses).pvalue if wins + losses else None
    return {
        **tests,
        "losses": losses,
        "low": None if ends is None else number(ends.low),
        "high": None if ends is None else number(ends.high),
        "sign": number(sign),
    }


def calibration(played: Sequence[Played]) -> dict[str, Any]:
    """Forecast hit probabilities of chosen batches against hits, pooled over campaigns: of all
    rounds, of those after round ``SETTLED``, and ``by_round``. See :func:`pooled`."""
    rounds = [r for one in played for r in one.rounds if r["forecast"] is not None]
    numbers = sorted({r["number"] for r in rounds})
    return {
        "all": pooled(rounds),
        "settled": pooled([r for r in rounds if r["number"] > SETTLED]),
        "by_round": [
            {"number": k, **pooled([r for r in rounds if r["number"] == k])} for k in numbers
        ],
    }


def pooled(rounds: Sequence[Round]) -> dict[str, Any]:
    """``n`` blocks, ``expected`` and ``found`` hits with the 95 % range of the latter if blocks
    were independent; ``bins`` that hold any: ``low`` and ``high`` edge, ``n``, mean probability
    ``p``, ``share`` of hits and its exact 95 % interval ``share_low``, ``share_high``.

    Blocks of a batch err together, so that honest forecasts leave these ranges more often.
    """
    forecasts = [r["forecast"] for r in rounds]
    expected = sum(f["expected"] for f in forecasts)
    sd = float(np.sqrt(sum(f["sd"] ** 2 for f in forecasts)))
    return {
        "n": sum(f["n"] for f in forecasts),
        "expected": number(expected),
        "found": sum(f["found"] for f in forecasts),
        "expected_low": number(max(expected - 1.96 * sd, 0.0)),
        "expected_high": number(expected + 1.96 * sd),
        "bins": [
            made
            for k in range(len(EDGES) - 1)
            if (made := _bin(k, [f["bins"][k] for f in forecasts])) is not None
        ],
    }


def interval(values: FloatArray) -> dict[str, float | None]:
    """``mean`` with the ends of its 95 % t-interval; ``None`` where there is nothing to say."""
    known = values[np.isfinite(values)]
    mean = number(float(known.mean())) if len(known) else None
    if len(known) < 2:
        return {"mean": mean, "low": None, "high": None}
    ends = t_interval(known)
    return {"mean": mean, "low": number(ends.low), "high": number(ends.high)}


def _bin(k: int, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    n, found = (sum(part[key] for part in parts) for key in ("n", "found"))
    if not n:
        return None
    low, high = binomial_interval(found, n)
    return {
        "low": EDGES[k],
        "high": EDGES[k + 1],
        "n": n,
        "p": number(sum(part["expected"] for part in parts) / n),
        "share": number(found / n),
        "share_low": number(low),
        "share_high": number(high),
    }


def _at(one: Played, k: int) -> Round:
    """Round ``k``, or the last one of a campaign that had nothing left to measure."""
    return one.rounds[min(k, len(one.rounds) - 1)]


def _measured_share(one: Played) -> FloatArray:
    return np.array([r["measured"] / one.blocks for r in one.rounds])


def _ceiling(one: Played) -> FloatArray:
    measured = np.array([r["measured"] for r in one.rounds], np.float64)
    top = max(1, round(TOPS["1"] * one.blocks))
    return ceiling_share(measured, one.rounds[0]["measured"], one.blocks, top)


def _mean_over(
    played: Sequence[Played], read: Callable[[Played], FloatArray], length: int
) -> list[float | None]:
    """Mean curve over campaigns; one that ended early keeps its last value."""
    rows = [np.pad(read(one), (0, length - len(one.rounds)), "edge") for one in played]
    return [number(float(value)) for value in np.mean(rows, axis=0)]


def _units(played: Sequence[Played]) -> dict[str, list[Played]]:
    """Campaigns by unit: lines where there are several, else seeds."""
    several = len({one.source for one in played}) > 1
    units: dict[str, list[Played]] = {}
    for one in played:
        units.setdefault(one.source if several else str(one.seed), []).append(one)
    return units


def _by_unit(played: Sequence[Played], name: str, length: int) -> FloatArray:
    """``(units, length)`` curves; NaN where a round says nothing."""
    return np.array(
        [
            np.mean([_curve(one, name, length) for one in members], axis=0)
            for members in _units(played).values()
        ]
    )


def _curve(one: Played, name: str, length: int) -> FloatArray:
    """``(length,)``; what is found stays found once the pool is empty, batches end with it."""
    read = {**CURVES, **BATCH_CURVES}[name]
    values = [read(r) for r in one.rounds]
    values += [values[-1] if name in CURVES else None] * (length - len(values))
    return np.array([np.nan if value is None else float(value) for value in values])


def _area(curves: FloatArray, most: int | None) -> FloatArray:
    """``(units,)`` means over rounds 1 to ``most``; NaN for campaigns of round 0 alone."""
    part = curves[:, 1 : None if most is None else most + 1]
    return part.mean(axis=1) if part.shape[1] else np.full(len(curves), np.nan)


def _unit_areas(played: Sequence[Played], name: str) -> dict[str, float]:
    length = max((len(one.rounds) for one in played), default=0)
    values = _area(_by_unit(played, name, length), None) if length > 1 else np.empty(0)
    found = zip(_units(played), values, strict=False)
    return {unit: float(value) for unit, value in found if np.isfinite(value)}


def _unit_budgets(played: Sequence[Played], name: str, share: float) -> dict[str, float]:
    """What each unit has found at the budget; units with a campaign that does not pass there are
    left out."""
    found = {}
    for unit, members in _units(played).items():
        values = [_at_budget(one, name, share) for one in members]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found[unit] = float(np.mean(known))
    return found


def _at_budget(one: Played, name: str, share: float) -> float | None:
    """What is found where this share of the blocks is measured, linear between rounds; ``None``
    for a campaign that begins later or ends earlier (by more than ``SHORT``)."""
    target = share * one.blocks
    measured = [r["measured"] for r in one.rounds]
    values = [CURVES[name](r) for r in one.rounds]
    if measured[0] > target or measured[-1] < (1 - SHORT) * target or None in values:
        return None
    return float(np.interp(target, measured, np.array(values, np.float64)))


def _budget(played: Sequence[Played], share: float) -> dict[str, Any] | None:
    found = {name: _unit_budgets(played, name, share) for name in COMPARED}
    if not found[COMPARED[0]]:
        return None
    return {name: interval(np.array(list(values.values()))) for name, values in found.items()}


def _reached(curves: FloatArray, level: float) -> int | None:
    reached = np.flatnonzero(curves.mean(axis=0) >= level - 1e-9)
    return int(reached[0]) if len(reached) else None


def _coverage(rounds: Sequence[Round]) -> dict[str, Any]:
    """Share of chosen blocks inside the central intervals of each level: all, and settled."""
    report = {}
    for name, after in (("all", 0), ("settled", SETTLED)):
        kept = [r["forecast"] for r in rounds if r["forecast"] and r["number"] > after]
        n = sum(f["n"] for f in kept)
        levels = kept[0]["inside"] if kept else {}
        report[name] = {key: number(sum(f["inside"][key] for f in kept) / n) for key in levels}
    return report


def _seconds(played: Sequence[Played]) -> dict[str, Any]:
    """Per round and stage, mean; ``wall_total`` and ``cpu_total`` of a whole campaign, mean."""
    report: dict[str, Any] = {}
    for key in ("wall", "cpu"):
        spent = [r[key] for one in played for r in one.rounds if r[key]]
        stages = list(spent[0]) if spent else []
        report[key] = {s: number(float(np.mean([row[s] for row in spent]))) for s in stages}
        total = sum(sum(row.values()) for row in spent) / len(played)
        report[f"{key}_total"] = number(total)
    return report


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
