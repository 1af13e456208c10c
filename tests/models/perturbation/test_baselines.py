"""The rules by hand, and their spread."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.baselines import (
    RULES,
    RuleModel,
    additive,
    judged_rows,
    mean_of_others,
    single_effects,
    strongest,
)
from models.perturbation.data import ResponseTable
from models.perturbation.evaluate import each_row, hold_out
from models.perturbation.forecast import forecast
from models.perturbation.learnable import learnable
from models.screen import ScreenError, Stopped
from tests.models.perturbation.responses import screen

DOSES = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
VALUES = np.array([[1.0, -4.0], [2.0, -8.0], [-5.0, 3.0], [9.0, 9.0]])


def test_single_effects_are_interpolated_through_zero_and_stay_beyond() -> None:
    at = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 30.0])
    found = single_effects(DOSES, VALUES, 0, at)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.5, 1.0, 1.5, 2.0, 2.0])
    assert not found[0].any()


def test_rules_by_hand() -> None:
    at = np.array([[1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(additive(DOSES, VALUES, at), [[-4.0, -1.0], [0.0, 0.0]])
    np.testing.assert_allclose(strongest(DOSES, VALUES, at), [[-5.0, -4.0], [0.0, 0.0]])
    np.testing.assert_allclose(mean_of_others(DOSES, VALUES, at), [[9.0, 9.0], [0.0, 0.0]])


def test_a_perturbation_never_measured_alone_has_no_expected_effect() -> None:
    np.testing.assert_array_equal(additive(DOSES[:2], VALUES[:2], DOSES[2:3]), [[0.0, 0.0]])


@pytest.mark.parametrize("name", RULES)
def test_intervals_hold_what_they_promise(name: str) -> None:
    table, _ = screen(noise=0.3)
    rows = learnable(table)
    held = hold_out(RuleModel(name), rows, each_row(judged_rows(rows)), seed=0)
    # 28 pairs of 12 readouts; errors of one pair go together, so 0.1 is about three deviations.
    assert held.scores()["coverage"] == pytest.approx(0.9, abs=0.1)


def test_additive_noise_is_that_of_three_measurements() -> None:
    table, _ = screen(p=12, g=40, noise=0.2)
    posterior = RuleModel("additive").fit(table, seed=0)
    sd = forecast(posterior, table.pairs().doses).scales.mean()
    assert sd == pytest.approx(0.2 * np.sqrt(3), rel=0.1)


@pytest.mark.parametrize("name", RULES)
def test_saved_and_loaded_it_draws_the_same(name: str) -> None:
    table, _ = screen()
    fitted = RuleModel(name).fit(table, seed=0)
    loaded = RuleModel(name).load(*fitted.save())
    doses = table.pairs().doses
    assert fitted.draws(doses, 3, 1).tobytes() == loaded.draws(doses, 3, 1).tobytes()
    assert loaded.noise_df == fitted.noise_df
    with pytest.raises(ScreenError, match="cannot load"):
        RuleModel("additive").load({}, {"model": "other", "version": 1})


def test_judged_are_pairs_or_else_doses_inside() -> None:
    table, _ = screen()
    assert (table.n_present[judged_rows(table)] == 2).all()
    singles = table.singles()
    assert singles.doses[judged_rows(singles)].max() == 1.0
    assert len(judged_rows(singles.select(singles.doses.max(axis=1) == 1.0))) == 8


def test_what_cannot_be_learned_from() -> None:
    table, _ = screen()
    model = RuleModel("additive")
    holes = table.values.copy()
    holes[3, 2] = np.nan
    fields = {
        "perturbations": table.perturbations,
        "readouts": table.readouts,
        "conditions": table.conditions,
        "doses": table.doses,
    }
    with pytest.raises(ScreenError, match="'g2' in condition 'd1@1\\.5' is missing"):
        model.fit(ResponseTable.of(**fields, values=holes), seed=0)
    counts = ResponseTable.of(**fields, values=np.ones_like(holes), kind="counts")
    with pytest.raises(ScreenError, match="log ratios"):
        model.fit(counts, seed=0)
    with pytest.raises(ScreenError, match="at least 4 treated conditions, there are 3"):
        model.fit(table.select(np.arange(3)), seed=0)
    with pytest.raises(Stopped):
        model.fit(table, seed=0, should_stop=lambda: True)
    bad = ResponseTable.of(**fields, values=holes, low_quality=np.isnan(holes).any(axis=1))
    assert len(model.fit(bad, seed=0).doses) == len(table) - 1
