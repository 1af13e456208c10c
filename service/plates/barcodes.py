"""Barcodes of plates: a text with a check character, and the Code 128 bars that scanners read.

The check character is that of ISO 7064, MOD 37,36: it finds every single wrong character and every
two neighbours that changed places, but one pair. Code 128 is ISO/IEC 15417: code sets A, B and C, a
checksum modulo 103, 11 modules a symbol and 13 for the stop.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape

from service.plates.problems import PlateError

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TEXT = re.compile(r"[0-9A-Z]+")
LONGEST = 40

# Widths of bar, space, bar, space, bar, space of the symbols 0 to 105, then of the stop.
_WIDTHS = """
    212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232
    122132 122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122
    321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311
    211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113
    213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422
    121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111
    241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121
    412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412
    211214 211232 2331112
""".split()  # noqa: SIM905 - a table, to be read as one
_START = {"A": 103, "B": 104, "C": 105}
_SWITCH = {"A": 101, "B": 100, "C": 99}
_STOP = 106
_QUIET = 10  # modules of white that the standard asks for on either side


def check_character(text: str) -> str:
    """The ISO 7064 MOD 37,36 character of a text of digits and capital letters."""
    if not _TEXT.fullmatch(text):
        raise PlateError(f"barcode text {text!r} may hold only digits and the letters A to Z")
    product = 36
    for character in text:
        total = (product + _ALPHABET.index(character)) % 36 or 36
        product = total * 2 % 37
    return _ALPHABET[(37 - product) % 36]


def with_check(text: str) -> str:
    """The text with its check character behind it."""
    return text + check_character(text)


def checked(barcode: str) -> str:
    """The barcode; refused where its check character says that it was misread or mistyped."""
    text = barcode.strip().upper()
    if not _TEXT.fullmatch(text) or len(text) < 2:
        raise PlateError(f"barcode {barcode!r} is none of ours; scan or type it again")
    if check_character(text[:-1]) != text[-1]:
        raise PlateError(f"barcode {barcode!r} has a wrong check character; scan or type it again")
    return text


def plate_barcode(prefix: str, number: int) -> str:
    """The barcode of plate ``number`` (from 1) of a batch: prefix, four digits, check character."""
    if not _TEXT.fullmatch(prefix):
        raise PlateError(f"barcode prefix {prefix!r} may hold only digits and the letters A to Z")
    if not 1 <= number <= 9999:
        raise PlateError(f"plate number {number} has no barcode; take 1 to 9999")
    if len(prefix) + 5 > LONGEST:
        raise PlateError(f"barcode prefix {prefix!r} is longer than {LONGEST - 5} characters")
    return with_check(f"{prefix}{number:04d}")


def symbols(text: str) -> list[int]:
    """The Code 128 symbols of a text, from start to stop, as few as there can be."""
    if not 1 <= len(text) <= LONGEST:
        raise PlateError(f"a barcode holds 1 to {LONGEST} characters, not {len(text)}")
    if odd := sorted({each for each in text if not 0 <= ord(each) < 128}):
        raise PlateError(f"Code 128 cannot write {', '.join(map(repr, odd))}; use plain ASCII")
    data = _shortest(text)
    return [*data, checksum(data), _STOP]


def checksum(data: list[int]) -> int:
    """Start symbol plus each following symbol times its place, modulo 103."""
    return (data[0] + sum(place * value for place, value in enumerate(data))) % 103


def modules(text: str) -> list[int]:
    """The widths of bars and spaces in turn, beginning with a bar."""
    return [int(width) for symbol in symbols(text) for width in _WIDTHS[symbol]]


def code128_svg(text: str, height: int = 25, module: int = 2) -> str:
    """The barcode as SVG with its quiet zones and the text in clear below."""
    # Control characters have bars but cannot stand in XML.
    clear = escape("".join(each if each.isprintable() else "·" for each in text))
    bars, x = [], _QUIET
    for place, width in enumerate(modules(text)):
        if place % 2 == 0:
            bars.append(f'<rect x="{x}" y="0" width="{width}" height="{height}"/>')
        x += width
    total, tall = x + _QUIET, height + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="barcode" role="img" '
        f'aria-label="Barcode {clear}" viewBox="0 0 {total} {tall}" '
        f'width="{total * module}" height="{tall * module}">'
        f'<rect width="{total}" height="{tall}" fill="#fff"/><g fill="#000">{"".join(bars)}</g>'
        f'<text x="{total / 2:g}" y="{height + 8}" font-family="monospace" font-size="8" '
        f'text-anchor="middle">{clear}</text></svg>'
    )


def _shortest(text: str) -> list[int]:
    """The fewest symbols: the best way to write the rest from each place in each code set."""

    @cache
    def rest(place: int, code: str) -> tuple[int, ...]:
        if place == len(text):
            return ()
        ways: list[tuple[int, ...]] = []
        # Set B comes first among equals: readers and people know it best.
        for into in "BAC":
            if (step := _step(text, place, into)) is not None:
                value, length = step
                switch = () if into == code else (_SWITCH[into],)
                ways.append((*switch, value, *rest(place + length, into)))
        return min(ways, key=len)

    starts: list[tuple[int, ...]] = [
        (_START[code], *rest(0, code)) for code in "BAC" if _step(text, 0, code) is not None
    ]
    best = min(starts, key=len)
    return list(best)


def _step(text: str, place: int, code: str) -> tuple[int, int] | None:
    """The symbol for what stands at a place in a code set and how much it writes, if it can."""
    if code == "C":
        pair = text[place : place + 2]
        ok = len(pair) == 2 and all("0" <= each <= "9" for each in pair)
        return (int(pair), 2) if ok else None
    value = ord(text[place])
    if code == "A":
        return (value - 32 if value >= 32 else value + 64, 1) if value < 96 else None
    return (value - 32, 1) if value >= 32 else None
