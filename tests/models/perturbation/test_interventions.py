"""Tables of interventions: units, noise and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.edge_design import make_design, shrink
from models.perturbation.interventions import InterventionTable, from_expression
from models.screen import ScreenError


def make(**changes):
    rng = np.random.default_rng(0)
    parts = {
        "genes": ("A", "B", "C"),
        "responses": rng.standard_normal((4, 3)),
        "targeted": np.eye(4, 3, dtype=bool),
        "controls": rng.standard_normal((5, 3)),
        "noise_sd": np.ones(3),
    }
    return InterventionTable(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"genes": ("A", "A", "C")}, "named once"),
        ({"responses": np.zeros((4, 2))}, "one column"),
        ({"responses": np.full((4, 3), np.nan)}, "missing"),
        ({"targeted": np.zeros((4, 3), dtype=bool)}, "no intervention"),
        ({"targeted": np.zeros((4, 3))}, "true and false"),
        ({"controls": np.zeros((2, 3))}, "untreated"),
        ({"noise_sd": np.zeros(3)}, "above 0"),
    ],
)
def test_bad_tables_are_refused(changes, words):
    with pytest.raises(ScreenError, match=words):
        make(**changes)


def test_level_and_noise_ignore_what_an_intervention_does_to_its_own_gene():
    rng = np.random.default_rng(1)
    controls = 5 + 0.1 * rng.standard_normal((200, 3))
    treated = 5 + 0.1 * rng.standard_normal((300, 3))
    own = np.zeros((300, 3), dtype=bool)
    own[:, 0] = True
    treated[:, 0] = 0.0
    table = from_expression(("A", "B", "C"), controls, treated, own)
    assert table.noise_sd == pytest.approx([0.1] * 3, rel=0.2)
    assert table.pushes() == pytest.approx([5, 0, 0], abs=0.05)


def test_genes_that_never_vary_are_refused():
    with pytest.raises(ScreenError, match="never vary"):
        from_expression(("A", "B"), np.ones((5, 2)), np.ones((2, 2)), np.eye(2, dtype=bool))


def test_shrinkage_spares_large_effects_and_removes_noise():
    values = np.random.default_rng(2).standard_normal((100, 20))
    values[0, 0] = 40.0
    free = np.ones_like(values, dtype=bool)
    free[5, 5], values[5, 5] = False, -3.3
    shrunk = shrink(values, free)
    assert shrunk[0, 0] == pytest.approx(40, rel=0.05)
    assert shrunk[5, 5] == -3.3
    assert np.mean(np.abs(np.delete(shrunk.ravel(), [0, 105]))) < 0.05


def test_a_push_is_the_unit():
    responses = np.array([[-8.0, 2.0], [1.0, 0.5]])
    table = InterventionTable(
        ("A", "B"),
        responses,
        np.array([[True, False], [False, True]]),
        np.zeros((3, 2)),
        np.ones(2),
    )
    design = make_design(table)
    assert design.x[0, 0] == -1.0
    assert design.x_sd == pytest.approx([1 / 8, 1 / 3])
    assert design.y == pytest.approx(responses)


def test_selections_keep_names_with_columns():
    table = make()
    moved = table.select_genes([2, 0, 1])
    assert moved.genes == ("C", "A", "B")
    assert np.array_equal(moved.responses[:, 0], table.responses[:, 2])
    assert len(table.select_conditions([0, 2])) == 2
