"""Numbers as instruments write them: decimal point or comma, never a guess between the two.

``1,234`` may be 1.234 or 1234. It is read only if other numbers of the file prove the comma to
be the decimal mark (``0,5``, ``12,34``) and none proves the point to be; otherwise it is refused.
Thousands separators are refused always.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Literal

_POINT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?(?:[0-9]+,[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LIKE_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_NOT_ZERO = re.compile(r"[+-]?[0.,]*[1-9]")

_FLAGS = {
    "empty": ("",),
    "overflow": ("ovrflw", "overflow", "over", "ovr", "over range", "overrange", "+inf", "inf"),
    "saturated": ("sat", "#sat", "saturated", "*sat*"),
    "underflow": ("undrflw", "underflow", "under", "undr"),
    "missed": ("missed", "miss"),
    "masked": ("masked", "mask", "excluded"),
    "no reading": ("nan", "n/a", "na", "-", "--", "none", "null", "#n/a", "n.a.", "no value"),
    "error": ("???", "path?", "range?", "error", "err", "invalid", "failed"),
    "unreadable": ("*****", "####", "#####", "######"),
}
_FLAG_OF = {word: flag for flag, words in _FLAGS.items() for word in words}
_BEYOND = re.compile(r"([<>])\s*[0-9.,eE+-]+")


def bare(text: str) -> str:
    """A text without blanks around it, nor the pair of quotes that tab-separated files keep."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return text


def flag_of(text: str) -> str | None:
    """Why a well has no number (``overflow``, ``empty``...), or None if ``text`` says no such."""
    word = bare(text).lower()
    if word in _FLAG_OF:
        return _FLAG_OF[word]
    beyond = _BEYOND.fullmatch(word)
    if beyond is None:
        return None
    return "above range" if beyond[1] == ">" else "below range"


class Numbers:
    """Reads the numbers of one file, after seeing all of them."""

    def __init__(self, texts: Iterable[str], decimal: Literal[".", ","] | None = None) -> None:
        """``decimal`` declares the mark; it may not contradict the numbers."""
        self.declared = decimal
        self.point_proved = self.comma_proved = False
        for text in texts:
            if "," in text:
                self.comma_proved |= _proves(text, _COMMA)
            elif "." in text and not self.point_proved:
                self.point_proved = _proves(text, _POINT)

    @property
    def mixed(self) -> bool:
        """Whether some numbers have a decimal point and some a decimal comma."""
        return self.point_proved and self.comma_proved

    def read(self, text: str) -> float | str:
        """The number, or the reason why it is none."""
        text = bare(text)
        other = {".": ",", ",": "."}.get(self.declared or "")
        if (
            other is not None
            and other in text
            and _proves(text, _POINT if other == "." else _COMMA)
        ):
            return f"{text!r} has no decimal {self.declared!r}, which was declared"
        if _POINT.fullmatch(text):
            if _LIKE_THOUSANDS.fullmatch(text) and self._doubt("."):
                return f"{text!r} may be {text.replace('.', '')} or {text.replace('.', ',')}"
        elif _COMMA.fullmatch(text):
            if _LIKE_THOUSANDS.fullmatch(text) and self._doubt(","):
                return f"{text!r} may be {text.replace(',', '')} or {text.replace(',', '.')}"
        else:
            return f"{text[:40]!r} is no number"
        number = float(text.replace(",", "."))
        if not math.isfinite(number) or (number == 0.0 and _NOT_ZERO.match(text)):
            return f"{text[:40]!r} is too large or too small for a number"
        return number

    def _doubt(self, mark: str) -> bool:
        """Whether ``mark`` between digits in groups of three may separate thousands."""
        if self.declared is not None:
            return self.declared != mark
        if mark == ".":
            return self.comma_proved and not self.point_proved
        return not self.comma_proved or self.point_proved


def _proves(text: str, pattern: re.Pattern[str]) -> bool:
    text = bare(text)
    return pattern.fullmatch(text) is not None and _LIKE_THOUSANDS.fullmatch(text) is None
