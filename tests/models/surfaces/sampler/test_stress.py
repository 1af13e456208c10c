"""Synthetic worlds: the wells say what the surfaces are, and a stretch makes them wilder."""

from __future__ import annotations

import numpy as np
import pytest

from models.screen import ScreenError
from models.surfaces.sampler.conditions import TOP
from models.surfaces.sampler.stress import synthetic_worlds, wells_of
from tests.models.surfaces.sampler.small import blocks, fitted


def test_wells_hold_every_reading_at_its_doses() -> None:
    table = blocks(7, m=3, columns=2)
    wells = wells_of(table.viability, table)
    assert len(wells) == 7 * 6
    for b in range(7):
        a, c = table.compounds[b]
        for i in range(3):
            for j in range(2):
                mine = (wells.viability == table.viability[b, i, j]).nonzero()[0]
                assert len(mine) == 1
                said = dict(zip(wells.compounds[mine[0]], wells.doses_um[mine[0]], strict=True))
                assert said[a] == table.doses[0][b, i]
                assert said[c] == table.doses[1][b, j]


def test_worlds_are_labelled_differ_and_turn_with_their_compounds() -> None:
    table = blocks(20, seed=4)
    one, other = synthetic_worlds(fitted(), table, 2, 5)
    assert one.synthetic
    assert not np.allclose(one.surfaces, other.surfaces)
    turned = synthetic_worlds(fitted(), table.swapped(), 2, 5)[0]
    np.testing.assert_allclose(turned.surfaces.transpose(0, 2, 1), one.surfaces, atol=1e-6)
    assert sorted(turned.wells.viability.round(5)) == sorted(one.wells.viability.round(5))


def test_a_stretch_makes_wilder_worlds_within_the_bounds() -> None:
    table = blocks(60, seed=4)
    spread = {}
    for stretch in (0.5, 1.0, 3.0):
        worlds = synthetic_worlds(fitted(), table, 8, 5, stretch=stretch)
        surfaces = np.stack([world.surfaces for world in worlds])
        spread[stretch] = surfaces.std(axis=0).mean()
        assert surfaces.min() >= 0
        assert surfaces.max() <= TOP
    assert spread[0.5] < spread[1.0] < spread[3.0]
    with pytest.raises(ScreenError, match="stretch"):
        synthetic_worlds(fitted(), table, 1, 0, stretch=0.0)
