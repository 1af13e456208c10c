"""Separators, encodings, column names, scale and units: what a header may and may not say."""

import io

import pytest

from service.assays.tables_in import Declaration, TableError, TableReader
from service.assays.tables_in.units import parse_unit, to_um

GOOD = "compound_1,dose_1_um,cell_line,viability_fraction\n"


def open_table(text, declared=None):
    content = text if isinstance(text, bytes) else text.encode()
    return TableReader(io.BytesIO(content), declared or Declaration())


def refusal(text, declared=None):
    with pytest.raises(TableError) as caught:
        list(open_table(text, declared).chunks())
    return caught.value.problems


def only(text, declared=None):
    (problem,) = refusal(text, declared)
    return problem


@pytest.mark.parametrize(("mark", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab")])
def test_separator_is_found_and_stated(mark, name):
    reader = open_table(GOOD.replace(",", mark))
    assert reader.columns.separator_name == name


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("compound_1;dose_1_um,cell_line;viability", "comma and semicolon"),
        ("compound_1", "no comma, semicolon or tab"),
        ("sep=;", "delete it"),
    ],
)
def test_ambiguous_separator_is_refused(header, words):
    problem = only(header + "\n")
    assert problem.code == "separator"
    assert words in problem.message


def test_quoted_names_may_hold_a_separator():
    reader = open_table('compound_1;dose_1_um;cell_line;viability_fraction;"a, b"\n')
    assert reader.columns.ignored == ("a, b",)


def test_byte_order_mark_and_blank_lines_before_the_header():
    reader = open_table(b"\xef\xbb\xbf\n,,\n" + GOOD.encode() + b"x,1,A,0.5\n")
    (chunk,) = reader.chunks()
    assert chunk.rows[0].row == 4


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (GOOD.encode("utf-16"), "encoding_utf16", "UTF-16"),
        (GOOD.encode("utf-16-le"), "encoding_utf16", "save as UTF-8"),
        (GOOD.encode() + b"a,1,b,0.5\nx\0,1,b,1\n", "nul_byte", "line 3"),
        (
            GOOD.encode() + b"a,1,b,1\n\xb5,1,b,1\n",
            "encoding",
            "line 3 is not UTF-8 (byte 0xb5, number 58",
        ),
        (GOOD.encode() + b"a,1,b,1\xc3", "encoding", "save as UTF-8"),
        (b"PK\x03\x04rest", "not_text", "Excel"),
        (b"\x1f\x8brest", "not_text", "gzip"),
        (b"", "empty", "empty"),
        (b"\n\n", "empty", "empty"),
        (GOOD.encode(), "no_rows", "no rows"),
    ],
)
def test_other_contents_are_refused(content, code, words):
    problem = only(content)
    assert problem.code == code
    assert words in problem.message


def test_encoding_error_far_into_the_file_names_the_line():
    lines = "".join(f"x,{i},A,0.5\n" for i in range(1, 20_001))
    problem = only(GOOD.encode() + lines.encode() + b"\xff")
    assert problem.row == 20_002
    assert f"{len(GOOD) + len(lines):,}" in problem.message


@pytest.mark.parametrize(
    "header",
    [
        "BlockId,DrugRow,DrugCol,ConcRow,ConcCol,ConcUnit,cell_line_name,response",
        "PairIndex,Drug1,Drug2,Conc1,Conc2,ConcUnit,Cell Line,inhibition",
        "block_id,drug_row,drug_col,conc_r,conc_c,response,conc_r_unit,conc_c_unit,cell_line",
        "BLOCK,Compound 1,COMPOUND-2,dose_1 (µM),Dose 2 [\u03bcM],CELL_LINE_NAME,% Inhibition",
        "cell_line,drug_row,drug_col,conc_row_uM,conc_col_uM,Inhibition (%)",
    ],
)
def test_aliases_of_two_compounds(header):
    reader = open_table(header + "\n", Declaration("inhibition", "percent"))
    assert len(reader.columns.slots) == 2
    assert reader.columns.ignored == ()


def test_unknown_columns_are_reported_as_ignored():
    reader = open_table("index,operator," + GOOD)
    assert reader.columns.ignored == ("index", "operator")


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        (
            "drug1,compound_1,dose_1_um,cell_line,viability_fraction",
            "ambiguous_column",
            "'drug1' and",
        ),
        (
            "drug,drug,dose_1_um,cell_line,viability_fraction",
            "duplicate_column",
            "'drug' appears 2",
        ),
        ("drug,dose_um,cell_line,viability_fraction,inhibition", "ambiguous_column", "value"),
        ("drug,dose_um,drug2,cell_line,viability_fraction", "missing_column", "'dose_2_um'"),
        ("drug,dose_um,dose_3_um,cell_line,viability_fraction", "missing_column", "'compound_3'"),
        ("drug,dose_um,drug4,cell_line,viability_fraction", "too_many_compounds", "fourth"),
        ("drug,dose,cell_line,viability_fraction", "dose_unit_missing", "dose_1_um"),
        ("a,b,c", "missing_column", "not recognised: a, b, c"),
        ("drug,dose_um,viability_fraction", "missing_column", "cell line"),
        (",".join(f"c{i}" for i in range(201)), "too_many_columns", "201"),
        ("x" * 300 + "," + GOOD.strip(), "column_name_too_long", "shorten"),
    ],
)
def test_unusable_headers(header, code, words):
    problem = only(header + "\n")
    assert problem.code == code
    assert words in problem.message


def test_cell_line_named_twice():
    assert only(GOOD, Declaration(cell_line="A375")).code == "cell_line_contradiction"


def test_decimal_comma_in_a_comma_separated_table():
    assert only(GOOD, Declaration(decimal=",")).code == "decimal_contradiction"


def test_dose_unit_contradiction():
    problem = only(GOOD, Declaration(dose_unit="nM"))
    assert problem.code == "dose_unit_contradiction"
    assert open_table(GOOD, Declaration(dose_unit="µM")).columns.slots[0].unit == "uM"


@pytest.mark.parametrize(
    ("column", "declared", "codes"),
    [
        ("response", Declaration(), ["quantity_missing", "unit_missing"]),
        ("viability", Declaration(), ["unit_missing"]),
        ("inhibition", Declaration(), ["unit_missing"]),
        ("response_percent", Declaration(), ["quantity_missing"]),
        ("viability", Declaration("inhibition", "percent"), ["quantity_contradiction"]),
        ("viability_percent", Declaration(unit="fraction"), ["unit_contradiction"]),
    ],
)
def test_scale_is_never_guessed(column, declared, codes):
    problems = refusal(f"drug,dose_um,cell_line,{column}\n", declared)
    assert [problem.code for problem in problems] == codes
    assert all(column in problem.message for problem in problems)


@pytest.mark.parametrize(
    "field", [{"quantity": "growth"}, {"unit": "%"}, {"dose_unit": "mg/ml"}, {"decimal": "·"}]
)
def test_declarations_are_checked(field):
    with pytest.raises(TableError):
        Declaration(**field)


@pytest.mark.parametrize(
    ("text", "um"),
    [
        ("M", 1e6),
        ("mM", 1e3),
        ("uM", 1.0),
        ("\u00b5M", 1.0),
        ("\u03bcM", 1.0),
        ("nM", 1e-3),
        ("pM", 1e-6),
        (" UM ", 1.0),
        ("nmol/L", 1e-3),
    ],
)
def test_units(text, um):
    assert to_um(1.0, parse_unit(text)) == um


def test_unknown_units():
    assert parse_unit("mg/mL") is None
    assert to_um(35.0, "nM") == 0.035
