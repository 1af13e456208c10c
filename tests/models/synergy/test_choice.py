"""The choice of a model: the best, unless a simpler one is as good as it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from models.screen import ScreenError
from models.synergy.choice import choose_model, describe_choice, paired_difference
from models.synergy.evidence import Evidence, measure_evidence
from models.synergy.training import Schedule
from tests.models.synergy.ridge import Ridge
from tests.models.synergy.small_screens import linear_training


def evidence(density: np.ndarray, additive: float | None = -4.0) -> Evidence:
    elpd = float(density.mean())
    report = {
        "model": {"elpd": elpd, "coverage": {"90": 0.88}},
        "baselines": {"additive": {"elpd": additive}},
    }
    return Evidence(report, Schedule(1, 1), density)


NOISE = np.random.default_rng(0).normal(size=400)


def test_the_best_wins_where_it_is_clear() -> None:
    name, reason = choose_model({"plain": evidence(NOISE - 3.5), "rich": evidence(NOISE - 3.2)})
    assert name == "rich"
    assert "the best of 2, against plain -3.5" in reason
    assert "the additive baseline has -4.000; 90 % intervals hold 88 %" in reason
    assert "0.300 +- 0.000 less" in reason


def test_the_simpler_one_wins_where_it_is_as_good() -> None:
    """Paired differences of mean 0.01 and sd 1 over 400 blocks: standard error 0.05."""
    other = np.random.default_rng(1).normal(size=400)
    better = NOISE - 3.5 + 0.01 + (other - other.mean())
    name, reason = choose_model({"plain": evidence(NOISE - 3.5), "rich": evidence(better)})
    assert name == "plain"
    assert "the simplest of 2 models within one standard error of the best, rich" in reason
    assert choose_model({"rich": evidence(better), "plain": evidence(NOISE - 3.5)})[0] == "rich"


def test_pairing_is_what_decides() -> None:
    """The same gain, far inside the scatter of the blocks, but the same in every block."""
    assert choose_model({"a": evidence(10 * NOISE), "b": evidence(10 * NOISE + 0.01)})[0] == "b"
    mean, error = paired_difference(10 * NOISE + 0.01, 10 * NOISE)
    assert mean == pytest.approx(0.01)
    assert error == pytest.approx(0.0, abs=1e-12)
    assert paired_difference(np.ones(1), np.zeros(1)) == (1.0, math.inf)


def test_a_model_that_is_worse_than_the_baseline_says_so() -> None:
    reason = choose_model({"only": evidence(NOISE - 3.5, additive=-1.0)})[1]
    assert "the only model that was tried" in reason
    assert "which the model does not beat yet" in reason
    assert "no baseline" in choose_model({"only": evidence(NOISE, additive=None)})[1]


def test_broken_models_are_never_chosen() -> None:
    broken = evidence(np.where(np.arange(400) == 3, -np.inf, NOISE))
    assert choose_model({"broken": broken, "fine": evidence(NOISE - 9)})[0] == "fine"
    said = describe_choice({"broken": broken, "fine": evidence(NOISE - 9)})
    assert said["considered"]["broken"]["behind"] is None
    assert said["stacking"] == {"fine": 1.0}
    with pytest.raises(ScreenError, match="none can be chosen"):
        choose_model({"broken": broken})
    with pytest.raises(ScreenError, match="different held-out"):
        choose_model({"a": evidence(NOISE), "b": evidence(NOISE[:10])})


def test_real_evidence_leads_to_the_right_prior() -> None:
    """Effects have sd 5: a prior of 0.05 sees nothing."""
    models = {"blind": Ridge("blind", prior_sd=0.05), "right": Ridge("right", prior_sd=5.0)}
    found = {n: measure_evidence(m, linear_training(), seed=2) for n, m in models.items()}
    assert choose_model(found)[0] == "right"
    said = describe_choice(found)
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert (said["chosen"], said["reason"]) == choose_model(found)
    assert said["stacking"] == {
        "blind": pytest.approx(0, abs=1e-3),
        "right": pytest.approx(1, abs=1e-3),
    }
    assert said["considered"]["right"]["behind"] == 0.0
    assert said["considered"]["blind"]["behind"] > 2 * said["considered"]["blind"]["standard_error"]
