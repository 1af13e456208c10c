"""Only what a file would write is a number."""

import pytest

from service.plates.numbers import amount


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("2.5", 2.5), ("5E-05", 5e-5), (".5", 0.5), ("3.", 3.0)]
)
def test_numbers(text: str, value: float) -> None:
    assert amount(text) == value


@pytest.mark.parametrize(
    "text", ["", " ", "-1", "+1", "1,5", "1_0", "nan", "inf", "1e999", "１", "0x1", "1 2", "."]
)
def test_what_is_none(text: str) -> None:
    assert amount(text) is None
