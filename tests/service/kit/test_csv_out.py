"""CSV that no spreadsheet runs, and that reads back as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.csv_out import csv_lines, csv_text, neutral, plain

STARTS = ("=", "+", "-", "@", "\t", "\r")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=", "-"])
def test_what_a_spreadsheet_would_run_is_text(text):
    assert neutral(text) == "'" + text
    assert plain(neutral(text)) == text


@pytest.mark.parametrize("value", ["A375", "", "'quoted", "a=b", 0, -1.5, True, 1e-7, "１+1"])
def test_everything_else_stays(value):
    assert neutral(value) is value


@pytest.mark.parametrize("text", ["", "A", "'", "'A", "''=1", "=1"])
def test_plain_takes_away_only_what_neutral_added(text):
    assert plain(text) == text


def test_nothing_is_an_empty_cell():
    assert csv_text(["a", "b"], [[None, 0]]) == "a,b\r\n,0\r\n"


@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=2), max_size=8))
def test_cells_come_back(rows):
    text = csv_text(["one", "two"], rows)
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[0] == ["one", "two"]
    for written, read in zip(rows, found[1:], strict=True):
        assert [cell.startswith(STARTS) for cell in read] == [False, False]
        assert [plain(cell) for cell in read] == [plain(cell) for cell in written]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_come_back_to_the_last_bit(numbers):
    text = csv_text([f"c{n}" for n in range(len(numbers))], [numbers])
    assert [float(cell) for cell in text.splitlines()[1].split(",")] == numbers


def test_lines_are_made_one_by_one():
    made = []

    def rows():
        for number in range(3):
            made.append(number)
            yield [number]

    lines = csv_lines(["n"], rows())
    assert (next(lines), made) == ("n\r\n", [])
    assert (next(lines), made) == ("0\r\n", [0])
