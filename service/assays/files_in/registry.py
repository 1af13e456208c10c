"""Every format this room reads, and the way in: recognise, then parse.

parse_file("plate.csv", content)                    # ReaderFile, TableFile, LayoutFile, ...
parse_files([("Manifest.xlsx", ...), ...])          # a run: manifest, templates, readers; NCATS
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.assays.files_in import (
    allotrope,
    batchie,
    combenefit,
    designs,
    envision,
    gen5,
    incucyte,
    long_wells,
    manifest,
    mars,
    ncats,
    plain_grid,
    softmax,
    softmax_plate,
    synergy_long,
    synergy_matrix,
    tecan,
)
from service.assays.files_in.common import Certainty, Format
from service.assays.files_in.grid import Decimal
from service.assays.files_in.limits import DEFAULT_LIMITS, Limits
from service.assays.files_in.own_exports import refuse_own
from service.assays.files_in.packed import open_archive
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import LayoutFile, ManifestFile, Parsed, ReaderFile
from service.assays.files_in.sources import Source, open_source
from service.assays.files_in.workbook import is_workbook

FORMATS: tuple[Format, ...] = (
    Format(envision.NAME, "PerkinElmer EnVision", envision.recognise, envision.parse),
    Format(mars.NAME, "BMG MARS", mars.recognise, mars.parse),
    Format(softmax_plate.NAME, "SoftMax Pro", softmax.recognise, softmax.parse),
    Format(tecan.NAME, "Tecan i-control", tecan.recognise, tecan.parse),
    Format(gen5.NAME, "BioTek Gen5", gen5.recognise, gen5.parse),
    Format(incucyte.NAME, "IncuCyte", incucyte.recognise, incucyte.parse),
    Format(long_wells.NAME, "Long table of wells", long_wells.recognise, long_wells.parse),
    Format(plain_grid.NAME, "Plate grid", plain_grid.recognise, plain_grid.parse),
    Format(allotrope.NAME, "Allotrope ASM", allotrope.recognise, allotrope.parse),
    Format(
        "allotropy",
        "Kaleido, Magellan, SkanIt (through allotropy)",
        allotrope.recognise_vendor,
        allotrope.parse_vendor,
    ),
    Format(manifest.NAME, "Run manifest", manifest.recognise, manifest.parse),
    Format(
        manifest.TEMPLATE, "Plate template", manifest.recognise_template, manifest.parse_template
    ),
    Format(synergy_long.NAME, "Synergy table", synergy_long.recognise, synergy_long.parse),
    Format(
        synergy_matrix.NAME, "SynergyFinder matrix", synergy_matrix.recognise, synergy_matrix.parse
    ),
    Format(ncats.NAME, "NCATS matrix export", ncats.recognise, ncats.parse),
    Format(combenefit.NAME, "Combenefit grid", combenefit.recognise, combenefit.parse),
    Format(batchie.NAME, "BATCHIE screen", batchie.recognise, batchie.parse),
    Format(designs.DATARAIL, "datarail design", designs.recognise_datarail, designs.parse_datarail),
    Format(
        designs.COMBOCAT, "COMBOCAT meta table", designs.recognise_combocat, designs.parse_combocat
    ),
)
_BY_NAME = {each.name: each for each in FORMATS}
_MARGIN = 0.02  # two formats closer than this are ambiguous
_FIX_UNKNOWN = "export it from the instrument's software, or as a plate grid or a long table"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format that may be the file's, with its certainty from 0 to 1."""

    name: str
    title: str
    certainty: float
    why: str


def recognise(source: Source) -> tuple[Candidate, ...]:
    """The formats that claim the file, surest first; empty if none does."""
    found = []
    for each in FORMATS:
        certainty = _asked(each, source)
        if certainty.score > 0:
            found.append(Candidate(each.name, each.title, certainty.score, certainty.why))
    return tuple(sorted(found, key=lambda candidate: -candidate.certainty))


def _asked(each: Format, source: Source) -> Certainty:
    """A recogniser's answer; a file too damaged to be looked at is not recognised."""
    try:
        return each.recognise(source)
    except FileError:
        return Certainty(0.0, "")


def choose(source: Source, as_format: str | None = None) -> Format:
    """The format to read with. Raises :class:`FileError` for none, or for two as sure."""
    if as_format is not None:
        if as_format not in _BY_NAME:
            known = ", ".join(sorted(_BY_NAME))
            raise FileError(None, None, f"no format is called {as_format[:40]!r}", f"take {known}")
        declared = _BY_NAME[as_format]
        if declared.recognise(source).score > 0:
            return declared
        message = f"the file has nothing of the format {declared.title}"
        raise FileError(as_format, 1, message, "leave the format open, or send the right file")
    candidates = recognise(source)
    if not candidates:
        refuse_own(source)
        _ = source.sheets  # a damaged or too large table says so itself
        raise FileError(None, 1, "the file is in no known format", _FIX_UNKNOWN)
    close = [c for c in candidates if candidates[0].certainty - c.certainty < _MARGIN]
    if len(close) > 1:
        names = " or ".join(f"{c.name} ({c.why})" for c in close)
        raise FileError(None, 1, f"the file may be {names}", "say which, as as_format")
    return _BY_NAME[candidates[0].name]


def parse_source(
    source: Source, *, as_format: str | None = None, decimal: Decimal = None
) -> Parsed:
    """Parse an opened file. Raises :class:`FileError`, and nothing else."""
    try:
        return choose(source, as_format).parse(source, decimal)
    except FileError:
        raise
    except (Exception, RecursionError) as error:
        raise _unexpected(error) from error


def parse_file(
    name: str,
    content: bytes,
    *,
    as_format: str | None = None,
    decimal: Decimal = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Parsed:
    """What a file says. Raises :class:`FileError` with line, reason and fix, and nothing else.

    ``as_format`` names the format instead of recognising it; ``decimal`` declares the decimal
    mark where the numbers leave it open.
    """
    return parse_source(_open(name, content, limits), as_format=as_format, decimal=decimal)


def _open(name: str, content: bytes, limits: Limits) -> Source:
    try:
        return open_source(name, content, limits)
    except FileError:
        raise
    except Exception as error:
        raise _unexpected(error) from error


def _unexpected(error: BaseException) -> FileError:
    message = f"the reader failed ({type(error).__name__}: {error})"
    fix = "keep the file and report it; nothing was read"
    return FileError(None, None, message[:300], fix, unexpected=True)


def parse_files(
    files: Iterable[tuple[str, bytes]],
    *,
    decimal: Decimal = None,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[tuple[str, Parsed], ...]:
    """What several files say together, by file name.

    A manifest is joined with its templates and checked against the readers; the files of an
    NCATS export become one table; other files stand for themselves. A zip archive counts as its
    files. Raises :class:`FileError`, its ``sheet`` naming the file.
    """
    sources = [_open(name, content, limits) for name, content in _unpacked(files, limits)]
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FileError(None, None, f"two files are called {twice!r}", "rename one of them")
    exported = {role: s for s in sources if (role := ncats.role_in_export(s)) is not None}
    results: list[tuple[str, Parsed]] = []
    if {"metadata", "responses"} <= set(exported):
        try:
            table = ncats.parse_export(
                exported["metadata"], exported["responses"], exported.get("calc"), decimal
            )
        except FileError:
            raise
        except Exception as error:
            raise _unexpected(error) from error
        results.append((exported["responses"].name, table))
        sources = [source for source in sources if source not in exported.values()]
    results += [(source.name, _parse_named(source, decimal)) for source in sources]
    return tuple(_joined(results))


def _unpacked(files: Iterable[tuple[str, bytes]], limits: Limits) -> Iterable[tuple[str, bytes]]:
    total = 0
    for name, content in files:
        archive = content.startswith(b"PK") and not is_workbook(content)
        for inner, data in open_archive(content, limits) if archive else ((name, content),):
            total += len(data)
            if total > limits.unpacked_bytes:
                raise FileError(None, None, "the files are too large together", "send fewer")
            yield inner, data


def _parse_named(source: Source, decimal: Decimal) -> Parsed:
    try:
        return parse_source(source, decimal=decimal)
    except FileError as error:
        place = source.name if error.sheet is None else f"{source.name}: {error.sheet}"
        raise FileError(
            error.format,
            error.line,
            error.message,
            error.fix,
            sheet=place,
            cell=error.cell,
            unexpected=error.unexpected,
        ) from error


def _joined(results: Sequence[tuple[str, Parsed]]) -> list[tuple[str, Parsed]]:
    """With a manifest, one layout of the whole run in its place and its templates left out."""
    manifests = [(name, each) for name, each in results if isinstance(each, ManifestFile)]
    if not manifests:
        return list(results)
    if len(manifests) > 1:
        raise FileError(manifest.NAME, None, "there are two manifests", "send one run at a time")
    name, entries = manifests[0]
    templates = {
        key: each
        for key, each in results
        if isinstance(each, LayoutFile) and each.format_name == manifest.TEMPLATE
    }
    readers = [each for _, each in results if isinstance(each, ReaderFile)]
    layout = manifest.join_manifest(entries, templates, readers)
    others = [(key, each) for key, each in results if key != name and key not in templates]
    return [(name, layout), *others]
