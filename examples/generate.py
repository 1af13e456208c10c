"""Makes the files of ``first-campaign/`` from the project's own simulator.

    python -m examples.generate

Always the same files: a test compares them with what this writes.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np

from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import ABSENT, Candidates, Wells

FOLDER = Path(__file__).parent / "first-campaign"
N_COMPOUNDS, N_CELL_LINES, N_DOSES, N_BLOCKS, SEED = 16, 4, 3, 80, 17


def compound_name(row: int) -> str:
    """What the example calls its compounds."""
    return f"SIM-{row + 1:02d}"


def line_name(row: int) -> str:
    """What the example calls its cell lines."""
    return f"LINE-{row + 1}"


def files() -> dict[str, str]:
    """Name and content of every file."""
    truth = simulate_screen(N_COMPOUNDS, N_CELL_LINES, N_DOSES, 0.05, SEED)
    rng = np.random.default_rng(SEED)
    first, second = np.triu_indices(N_COMPOUNDS, k=1)
    pick = rng.permutation(len(first) * N_CELL_LINES)[:N_BLOCKS]
    blocks = Candidates.of(
        first[pick // N_CELL_LINES], second[pick // N_CELL_LINES], pick % N_CELL_LINES
    )
    wells = [truth.single_agents(1, SEED), truth.measure(blocks, 1, SEED)]
    return {
        "compounds.json": _json({"compounds": _compounds(truth)}),
        "cell-lines.json": _json({"cell_lines": _cell_lines(truth)}),
        "campaign.json": _json(_campaign(truth)),
        "measurements.csv": _csv(wells),
    }


def _compounds(truth: SimulatedScreen) -> list[dict[str, str]]:
    return [{"name": compound_name(row), "smiles": s} for row, s in enumerate(truth.smiles)]


def _cell_lines(truth: SimulatedScreen) -> list[dict[str, object]]:
    return [
        {
            "name": line_name(row),
            "features": {f"GENE{i + 1}": round(float(v), 3) for i, v in enumerate(values)},
        }
        for row, values in enumerate(truth.cell_lines.features)
    ]


def _campaign(truth: SimulatedScreen) -> dict[str, object]:
    return {
        "name": "My first campaign",
        "compounds": [
            {"compound": compound_name(row), "doses_um": [float(f"{dose:.4g}") for dose in doses]}
            for row, doses in enumerate(truth.doses_um)
        ],
        "cell_lines": [line_name(row) for row in range(N_CELL_LINES)],
        "objective": {"score": "bliss_mean", "hit_threshold": 8.0},
        "limits": {"batch_size": 12, "max_per_compound": 4},
    }


def _csv(tables: list[Wells]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["cell_line", "compound_1", "dose_1_um", "compound_2", "dose_2_um", "viability_fraction"]
    )
    for wells in tables:
        for line, compounds, doses, viability in zip(
            wells.cell_line, wells.compounds, wells.doses_um, wells.viability, strict=True
        ):
            cells = [line_name(int(line))]
            for compound, dose in zip(compounds[:2], doses[:2], strict=True):
                absent = compound == ABSENT
                cells += ["", ""] if absent else [compound_name(int(compound)), f"{dose:.4g}"]
            writer.writerow([*cells, f"{viability:.4f}"])
    return buffer.getvalue()


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content)


if __name__ == "__main__":
    main()
