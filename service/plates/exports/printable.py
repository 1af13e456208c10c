"""A page a plate for the bench: heat map, legend and barcode, complete in itself and printable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from service.plates.barcodes import code128_svg
from service.plates.exports.plate_csv import contents_text
from service.plates.geometry import row_name
from service.plates.plate_map import PlateMap, Role, Well

# Colours that stay apart in print and for colour-blind readers (Okabe and Ito 2008).
_COLOURS = {
    Role.VEHICLE: "#56b4e9",
    Role.POSITIVE: "#222222",
    Role.BLANK: "#ffffff",
    Role.REFERENCE: "#cc79a7",
    Role.EMPTY: "#eeeeee",
}
_LETTERS = {
    Role.VEHICLE: "V",
    Role.POSITIVE: "P",
    Role.BLANK: "B",
    Role.REFERENCE: "R",
    Role.SINGLE: "1",
}
_WORDS = {
    Role.SAMPLE: "pair of compounds, darker with dose",
    Role.SINGLE: "single agent, darker with dose",
    Role.VEHICLE: "vehicle",
    Role.POSITIVE: "positive control",
    Role.BLANK: "blank, no cells",
    Role.REFERENCE: "reference pair",
    Role.EMPTY: "empty or buffer",
}
# Light to dark for low to high dose: pairs in green, single agents in amber.
_RAMPS = {
    Role.SAMPLE: ((229, 245, 224), (0, 109, 44)),
    Role.SINGLE: ((255, 247, 188), (217, 119, 6)),
}
_CELL = 20
_MARGIN = 22

_STYLE = """
body { font: 13px/1.4 system-ui, sans-serif; color: #111; margin: 24px; }
section { page-break-after: always; break-after: page; }
section:last-of-type { page-break-after: auto; break-after: auto; }
header { display: flex; justify-content: space-between; align-items: flex-start; gap: 24px; }
h1 { font-size: 20px; margin: 0 0 4px; }
p { margin: 2px 0; }
svg.plate { width: 100%; height: auto; max-height: 70vh; margin: 8px 0; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; }
ul.legend svg { width: 14px; height: 14px; vertical-align: -2px; margin-right: 6px; }
table { border-collapse: collapse; margin-top: 8px; }
th, td { border: 1px solid #bbb; padding: 2px 8px; text-align: left; }
td.number { text-align: right; }
@media print {
  body { margin: 0; font-size: 11px; line-height: 1.25; }
  svg.plate { max-height: 108mm; }
  svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
@page { size: A4 landscape; margin: 12mm; }
"""


def printable_html(
    plates: Sequence[PlateMap], title: str, names: Mapping[str, str] | None = None
) -> str:
    """One document with a page a plate. It loads nothing and runs nothing."""
    pages = "".join(_page(plate, title, names or {}) for plate in plates)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{pages}</body></html>"
    )


def _page(plate: PlateMap, title: str, names: Mapping[str, str]) -> str:
    lines = ", ".join(map(escape, plate.cell_lines)) or "no cells"
    counts = ", ".join(
        f"{escape(_WORDS[role].split(',')[0])}: {len(plate.of(role))}"
        for role in Role
        if role is not Role.EMPTY and plate.of(role)
    )
    # Of a plate that somebody else laid out nobody may have said it.
    volume = f", {plate.assay_nl / 1000:g} uL" if plate.assay_nl else ""
    excluded = sum(well.excluded is not None for well in plate.wells)
    note = f"<p><strong>Excluded (crossed out): {excluded}</strong></p>" if excluded else ""
    return (
        f"<section><header><div><h1>{escape(title)}: plate {plate.number}</h1>"
        f"<p>{plate.format.size} wells{volume}; {lines}</p>"
        f"<p>{counts}</p>{note}</div>{code128_svg(plate.barcode)}</header>"
        f"{plate_svg(plate, names)}{_legend(plate)}{_compounds(plate, names)}</section>"
    )


def plate_svg(plate: PlateMap, names: Mapping[str, str] | None = None) -> str:
    """The plate as a heat map: colour for role and dose, the contents when pointed at."""
    across, down = plate.format.columns, plate.format.rows
    low_high = _dose_ranges(plate)
    parts = []
    for column in range(across):
        x = _MARGIN + (column + 0.5) * _CELL
        parts.append(f'<text x="{x:g}" y="{_MARGIN - 6}">{column + 1}</text>')
    for row in range(down):
        y = _MARGIN + (row + 0.5) * _CELL + 3
        parts.append(f'<text x="{_MARGIN / 2:g}" y="{y:g}">{row_name(row)}</text>')
    parts += [_cell(well, low_high, names or {}) for well in plate.wells]
    width, height = _MARGIN + across * _CELL + 2, _MARGIN + down * _CELL + 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plate" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="Plate {escape(plate.barcode)}" font-family="sans-serif" '
        f'font-size="9" text-anchor="middle">{"".join(parts)}</svg>'
    )


def _cell(well: Well, low_high: Mapping[str, tuple[float, float]], names: Mapping[str, str]) -> str:
    row, column = well.at
    x, y = _MARGIN + column * _CELL, _MARGIN + row * _CELL
    colour, ink = _colour(well, low_high)
    words = " / ".join(
        part
        for part in (well.name, str(well.role), contents_text(well, names), well.cell_line or "")
        if part
    )
    if well.excluded:
        words += f" / excluded: {well.excluded}"
    letter = _LETTERS.get(well.role, "")
    mark = f'<text x="{x + 10}" y="{y + 13}" fill="{ink}">{letter}</text>' if letter else ""
    cross = (
        f'<path d="M{x + 3} {y + 3}l14 14m0 -14l-14 14" stroke="#b00" stroke-width="2"/>'
        if well.excluded
        else ""
    )
    return (
        f'<g><title>{escape(_clean(words))}</title><rect x="{x}" y="{y}" width="{_CELL}" '
        f'height="{_CELL}" fill="{colour}" stroke="#999" stroke-width="0.5"/>{mark}{cross}</g>'
    )


def _dose_ranges(plate: PlateMap) -> dict[str, tuple[float, float]]:
    """The smallest and largest dose of each compound on the plate."""
    doses: dict[str, list[float]] = {}
    for well in plate.of(Role.SAMPLE, Role.SINGLE):
        for each in well.contents:
            doses.setdefault(each.compound, []).append(each.nominal_um)
    return {name: (min(found), max(found)) for name, found in doses.items()}


def _colour(well: Well, low_high: Mapping[str, tuple[float, float]]) -> tuple[str, str]:
    """Fill and ink; a dose is shaded by its place between the smallest and largest, in logs."""
    if well.role not in _RAMPS:
        return _COLOURS[well.role], "#fff" if well.role is Role.POSITIVE else "#111"
    depth = 0.0
    for each in well.contents:
        low, high = low_high[each.compound]
        span = math.log(high / low)
        depth += math.log(each.nominal_um / low) / span if span > 0 else 1.0
    depth /= len(well.contents)
    light, dark = _RAMPS[well.role]
    mixed = [round(a + (b - a) * depth) for a, b in zip(light, dark, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed), "#111" if depth < 0.6 else "#fff"


def _legend(plate: PlateMap) -> str:
    items = []
    for role in Role:
        if plate.of(role):
            light, dark = _RAMPS.get(role, ((0, 0, 0), (0, 0, 0)))
            middle = [(a + b) // 2 for a, b in zip(light, dark, strict=True)]
            colour = _COLOURS.get(role) or "#{:02x}{:02x}{:02x}".format(*middle)
            letter, ink = _LETTERS.get(role, ""), "#fff" if role is Role.POSITIVE else "#111"
            items.append(
                f'<li><svg viewBox="0 0 14 14"><rect width="14" height="14" fill="{colour}" '
                f'stroke="#999"/><text x="7" y="11" font-size="10" fill="{ink}" '
                f'text-anchor="middle">{letter}</text></svg>{escape(_WORDS[role])}</li>'
            )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _compounds(plate: PlateMap, names: Mapping[str, str]) -> str:
    """Every compound of the plate with its doses, nominal and real."""
    doses: dict[str, dict[float, float]] = {}
    for well in plate.wells:
        for each in () if well.excluded else well.contents:
            doses.setdefault(each.compound, {})[each.nominal_um] = each.real_um
    rows = "".join(
        f"<tr><td>{escape(_clean(names.get(name, name)))}</td><td>"
        + ", ".join(f"{nominal:g} ({real:.4g})" for nominal, real in sorted(doses[name].items()))
        + "</td></tr>"
        for name in sorted(doses)
    )
    head = "<tr><th>Compound</th><th>Nominal dose (real dose), uM</th></tr>"
    return f"<table>{head}{rows}</table>" if rows else ""


def _clean(text: str) -> str:
    """The text without control characters, which no document may hold."""
    return "".join(each if each.isprintable() else " " for each in text)
