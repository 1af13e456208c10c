"""Mutates files and looks for crashes and silent acceptances of the file readers.

    python -m benchmarks.fuzz_files [--count 2000] [--seed 1]

A *crash* is any exception but FileError, or a FileError marked ``unexpected``. A *silent
acceptance* is a mutated file that is read without complaint to other numbers or other wells than
it says. What it says is decided by :mod:`benchmarks.fuzz_by_hand`, which shares no code with the
service; an accepted file must give exactly its list of ``(line, field, well, number)``.
"""

from __future__ import annotations

import argparse
import csv
import functools
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.file_samples import SAMPLES, Cell, as_csv, matrix_rows, tecan_rows, xlsx
from benchmarks.fuzz_by_hand import Entry, list_wells, number, read_by_hand, text_of, treatment_of
from service.assays.files_in import FileError, ReaderFile, TableFile, parse_file


def read_by_service(name: str, file_name: str, content: bytes) -> list[Entry]:
    """What the service reads, as the same kind of list. Raises FileError."""
    found = parse_file(file_name, content)
    entries: list[Entry] = []
    if isinstance(found, ReaderFile):
        for plate in found.plates:
            for reading in plate.readings:
                well: tuple[object, ...] = (reading.row, reading.column)
                if name == "long_wells":
                    well = (plate.barcode, *well)
                if name == "incucyte":
                    well = (plate.time_h, *well)
                if reading.value is not None:
                    entries.append((reading.line, reading.field, well, reading.value))
    elif isinstance(found, TableFile):
        for row in found.rows:
            what: tuple[object, ...] = (row.cell_line, treatment_of(*row.components))
            if name.startswith("synergy"):
                what = (row.cell_line, row.block, what[1])
            if row.value is not None:
                entries.append((row.line, row.field, what, row.value))
    return entries


# Mutations: each takes the text and a generator, and gives another text.


def _lines(text: str) -> list[str]:
    return text.split("\n")


def _pick(rng: np.random.Generator, count: int) -> int:
    return int(rng.integers(max(count, 1)))


def drop_line(text: str, rng: np.random.Generator) -> str:
    lines = _lines(text)
    del lines[_pick(rng, len(lines))]
    return "\n".join(lines)


def double_line(text: str, rng: np.random.Generator) -> str:
    lines = _lines(text)
    at = _pick(rng, len(lines))
    lines.insert(at, lines[at])
    return "\n".join(lines)


def swap_lines(text: str, rng: np.random.Generator) -> str:
    lines = _lines(text)
    one, two = _pick(rng, len(lines)), _pick(rng, len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)


def cut_off(text: str, rng: np.random.Generator) -> str:
    return text[: _pick(rng, len(text))]


def cut_lines(text: str, rng: np.random.Generator) -> str:
    lines = _lines(text)
    return "\n".join(lines[: _pick(rng, len(lines))])


def _edit_field(text: str, rng: np.random.Generator, edit: Callable[[list[str], int], None]) -> str:
    lines = _lines(text)
    separator = max("\t;,", key=text.count)
    busy = [at for at, line in enumerate(lines) if separator in line] or [0]
    at = busy[_pick(rng, len(busy))]
    fields = lines[at].split(separator)
    edit(fields, _pick(rng, len(fields)))
    lines[at] = separator.join(fields)
    return "\n".join(lines)


def drop_field(text: str, rng: np.random.Generator) -> str:
    return _edit_field(text, rng, lambda fields, at: fields.pop(at) and None)


def double_field(text: str, rng: np.random.Generator) -> str:
    return _edit_field(text, rng, lambda fields, at: fields.insert(at, fields[at]))


def empty_field(text: str, rng: np.random.Generator) -> str:
    return _edit_field(text, rng, lambda fields, at: fields.__setitem__(at, ""))


def extra_field(text: str, rng: np.random.Generator) -> str:
    return _edit_field(text, rng, lambda fields, at: fields.insert(at, ""))


def odd_field(text: str, rng: np.random.Generator) -> str:
    words = ["OVRFLW", "1,234", "1.234", "1e3", "-5", "NaN", "inf", "1 234", "x", "0x10", "1e999"]
    words += ["='1'", "A1", "B", "12", "7", "µM", "nM", "٣", "1_000", "??", "#DIV/0!", "1/2/2020"]
    word = words[_pick(rng, len(words))]
    return _edit_field(text, rng, lambda fields, at: fields.__setitem__(at, word))


def swap_fields(text: str, rng: np.random.Generator) -> str:
    def swap(fields: list[str], at: int) -> None:
        other = _pick(rng, len(fields))
        fields[at], fields[other] = fields[other], fields[at]

    return _edit_field(text, rng, swap)


def change_digit(text: str, rng: np.random.Generator) -> str:
    places = [m.start() for m in re.finditer(r"\d", text)] or [0]
    at = places[_pick(rng, len(places))]
    return text[:at] + str(_pick(rng, 10)) + text[at + 1 :]


def odd_character(text: str, rng: np.random.Generator) -> str:
    at = _pick(rng, len(text))
    characters = '"\t,;.\n\r \0-eE+A9µ\u200b'
    return text[:at] + characters[_pick(rng, len(characters))] + text[at + _pick(rng, 2) :]


def drop_column(text: str, rng: np.random.Generator) -> str:
    separator = max("\t;,", key=text.count)
    at = 1 + _pick(rng, 12)
    rows = [line.split(separator) for line in _lines(text)]
    return "\n".join(separator.join(row[:at] + row[at + 1 :]) for row in rows)


def join_lines(text: str, rng: np.random.Generator) -> str:
    lines = _lines(text)
    at = _pick(rng, len(lines) - 1)
    lines[at : at + 2] = ["".join(lines[at : at + 2])]
    return "\n".join(lines)


def repeat_part(text: str, rng: np.random.Generator) -> str:
    one, two = sorted((_pick(rng, len(text)), _pick(rng, len(text))))
    return text[:two] + text[one:]


MUTATIONS: tuple[Callable[[str, np.random.Generator], str], ...] = (
    drop_line,
    double_line,
    swap_lines,
    cut_off,
    cut_lines,
    drop_field,
    double_field,
    empty_field,
    extra_field,
    odd_field,
    swap_fields,
    change_digit,
    odd_character,
    drop_column,
    join_lines,
    repeat_part,
)


def flip_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Up to four bytes changed."""
    data = bytearray(content)
    for _ in range(1 + _pick(rng, 4)):
        data[_pick(rng, len(data))] = _pick(rng, 256)
    return bytes(data)


WORKBOOKS: dict[str, Callable[[], list[list[Cell]]]] = {
    "tecan_xlsx": tecan_rows,
    "matrix_xlsx": matrix_rows,
}


def mutated_workbook(
    name: str, rng: np.random.Generator
) -> tuple[str, bytes, Callable[[], list[Entry]]]:
    """A workbook with mutated cells, and what they say."""
    mutate = MUTATIONS[_pick(rng, len(MUTATIONS))]
    text = mutate(as_csv(WORKBOOKS[name]()).decode(), rng)
    text = re.sub("[\x00-\x08\x0b-\x1f]", "", text)  # no XML can hold these
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.split("\n"))]
    cells: list[list[Cell]] = [
        [_typed(cell) if (found := number(cell)) is None else found for cell in row] for row in rows
    ]
    return mutate.__name__, xlsx({"Sheet1": cells}), lambda: list_wells(name, rows)


def _typed(cell: str) -> Cell:
    return cell or None


@dataclass
class Outcome:
    """What became of the mutated files."""

    files: int = 0
    refused: int = 0
    accepted: int = 0
    crashes: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def fuzz(count: int, seed: int) -> Outcome:
    """Read ``count`` mutated files; a seed gives the same files again."""
    rng = np.random.default_rng(seed)
    names = sorted([*SAMPLES, *WORKBOOKS])
    good = {name: make() for name, (_, make) in SAMPLES.items()}
    outcome = Outcome()
    for index in range(count):
        name = names[index % len(names)]
        if name in WORKBOOKS:
            what, content, say = mutated_workbook(name, rng)
            _judge(outcome, f"{index} {name} {what}", name, content, say)
            continue
        encoding = "utf-16" if good[name][:2] == b"\xff\xfe" else "utf-8"
        if rng.random() < 0.08:
            what, content = "flip_bytes", flip_bytes(good[name], rng)
        else:
            mutate = MUTATIONS[_pick(rng, len(MUTATIONS))]
            text = mutate(text_of(good[name]).replace("\r\n", "\n"), rng)
            what, content = mutate.__name__, text.encode(encoding, "replace")
        say = functools.partial(read_by_hand, name, content)
        _judge(outcome, f"{index} {name} {what}", name, content, say)
    return outcome


def _judge(
    outcome: Outcome, label: str, name: str, content: bytes, say: Callable[[], list[Entry]]
) -> None:
    outcome.files += 1
    try:
        file_name = SAMPLES[name][0] if name in SAMPLES else "book.xlsx"
        entries = read_by_service(name, file_name, content)
    except FileError as error:
        outcome.refused += 1
        if error.unexpected:
            outcome.crashes.append(f"{label}: {error}")
        return
    except Exception as error:
        outcome.crashes.append(f"{label}: {type(error).__name__}: {error}")
        return
    outcome.accepted += 1
    try:
        said = say()
    except Exception as error:
        outcome.silent.append(f"{label}: accepted, but by hand: {type(error).__name__}: {error}")
        return
    if Counter(said) != Counter(entries):
        extra = list((Counter(entries) - Counter(said)).elements())[:2]
        lost = list((Counter(said) - Counter(entries)).elements())[:2]
        outcome.silent.append(f"{label}: read {extra}, the file says {lost}")


def main() -> None:
    """Print what became of the files; fail on a crash or a silent acceptance."""
    parser = argparse.ArgumentParser(description="Fuzz the file readers.")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.perf_counter()
    outcome = fuzz(options.count, options.seed)
    seconds = time.perf_counter() - start
    print(f"{outcome.files} mutated files in {seconds:.1f} s (seed {options.seed})")
    print(f"refused {outcome.refused}, read as they say {outcome.accepted - len(outcome.silent)}")
    print(f"crashes {len(outcome.crashes)}, silent acceptances {len(outcome.silent)}")
    for line in (*outcome.crashes[:40], *outcome.silent[:40]):
        print("  " + line[:400])
    if outcome.crashes or outcome.silent:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
