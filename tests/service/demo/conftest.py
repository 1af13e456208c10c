"""A small screen in the O'Neil layout, made up, with everything in it that can go wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

_COMPOUNDS = """\
drug,smiles,inchikey,targets
Alpha,CCO,,
Beta,CCN,,
Gamma,,,
"""
_EXPRESSION = """\
gene,A375
TP53,0.5
EGFR,-1.25
TP53,2.0
"""
_BLOCKS = [("A375", "ALPHA", "Beta"), ("HT29", "Beta", "Alpha"), ("A375", "Gamma", "Alpha")]
DOSES = (0.1, 1.0)


def _write(path: Path, lines: list[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


@pytest.fixture
def screen_folder(tmp_path: Path) -> Path:
    """Three compounds, two cell lines, two pairs; Alpha + Gamma was never measured in HT29."""
    folder = tmp_path / "screen"
    folder.mkdir()
    (folder / "compounds.csv").write_text(_COMPOUNDS)
    _write(folder / "expression.csv.gz", _EXPRESSION.splitlines())
    singles = ["cell_line,drug,conc_uM,replicate,viability"]
    for line in ("A375", "HT29"):
        for name in ("Alpha", "BETA", "Gamma"):
            for dose in (0.01, 0.1, 1.0, 10.0):
                viability = 1 / (1 + dose)
                singles += [f"{line},{name},{dose},{k},{viability + 0.01 * k:.4f}" for k in (0, 1)]
    _write(folder / "single_agents.csv.gz", singles)
    pairs = ["cell_line,drug_row,drug_col,conc_row_uM,conc_col_uM,viability"]
    for number, (line, row, column) in enumerate(_BLOCKS):
        for one in DOSES:
            for other in DOSES:
                viability = (1 - 0.2 * number) / (1 + one) / (1 + other)
                pairs.append(f"{line},{row},{column},{one},{other},{viability:.4f}")
    _write(folder / "combinations.csv.gz", pairs)
    return folder
