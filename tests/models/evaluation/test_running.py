"""A study: results are kept, reused and compared; failures and stops are said."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.evaluation import running
from models.evaluation.forecasts import forecast_baselines, forecast_model
from models.evaluation.oneil import ScreenFolder
from models.evaluation.result_store import ResultStore
from models.evaluation.running import Task, Watcher, chosen_folds, named_models, run_study
from models.evaluation.study import Study, StudyData
from models.screen import ScreenError, Stopped
from models.synergy.stacking import Stacked
from tests.models.evaluation.small_folder import read_folder
from tests.models.synergy.ridge import Ridge


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ScreenFolder:
    return read_folder(tmp_path_factory.mktemp("screen"))


def _study(folder: ScreenFolder) -> StudyData:
    return StudyData.of(folder, Study("random", folds=3))


@dataclass
class Notes:
    """What a study said."""

    started: list[Task] = field(default_factory=list)
    finished: list[tuple[str, int, bool, bool]] = field(default_factory=list)
    stop: bool = False

    def watcher(self) -> Watcher:
        def note(task: Task, result: Any, reused: bool) -> None:
            self.finished.append((task.model, task.fold, isinstance(result, str), reused))

        return Watcher(self.started.append, note, should_stop=lambda: self.stop)


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    text = json.loads(json.dumps(report))
    for entry in text["models"].values():
        entry["summary"].pop("seconds")
        for one in entry["folds"]:
            one.pop("seconds")
    return text


def test_models_stand_beside_the_baselines_and_json_can_hold_it(
    folder: ScreenFolder, tmp_path: Path
) -> None:
    data = StudyData.of(folder, Study("pair", folds=3))
    report = run_study(data, [Ridge(), Ridge("blind", 0.05)], (0, 1, 2), ResultStore(tmp_path))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["models"]) == ["mean", "additive", "ridge", "blind"]
    assert [fold["fold"] for fold in report["models"]["ridge"]["folds"]] == [0, 1, 2]
    tests = report["models"]["ridge"]["against"]["additive"]
    assert tests["elpd"]["n"] == tests["pearson"]["n"] == 3
    assert set(report["models"]["ridge"]["against"]) == {"mean", "additive", "blind"}
    summary = report["models"]["ridge"]["summary"]
    assert 0 < summary["noise_ceiling"]["pearson"] < 1
    assert summary["scores"]["rmse"] > 0
    one = report["models"]["ridge"]["folds"][0]
    assert one["convergence"] == {"schedule": [1, 1], "kind": "exact", "rows": one["n_train"]}


def test_a_study_that_was_stopped_goes_on(folder: ScreenFolder, tmp_path: Path) -> None:
    data, store, notes = _study(folder), ResultStore(tmp_path), Notes()
    model, watcher = Ridge(), notes.watcher()
    whole = run_study(data, [model], (0, 1, 2), ResultStore(tmp_path / "other"))

    def stop_after_one(task: Task, result: Any, reused: bool) -> None:
        notes.stop = True

    impatient = Watcher(finished=stop_after_one, should_stop=watcher.should_stop)
    with pytest.raises(Stopped):
        run_study(data, [model], (0, 1, 2), store, watcher=impatient)
    notes.stop = False
    fits = len(model.fits)
    again = run_study(data, [model], (0, 1, 2), store, watcher=watcher)
    assert len(model.fits) == fits + 2
    assert [reused for *_, reused in notes.finished] == [True, False, False]
    assert without_times(again) == without_times(whole)
    assert not list(tmp_path.glob("*.partial"))


def test_results_are_reused_only_for_the_same_question(
    folder: ScreenFolder, tmp_path: Path
) -> None:
    store = ResultStore(tmp_path)

    def fits(study: Study, model: Ridge) -> int:
        run_study(StudyData.of(folder, study), [model], (0,), store)
        return len(model.fits)

    base = Study("pair", folds=3)
    assert fits(base, Ridge()) == 1
    assert fits(base, Ridge()) == 0
    assert fits(base, Ridge(prior_sd=2.0)) == 1
    for other in (
        Study("random", folds=3),
        Study("pair", folds=4),
        Study("pair", folds=3, seed=1),
        Study("pair", folds=3, score="hsa_mean"),
        Study("pair", folds=3, train_limit=30),
        Study("pair", folds=3, draws=99),
    ):
        assert fits(other, Ridge()) == 1


def test_other_code_makes_results_invalid(
    folder: ScreenFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, model = StudyData.of(folder, Study("pair", folds=3)), Ridge()
    run_study(data, [model], (0,), ResultStore(tmp_path))
    monkeypatch.setattr(running, "code_digest", lambda *modules: "another version")
    run_study(data, [model], (0,), ResultStore(tmp_path))
    assert len(model.fits) == 2


def test_a_model_that_fails_does_not_take_the_others_with_it(
    folder: ScreenFolder, tmp_path: Path
) -> None:
    data, notes = StudyData.of(folder, Study("pair", folds=3)), Notes()
    models = [Ridge("bad", fails=True), Ridge()]
    report = run_study(data, models, (0, 1), ResultStore(tmp_path), watcher=notes.watcher())
    assert report["failed"] == {"bad": "this model never fits"}
    assert len(report["models"]["ridge"]["folds"]) == 2
    assert "bad" not in report["models"]
    assert [task.done for task in notes.started] == [0, 1, 3]


def test_components_of_a_stack_are_part_of_its_code() -> None:
    stack = Stacked({"ridge": Ridge()})
    assert set(running.model_modules(stack)) == {"models.synergy.stacking", Ridge.__module__}
    assert "0x" not in running.repr_of(stack)


def test_viability_of_wells_through_scores_and_bliss(folder: ScreenFolder) -> None:
    study = Study("pair", folds=3, score="viability", draws=64)
    data = StudyData.of(folder, study).fold(0)
    posterior = Ridge(prior_sd=0.2).fit(data.training, seed=0)
    ours = forecast_model(posterior, data, study, 1)
    bliss = forecast_baselines(data, study)["bliss"]
    assert len(ours.observed) == len(data.test_wells) == 9 * len(data.test)
    for forecast in (ours, bliss):
        assert forecast.report()["pearson"] > 0.9
        assert forecast.report()["rmse"] < 0.15
    assert bliss.report()["coverage"]["90"] == pytest.approx(0.9, abs=0.08)


def test_a_response_model_predicts_wells_itself(folder: ScreenFolder) -> None:
    class Oracle:
        def viability_draws(self, compounds, doses_um, cell_line, n, seed):
            assert compounds.shape == doses_um.shape == (len(cell_line), 3)
            return torch.tensor(np.tile(truth[: len(cell_line)], (n, 1)))

        def well_noise_sd(self, viability):
            return np.full(viability.shape, 0.1)

    study = Study("pair", folds=3, score="viability", draws=8)
    data = StudyData.of(folder, study).fold(0)
    truth = data.test_wells.viability
    forecast = forecast_model(Oracle(), data, study, 0)
    assert forecast.route == "viability of the model"
    assert forecast.report()["rmse"] == 0.0
    assert forecast.report()["elpd"] == pytest.approx(-np.log(0.1 * np.sqrt(2 * np.pi)), abs=1e-4)


def test_names_and_folds_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MODELS", {"a": Ridge("a"), "b": Ridge("b")})
    assert [m.name for m in named_models("all")] == ["a", "b"]
    assert [m.name for m in named_models("b, a,b")] == ["b", "a"]
    with pytest.raises(ScreenError, match="known are all, a, b"):
        named_models("c")
    assert chosen_folds(None, 3) == (0, 1, 2)
    assert chosen_folds("2,0", 3) == (0, 2)
    for wrong in ("3", "x", "-1", ""):
        with pytest.raises(ScreenError):
            chosen_folds(wrong, 3)


def test_broken_files_are_named_and_not_used(tmp_path: Path) -> None:
    store, spec = ResultStore(tmp_path), {"model": "m", "split": "pair", "fold": 0, "x": 1.5}
    assert store.get(spec) is None
    store.put(spec, {"a": [1]})
    assert store.get(dict(reversed(spec.items()))) == {"a": [1]}
    path = next(tmp_path.glob("*.json"))
    path.write_text(json.dumps({"spec": {**spec, "x": 2}, "result": {}}))
    with pytest.raises(ScreenError, match="something else"):
        store.get(spec)
    path.write_text("{")
    with pytest.raises(ScreenError, match="delete it"):
        store.get(spec)
    with pytest.raises(ValueError, match="JSON"):
        store.put(spec, {"a": float("nan")})
