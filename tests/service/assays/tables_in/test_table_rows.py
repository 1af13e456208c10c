"""Every rule of a row: what it refuses, where it says so, and the fix it offers."""

import io
import time
import tracemalloc

import pytest

from service.assays.tables_in import Declaration, TableError, TableReader, read_table

HEADER = "compound_1,dose_1_um,compound_2,dose_2_um,cell_line,viability_fraction,plate,well,block"
WHOLE = Declaration()


def read(lines, declared=WHOLE, header=HEADER, **limits):
    content = "\n".join([header, *lines]).encode()
    reader = TableReader(io.BytesIO(content), declared, **limits)
    rows = [row for chunk in reader.chunks() for row in chunk.rows]
    return rows, reader.problems


def problem_of(line, declared=WHOLE, header=HEADER):
    rows, problems = read([line], declared, header)
    assert rows == []
    assert problems.total == 1
    return problems.first[0]


@pytest.mark.parametrize(
    ("line", "column", "code", "words"),
    [
        ("A,nan,,,X,1,,,", "dose_1_um", "not_a_number", "'nan'"),
        ("A,1,,,X,inf,,,", "viability_fraction", "not_a_number", "'inf'"),
        ("A,1,,,X,1e400,,,", "viability_fraction", "not_finite", "'1e400'"),
        ("A,1e-400,,,X,1,,,", "dose_1_um", "not_finite", "too small"),
        ("A,1,,,X,true,,,", "viability_fraction", "not_a_number", "'true'"),
        ("A,1,,,X,,,,", "viability_fraction", "not_a_number", "empty"),
        ("A,1,,,X,95%,,,", "viability_fraction", "not_a_number", "% sign"),
        ('A,"1,5",,,X,1,,,', "dose_1_um", "not_a_number", "decimal=','"),
        ("A,1_0,,,X,1,,,", "dose_1_um", "not_a_number", "'1_0'"),
        ("A,٣,,,X,1,,,", "dose_1_um", "not_a_number", "plain number"),
        ("A,-1,,,X,1,,,", "dose_1_um", "dose_negative", "-1"),
        ("A,1000001,,,X,1,,,", "dose_1_um", "dose_implausible", "unit"),
        ("A,1e-13,,,X,1,,,", "dose_1_um", "dose_implausible", "attomolar"),
        ("A,,,,X,1,,,", "dose_1_um", "not_a_number", "empty"),
        (",2,,,X,1,,,", "compound_1", "compound_missing", "2 uM"),
        ("A,1, a ,2,X,1,,,", "compound_2", "compound_twice", "'a'"),
        ("A,1,,,,1,,,", "cell_line", "cell_line_missing", "name it"),
        ("A,1,,,X,11,,,", "viability_fraction", "looks_like_percent", "11"),
        ("A,1,,,X", "viability_fraction", "truncated_file", "5 fields"),
        ("A,1,,,X,1,,,,9", "block", "too_many_fields", "10 fields"),
        ("A\u200b,1,,,X,1,,,", "compound_1", "invisible_character", "U+200B"),
        (f"{'A' * 1001},1,,,X,1,,,", "compound_1", "field_too_long", "1,001"),
        ("A,0,,,X,0.01,,,", "viability_fraction", "vehicle_contradicts_scale", "no compound"),
    ],
)
def test_bad_rows(line, column, code, words):
    problem = problem_of(line)
    assert (problem.row, problem.column, problem.code) == (2, column, code)
    assert words in problem.message
    assert problem.value is None or len(problem.value) <= 40


def test_several_problems_in_one_row_are_all_noted():
    _, problems = read(["A,x,B,-1,,z,,,"])
    assert [p.column for p in problems.first] == [
        "cell_line", "dose_1_um", "dose_2_um", "viability_fraction",
    ]  # fmt: skip


def test_zero_doses_and_empty_compounds_are_left_out():
    rows, problems = read(
        ["A,0,B,1,X,0.5,,,", "B,2,,,X,0.5,,,", ",,,,X,1,,,", ",0,,,X,1,P,,", "A,-0.0,,0,X,1,Q,,"]
    )
    assert problems.total == 0
    assert [row.components for row in rows] == [(("B", 1.0),), (("B", 2.0),), (), (), ()]


def test_names_keep_their_spelling_and_sort_by_folded_name():
    (row,), _ = read(["Zeta,1,\u00a0alpha  two ,2, Cell  1 ,0.5, P1 ,A01,b"])
    assert row.components == (("alpha two", 2.0), ("Zeta", 1.0))
    assert (row.cell_line, row.plate, row.well, row.block) == ("Cell 1", "P1", "A01", "b")


def test_decimal_comma_when_declared():
    header = HEADER.replace(",", ";")
    (row,), _ = read(["A;1,5;;;X;0,75;;;"], Declaration(decimal=","), header)
    assert (row.components, row.viability) == ((("A", 1.5),), 0.75)
    assert (
        "decimal point" in problem_of("A;1.5;;;X;0,75;;;", Declaration(decimal=","), header).message
    )


@pytest.mark.parametrize(
    ("unit", "code"),
    [("mg/ml", "dose_unit_unknown"), ("", "dose_unit_missing")],
)
def test_bad_unit_cells(unit, code):
    header = "drug,conc,conc_unit,cell_line,viability_fraction"
    assert problem_of(f"A,1,{unit},X,0.5", header=header).code == code


def test_unit_cell_against_a_fixed_unit():
    header = "drug,conc_nM,conc_unit,cell_line,viability_fraction"
    assert problem_of("A,1,uM,X,0.5", header=header).code == "dose_unit_contradiction"
    (row,), _ = read(["A,35,,X,0.5"], header=header)
    assert row.components == (("A", 0.035),)


@pytest.mark.parametrize(
    ("declared", "raw", "viability"),
    [
        (Declaration("viability", "fraction"), 0.25, 0.25),
        (Declaration("viability", "percent"), 25.0, 0.25),
        (Declaration("inhibition", "fraction"), 0.25, 0.75),
        (Declaration("inhibition", "percent"), 25.0, 0.75),
    ],
)
def test_scales(declared, raw, viability):
    (row,), _ = read([f"A,1,X,{raw}"], declared, "drug,dose_um,cell_line,response")
    assert (row.raw_value, row.viability) == (raw, viability)


def test_percent_control_that_reads_like_a_fraction():
    header = "drug,dose_um,cell_line,viability_percent"
    assert problem_of(",,X,0.98", header=header).code == "vehicle_contradicts_scale"
    rows, _ = read([",,X,0.98"], Declaration(confirm_scale=True), header)
    assert rows[0].viability == 0.0098


def test_whole_percent_file_of_fractions_is_refused_unless_confirmed():
    header = "drug,dose_um,cell_line,viability_percent"
    lines = [f"A,{i + 1},X,{i / 20}" for i in range(20)]
    assert len(read(lines[:19], header=header)[0]) == 19
    with pytest.raises(TableError, match="looks like a fraction"):
        read(lines, header=header)
    rows, _ = read(lines, Declaration(confirm_scale=True), header)
    assert len(rows) == 20


def test_short_line_in_the_middle_and_at_the_end():
    _, problems = read(["A,1", "A,1,,,X,1,,,", "A,2,,,X"])
    assert [(p.row, p.code) for p in problems.first] == [
        (2, "too_few_fields"),
        (4, "truncated_file"),
    ]
    assert "file seems truncated" in problems.first[1].message


def test_last_line_without_newline_and_blank_lines():
    rows, problems = read(["", "A,1,,,X,1,,,", ",,,,,,,,", "  ", "B,1,,,X,1,,,"])
    assert [row.row for row in rows] == [3, 6]
    assert problems.total == 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end):
    content = end.join([HEADER, "A,1,,,X,1,,,", "B,1,,,X,1,,,"]).encode()
    (chunk,) = read_table(io.BytesIO(content), WHOLE)
    assert [row.row for row in chunk.rows] == [2, 3]


def test_quoted_line_ends_keep_line_numbers_true():
    rows, _ = read(['"A\nB",1,,,X,1,,,', "C,1,,,X,1,,,"])
    assert [(row.row, row.components[0][0]) for row in rows] == [(2, "A B"), (4, "C")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('"A,1,,,X,1,,,', "quotes"),
        ('"A"B,1,,,X,1,,,', "quotes"),
        ('"A\n",' * 70_000, "row_too_long"),
        ("A" * 300_000, "row_too_long"),
        ('"' + "A" * 200_000 + '"', "quotes"),
    ],
)
def test_runaway_quotes_and_lines(line, code):
    with pytest.raises(TableError) as caught:
        read([line])
    assert caught.value.problems[0].code == code
    assert caught.value.problems[0].row == 2


def test_too_many_rows():
    with pytest.raises(TableError, match="more than 2 rows"):
        read([f"A,{i},,,X,1,,," for i in range(1, 4)], max_rows=2)


def test_duplicates_name_both_rows():
    rows, problems = read(["A,1,B,2,X,0.5,,,", "C,1,,,X,0.5,,,", "b,2.0,A,1,x,0.6,,,"])
    assert [row.row for row in rows] == [2, 3]
    assert problems.first[0].row == 4
    assert "row 4 repeats row 2 (A 1 uM + b 2 uM on x)" in problems.first[0].message
    assert "replicate" in problems.first[0].message


def test_duplicates_across_chunks():
    lines = [f"A,{i},,,X,0.5,,," for i in range(1, 4_501)]
    rows, problems = read([*lines, lines[0]])
    assert len(rows) == 4_500
    assert "row 4502 repeats row 2" in problems.first[0].message


@pytest.mark.parametrize("places", [("P1,,", "P2,,"), (",A1,", ",A2,"), (",,1", ",,2")])
def test_the_same_treatment_elsewhere_is_no_duplicate(places):
    rows, _ = read([f",,,,X,1,{place}" for place in places])
    assert len(rows) == 2


def test_one_dose_in_two_units_is_a_duplicate():
    header = "drug,conc,conc_unit,cell_line,viability_fraction"
    _, problems = read(["A,0.0325,nM,X,1", "A,3.25e-5,uM,X,1"], header=header)
    assert problems.total == 1


def test_one_well_in_two_spellings_is_a_duplicate():
    _, problems = read(["A,1,,,X,1,P,A1,", "A,1,,,X,1,P,a01,"])
    assert problems.total == 1
    assert "correct the plate, well" in problems.first[0].message


def test_declared_repeats_become_replicates():
    lines = ["A,1,,,X,1,,,", "A,1,,,X,0.9,,,", "A,1,,,X,1,P,A1,", "A,1,,,X,1,P,A1,"]
    rows, problems = read(lines, Declaration(repeats="replicates"))
    assert [row.replicate for row in rows] == ["1", "2", None]
    assert problems.total == 1


def test_problems_are_capped_and_counted():
    content = "\n".join([HEADER, *["A,x,,,X,1,,,"] * 2_500, "A,1,,,X,1,,,"]).encode()
    chunks = list(read_table(io.BytesIO(content), WHOLE))
    assert sum(len(chunk.problems) for chunk in chunks) == 100
    assert sum(chunk.problem_count for chunk in chunks) == 2_500


def made_table(rows):
    header = HEADER.replace("block", "replicate")
    for i in range(rows):
        if i == 0:
            yield header
        well = f"{chr(65 + i % 16)}{i % 24 + 1:02d}"
        doses = f"Drug {i % 40},{i % 7 + 1},Other {i % 31},0.0{i % 9 + 1}"
        yield f"{doses},C{i % 25},0.{i % 97},P{i // 384},{well},{i}"


def test_a_hundred_thousand_rows_are_quick():
    content = "\n".join(made_table(100_000)).encode()
    start = time.process_time()
    assert sum(len(chunk.rows) for chunk in read_table(io.BytesIO(content), WHOLE)) == 100_000
    assert time.process_time() - start < 6.0


def test_memory_does_not_grow_with_the_table():
    peaks = []
    for rows in (10_000, 40_000):
        stream = io.BytesIO("\n".join(made_table(rows)).encode())
        tracemalloc.start()
        assert sum(len(chunk.rows) for chunk in read_table(stream, WHOLE)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
