"""Names of wells there and back, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plates.geometry import (
    FORMATS,
    PLATE_96,
    PLATE_384,
    PLATE_1536,
    format_of,
    parse_well,
    plate_format,
    row_name,
    well_name,
)
from service.plates.problems import PlateError


def test_known_names() -> None:
    assert well_name(0, 0) == "A1"
    assert well_name(0, 0, padded=True) == "A01"
    assert well_name(15, 23, padded=True) == "P24"
    assert well_name(31, 47) == "AF48"
    assert [row_name(row) for row in (0, 25, 26, 31)] == ["A", "Z", "AA", "AF"]


@pytest.mark.parametrize("size", FORMATS)
@pytest.mark.parametrize("padded", [True, False])
def test_every_well_comes_back(size: int, padded: bool) -> None:
    plate = plate_format(size)
    names = [well_name(*well, padded=padded) for well in plate.wells()]
    assert len(set(names)) == size
    assert [plate.parse(name) for name in names] == list(plate.wells())


@pytest.mark.parametrize(
    ("text", "well"), [("A1", (0, 0)), ("A01", (0, 0)), (" b012 ", (1, 11)), ("aF48", (31, 47))]
)
def test_spellings(text: str, well: tuple[int, int]) -> None:
    assert parse_well(text) == well


@pytest.mark.parametrize(
    "text", ["", "A", "1", "A0", "A00", "1A", "A-1", "A1.0", "BA1", "AAA1", "A1 B2", "A1234", "Ä1"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(PlateError, match="is no well"):
        parse_well(text)


def test_a_number_is_no_well() -> None:
    with pytest.raises(PlateError, match="is no well"):
        parse_well(11)  # type: ignore[arg-type]


@given(st.text(max_size=6))
def test_any_text_is_a_well_or_refused(text: str) -> None:
    try:
        row, column = parse_well(text)
    except PlateError:
        return
    assert parse_well(well_name(row, column)) == (row, column)


def test_edges() -> None:
    assert len(PLATE_96.edge()) == 36
    assert len(PLATE_384.edge()) == 76
    assert len(PLATE_1536.edge()) == 156
    assert len(PLATE_96.inner()) == 60
    assert PLATE_384.is_edge((1, 5), rings=2)
    assert not PLATE_384.is_edge((1, 5))
    assert set(PLATE_96.edge()) | set(PLATE_96.inner()) == set(PLATE_96.wells())


def test_a_well_beyond_the_plate_is_refused() -> None:
    with pytest.raises(PlateError, match=r"96 wells ends at H12; it has no well P24"):
        PLATE_96.parse("P24")
    with pytest.raises(PlateError, match="no well"):
        PLATE_96.check((-1, 0))


def test_formats_by_size_and_shape() -> None:
    assert plate_format(384) is PLATE_384
    assert format_of(32, 48) is PLATE_1536
    with pytest.raises(PlateError, match="96, 384, 1536"):
        plate_format(24)
    with pytest.raises(PlateError, match="8 x 12"):
        format_of(12, 8)


def test_names_beyond_the_alphabet_are_refused() -> None:
    with pytest.raises(PlateError, match="row 52"):
        well_name(52, 0)
    with pytest.raises(PlateError, match="column -1"):
        well_name(0, -1)
