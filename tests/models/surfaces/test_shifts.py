"""Shifts: what they find in a screen where one curve and one pair are off."""

from __future__ import annotations

import numpy as np

from models.surfaces.scales import DoseScale, basis
from models.surfaces.shift_folds import fit_shift_folds
from models.surfaces.shifts import KINDS, Rows, Sizes, fit_shifts
from tests.models.surfaces.toys import N_COMPOUNDS, N_LINES, blocks

SIZES = Sizes(N_COMPOUNDS, N_LINES)


def test_a_shifted_curve_and_an_interaction_are_found() -> None:
    """Half of the residuals at least, on blocks that were left out."""
    table = blocks()
    scale = DoseScale.of([table], N_COMPOUNDS)
    own = (table.compounds[:, 0] == 0) & (table.cell_line == 0) & (table.compounds[:, 1] == 3)
    acting = (table.compounds == [1, 2]).all(1) & (table.cell_line == 2)
    hidden = own | acting
    shifts = fit_shifts(Rows.of([table], scale, SIZES), ~hidden)
    for rows in (own, acting):
        some = table.select(rows)
        residual = some.viability - some.reference
        left = residual - shifts.parts(some).sum(-1)
        assert np.square(left).sum() < 0.5 * np.square(residual).sum()
    kinds = np.abs(shifts.parts(table.select(own))).sum((0, 1, 2))
    assert kinds.argmax() == KINDS.index("curve")


def test_a_swap_changes_nothing() -> None:
    """The same numbers, transposed, whichever compound stands first."""
    table = blocks((4, 3))
    scale = DoseScale.of([table], N_COMPOUNDS)
    shifts = fit_shifts(Rows.of([table], scale, SIZES))
    there, back = shifts.parts(table), shifts.parts(table.swapped())
    np.testing.assert_allclose(back, there.transpose(0, 2, 1, 3), atol=1e-12)
    np.testing.assert_array_equal(shifts.counts(table), shifts.counts(table.swapped()))


def test_a_known_block_is_told_what_others_say() -> None:
    """Changing a block's own wells does not change the shifts it is given."""
    table = blocks()
    scale = DoseScale.of([table], N_COMPOUNDS)
    before = fit_shift_folds([table], scale, SIZES, seed=1).of(table.select(np.array([5])))
    table.viability[5] += 0.3
    after = fit_shift_folds([table], scale, SIZES, seed=1).of(table.select(np.array([5])))
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)


def test_margins_are_left_alone() -> None:
    """A block with doses 0 gets no shift there, to the last bit."""
    table = blocks()
    scale = DoseScale.of([table], N_COMPOUNDS)
    assert np.all(scale.gate(table.compounds[:, 0], np.zeros((len(table), 1))) == 0.0)
    np.testing.assert_allclose(basis(np.linspace(0, 1, 9))[:, 1:].sum(-1), 1.0)
