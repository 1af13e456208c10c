"""A simulated screen as a folder in the O'Neil layout, small enough to fit in a moment."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import numpy as np

from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import Candidates, Wells

COMPOUNDS, LINES = 8, 5


@cache
def simulated() -> SimulatedScreen:
    return simulate_screen(COMPOUNDS, LINES, 3, 0.05, 3)


def write_folder(folder: Path) -> Path:
    """Every pair in every cell line but one, single agents in two replicates, expression."""
    screen = simulated()
    first, second = np.triu_indices(COMPOUNDS, k=1)
    lines = np.arange(LINES)
    blocks = Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(lines, len(first))
    ).select(np.arange(len(first) * LINES - 1))
    names, cells = screen.compounds.ids, screen.cell_lines.ids
    rows = [f"{n},{s},,T{k}" for k, (n, s) in enumerate(zip(names, screen.smiles, strict=True))]
    (folder / "compounds.csv").write_text("drug,smiles,inchikey,targets\n" + "\n".join(rows) + "\n")
    pairs = screen.measure(blocks, 1, 1)
    _zip(
        folder / "combinations.csv.gz",
        "cell_line,drug_row,drug_col,conc_row_uM,conc_col_uM,viability",
        [
            f"{cells[line]},{names[a]},{names[b]},{x:.6g},{y:.6g},{v:.5f}"
            for line, (a, b), (x, y), v in _rows(pairs, 2)
        ],
    )
    singles = screen.single_agents(2, 2)
    _zip(
        folder / "single_agents.csv.gz",
        "cell_line,drug,conc_uM,replicate,viability",
        [
            f"{cells[line]},{names[a]},{x:.6g},0,{v:.5f}"
            for line, (a,), (x,), v in _rows(singles, 1)
        ],
    )
    table = screen.cell_lines.features
    genes = [f"G{g}," + ",".join(f"{v:.4f}" for v in table[:, g]) for g in range(table.shape[1])]
    _zip(folder / "expression.csv.gz", "gene," + ",".join(cells), genes)
    return folder


def read_folder(folder: Path) -> ScreenFolder:
    return load_oneil_layout(write_folder(folder))


def _rows(wells: Wells, slots: int) -> list[tuple]:
    return list(
        zip(
            wells.cell_line,
            wells.compounds[:, :slots],
            wells.doses_um[:, :slots],
            wells.viability,
            strict=True,
        )
    )


def _zip(path: Path, header: str, rows: list[str]) -> None:
    path.write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))
