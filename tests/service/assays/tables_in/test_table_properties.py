"""What must hold for every table, in any spelling, order and encoding."""

import csv
import io
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.assays.tables_in import Declaration, TableError, TableReader
from service.assays.tables_in.units import to_um

SPELLINGS = (
    (
        "compound_1",
        "dose_1",
        "compound_2",
        "dose_2",
        "cell_line",
        "{q}_{u}",
        "replicate",
        "dose_unit",
    ),
    ("DrugRow", "ConcRow", "DrugCol", "ConcCol", "cell_line_name", "{u} {q}", "Rep", "ConcUnit"),
    (
        "drug_row",
        "conc_r",
        "drug_col",
        "conc_c",
        "CELL LINE",
        "{q} ({u})",
        "REPLICATE",
        "conc_unit",
    ),
    ("Drug1", "Conc1", "Drug2", "Conc2", "CellLine", "{q}{u}", "replicate_id", "Dose Unit"),
)
NAMES = ("Imatinib", "5-FU", "MK 2206", "β-Lapachone", 'a "quoted", name; x', "Cis\tplatin")
UNITS = ("M", "mM", "uM", "\u00b5M", "\u03bcM", "nM", "pM")
SCALES = {
    ("viability", "fraction"): lambda v: v,
    ("viability", "percent"): lambda v: 100 * v,
    ("inhibition", "fraction"): lambda v: 1 - v,
    ("inhibition", "percent"): lambda v: 100 * (1 - v),
}

wells = st.lists(
    st.tuples(
        st.sampled_from(NAMES[:3]),
        st.floats(1e-6, 900.0),
        st.sampled_from(NAMES[3:]),
        st.floats(0, 900.0).filter(lambda dose: dose == 0 or dose > 1e-6),
        st.sampled_from(("A375", "HT-29")),
        st.floats(0.06, 2.0),
    ),
    min_size=1,
    max_size=30,
)


def write(rows, header, separator, decimal, newline, bom):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=newline)
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(cell, decimal) for cell in row])
    return (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()


def _cell(value, decimal):
    return repr(value).replace(".", decimal) if isinstance(value, float) else str(value)


def read(content, declared):
    reader = TableReader(io.BytesIO(content), declared)
    rows = [row for chunk in reader.chunks() for row in chunk.rows]
    return rows, reader.problems


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    wells,
    st.sampled_from(SPELLINGS),
    st.sampled_from(sorted(SCALES)),
    st.sampled_from(",;\t"),
    st.booleans(),
    st.sampled_from(("\n", "\r\n")),
    st.sampled_from(UNITS),
)
def test_every_spelling_reads_back_the_same(rows, spelling, scale, separator, flag, newline, unit):
    quantity, scale_unit = scale
    factor = to_um(1.0, unit.replace("\u00b5", "u").replace("\u03bc", "u"))
    decimal = "," if flag and separator != "," else "."
    header = [name.format(q=quantity, u=scale_unit) for name in spelling]
    table = [
        (a, da / factor, b, db / factor, line, SCALES[scale](value), i, unit)
        for i, (a, da, b, db, line, value) in enumerate(rows)
    ]
    content = write(table, header, separator, decimal, newline, flag)
    got, problems = read(content, Declaration(decimal=decimal, confirm_scale=True))
    assert problems.total == 0
    assert len(got) == len(rows)
    for row, (a, da, b, db, line, value) in zip(got, rows, strict=True):
        expected = {" ".join(a.split()): da, " ".join(b.split()): db}
        assert dict(row.components) == pytest.approx(
            {name: dose for name, dose in expected.items() if dose}, rel=1e-12
        )
        assert row.viability == pytest.approx(value, abs=1e-12)
        assert row.cell_line == line


HEADER = ("compound_1", "dose_1_um", "compound_2", "dose_2_um", "cell_line", "viability_fraction")


def content_of(rows, replicate=True):
    header = [*HEADER, "replicate"]
    table = [(*row, number) for number, row in rows]
    return write(table, header, ",", ".", "\n", False)


def without_line(rows):
    return {(r.cell_line, r.components, r.viability, r.replicate) for r in rows}


@settings(max_examples=30)
@given(wells, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, chance: random.Random):
    numbered = list(enumerate(rows))
    shuffled = numbered.copy()
    chance.shuffle(shuffled)
    first, _ = read(content_of(numbered), Declaration())
    second, _ = read(content_of(shuffled), Declaration())
    assert without_line(first) == without_line(second)


@settings(max_examples=30)
@given(wells)
def test_order_of_compounds_does_not_matter(rows):
    swapped = [(b, db, a, da, line, value) for a, da, b, db, line, value in rows]
    first, _ = read(content_of(list(enumerate(rows))), Declaration())
    second, _ = read(content_of(list(enumerate(swapped))), Declaration())
    assert first == second


PIECES = (*(bytes([byte]) for byte in b',;\t\n\r"1-eA\xb5\0'), b"0.5", b"\xef\xbb\xbf", b"\xc2\xb5")
fragments = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=60).map(b"".join)


def problems_of(content):
    """Whatever the reader says about ``content``; good rows count as well."""
    try:
        rows, problems = read(content, Declaration())
    except TableError as error:
        return [problem.message for problem in error.problems]
    return [*rows, *(problem.message for problem in problems.first)]


@settings(max_examples=300)
@given(fragments, st.booleans())
def test_arbitrary_bytes_raise_nothing_but_table_errors(tail, with_header):
    header = ",".join((*HEADER, "plate", "conc_unit")).encode() + b"\n" if with_header else b""
    assert all(problems_of(header + tail))
    assert problems_of(header + tail)


class Trickle(io.BytesIO):
    """A stream that gives a byte at a time, as a slow upload may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(1, size or 0))


@settings(max_examples=50)
@given(fragments)
def test_the_size_of_blocks_does_not_matter(tail):
    content = ",".join(HEADER).encode() + b"\r\n" + tail
    try:
        whole, problems = read(content, Declaration())
    except TableError:
        return
    slow = TableReader(Trickle(content), Declaration())
    assert [row for chunk in slow.chunks() for row in chunk.rows] == whole
    assert slow.problems == problems
