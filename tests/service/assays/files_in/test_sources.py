from __future__ import annotations

import gzip
import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.file_samples import (
    as_csv,
    grid,
    long_ndjson,
    matrix_rows,
    softmax,
    tecan_rows,
    xlsx,
)
from service.assays.files_in import (
    FileError,
    Limits,
    ReaderFile,
    TableFile,
    open_archive,
    open_source,
    parse_file,
)


@pytest.mark.parametrize(
    ("encoding", "mark", "name"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", b"\xef\xbb\xbf", "utf-8"),
        ("utf-16-le", b"\xff\xfe", "utf-16-le"),
        ("utf-16-be", b"\xfe\xff", "utf-16-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
        ("cp1252", b"", "cp1252"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding: str, mark: bytes, name: str, end: str) -> None:
    text = "dose (µM),response" + end + "1,2" + end
    source = open_source("a.csv", mark + text.encode(encoding))
    assert source.encoding == name
    assert source.lines == ("dose (µM),response", "1,2", "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"a,b\n1,\x001\n", "binary or damaged"),
        (b"a,b\n1,\x022\n", "control character U\\+0002"),
        (b"\xff\xfea", "damaged"),
        (b"a\x81,b\n", "not cp1252"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08zz", "gzip file is damaged"),
        (b"PK\x03\x04zz", "archive is damaged"),
        (b"PAR1zzzzPAR1", "Parquet file is damaged"),
        (b'{"a": 1}\n{"a": NaN}\n', "no JSON number"),
        (b'{"a": 1}\n{"a": 1, "a": 2}\n', "twice"),
        (b"[" * 100_000, "nested too deeply|no JSON object"),
    ],
)
def test_what_is_no_readable_file(content: bytes, reason: str) -> None:
    with pytest.raises(FileError, match=reason) as caught:
        open_source("a", content)
    assert not caught.value.unexpected


def test_the_line_of_a_bad_byte_is_named() -> None:
    with pytest.raises(FileError) as caught:
        open_source("a.csv", b"a,b\n1,2\n\x81,2\n")
    assert caught.value.line == 3


def test_size_limits() -> None:
    with pytest.raises(FileError, match="larger than 0 MiB"):
        open_source("a.csv", b"x" * 200, Limits(bytes=100))
    rows = Limits(rows=5)
    with pytest.raises(FileError, match="more than 5 rows"):
        parse_file("a.csv", grid(96), limits=rows)
    with pytest.raises(FileError, match="more than 5 columns"):
        parse_file("a.csv", grid(96), limits=Limits(columns=5))
    with pytest.raises(FileError, match="more than 50 cells"):
        parse_file("a.csv", grid(96), limits=Limits(cells=50))


def test_gzip_bomb_is_refused_before_it_unpacks() -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    assert len(bomb) < 50_000
    with pytest.raises(FileError, match="unpacks to more than"):
        open_source("a.gz", bomb, Limits(unpacked_bytes=1 << 20))


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_zip_bomb_is_refused() -> None:
    bomb = zipped({"a.csv": b"0" * 20_000_000})
    with pytest.raises(FileError, match="unpacks to more than"):
        open_source("a.zip", bomb, Limits(unpacked_bytes=1 << 20))
    with pytest.raises(FileError, match="more than 2 files"):
        open_archive(zipped({str(i): b"x" for i in range(3)}), Limits(archive_files=2))


def test_xlsx_bomb_is_refused() -> None:
    book = xlsx({"S": [[1.0]]}, extra="<!--" + "0" * 20_000_000 + "-->")
    with pytest.raises(FileError, match="unpacks to more than"):
        open_source("a.xlsx", book, Limits(unpacked_bytes=1 << 20))


def test_xlsx_with_a_far_cell_reserves_no_memory() -> None:
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    with pytest.raises(FileError, match="reaches to row 1,048,576 and column 16,384"):
        open_source("a.xlsx", xlsx({"S": [[1.0]]}, extra=far))


def test_xlsx_errors_and_formulas_without_value_are_refused_by_cell() -> None:
    for cell, reason in (
        ('<c r="B9" t="e"><v>#DIV/0!</v></c>', "Excel error"),
        ('<c r="B9"><f>1+1</f></c>', "formula without value"),
    ):
        book = xlsx({"S": [[1.0]]}, extra=f'<row r="9"><c r="A9" s="1"/>{cell}</row>')
        with pytest.raises(FileError, match=reason) as caught:
            open_source("a.xlsx", book)
        assert caught.value.cell == "B9"
    good = '<row r="9"><c r="B9"><f>1+1</f><v>2</v></c></row>'
    source = open_source("a.xlsx", xlsx({"S": [[1.0]]}, extra=good))
    assert source.book[0].cell(8, 1) == "2"


def test_xlsx_with_entities_is_refused() -> None:
    book = xlsx({"S": [["x"]]}).replace(b"zz", b"zz")
    files = {}
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["xl/worksheets/sheet1.xml"] = b"<!DOCTYPE a []>" + files["xl/worksheets/sheet1.xml"]
    with pytest.raises(FileError, match="no plain workbook XML"):
        open_source("a.xlsx", zipped(files))


def test_cells_stay_at_their_places_and_floats_read_back() -> None:
    source = open_source("a.xlsx", xlsx({"One": [[], [None, 0.1 + 0.2, 12.0]], "Two": [["x"]]}))
    sheet = source.book[0]
    assert sheet.cell(1, 1) == repr(0.1 + 0.2)
    assert sheet.cell(1, 2) == "12"
    assert [each.name for each in source.book] == ["One", "Two"]


def test_one_file_in_gzip_or_zip_is_read() -> None:
    for packed in (gzip.compress(grid(96)), zipped({"plates/P7.csv": grid(96)})):
        found = parse_file("P7.csv.gz", packed)
        assert isinstance(found, ReaderFile)
        assert found.plates[0].plate_name == "P7"


def test_archives_with_litter_doubles_and_several_files() -> None:
    files = {"run/a.csv": b"1", "__MACOSX/run/._a.csv": b"2", "run/.DS_Store": b"3"}
    assert open_archive(zipped(files)) == (("a.csv", b"1"),)
    with pytest.raises(FileError, match=r"'a\.csv' twice"):
        open_archive(zipped({"x/a.csv": b"1", "y/a.csv": b"2"}))
    with pytest.raises(FileError, match="holds 2 files"):
        parse_file("a.zip", zipped({"a.csv": grid(96), "b.csv": grid(96)}))
    with pytest.raises(FileError, match="archive within an archive"):
        parse_file("a.zip", zipped({"b.zip": zipped({"a.csv": grid(96)})}))


def test_parquet_and_ndjson_say_what_the_csv_says() -> None:
    rows = [{"barcode": "LW1", "well": f"A{i + 1:02d}", "signal": 1.5 * i} for i in range(12)]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    found = parse_file("a.parquet", out.getvalue())
    assert isinstance(found, ReaderFile)
    assert [r.value for r in found.plates[0].readings] == [1.5 * i for i in range(12)]
    lines = parse_file("a.ndjson", long_ndjson())
    assert isinstance(lines, ReaderFile)
    assert lines.plates[0].n_read == 96
    assert lines.plates[0].readings[13].line == 14  # one line per record


def test_parquet_limits() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"well": ["A1"] * 1000}), out)
    with pytest.raises(FileError, match="too large"):
        open_source("a.parquet", out.getvalue(), Limits(rows=100))
    nested = io.BytesIO()
    pq.write_table(pa.table({"well": [[1], [2]]}), nested)
    with pytest.raises(FileError, match="nested"):
        open_source("a.parquet", nested.getvalue())


def test_workbook_and_text_give_the_same_readings() -> None:
    book = parse_file("t.xlsx", xlsx({"Sheet1": tecan_rows()}))
    rows = [["" if c is None else str(c) for c in row] for row in tecan_rows()]
    text = parse_file("t.txt", "\n".join("\t".join(row) for row in rows).encode())
    assert isinstance(book, ReaderFile)
    assert isinstance(text, ReaderFile)
    assert [r.value for r in book.plates[0].readings] == [r.value for r in text.plates[0].readings]
    assert book.plates[0].readings[0].line == 13
    assert book.plates[0].readings[0].field == 2
    matrix = parse_file("m.xlsx", xlsx({"S": matrix_rows()}))
    as_text = parse_file("m.csv", as_csv(matrix_rows()))
    assert isinstance(matrix, TableFile)
    assert isinstance(as_text, TableFile)
    assert [(r.components, r.value) for r in matrix.rows] == [
        (r.components, r.value) for r in as_text.rows
    ]


def test_utf16_without_its_mark_is_read() -> None:
    content = softmax()[2:]
    found = parse_file("a.txt", content)
    assert isinstance(found, ReaderFile)
    assert len(found.plates) == 2


def test_unclosed_quote_names_the_row_where_it_starts() -> None:
    content = b'barcode,well,value\nP1,A1,1\n"P1,A2,2\nP1,A3,3\n'
    with pytest.raises(FileError, match="never closed") as caught:
        parse_file("a.csv", content, as_format="long_wells")
    assert caught.value.line == 3


def test_excels_sep_note_is_no_data() -> None:
    found = parse_file("a.csv", b"sep=;\n" + grid(96, separator=";"))
    assert isinstance(found, ReaderFile)
    assert found.plates[0].n_read == 96
