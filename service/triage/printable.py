"""A scorecard as a page to print: it loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from models.triage.printing import chances, closing, counted, signed, strongest

# Apart in print and for colour-blind readers: blue speaks for a hit, orange against.
_FOR, _AGAINST = "#2166ac", "#d97706"
_WIDEST = 60
"""Points at which a bar is full."""

_STYLE = """
body { font: 13px/1.4 Helvetica, Arial, sans-serif; color: #1d2b3a; margin: 24px auto;
  max-width: 1080px; padding: 0 12px; }
h1 { font-size: 22px; margin: 0 0 2px; }
h2 { font-size: 13px; margin: 0 0 4px; border-bottom: 2px solid #39506b; }
h3 { font-size: 11px; margin: 8px 0 2px; color: #5a6b7d; font-weight: normal; }
p { margin: 2px 0; }
.quiet { color: #5a6b7d; }
.columns { columns: 2; column-gap: 28px; margin-top: 14px; }
section { margin-bottom: 16px; }
section.short { break-inside: avoid; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: 1px 6px 1px 0; border-top: 1px solid #e4eaf0;
  vertical-align: top; }
tr { break-inside: avoid; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.number { font-weight: bold; width: 3.2em; }
td.bar { width: 84px; padding-top: 4px; }
.total td, .total th { text-align: center; border: 1px solid #c9d4e0; padding: 2px 6px; }
.start { display: inline-block; border: 2px solid #39506b; border-radius: 6px; padding: 4px 12px;
  margin: 8px 0; font-size: 15px; }
footer { border-top: 1px solid #c9d4e0; padding-top: 6px; }
svg { display: block; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@media (max-width: 800px) { .columns { columns: 1; } }
@media print { body { margin: 0; font-size: 10.5px; max-width: none; } }
@page { size: A4; margin: 12mm; }
"""


def card_page(
    document: Mapping[str, Any], report: Mapping[str, Any], campaign: str, hit: str
) -> str:
    """``document`` and ``report`` as :func:`models.triage.printing.card_text` takes them; ``hit``
    says what counts as one."""
    title = f"Scorecard of {campaign}"
    sections = "".join(_section(section) for section in document["sections"])
    closed = "".join(f"<p>{escape(line)}</p>" for line in closing(report))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        f"<p>A hit: {escape(hit)}. Made from {report['n_blocks']} measured blocks, "
        f"{report['n_hits']} of them hits ({report['base_rate']:.1%}).</p>"
        f"<p>Add up the points of all sections. {document['doubling']} points double the odds.</p>"
        f'<p class="start">Start with <strong>{signed(document["base"])}</strong></p>'
        f"{_totals(document)}"
        f'<div class="columns">{sections}</div><footer class="quiet">{closed}</footer>'
        "</body></html>"
    )


def _totals(document: Mapping[str, Any]) -> str:
    known = chances(document)
    totals = "".join(f"<td>{signed(total)}</td>" for total, _ in known)
    words = "".join(f"<td>{chance:.1%}</td>" for _, chance in known)
    return (
        f'<table class="total"><tr><th>Total</th>{totals}</tr>'
        f"<tr><th>Chance of a hit</th>{words}</tr></table>"
    )


def _section(section: Mapping[str, Any]) -> str:
    sides = ""
    if section.get("sides"):
        sides = f"<h3>A pair not listed: both sides count.</h3>{_table(section['sides'])}"
    short = ' class="short"' if len(section["rows"]) <= 12 and not sides else ""
    words = section["words"]
    return (
        f"<section{short}><h2>{escape(words[0].upper() + words[1:])}</h2>"
        f"{_table(section['rows'])}{sides}</section>"
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown, left = strongest(rows)
    lines = []
    for number, row in enumerate(shown):
        if left and number == len(shown) // 2:
            lines.append(f'<tr><td colspan="3" class="quiet">{left} more between these</td></tr>')
        lines.append(_row(row))
    return f"<table>{''.join(lines)}</table>"


def _row(row: Mapping[str, Any]) -> str:
    words = counted(row)
    said = f'<br><span class="quiet">{escape(words)}</span>' if words else ""
    points = int(row["points"])
    return (
        f"<tr><td>{escape(str(row['value']))}{said}</td>"
        f'<td class="bar">{_bar(points)}</td><td class="number">{signed(points)}</td></tr>'
    )


def _bar(points: int) -> str:
    """Length for the number of points, side and colour for their sign."""
    length = 40 * min(abs(points), _WIDEST) / _WIDEST
    x, colour = (40, _FOR) if points >= 0 else (40 - length, _AGAINST)
    return (
        '<svg width="80" height="9" viewBox="0 0 80 9" aria-hidden="true">'
        '<path d="M40 0v9" stroke="#9aa9b8" stroke-width="1"/>'
        f'<rect x="{x:.1f}" y="1" width="{length:.1f}" height="7" fill="{colour}"/></svg>'
    )
