"""The simulated lab: what it offers, what it hands in, and that chance is in its seed."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from service.demo.labs import Block, Table
from service.demo.simulated import SimulatedLab


@pytest.fixture(scope="module")
def lab() -> SimulatedLab:
    return SimulatedLab(n_compounds=6, n_cell_lines=3, seed=1)


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.csv)))


def test_blocks_are_all_pairs_in_all_cell_lines(lab: SimulatedLab) -> None:
    assert len(lab.true_scores) == 15 * 3
    names = {compound.name for compound in lab.compounds}
    lines = {line.name for line in lab.cell_lines}
    assert {name for block in lab.true_scores for name in block.pair} == names
    assert {block.cell_line for block in lab.true_scores} == lines
    assert all(block.first < block.second for block in lab.true_scores)


def test_the_default_is_a_library_of_a_real_size() -> None:
    lab = SimulatedLab()
    assert len(lab.true_scores) == 7560
    assert sum(score > lab.hit_threshold for score in lab.true_scores.values()) > 20
    assert "36 compounds x 12 cell lines = 7,560 possible blocks of 4 x 4 doses" in lab.title


def test_two_labs_do_not_share_names() -> None:
    one, other = SimulatedLab(4, 2, seed=1), SimulatedLab(4, 2, seed=2)
    assert not {c.name for c in one.compounds} & {c.name for c in other.compounds}
    assert not {c.name for c in one.cell_lines} & {c.name for c in other.cell_lines}


def test_a_block_is_measured_at_the_doses_that_the_campaign_is_told(lab: SimulatedLab) -> None:
    block = next(iter(lab.true_scores))
    table = lab.measure([block])
    rows = rows_of(table)
    assert table.n_wells == len(rows) == 16
    doses = {compound.name: compound.doses_um for compound in lab.compounds}
    for place in ("1", "2"):
        names = {row[f"compound_{place}"] for row in rows}
        assert len(names) == 1
        written = {float(row[f"dose_{place}_um"]) for row in rows}
        assert written == set(doses[names.pop()])
    assert {row["cell_line"] for row in rows} == {block.cell_line}


def test_single_agents_cover_every_compound_in_every_cell_line(lab: SimulatedLab) -> None:
    table = lab.single_agents()
    rows = rows_of(table)
    assert len({(row["cell_line"], row["compound_1"]) for row in rows}) == 6 * 3
    assert table.n_wells == len(rows) == 6 * 3 * 8 * 2
    assert table.says == {"repeats": "replicates"}


def test_noise_differs_between_runs_and_is_the_same_in_the_same_lab() -> None:
    blocks = sorted(SimulatedLab(4, 2, seed=3).true_scores)[:2]
    one, other = SimulatedLab(4, 2, seed=3), SimulatedLab(4, 2, seed=3)
    first, second = one.measure(blocks), one.measure(blocks)
    assert first.csv != second.csv
    assert first.csv == other.measure(blocks).csv


def test_replicates_of_a_block_average_to_its_true_score() -> None:
    lab = SimulatedLab(8, 3, seed=1)
    best = max(lab.true_scores, key=lambda block: lab.true_scores[block])
    runs = [rows_of(lab.measure([best])) for _ in range(60)]
    mean = np.mean([[float(row["viability_fraction"]) for row in rows] for rows in runs], axis=0)
    doses = np.array([[float(row["dose_1_um"]), float(row["dose_2_um"])] for row in runs[0]])
    screen, row = lab._screen, lab._row[best]
    candidate = lab._candidates.select(np.array([row]))
    expected = screen.viability(candidate, doses[None])[0]
    np.testing.assert_allclose(mean, expected, atol=0.03)


def test_a_block_has_no_order() -> None:
    assert Block.of("B", "A", "X") == Block.of("A", "B", "X") == Block("A", "B", "X")
