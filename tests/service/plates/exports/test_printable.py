"""The page for the bench: complete in itself, well-formed, and safe whatever the names are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

from service.plates.exports.printable import plate_svg, printable_html
from service.plates.plate_map import Role
from tests.service.plates.bench import NAMES, block, plan

MADE = plan(block(replicates=2))
SVG = "{http://www.w3.org/2000/svg}"


def test_a_page_a_plate_with_its_barcode() -> None:
    html = printable_html(MADE.plates, "Round 3")
    assert html.count("<section>") == 2
    for plate in MADE.plates:
        assert f'aria-label="Barcode {plate.barcode}"' in html
    assert "@media print" in html
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import", html)


def test_the_picture_shows_every_well() -> None:
    plate = MADE.plates[0]
    root = ET.fromstring(plate_svg(plate))
    titles = [each.text or "" for each in root.iter(f"{SVG}title")]
    assert len(titles) == 384
    assert [title.split(" / ")[0] for title in titles] == [well.name for well in plate.wells]
    letters = [each.text for each in root.iter(f"{SVG}text")]
    assert letters.count("V") == 16
    assert letters.count("R") == 2


def test_higher_doses_are_darker() -> None:
    plate = MADE.plates[0]
    cells = list(ET.fromstring(plate_svg(plate)).iter(f"{SVG}g"))
    shade = {}
    for well, cell in zip(plate.wells, cells, strict=True):
        if well.role is Role.SAMPLE:
            fill = cell.find(f"{SVG}rect").get("fill")
            doses = tuple(each.nominal_um for each in well.contents)
            shade[doses] = sum(int(fill[i : i + 2], 16) for i in (1, 3, 5))
    assert shade[0.1, 0.1] > shade[0.1, 1.0] > shade[1.0, 1.0] > shade[10.0, 10.0]


def test_excluded_wells_are_crossed_out() -> None:
    plate = MADE.plates[0]
    well = plate.of(Role.SAMPLE)[0]
    html = printable_html([plate.changed([replace(well, excluded="air bubble")])], "x")
    assert html.count('stroke="#b00"') == 1
    assert "excluded: air bubble" in html
    assert "Excluded (crossed out): 1" in html


def test_names_are_text_and_nothing_else() -> None:
    evil = "<script>alert('x')</script>&\"\x07"
    html = printable_html(MADE.plates, evil, {NAMES[0]: evil})
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\x07" not in html.split("<body>")[1].split("<h1>")[0]
    ET.fromstring(plate_svg(MADE.plates[0], {NAMES[0]: evil}))
