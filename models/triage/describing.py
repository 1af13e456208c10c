"""A scorecard as a document, and the reasons for the points of a block, both with names.

Everything here is JSON-able, so that who prints a card needs no model: see
:mod:`models.triage.printing`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from models.screen import ABSENT, FloatArray, IntArray
from models.triage.attributes import Attributes
from models.triage.features import BlockTable
from models.triage.fitting import HISTORY
from models.triage.history import Shown
from models.triage.rates import BetaBinomial
from models.triage.scorecard import DOUBLING, LEVEL, PAIRS, WORDS, Scorecard, Scored, label_of

FORMAT = "nextround-scorecard/1"
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class CardNames:
    """What to call the rows of the tables that a card points into."""

    compounds: Sequence[str]
    cell_lines: Sequence[str]
    targets: Sequence[str]
    mechanisms: Sequence[str]

    @classmethod
    def of(
        cls, compounds: Sequence[str], cell_lines: Sequence[str], attributes: Attributes
    ) -> CardNames:
        """Compounds and cell lines as given, labels by their attributes."""
        return cls(compounds, cell_lines, attributes.target_names, attributes.mechanism_names)

    def labels(self, feature: str) -> Sequence[str]:
        """Of the sides of ``target_pair`` or ``mechanism_pair``."""
        return self.targets if feature == "target_pair" else self.mechanisms


def describe_card(card: Scorecard, names: CardNames) -> dict[str, Any]:
    """``base`` points, points that double the odds, and one section for each feature: ``rows`` of
    ``value`` and ``points``, with ``hits`` of ``blocks`` and the credible interval of their rate
    where it rests on these; of pairs also ``sides``, for pairs that were not measured."""
    return {
        "format": FORMAT,
        "doubling": DOUBLING,
        "base": card.base,
        "base_chance": float(expit(card.base * np.log(2.0) / DOUBLING)),
        "sections": [_section(card, feature, names) for feature in card.features],
    }


def describe_scores(
    card: Scorecard, table: BlockTable, scored: Scored, names: CardNames
) -> list[dict[str, Any]]:
    """For each block: ``total``, ``chance`` with ``low`` and ``high``, ``parts`` of value and
    points in the order of the card, and ``reasons`` in words, the weightiest first."""
    values = [_values(card, feature, table, names) for feature in card.features]
    chance = scored.chance
    described = []
    for row in range(len(table)):
        parts = [
            {"feature": feature, "value": column[row], "points": int(points)}
            for feature, column, points in zip(
                card.features, values, scored.points[row], strict=True
            )
        ]
        described.append(
            {
                "total": int(scored.total[row]),
                "base": card.base,
                "chance": _short(chance[row]),
                "low": _short(scored.low[row]),
                "high": _short(scored.high[row]),
                "parts": parts,
                "reasons": _reasons(parts),
            }
        )
    return described


def _reasons(parts: Sequence[dict[str, Any]]) -> list[str]:
    """The parts in words, from three points up; what is not known says so."""
    said = sorted((p for p in parts if abs(p["points"]) >= 3), key=lambda p: -abs(p["points"]))
    words = [f"{p['points']:+d}: {WORDS[p['feature']]}: {p['value']}" for p in said]
    return words or ["Nothing that is known of it speaks for or against a hit."]


def _section(card: Scorecard, feature: str, names: CardNames) -> dict[str, Any]:
    head = {"feature": feature, "words": WORDS[feature]}
    if feature in PAIRS:
        return {**head, **_pair_section(card, feature, names.labels(feature))}
    if feature == "cell_line":
        rates = card.core.encoder.line
        mean = np.full(len(rates.rows), expit(rates.overall))
        rows = _counted(
            names.cell_lines, card.line_points(), rates.hits, rates.rows, mean, rates.strength
        )
        return {**head, "rows": rows}
    if feature in HISTORY:
        return {**head, "rows": _history_rows(card, feature, names)}
    return {**head, "rows": _bin_rows(card, feature)}


def _pair_section(card: Scorecard, feature: str, labels: Sequence[str]) -> dict[str, Any]:
    made = card.pair_points(feature)
    rates = made.rates
    known = [f"{labels[a]} with {labels[b]}" for a, b in rates.pair.tolist()]
    added = rates.labels.added
    mean = expit(rates.labels.overall + rates.weight * added[rates.pair].sum(axis=1))
    rows = _counted(known, made.pair, rates.hits, rates.rows, mean, rates.strength)
    one = rates.labels
    level = np.full(len(one.rows), expit(one.overall))
    sides = _counted(labels, made.label, one.hits, one.rows, level, one.strength)
    return {"rows": rows, "sides": sides}


def _history_rows(card: Scorecard, feature: str, names: CardNames) -> list[dict[str, Any]]:
    shown: Shown = card.shown(feature)
    if feature == "compound_history":
        known: Sequence[str] = names.compounds
    else:
        known = _pair_names(card, names)
    points = card.history_points(feature)
    return _counted(known, points, shown.hits, shown.rows, shown.expected, shown.strength)


def _pair_names(card: Scorecard, names: CardNames) -> list[str]:
    """Of the measured pairs of compounds, in the order of their keys."""
    n = len(names.compounds)
    return [
        f"{names.compounds[key // n]} with {names.compounds[key % n]}"
        for key in card.core.history.keys.tolist()
    ]


def _counted(
    names: Sequence[str], points: IntArray, hits: FloatArray, rows: FloatArray, mean: FloatArray,
    strength: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Measured categories, most points first."""
    low, high = _intervals(hits, rows, mean, strength)
    order = [int(k) for k in np.argsort(-points[: len(rows)], kind="stable") if rows[k] > 0]
    return [
        {
            "value": names[k],
            "points": int(points[k]),
            "hits": _short(hits[k]),
            "blocks": _short(rows[k]),
            "expected": _short(mean[k]),
            "low": _short(low[k]),
            "high": _short(high[k]),
        }
        for k in order
    ]


def _intervals(
    hits: FloatArray, rows: FloatArray, mean: FloatArray, strength: float
) -> tuple[FloatArray, FloatArray]:
    low, high = np.zeros(len(rows)), np.zeros(len(rows))
    for value in np.unique(mean):
        at = mean == value
        low[at], high[at] = BetaBinomial(float(value), strength).interval(hits[at], rows[at], LEVEL)
    return low, high


def _bin_rows(card: Scorecard, feature: str) -> list[dict[str, Any]]:
    """One for each run of the variable, from low to high."""
    bins, points = card.core.bins[feature], card.bin_points(feature)
    rows = [
        {
            "value": words,
            "points": int(points[k]),
            "share": _short(bins.rows[k]),
            "from": None if run == 0 else float(bins.breaks[run - 1]),
            "to": None if run == len(bins.breaks) else float(bins.breaks[run]),
        }
        for run, (words, k) in enumerate(zip(_ranges(bins.breaks), bins.run.tolist(), strict=True))
    ]
    return [*rows, {"value": NOT_KNOWN, "points": 0, "share": 0.0, "from": None, "to": None}]


def _ranges(breaks: FloatArray) -> list[str]:
    """Of the runs between the breaks, in words."""
    ends = [_number(value) for value in breaks.tolist()]
    if not ends:
        return ["any value"]
    inner = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
    return [f"below {ends[0]}", *inner, f"from {ends[-1]}"]


def _values(card: Scorecard, feature: str, table: BlockTable, names: CardNames) -> list[str]:
    """``(n,)`` what is known of each block, in words."""
    if feature in PAIRS:
        return _pair_values(card, feature, table, names.labels(feature))
    if feature == "cell_line":
        return [names.cell_lines[k] for k in table.cell_line.tolist()]
    if feature == "compound_history":
        shown = card.shown(feature)
        said = [_count(shown, k, names.compounds[k]) for k in range(len(shown.rows))]
        return [f"{said[a]}; {said[b]}" for a, b in table.compounds.tolist()]
    if feature == "pair_history":
        shown = card.shown(feature)
        known = _pair_names(card, names)
        return [
            "not measured yet" if k == ABSENT else _count(shown, k, known[k])
            for k in card.core.history.find(table).tolist()
        ]
    ranges = _ranges(card.core.bins[feature].breaks)
    values = table.numbers[feature]
    run = np.searchsorted(card.core.bins[feature].breaks, values, side="right")
    return [
        f"{_number(value)} ({ranges[k]})" if np.isfinite(value) else NOT_KNOWN
        for value, k in zip(values.tolist(), np.minimum(run, len(ranges) - 1).tolist(), strict=True)
    ]


def _pair_values(
    card: Scorecard, feature: str, table: BlockTable, labels: Sequence[str]
) -> list[str]:
    rates = card.pair_rates(feature)
    label = np.sort(label_of(feature, table), axis=1)
    place = rates.find(label)
    said = []
    for (a, b), k in zip(label.tolist(), place.tolist(), strict=True):
        sides = [labels[one] if one != ABSENT else NOT_KNOWN for one in (a, b)]
        if k == ABSENT:
            said.append(f"{' with '.join(sides)}, not measured yet")
        else:
            said.append(f"{' with '.join(sides)}, {_counts(rates.hits[k], rates.rows[k])}")
    return said


def _count(shown: Shown, k: int, name: str) -> str:
    if not shown.rows[k]:
        return f"{name}, not measured yet"
    expected = shown.expected[k] * shown.rows[k]
    return f"{name}, {_counts(shown.hits[k], shown.rows[k])}, {expected:.1f} expected"


def _counts(hits: float, rows: float) -> str:
    one, many = ("hit", "block"), ("hits", "blocks")
    hit, block = (m if v != 1 else o for o, m, v in zip(one, many, (hits, rows), strict=True))
    return f"{_amount(hits)} {hit} in {_amount(rows)} {block}"


def _amount(value: float) -> str:
    """Weighted rows need not be whole."""
    return f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.1f}"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _short(value: float) -> float:
    return float(f"{value:.4g}")
