import numpy as np
import pytest

from models.screen import ABSENT, ScreenError, Wells
from models.synergy.response.table import DoseScale, WellTable
from tests.models.synergy.response.small import N_COMPOUNDS, N_LINES, UNSEEN, training


def encoded(wells: Wells) -> WellTable:
    return WellTable.of(wells, DoseScale.of(wells, N_COMPOUNDS), N_LINES)


def test_positions_lead_back_to_the_wells() -> None:
    wells = training().wells
    assert wells is not None
    table = encoded(wells)
    well, slot = np.nonzero(table.present)
    cells = table.cells[table.cell[well, slot]]
    assert np.array_equal(cells[:, 0], table.compound[well, slot])
    assert np.array_equal(cells[:, 1], table.line[well])
    pairs = np.flatnonzero(table.pair[:, 0] < len(table.pairs))
    assert np.array_equal(table.pairs[table.pair[pairs, 0]], table.compound[pairs])
    assert np.array_equal(table.blocks[table.block[pairs, 0], 1], table.line[pairs])
    assert np.isclose(table.viability.sum(), wells.viability.sum())


def test_row_order_makes_no_difference() -> None:
    wells = training().wells
    assert wells is not None
    shuffled = wells.select(np.random.default_rng(0).permutation(len(wells)))
    for name, array in vars(encoded(wells)).items():
        assert np.array_equal(array, getattr(encoded(shuffled), name)), name


def test_other_units_shift_the_middle_only() -> None:
    wells = training().wells
    assert wells is not None
    other = Wells(wells.cell_line, wells.compounds, 1000 * wells.doses_um, wells.viability)
    assert np.allclose(encoded(wells).log_dose, encoded(other).log_dose)


def test_unseen_compounds_are_known_as_such() -> None:
    wells = training().wells
    assert wells is not None
    known = DoseScale.of(wells, N_COMPOUNDS).known
    assert np.flatnonzero(~known).tolist() == [UNSEEN]


def test_three_compounds_have_three_pairs() -> None:
    wells = Wells(
        np.zeros(2, np.int64),
        np.array([[0, 1, 2], [1, ABSENT, ABSENT]]),
        np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]]),
        np.array([0.5, 0.9]),
    )
    table = WellTable.of(wells, DoseScale.of(wells, 3), 1)
    assert table.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    triple = int(np.flatnonzero(table.present.all(axis=1))[0])
    assert table.pair[triple].tolist() == [0, 1, 2]
    assert table.pair[1 - triple].tolist() == [3, 3, 3]


def test_wells_outside_the_tables_are_refused() -> None:
    wells = training().wells
    assert wells is not None
    with pytest.raises(ScreenError, match="names compound"):
        WellTable.of(wells, DoseScale(np.zeros(2), np.ones(2, bool), 1.0), N_LINES)
    with pytest.raises(ScreenError, match="names cell line"):
        WellTable.of(wells, DoseScale.of(wells, N_COMPOUNDS), 1)
