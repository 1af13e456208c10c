"""The basis of inputs: the same as a screen's own reduction, and a rigid map for any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from models.synergy.inputs import InputTables
from models.synergy.score_networks.basis import Basis
from tests.models.synergy.score_networks.screens import LINES, N, features, related

CPU = torch.device("cpu")


def test_on_its_own_screen_it_is_the_usual_reduction() -> None:
    """Up to the signs of directions."""
    ours, usual = Basis.of(features()).tables(features(), CPU), InputTables.of(features(), CPU)
    assert torch.allclose(ours.curves, usual.curves, atol=1e-5)
    for name in ("compounds", "cell_lines"):
        mine, other = getattr(ours, name), getattr(usual, name)
        assert mine.shape == other.shape
        assert torch.allclose(mine @ mine.T, other @ other.T, atol=1e-4)


def test_another_screen_lands_in_the_same_place() -> None:
    """Rows that both screens hold get the same coordinates; a screen in another order, too."""
    whole, basis = related(0, 9, 4).features, Basis.of(related(0, 9, 4).features)
    order, lines = np.array([5, 0, 7]), np.array([3, 1])
    part = replace(
        whole,
        compounds=replace(
            whole.compounds,
            ids=("x", "y", "z"),
            fingerprints=whole.compounds.fingerprints[order],
            has_structure=whole.compounds.has_structure[order],
        ),
        cell_lines=replace(
            whole.cell_lines,
            ids=("p", "q"),
            features=whole.cell_lines.features[lines],
            has_features=np.array([True, False]),
        ),
    )
    first, second = basis.tables(whole, CPU), basis.tables(part, CPU)
    assert torch.allclose(first.compounds[order], second.compounds, atol=1e-6)
    assert torch.allclose(first.cell_lines[3], second.cell_lines[0], atol=1e-6)
    assert torch.all(second.cell_lines[1] == 0)
    assert second.curves.shape == (6, 0)


def test_files_keep_it() -> None:
    basis = Basis.of(features())
    again = Basis.from_tensors(basis.to_tensors())
    one, other = basis.tables(features(), CPU), again.tables(features(), CPU)
    for name in ("compounds", "cell_lines", "curves"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_screen_without_curves_reads_as_average_curves() -> None:
    bare = replace(features(), curves=None)
    tables = Basis.of(features()).tables(bare, CPU)
    assert tables.curves.shape == (N * LINES, 3)
    assert torch.all(tables.curves == 0)
