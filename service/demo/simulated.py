"""A laboratory that does not exist: its dose-response surfaces are computed, with noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import Candidates, FloatArray
from service.demo.labs import SCORE, Block, LabCellLine, LabCompound, Table, write_csv

_WELL_NOISE = 0.05  # standard deviation of an untreated well, fraction of viability
_REPLICATES = 2  # of single agents


class SimulatedLab:
    """A library with known truth. The same arguments make the same lab, noise included."""

    hit_threshold = 10.0
    pairs: Sequence[tuple[str, str]] | None = None
    missing: Sequence[Block] = ()
    truth_note = "the simulator's surfaces without noise"

    def __init__(
        self, n_compounds: int = 36, n_cell_lines: int = 12, n_doses: int = 4, seed: int = 4
    ) -> None:
        self._seed = seed
        self._runs = 0
        screen = simulate_screen(n_compounds, n_cell_lines, n_doses, _WELL_NOISE, seed)
        # What is dispensed is what is written down: three significant digits.
        self._screen: SimulatedScreen = replace(screen, doses_um=_three_digits(screen.doses_um))
        # The seed is in the names: another lab in the same data folder has other compounds.
        self._compounds = [f"SIM{seed}-{k + 1:02d}" for k in range(n_compounds)]
        self._cell_lines = [f"CELL{seed}-{k + 1:02d}" for k in range(n_cell_lines)]

    @property
    def title(self) -> str:
        n_doses = self._screen.doses_um.shape[1]
        return (
            f"a simulated lab (seed {self._seed}): {len(self._compounds)} compounds x "
            f"{len(self._cell_lines)} cell lines = {len(self._blocks):,} possible blocks of "
            f"{n_doses} x {n_doses} doses"
        )

    @cached_property
    def compounds(self) -> Sequence[LabCompound]:
        rows = zip(self._compounds, self._screen.smiles, self._screen.doses_um, strict=True)
        return [LabCompound(name, smiles, doses.tolist()) for name, smiles, doses in rows]

    @cached_property
    def cell_lines(self) -> Sequence[LabCellLine]:
        names = [f"trait_{k + 1:02d}" for k in range(self._screen.cell_lines.features.shape[1])]
        rows = zip(self._cell_lines, self._screen.cell_lines.features.round(4), strict=True)
        return [
            LabCellLine(line, dict(zip(names, values.tolist(), strict=True)))
            for line, values in rows
        ]

    @cached_property
    def true_scores(self) -> Mapping[Block, float]:
        scores = self._screen.true_score(self._candidates, SCORE).tolist()
        return dict(zip(self._blocks, scores, strict=True))

    def single_agents(self) -> Table:
        wells = self._screen.single_agents(_REPLICATES, self._next_seed())
        csv = write_csv(wells, self._compounds, self._cell_lines)
        return Table(csv, len(wells), {"repeats": "replicates"})

    def measure(self, blocks: Sequence[Block]) -> Table:
        rows = np.array([self._row[block] for block in blocks], dtype=np.int64)
        wells = self._screen.measure(self._candidates.select(rows), 1, self._next_seed())
        return Table(write_csv(wells, self._compounds, self._cell_lines), len(wells), {})

    @cached_property
    def _candidates(self) -> Candidates:
        n_lines = len(self._cell_lines)
        first, second = np.triu_indices(len(self._compounds), k=1)
        line = np.tile(np.arange(n_lines), len(first))
        return Candidates.of(np.repeat(first, n_lines), np.repeat(second, n_lines), line)

    @cached_property
    def _blocks(self) -> list[Block]:
        rows = zip(self._candidates.compounds.tolist(), self._candidates.cell_line, strict=True)
        return [
            Block.of(self._compounds[a], self._compounds[b], self._cell_lines[line])
            for (a, b), line in rows
        ]

    @cached_property
    def _row(self) -> dict[Block, int]:
        return {block: row for row, block in enumerate(self._blocks)}

    def _next_seed(self) -> int:
        """Another one for every run in the lab, so that no two share their noise."""
        self._runs += 1
        return 1000 * self._seed + self._runs


def _three_digits(doses: FloatArray) -> FloatArray:
    rounded = [[float(f"{dose:.3g}") for dose in row] for row in doses.tolist()]
    return np.array(rounded, dtype=np.float64)
