"""A scorecard as text for a terminal or a notebook, from its document alone.

Needs no numbers package: whoever has the document can print it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_ROWS = 24
"""Of a section: the best half and the worst half; those between are counted."""
WIDTH = 78


def card_text(document: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """``document`` of :func:`models.triage.describing.describe_card`, ``report`` of
    :func:`models.triage.making.make_scorecard`; lines end with a line feed."""
    lines = [
        "SCORECARD: will this pair be a hit?",
        "=" * WIDTH,
        *opening(document, report),
        "",
        f"{'start with':<{WIDTH - 6}}{signed(document['base']):>6}",
    ]
    for section in document["sections"]:
        lines += ["", section["words"].upper(), "-" * WIDTH]
        lines += _rows(section["rows"])
        if "sides" in section:
            lines += ["", "a pair not listed: points of both sides"]
            lines += _rows(section["sides"])
    return "\n".join([*lines, "", *closing(report)]) + "\n"


def opening(document: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """What a reader must know first."""
    return [
        f"Made from {report['n_blocks']} measured blocks, {report['n_hits']} of them hits "
        f"({report['base_rate']:.1%}).",
        f"Add up the points. {document['doubling']} points double the odds of a hit.",
        "Total      " + " ".join(f"{total:>6d}" for total, _ in chances(document)),
        "Chance     " + " ".join(f"{chance:>6.1%}" for _, chance in chances(document)),
    ]


def closing(report: Mapping[str, Any]) -> list[str]:
    """How far it can be trusted."""
    left = report["left_out"]
    lines = [report["calibration"]["words"], report["weights"]["words"]]
    if left:
        lines.append(f"Left out, as they told nothing here: {'; '.join(left)}.")
    lines += [f"Since the rounds before: {drift['words']}." for drift in report["drift"]]
    return lines


def chances(document: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Totals and the chances that they stand for."""
    totals = range(-120, 61, 20)
    return [(total, 1.0 / (1.0 + 2.0 ** (-total / document["doubling"]))) for total in totals]


def strongest(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """At most :data:`MOST_ROWS` of rows in descending order of points, from both ends, and how
    many between them were left out. Bins of a number are all kept."""
    if len(rows) <= MOST_ROWS or "share" in rows[0]:
        return list(rows), 0
    half = MOST_ROWS // 2
    return [*rows[:half], *rows[-half:]], len(rows) - MOST_ROWS


def counted(row: Mapping[str, Any]) -> str:
    """What the points of a row rest on, in words."""
    if "hits" not in row:
        return f"{row['share']:.0%} of blocks" if row["share"] else ""
    hits, blocks = (
        f"{_amount(row[name])} {name if row[name] != 1 else name[:-1]}"
        for name in ("hits", "blocks")
    )
    return f"{hits} in {blocks}, rate {row['low']:.1%} to {row['high']:.1%}"


def signed(points: int) -> str:
    """``+3``, ``-3`` or ``0``."""
    return f"{points:+d}" if points else "0"


def _amount(value: float) -> str:
    """Weighted rows need not be whole."""
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    shown, left = strongest(rows)
    lines = []
    for number, row in enumerate(shown):
        if left and number == len(shown) // 2:
            lines.append(f"   ... {left} more between these ...")
        lines += _fitted(str(row["value"]), counted(row), row["points"])
    return lines


def _fitted(value: str, words: str, points: int) -> list[str]:
    """One line, or two where it is long."""
    room = WIDTH - 6
    if len(value) + len(words) + 2 <= room:
        return [f"{value}{words:>{room - len(value)}}{signed(points):>6}"]
    return [value, f"{words:>{room}}{signed(points):>6}"]
