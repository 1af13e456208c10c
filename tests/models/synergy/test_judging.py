from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from models.screen import Candidates, ScreenError, Stopped
from models.synergy.evidence import measure_evidence, split_rows
from models.synergy.inputs import Training, module_coordinates
from models.synergy.judging import (
    BEYOND_NOISE,
    FOLDS,
    Judge,
    judge_model,
    judge_models,
    module_words,
    paired_gain,
)
from models.synergy.registry import find_model
from tests.models.synergy.module_screens import module, noise_module, training
from tests.models.synergy.ridge import Ridge, RidgePosterior


@dataclass
class ReadingPosterior(RidgePosterior):
    """The ridge with products of the coordinates of both compounds as further columns."""

    coordinates: list[np.ndarray] = field(default_factory=list)

    def design(self, at: Candidates) -> np.ndarray:
        a, b = at.compounds.T
        return np.column_stack([super().design(at), *(z[a] * z[b] for z in self.coordinates)])


@dataclass
class Reading(Ridge):
    """The ridge that reads modules; ``refuses``: the name of one that it cannot take."""

    reads_modules: bool = True
    refuses: str = ""
    seen: list[tuple[str, ...]] = field(default_factory=list)

    def fit(self, training: Training, **more: Any) -> RidgePosterior:
        modules = [one for one in training.features.modules if one.skill > 0]
        self.seen.append(tuple(one.name for one in modules))
        if self.refuses in self.seen[-1]:
            raise ScreenError("too much")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "tests.models.synergy.ridge.RidgePosterior",
                lambda *args: ReadingPosterior(
                    *args, coordinates=[module_coordinates(one) for one in modules]
                ),
            )
            return super().fit(training, **more)


def judged(*modules: Any, model: Ridge | None = None, n: int = 160, **more: Any) -> Any:
    return judge_model(model or Reading(), training(0, n, *modules), Judge(seed=3, **more))


class TestGain:
    def test_of_single_blocks_it_is_the_usual_standard_error(self) -> None:
        values = np.random.default_rng(0).normal(size=50)
        found = paired_gain(values, np.arange(50), 1)
        assert found.mean == pytest.approx(values.mean())
        assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(50))

    def test_a_few_surprises_do_not_decide(self) -> None:
        """Fifty blocks a little better, and one that the model without did not expect at all."""
        better = np.append(np.full(50, 0.1) + 0.02 * np.sin(np.arange(50)), 60.0)
        found = paired_gain(better, np.arange(51), 1)
        assert found.mean < BEYOND_NOISE * found.standard_error
        assert found.is_real
        assert found.share == pytest.approx(np.mean(1 / (1 + np.exp(-better))))
        assert not paired_gain(-better, np.arange(51), 1).is_real
        worse = np.append(better[:50], -60.0)
        assert not paired_gain(worse, np.arange(51), 1).is_real, "the mean gain is negative"

    def test_copies_of_a_pair_add_nothing(self) -> None:
        values = np.random.default_rng(0).normal(size=20)
        once = paired_gain(values, np.arange(20), 1)
        thrice = paired_gain(np.tile(values, 3), np.tile(np.arange(20), 3), 1)
        assert thrice.standard_error == pytest.approx(once.standard_error)
        assert thrice.share_error == pytest.approx(once.share_error)

    def test_one_pair_proves_nothing(self) -> None:
        found = paired_gain(np.array([5.0, 5.1, 4.9]), np.zeros(3, np.int64), 1)
        assert math.isinf(found.standard_error)
        assert not found.is_real

    def test_what_is_not_finite_proves_nothing(self) -> None:
        for bad in (np.nan, np.inf, -np.inf):
            assert not paired_gain(np.array([bad, 1.0]), np.arange(2), 1).is_real


class TestFolds:
    def test_fifths_are_disjoint_and_the_first_is_that_of_the_evidence(self) -> None:
        held_out = [split_rows(53, 7, None, fold)[1] for fold in range(FOLDS)]
        assert len(np.unique(np.concatenate(held_out))) == sum(map(len, held_out))
        for fold, own in enumerate(held_out):
            kept, _ = split_rows(53, 7, None, fold)
            assert np.array_equal(np.sort(np.concatenate([kept, own])), np.arange(53))
        assert np.array_equal(held_out[0], split_rows(53, 7)[1])

    def test_only_what_is_judged_is_held_out(self) -> None:
        mask = np.arange(60) % 2 == 0
        for fold in range(FOLDS):
            assert mask[split_rows(60, 1, mask, fold)[1]].all()


class TestGate:
    def test_without_modules_it_is_the_evidence(self) -> None:
        data = training(0, 80)
        found = judge_model(Ridge(), data, Judge(seed=3))
        alone = measure_evidence(Ridge(), data, seed=3)
        assert np.array_equal(found.evidence.log_density, alone.log_density)
        assert "modules" not in found.evidence.report

    def test_true_factors_are_used(self) -> None:
        found = judged(module(0, skill=0.4))
        (said,) = found.evidence.report["modules"]
        assert (said["name"], said["used"], said["weight"]) == ("proteins", True, 0.4)
        assert said["gain"] > 0
        assert said["share"] - 0.5 > BEYOND_NOISE * said["share_error"] > 0
        assert (said["n_compounds"], said["n_pairs"]) == (13, 15)
        assert (said["folds"], said["n_held_out"]) == (3, 96)
        assert [one.name for one in found.training.features.modules] == ["proteins"]
        density = found.evidence.log_density.mean()
        assert density > judged().evidence.log_density.mean()
        (words,) = module_words(found.evidence.report)
        assert words.startswith("Module proteins (skill 0.40, knows 13 of 14 compounds")
        assert "is used: with it held-out blocks gain" in words

    def test_noise_is_left_out_and_leaves_no_trace(self) -> None:
        found = judged(noise_module(0))
        (said,) = found.evidence.report["modules"]
        assert (said["used"], said["weight"]) == (False, 0.0)
        assert "not beyond noise" in said["words"]
        assert found.training.features.modules == ()
        assert np.array_equal(found.evidence.log_density, judged().evidence.log_density)

    def test_of_two_only_the_one_that_helps(self) -> None:
        model = Reading()
        found = judged(module(0), noise_module(0), model=model)
        assert [one["used"] for one in found.evidence.report["modules"]] == [True, False]
        assert [one.name for one in found.training.features.modules] == ["proteins"]
        assert ("proteins", "dice") not in model.seen, "each is judged alone"
        # Without any once in each fold, then each module in each fold.
        assert len(model.seen) == 3 * FOLDS

    def test_two_that_help_are_measured_together(self) -> None:
        model = Reading()
        found = judged(module(0), module(0, noise=0.5, name="rates"), model=model)
        assert [one["used"] for one in found.evidence.report["modules"]] == [True, True]
        assert model.seen[-1] == ("proteins", "rates")
        assert [one.name for one in found.training.features.modules] == ["proteins", "rates"]

    def test_no_skill_costs_no_fit(self) -> None:
        model = Reading()
        found = judged(module(0, skill=0.0), model=model)
        (said,) = found.evidence.report["modules"]
        assert (said["gain"], said["used"]) == (None, False)
        assert "no skill" in said["words"]
        assert len(model.seen) == 1

    def test_a_module_that_tells_nothing_apart(self) -> None:
        same = module(0)
        same = replace(same, compounds=0 * same.compounds + 1, pairs=0 * same.pairs)
        (said,) = judged(same).evidence.report["modules"]
        assert "tells none of these compounds or pairs apart" in said["words"]

    @pytest.mark.parametrize("name", ["ridge", "hierarchical_bliss", "logit_tensor", "plain_gp"])
    def test_a_model_that_does_not_read_modules_says_so(self, name: str) -> None:
        assert not getattr(Ridge() if name == "ridge" else find_model(name), "reads_modules", False)
        if name == "ridge":
            (said,) = judged(module(0), model=Ridge()).evidence.report["modules"]
            assert "ridge does not read modules" in said["words"]

    def test_a_module_with_which_nothing_can_be_fitted(self) -> None:
        found = judged(module(0), model=Reading(refuses="proteins"))
        (said,) = found.evidence.report["modules"]
        assert "cannot be fitted with it (too much)" in said["words"]
        assert not said["used"]

    def test_many_blocks_are_judged_on_one_fifth(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("models.synergy.judging.FEW_BLOCKS", 100)
        model = Reading()
        (said,) = judged(module(0), model=model).evidence.report["modules"]
        assert (said["folds"], said["n_held_out"], len(model.seen)) == (1, 32, 2)

    def test_work_can_be_stopped(self) -> None:
        with pytest.raises(Stopped):
            judged(module(0), should_stop=lambda: True)


def test_models_are_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"reading": Reading(), "ridge": Ridge(), "broken": Ridge(fails=True)}
    monkeypatch.setattr("models.synergy.judging.find_model", lambda name: known[name])
    stages: set[str] = set()
    judge = Judge(seed=3, on_progress=lambda stage, done, total: stages.add(stage))
    found, failed = judge_models(tuple(known), training(0, 160, module(0)), judge)
    assert [one.name for one in found["reading"].training.features.modules] == ["proteins"]
    assert found["ridge"].training.features.modules == ()
    assert failed == {"broken": "this model never fits"}
    assert stages == {"evidence for reading", "evidence for ridge"}
    with pytest.raises(ScreenError, match="never fits"):
        judge_models(("broken",), training(0, 160), judge)


@pytest.mark.slow
def test_gp_pairs_takes_true_factors_and_leaves_noise() -> None:
    data = training(1, 130, module(1), noise_module(1))
    found = judge_model(find_model("gp_pairs"), data, Judge(seed=1, draws=64))
    said = found.evidence.report["modules"]
    assert [one["used"] for one in said] == [True, False], said
