"""Check characters and bars: known answers, and a scanner of our own that reads them back."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plates import barcodes
from service.plates.barcodes import (
    check_character,
    checked,
    checksum,
    code128_svg,
    modules,
    plate_barcode,
    symbols,
    with_check,
)
from service.plates.problems import PlateError

TEXT = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=20)
ASCII = st.text(st.characters(max_codepoint=127), min_size=1, max_size=20)


def scan(svg: str) -> str:
    """What a scanner sees in the picture: widths of bars and gaps, symbols, text."""
    root = ET.fromstring(svg)
    group = next(each for each in root if each.tag.endswith("}g"))
    bars = [(int(bar.get("x")), int(bar.get("width"))) for bar in group]
    widths = []
    ends = [*bars[1:], (sum(bars[-1]), 0)]
    for (x, width), (after, _) in zip(bars, ends, strict=True):
        widths += [width, after - x - width]
    text = "".join(map(str, widths[:-1]))
    table = {pattern: value for value, pattern in enumerate(barcodes._WIDTHS)}
    assert table[text[-7:]] == 106
    body = text[:-7]
    digits = [table[body[start : start + 6]] for start in range(0, len(body), 6)]
    *data, check = digits
    assert (data[0] + sum(i * v for i, v in enumerate(data))) % 103 == check
    return read(data)


def read(data: list[int]) -> str:
    code, found = {103: "A", 104: "B", 105: "C"}[data[0]], ""
    for value in data[1:]:
        if value == 99 and code != "C":
            code = "C"
        elif value == 100 and code != "B":
            code = "B"
        elif value == 101 and code != "A":
            code = "A"
        elif code == "C":
            found += f"{value:02d}"
        else:
            found += chr(value + 32) if value < 64 or code == "B" else chr(value - 64)
    return found


def test_the_check_character_of_the_standard_example() -> None:
    # The Global Release Identifier A1-2425G-ABC1234002-M (IFPI GRid handbook), ISO 7064 MOD 37,36.
    assert check_character("A12425GABC1234002") == "M"


@given(TEXT, st.data())
def test_one_wrong_character_is_found(text: str, data: st.DataObject) -> None:
    good = with_check(text)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from([c for c in barcodes._ALPHABET if c != good[place]]))
    assert checked(good) == good
    with pytest.raises(PlateError, match="check character"):
        checked(good[:place] + other + good[place + 1 :])


def test_neighbours_that_changed_places_are_found() -> None:
    good = with_check("NR70042")
    for place in range(len(good) - 1):
        pair = good[place : place + 2]
        if pair[0] != pair[1]:
            with pytest.raises(PlateError, match="check character"):
                checked(good[:place] + pair[::-1] + good[place + 2 :])


@pytest.mark.parametrize("text", ["", "A", "AB-C", "Ä12", "A B"])
def test_what_is_no_barcode_of_ours(text: str) -> None:
    with pytest.raises(PlateError, match="none of ours"):
        checked(text)


def test_barcodes_of_plates() -> None:
    assert plate_barcode("NR7", 1) == with_check("NR70001")
    assert len({plate_barcode("NR7", n) for n in range(1, 200)}) == 199
    assert checked(f" {plate_barcode('NR7', 3).lower()} ") == plate_barcode("NR7", 3)
    for prefix, number in (("", 1), ("nr", 1), ("A-B", 1), ("A", 0), ("A", 10000), ("A" * 40, 1)):
        with pytest.raises(PlateError):
            plate_barcode(prefix, number)


def test_the_checksum_of_the_textbook_example() -> None:
    # "PJJ123C" in code set A: 103 + 48 + 2*42 + 3*42 + 4*17 + 5*18 + 6*19 + 7*35 = 878 = 54.
    assert checksum([103, 48, 42, 42, 17, 18, 19, 35]) == 54


def test_known_symbols() -> None:
    assert symbols("AB") == [104, 33, 34, (104 + 33 + 68) % 103, 106]
    assert symbols("123456")[:4] == [105, 12, 34, 56]
    assert symbols("A123456")[:6] == [104, 33, 99, 12, 34, 56]
    assert symbols("\x00")[:2] == [103, 64]
    assert modules("AB")[:12] == [2, 1, 1, 2, 1, 4, 1, 1, 1, 3, 2, 3]


def test_the_table_of_widths() -> None:
    assert len(barcodes._WIDTHS) == len(set(barcodes._WIDTHS)) == 107
    for pattern in barcodes._WIDTHS[:-1]:
        widths = list(map(int, pattern))
        assert (len(widths), sum(widths), sum(widths[::2]) % 2) == (6, 11, 0)
    assert sum(map(int, barcodes._WIDTHS[-1])) == 13


@given(ASCII)
def test_bars_read_back(text: str) -> None:
    assert scan(code128_svg(text)) == text


@given(TEXT)
def test_the_picture_carries_the_text_in_clear(text: str) -> None:
    root = ET.fromstring(code128_svg(text))
    assert root[-1].text == text


@given(ASCII)
def test_no_way_is_shorter_than_ours(text: str) -> None:
    if all(ord(each) >= 32 for each in text):
        assert len(symbols(text)) <= len(text) + 3
    if text.isdigit() and len(text) % 2 == 0:
        assert len(symbols(text)) == len(text) // 2 + 3


@pytest.mark.parametrize("text", ["", "A" * 41, "Ä", "µ"])
def test_what_code_128_cannot_write(text: str) -> None:
    with pytest.raises(PlateError):
        symbols(text)
