"""Replicates into dose pairs, dose pairs into lines."""

import numpy as np

from models.pharmacology.dose_pairs import DosePairs, padded_groups, same_dose
from models.pharmacology.noise import NoiseModel
from models.screen import ABSENT, Wells

NOISE = NoiseModel(0.05, 0.0, "test")


def wells() -> Wells:
    rows = [(1, 0, 2, 1.0, 5.0, 0.4), (0, 0, 1, 1.0, 2.0, 0.5), (0, 0, 1, 1.0, 2.0, 0.7)]
    rows += [(0, 0, 1, 3.0, 2.0, 0.2), (0, 1, 2, 3.0, 2.0, 0.1)]
    line, a, b, x, y, v = (np.array(column) for column in zip(*rows, strict=True))
    compounds = np.stack([a, b, np.full(5, ABSENT)], axis=1)
    return Wells(line, compounds, np.stack([x, y, np.zeros(5)], axis=1), v)


def test_replicates_are_averaged_and_blocks_kept_together() -> None:
    pairs = DosePairs.of(wells(), NOISE, 3)
    assert len(pairs) == 4
    assert pairs.block.tolist() == [0, 0, 1, 2]
    assert pairs.first.tolist() == [0, 2, 3]
    assert pairs.viability.tolist() == [0.6, 0.2, 0.1, 0.4]
    assert pairs.n_wells.tolist() == [2, 1, 1, 1]
    assert pairs.candidates.compounds.tolist() == [[0, 1], [1, 2], [0, 2]]


def test_a_selection_renumbers_its_blocks() -> None:
    kept = DosePairs.of(wells(), NOISE, 3).select(np.array([False, True, False, True]))
    assert kept.block.tolist() == [0, 1]
    assert kept.first.tolist() == [0, 1]
    assert kept.candidates.cell_line.tolist() == [0, 1]


def test_equal_doses_of_one_block_are_one_group() -> None:
    group, owner = same_dose(np.array([0, 0, 0, 1]), np.array([2.0, 1.0, 2.0, 2.0]))
    assert group.tolist() == [1, 0, 1, 2]
    assert owner.tolist() == [0, 0, 1]


def test_groups_are_padded_with_their_first_row() -> None:
    table, filled = padded_groups(np.array([1, 0, 1, 1]))
    assert table.tolist() == [[1, 1, 1], [0, 2, 3]]
    assert filled.tolist() == [[True, False, False], [True, True, True]]
    assert padded_groups(np.empty(0, np.int64))[0].shape == (0, 1)
