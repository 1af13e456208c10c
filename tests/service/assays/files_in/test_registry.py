from __future__ import annotations

import io
import zipfile

import pytest

from benchmarks.file_samples import SAMPLES, grid, xlsx
from benchmarks.fuzz_files import fuzz
from service.assays.files_in import (
    FORMATS,
    FileError,
    ReaderFile,
    open_source,
    parse_file,
    recognise,
    registry,
)
from service.assays.files_in.common import Certainty, Format
from service.assays.files_in.workbook import is_workbook


def test_every_sample_has_one_clear_format_with_a_reason() -> None:
    for name, (file_name, make) in SAMPLES.items():
        best, *others = recognise(open_source(file_name, make()))
        assert best.why, name
        assert all(best.certainty - other.certainty >= 0.02 for other in others), name


def test_format_names_are_unique() -> None:
    assert len({each.name for each in FORMATS}) == len(FORMATS)


def test_unknown_files_and_formats() -> None:
    with pytest.raises(FileError, match="no known format") as caught:
        parse_file("a.txt", b"hello\nworld\n")
    assert (caught.value.line, caught.value.format) == (1, None)
    with pytest.raises(FileError, match="no format is called 'x'"):
        parse_file("a.csv", grid(), as_format="x")


def test_as_format_decides() -> None:
    assert isinstance(parse_file("a.csv", grid(), as_format="plate_grid"), ReaderFile)
    with pytest.raises(FileError, match="nothing of the format PerkinElmer EnVision"):
        parse_file("a.csv", grid(), as_format="envision")


@pytest.mark.parametrize("format", [each.name for each in FORMATS])
@pytest.mark.parametrize("content", [b"x", b"a,b\n1,2\n", b"1;2\n\n\n", b'{"a": {"b": []}}'])
def test_any_format_on_any_file_refuses_with_words(format: str, content: bytes) -> None:
    with pytest.raises(FileError) as caught:
        parse_file("a", content, as_format=format)
    assert not caught.value.unexpected, caught.value


def test_two_equal_claims_are_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    def claim(source: object) -> Certainty:
        return Certainty(0.6, "claims it")

    other = Format("other", "Other", claim, lambda source, decimal: pytest.fail("was parsed"))
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, other))
    with pytest.raises(FileError, match=r"may be plate_grid \(.*\) or other \(claims it\)"):
        parse_file("a.csv", grid())


def test_a_fault_of_a_reader_is_no_other_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: object, decimal: object) -> ReaderFile:
        raise ZeroDivisionError("oops")

    broken = Format("plate_grid", "x", lambda source: Certainty(1.0, "x"), fail)
    monkeypatch.setattr(registry, "_BY_NAME", {"plate_grid": broken})
    with pytest.raises(FileError, match="ZeroDivisionError: oops") as caught:
        parse_file("a.csv", grid(), as_format="plate_grid")
    assert caught.value.unexpected


def test_where_an_error_is() -> None:
    assert str(FileError("x", 3, "bad", "fix it")) == "line 3: bad; fix it"
    assert FileError("x", 3, "", "", sheet="S").where == "sheet 'S', row 3"
    assert FileError("x", 3, "", "", sheet="S", cell="B3").where == "sheet 'S', cell B3"
    assert FileError("x", None, "", "").where == "the file"


@pytest.mark.parametrize("seed", [11, 12])
def test_fuzz_finds_no_crash_and_no_silent_acceptance(seed: int) -> None:
    outcome = fuzz(400, seed)
    assert outcome.crashes == []
    assert outcome.silent == []
    assert outcome.refused > 200
    assert outcome.accepted > 50  # the mutated file is read to what it says


def test_the_fuzz_would_find_a_silent_acceptance(monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks.fuzz_files as module

    real = module.read_by_service

    def shifted(name: str, file_name: str, content: bytes) -> list[module.Entry]:
        return [
            (line, field, well, value + 1)
            for line, field, well, value in real(name, file_name, content)
        ]

    monkeypatch.setattr(module, "read_by_service", shifted)
    assert len(fuzz(60, 1).silent) > 5


def test_an_archive_that_holds_a_workbook_uncompressed_is_no_workbook() -> None:
    book = xlsx({"Plate": [["a", 1.0]]})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("plate.xlsx", book)
    assert b"xl/workbook" in out.getvalue()
    assert not is_workbook(out.getvalue())
    assert is_workbook(book)
