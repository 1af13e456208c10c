"""Models side by side: what wins where the truth is known, and what is served."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.screen import ScreenError
from models.surfaces.baselines import fit_bliss, fit_musyc
from models.surfaces.fitting import Plan
from models.surfaces.gp import fit_gp
from models.surfaces.judging import OPERATOR, Request, choose, judge, score
from models.surfaces.masks import draw_masks
from models.surfaces.scales import DoseScale
from tests.models.surfaces.toys import LINES, N_COMPOUNDS, blocks, curves

PLAN = Plan(members=2, betas=(0.1,), steps=30, width=6)


def test_bliss_has_the_bands_of_its_residuals() -> None:
    """About 90 % of wells in its 90 % bands, the score that its own normal would have."""
    table = blocks()
    found = score(fit_bliss([table], seed=1), [table], "nothing", seed=1)
    assert 0.85 < found["coverage_90"] < 0.96
    residual = table.viability - table.reference
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(residual).mean()), abs=1e-4)
    assert found["n_wells"] == table.viability.size


def test_musyc_without_interaction_is_near_bliss() -> None:
    """Most pairs do not interact: its surfaces stay within a few points."""
    table = blocks()
    surface = fit_musyc([table], curves(), seed=1).predict(table).mean
    assert float(np.abs(surface - table.reference).mean()) < 0.03


def test_a_gaussian_process_learns_a_pair_and_follows_measured_wells() -> None:
    """Better than Bliss where wells of the block are known."""
    table = blocks()
    process = fit_gp([table], DoseScale.of([table], N_COMPOUNDS), seed=1)
    swapped = process.predict(table.select(np.arange(4)).swapped()).mean
    there = process.predict(table.select(np.arange(4))).mean
    np.testing.assert_allclose(swapped.transpose(0, 2, 1), there, atol=1e-9)
    acting = table.select((table.compounds == [1, 2]).all(1))
    told, bliss = (
        score(model, [acting], "diagonal", seed=1)["rmse"]
        for model in (process, fit_bliss([table], seed=1))
    )
    assert told < 0.7 * bliss


@pytest.mark.slow
def test_the_operator_beats_bliss_where_a_curve_is_wrong() -> None:
    """On held-out pairs of a screen in which one curve is off and wells are precise."""
    verdict = judge(
        [blocks()], curves(), LINES, Request(PLAN, 3, (OPERATOR, "shifts and field", "bliss"))
    )
    bare = verdict.scores["nothing"]
    assert bare[OPERATOR]["rmse"] < bare["bliss"]["rmse"]
    assert verdict.served != "bliss"
    assert verdict.served in verdict.words
    assert verdict.folds == 3


def test_with_too_little_bliss_is_served_and_the_reason_said() -> None:
    """No model is better because none could be judged."""
    verdict = judge([blocks().select(np.arange(13))], curves(), LINES, Request(PLAN, 3))
    assert verdict.served == "bliss"
    assert "too little is measured" in verdict.words


def test_the_best_judged_is_chosen() -> None:
    """By log density; the words say what stands beside it."""
    served, words = choose({OPERATOR: 1.2, "bliss": 1.3})
    assert served == "bliss"
    assert "the operator has 1.200" in words
    served, words = choose({OPERATOR: 1.5, "bliss": 1.3, "musyc": 1.4})
    assert served == OPERATOR
    assert "musyc, has 1.400" in words


def test_hidden_wells_alone_are_scored() -> None:
    """A measured diagonal is not asked for."""
    table = blocks()
    hidden = ~draw_masks("diagonal", len(table), table.shape, np.random.default_rng(0))
    found = score(fit_bliss([table], seed=1), [table], "diagonal", seed=1)
    assert found["n_wells"] == hidden.sum()
    assert math.isfinite(found["elpd"])
    with pytest.raises(ScreenError, match="none of"):
        score(fit_bliss([table], seed=1), [table], "corner", seed=1)
