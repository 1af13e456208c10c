"""A laboratory that answers from a published screen: it reveals what was measured long ago."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.objectives.scores import measure_blocks
from models.screen import Candidates, ScreenError
from service.demo.labs import (
    SCORE,
    Block,
    DemoError,
    LabCellLine,
    LabCompound,
    Table,
    write_csv,
)


class OneilLab:
    """A screen in the O'Neil layout (:mod:`models.evaluation.oneil`), revealed block by block."""

    hit_threshold = 15.0
    truth_note = "the score of every block, from the complete file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._data: ScreenFolder = load_oneil_layout(folder)
            self._scored = measure_blocks(self._data.screen(), SCORE)
        except (ScreenError, OSError) as error:
            raise DemoError(f"{folder} cannot be played back: {error}") from None

    @property
    def title(self) -> str:
        return (
            f"the screen in {self._folder}: {len(self._data.compound_names)} compounds, "
            f"{len(self.pairs)} pairs x {len(self._data.cell_line_names)} cell lines, "
            f"{len(self.true_scores):,} blocks measured"
        )

    @cached_property
    def compounds(self) -> Sequence[LabCompound]:
        wells = self._data.combinations
        return [
            LabCompound(
                name,
                smiles or None,
                np.unique(wells.doses_um[wells.compounds == position]).tolist(),
            )
            for position, (name, smiles) in enumerate(
                zip(self._data.compound_names, self._data.smiles, strict=True)
            )
        ]

    @cached_property
    def cell_lines(self) -> Sequence[LabCellLine]:
        rows = zip(
            self._data.cell_line_names, self._data.features, self._data.has_features, strict=True
        )
        genes = _distinct(self._data.gene_names)
        return [
            LabCellLine(line, dict(zip(genes, values.tolist(), strict=True)) if known else None)
            for line, values, known in rows
        ]

    @cached_property
    def pairs(self) -> Sequence[tuple[str, str]]:
        return sorted({block.pair for block in self.true_scores})

    @cached_property
    def missing(self) -> Sequence[Block]:
        lines = self._data.cell_line_names
        return [
            block
            for pair in self.pairs
            for line in lines
            if (block := Block(*pair, line)) not in self.true_scores
        ]

    @cached_property
    def true_scores(self) -> Mapping[Block, float]:
        blocks = self._named(self._scored.candidates)
        return dict(zip(blocks, self._scored.score.tolist(), strict=True))

    def single_agents(self) -> Table:
        """The file as it came: its column names and its repeats are the service's to read."""
        with gzip.open(self._folder / "single_agents.csv.gz", "rt", encoding="utf-8-sig") as file:
            csv = file.read()
        says = {"quantity": "viability", "unit": "fraction", "repeats": "replicates"}
        return Table(csv, len(self._data.singles), says)

    def measure(self, blocks: Sequence[Block]) -> Table:
        wells = self._data.wells_of(np.array([self._row[block] for block in blocks], np.int64))
        csv = write_csv(wells, self._data.compound_names, self._data.cell_line_names)
        return Table(csv, len(wells), {})

    @cached_property
    def _row(self) -> dict[Block, int]:
        return {block: row for row, block in enumerate(self._named(self._data.blocks))}

    def _named(self, candidates: Candidates) -> list[Block]:
        names, lines = self._data.compound_names, self._data.cell_line_names
        rows = zip(candidates.compounds.tolist(), candidates.cell_line.tolist(), strict=True)
        return [Block.of(names[a], names[b], lines[line]) for (a, b), line in rows]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that occur again: features need names of their own."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct
