"""Read a screen kept in the O'Neil folder layout, for benchmarks and replayed campaigns.

    combinations.csv.gz    cell_line, drug_row, drug_col, conc_row_uM, conc_col_uM, viability
    single_agents.csv.gz   cell_line, drug, conc_uM, replicate, viability
    compounds.csv          drug, smiles, inchikey, targets (gene symbols joined by ";")
    expression.csv.gz      gene, one column per cell line; optional

Doses are micromolar, viability is the fraction of the vehicle control. Compound names are
matched without regard to case, because the original files differ in it.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.screen import (
    ABSENT,
    MAX_COMPOUNDS,
    BoolArray,
    Candidates,
    CellLineTable,
    CompoundTable,
    FloatArray,
    IntArray,
    Screen,
    ScreenError,
    Wells,
)

Columns = dict[str, Sequence[str]]


@dataclass(frozen=True)
class ScreenFolder:
    """A screen as it lies on disk, in tensors.

    ``compound_names``, ``smiles``, ``targets``: one entry per compound (an empty SMILES means no
    structure). ``cell_line_names``: one per cell line. ``features``: ``(n_cell_lines, genes)``
    expression, rows of zeros where ``has_features`` is false. ``singles``, ``combinations``:
    wells. ``blocks``: the distinct pairs in cell lines, in the order of first appearance.
    ``block``: ``(len(combinations),)`` position of each combination well's block in ``blocks``.
    """

    compound_names: tuple[str, ...]
    smiles: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]
    cell_line_names: tuple[str, ...]
    gene_names: tuple[str, ...]
    features: FloatArray
    has_features: BoolArray
    singles: Wells
    combinations: Wells
    blocks: Candidates
    block: IntArray

    def screen(
        self, blocks: IntArray | None = None, fingerprints: NDArray[np.uint8] | None = None
    ) -> Screen:
        """All single agents with the combination wells of ``blocks`` (positions; None for all).

        ``fingerprints``: ``(n_compounds, bits)``; without them no compound has a structure.
        """
        n = len(self.compound_names)
        known = np.array([bool(text) for text in self.smiles]) & (fingerprints is not None)
        bits = np.zeros((n, 1), np.uint8) if fingerprints is None else fingerprints
        return Screen(
            CompoundTable(self.compound_names, bits, known, self.targets),
            CellLineTable(self.cell_line_names, self.features, self.has_features),
            join_wells(self.singles, self.wells_of(blocks)),
        )

    def wells_of(self, blocks: IntArray | None) -> Wells:
        """The combination wells of ``blocks`` (positions in :attr:`blocks`; None for all)."""
        if blocks is None:
            return self.combinations
        chosen = np.zeros(len(self.blocks), bool)
        chosen[blocks] = True
        return self.combinations.select(chosen[self.block])


def join_wells(first: Wells, second: Wells) -> Wells:
    """The wells of both, one after the other."""
    return Wells(
        np.concatenate([first.cell_line, second.cell_line]),
        np.concatenate([first.compounds, second.compounds]),
        np.concatenate([first.doses_um, second.doses_um]),
        np.concatenate([first.viability, second.viability]),
    )


def load_oneil_layout(folder: Path | str) -> ScreenFolder:
    """Read the folder. Raises :class:`ScreenError` naming the file and column that is wrong."""
    root = Path(folder)
    compounds = _read(root, "compounds.csv", ("drug", "smiles", "targets"))
    single = _read(root, "single_agents.csv.gz", ("cell_line", "drug", "conc_uM", "viability"))
    pairs = _read(
        root,
        "combinations.csv.gz",
        ("cell_line", "drug_row", "drug_col", "conc_row_uM", "conc_col_uM", "viability"),
    )
    names = tuple(compounds["drug"])
    lines = tuple(sorted({*single["cell_line"], *pairs["cell_line"]}))
    genes, features, has_features = _expression(root, lines)
    combinations = _combination_wells(pairs, names, lines)
    blocks, block = _blocks(combinations, len(names))
    return ScreenFolder(
        compound_names=names,
        smiles=tuple(compounds["smiles"]),
        targets=tuple(tuple(t for t in text.split(";") if t) for text in compounds["targets"]),
        cell_line_names=lines,
        gene_names=genes,
        features=features,
        has_features=has_features,
        singles=_single_wells(single, names, lines),
        combinations=combinations,
        blocks=blocks,
        block=block,
    )


def _read(root: Path, name: str, required: Sequence[str]) -> Columns:
    """Columns of one CSV file as text."""
    path = root / name
    if not path.is_file():
        raise ScreenError(f"{name} is missing from {root}")
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    columns = _quoted_columns(name, text) if '"' in text else _plain_columns(name, text)
    missing = [column for column in required if column not in columns]
    if missing:
        has = ", ".join(columns) or "none"
        raise ScreenError(f"{name} has no column {', '.join(missing)} (it has {has})")
    return columns


def _plain_columns(name: str, text: str) -> Columns:
    """Columns of a file without quotes, by slices of one long list: ten times faster."""
    lines = text.splitlines()
    header = lines[0].split(",") if lines else []
    if any(line.count(",") != len(header) - 1 for line in lines):
        raise ScreenError(f"{name} has rows of different lengths")
    values = ",".join(lines).split(",")
    return {key: values[len(header) + k :: len(header)] for k, key in enumerate(header)}


def _quoted_columns(name: str, text: str) -> Columns:
    rows = list(csv.reader(text.splitlines()))
    if any(len(row) != len(rows[0]) for row in rows):
        raise ScreenError(f"{name} has rows of different lengths")
    return {key: [row[k] for row in rows[1:]] for k, key in enumerate(rows[0])}


def _numbers(column: Sequence[str], what: str) -> FloatArray:
    """Text to numbers; each distinct text is converted once."""
    try:
        values = {text: float(text) for text in set(column)}
    except ValueError as error:
        raise ScreenError(f"{what} holds text that is not a number: {error}") from error
    return np.fromiter((values[text] for text in column), np.float64, len(column))


def _positions(column: Sequence[str], names: Sequence[str], what: str) -> IntArray:
    """Positions of the names, without regard to case."""
    table = {name.casefold(): k for k, name in enumerate(names)}
    found = {text: table.get(text.casefold(), ABSENT) for text in set(column)}
    unknown = sorted(text for text, k in found.items() if k == ABSENT)
    if unknown:
        raise ScreenError(f"{what} names compounds that compounds.csv lacks: {', '.join(unknown)}")
    return np.fromiter((found[text] for text in column), np.int64, len(column))


def _single_wells(table: Columns, names: Sequence[str], lines: Sequence[str]) -> Wells:
    compounds, doses = _empty_slots(len(table["drug"]))
    compounds[:, 0] = _positions(table["drug"], names, "single_agents.csv.gz")
    doses[:, 0] = _numbers(table["conc_uM"], "single_agents.csv.gz, conc_uM")
    return Wells(
        _positions(table["cell_line"], lines, "single_agents.csv.gz"),
        compounds,
        doses,
        _numbers(table["viability"], "single_agents.csv.gz, viability"),
    )


def _combination_wells(table: Columns, names: Sequence[str], lines: Sequence[str]) -> Wells:
    """Combination wells with each pair in ascending order, whichever drug was the row."""
    file = "combinations.csv.gz"
    pair = np.stack([_positions(table[key], names, file) for key in ("drug_row", "drug_col")], 1)
    dose = np.stack([_numbers(table[f"conc_{k}_uM"], f"{file}, conc") for k in ("row", "col")], 1)
    order = np.argsort(pair, axis=1, kind="stable")
    compounds, doses = _empty_slots(len(pair))
    compounds[:, :2] = np.take_along_axis(pair, order, axis=1)
    doses[:, :2] = np.take_along_axis(dose, order, axis=1)
    cell_line = _positions(table["cell_line"], lines, file)
    return Wells(cell_line, compounds, doses, _numbers(table["viability"], f"{file}, viability"))


def _empty_slots(n: int) -> tuple[IntArray, FloatArray]:
    return np.full((n, MAX_COMPOUNDS), ABSENT, np.int64), np.zeros((n, MAX_COMPOUNDS))


def _blocks(wells: Wells, n_compounds: int) -> tuple[Candidates, IntArray]:
    """Distinct blocks in order of first appearance and the block of each well."""
    every = Candidates(wells.compounds[:, :2], wells.cell_line)
    _, first, inverse = np.unique(every.keys(n_compounds), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return every.select(np.sort(first)), rank[inverse]


def _expression(root: Path, lines: Sequence[str]) -> tuple[tuple[str, ...], FloatArray, BoolArray]:
    """Expression of the screen's cell lines; none at all where the file is absent."""
    if not (root / "expression.csv.gz").is_file():
        return (), np.zeros((len(lines), 0)), np.zeros(len(lines), bool)
    table = _read(root, "expression.csv.gz", ("gene",))
    genes = tuple(table["gene"])
    features, known = np.zeros((len(lines), len(genes))), np.zeros(len(lines), bool)
    for k, line in enumerate(lines):
        if line in table:
            features[k] = _numbers(table[line], f"expression.csv.gz, {line}")
            known[k] = True
    return genes, features, known
