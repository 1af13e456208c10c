"""JSON measurements obey the rules of the tables and answer with JSON pointers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.assays.tables_in import Declaration, TableError, read_records


def record(**changes):
    good = {"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1}], "viability_fraction": 0.5}
    return {key: value for key, value in (good | changes).items() if value is not ...}


def test_good_records():
    first = record(
        doses=[{"compound": "b", "dose": 35, "unit": "nM"}, {"compound": "A", "dose_um": 1}]
    )
    second = record(doses=[], viability_fraction=1, plate="P", well="A1", replicate=2, block="b")
    result = read_records([first, second])
    assert result.problems == ()
    assert result.rows[0].components == (("A", 1.0), ("b", 0.035))
    assert result.rows[1].components == ()
    assert (result.rows[1].row, result.rows[1].replicate) == (1, "2")


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"cell_line": ...}, "/cell_line", "cell_line_missing"),
        ({"cell_line": 3}, "/cell_line", "wrong_type"),
        ({"cell_line": "\ud800"}, "/cell_line", "invisible_character"),
        ({"cell_line": "a\0b"}, "/cell_line", "invisible_character"),
        ({"viability_fraction": ...}, "", "value_missing"),
        ({"viability_fraction": True}, "/viability_fraction", "wrong_type"),
        ({"viability_fraction": "0.5"}, "/viability_fraction", "wrong_type"),
        ({"viability_fraction": float("nan")}, "/viability_fraction", "not_finite"),
        ({"viability_fraction": 10**400}, "/viability_fraction", "not_finite"),
        ({"viability_fraction": 50}, "/viability_fraction", "looks_like_percent"),
        ({"viability_fraction": ..., "viability": 0.5}, "/viability", "unit_missing"),
        ({"doses": {}}, "/doses", "not_a_list"),
        ({"doses": [1]}, "/doses/0", "not_an_object"),
        ({"doses": [{"compound": "A", "dose_um": 1}] * 4}, "/doses", "too_many_compounds"),
        ({"doses": [{"compound": "A", "dose_um": 1}] * 2}, "/doses/1", "compound_twice"),
        ({"doses": [{"compound": "A", "dose_um": -1}]}, "/doses/0/dose_um", "dose_negative"),
        ({"doses": [{"compound": "A", "dose": 1}]}, "/doses/0", "dose_unit_missing"),
        ({"doses": [{"compound": "A"}]}, "/doses/0", "dose_missing"),
        ({"doses": [{"dose_um": 1}]}, "/doses/0/compound", "compound_missing"),
        ({"doses": [{"compound": "A", "dose_um": 1, "x": 1}]}, "/doses/0/x", "unknown_key"),
        ({"a/b": 1}, "/a~1b", "unknown_key"),
        ({"cellLine": "Y"}, "/cellLine", "ambiguous_key"),
        ({"plate": 1.5}, "/plate", "wrong_type"),
    ],
)
def test_bad_records(changes, pointer, code):
    result = read_records([record(cell_line="other"), record(**changes)])
    assert len(result.rows) == 1
    assert [(p.row, p.column, p.code) for p in result.problems] == [
        (1, f"/measurements/1{pointer}", code)
    ]


def test_declared_scale_unit_and_cell_line():
    declared = Declaration("inhibition", "percent", dose_unit="nM", cell_line="Z")
    item = {"doses": [{"compound": "A", "dose": 5}], "response": 25}
    (row,) = read_records([item], declared).rows
    assert (row.cell_line, row.components, row.viability) == ("Z", (("A", 0.005),), 0.75)


def test_mixed_scales_are_refused():
    other = record(viability_fraction=..., viability_percent=50, cell_line="Y")
    result = read_records([record(), other])
    assert result.problems[0].code == "mixed_scales"


def test_duplicates_and_whole_list_scale():
    result = read_records([record(), record()])
    assert result.problems[0].message.startswith("measurement 1 repeats measurement 0")
    assert result.problems[0].column == "/measurements/1"
    many = [
        record(viability_fraction=..., viability_percent=0.5, cell_line=str(i)) for i in range(20)
    ]
    with pytest.raises(TableError, match="looks like a fraction"):
        read_records(many)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["cell_line", "doses", "viability_fraction", "plate", "well", "x"])


@given(st.lists(JSON | st.dictionaries(KEYS, JSON), max_size=4))
def test_any_json_is_answered(records):
    result = read_records(records)
    assert len(result.rows) + result.problem_count >= len(records)
