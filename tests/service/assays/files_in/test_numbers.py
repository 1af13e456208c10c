from __future__ import annotations

import math

import pytest

from service.assays.files_in.numbers import Numbers, flag_of


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12.0), ("-1.5", -1.5), (".5", 0.5), ("1e3", 1000.0), ('"7"', 7.0), ("1.234", 1.234)],
)
def test_point_numbers(text: str, value: float) -> None:
    assert Numbers([text]).read(text) == value


@pytest.mark.parametrize(
    ("texts", "text", "value"),
    [
        (["0,5", "1,234"], "1,234", 1.234),  # 0,5 proves the comma
        (["12,34"], "12,34", 12.34),
        (["0.01", "0,02"], "0,02", 0.02),  # a file with both
        (["1234,567"], "1234,567", 1234.567),
    ],
)
def test_decimal_commas_that_are_proved(texts: list[str], text: str, value: float) -> None:
    assert Numbers(texts).read(text) == value


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["1,234"], "1,234"),  # 1.234 or 1234?
        (["1,234", "0.5"], "1,234"),  # the point is the mark, so thousands?
        (["0,5", "1.234"], "1.234"),
        (["0,5", "0.5", "1,234"], "1,234"),
    ],
)
def test_what_may_be_thousands_is_refused(texts: list[str], text: str) -> None:
    found = Numbers(texts).read(text)
    assert isinstance(found, str)
    assert "may be" in found


def test_a_declared_mark_settles_it() -> None:
    assert Numbers(["1,234"], ",").read("1,234") == 1.234
    assert Numbers(["1.234"], ".").read("1.234") == 1.234
    assert isinstance(Numbers(["1,234"], ".").read("1,234"), str)
    assert isinstance(Numbers(["0.5"], ",").read("0.5"), str)


@pytest.mark.parametrize(
    "text", ["", "x", "1 234", "1_000", "0x10", "٣", "1e999", "1e-999", "1,234,567", "1.2.3", '"1']
)
def test_no_numbers(text: str) -> None:
    assert isinstance(Numbers([text]).read(text), str)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("OVRFLW", "overflow"),
        ("OVER", "overflow"),
        ('"NaN"', "no reading"),
        (">4.000", "above range"),
        ("<0,01", "below range"),
        ("MISSED", "missed"),
        ("???", "error"),
        ("12", None),
        ("about 5", None),
    ],
)
def test_flags(text: str, flag: str | None) -> None:
    assert flag_of(text) == flag


def test_values_are_finite() -> None:
    value = Numbers(["1e308"]).read("1e308")
    assert isinstance(value, float)
    assert math.isfinite(value)
