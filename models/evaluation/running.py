"""Fit many models to the same folds, keep each result the moment it is there, compare them."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy
import torch

from models.evaluation.code_digest import code_digest
from models.evaluation.comparing import Result, compare, summarise
from models.evaluation.forecasts import ceiling, forecast_baselines, forecast_model
from models.evaluation.result_store import ResultStore
from models.evaluation.study import FoldData, Study, StudyData
from models.rounds import features_of
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.registry import MODELS, Model

SCORED_WITH = (
    "models.objectives.treatments",
    "models.objectives.scores",
    "models.synergy.baselines",
    "models.synergy.controls",
    "models.synergy.evidence",
    "models.bayes.forecast",
    "models.evaluation.splits",
    "models.evaluation.oneil",
)
"""Modules that every number depends on, whichever the model."""
MADE_BY = ("models.evaluation.study", "models.evaluation.forecasts")
"""The same, but they also know of every model, whose code is none of theirs."""
FORMAT = 2
"""Of a stored result; a new one makes all older results invalid."""


@dataclass(frozen=True)
class Task:
    """One fit: ``model`` on ``fold``, number ``done`` + 1 of ``total`` of the whole study."""

    model: str
    fold: int
    done: int
    total: int


@dataclass(frozen=True)
class Watcher:
    """Whom a study tells: ``started`` before a fit, ``finished`` after it with the result (or the
    reason why there is none) and whether it was reused; ``progress`` within it."""

    started: Callable[[Task], None] = lambda task: None
    finished: Callable[[Task, Result | str, bool], None] = lambda task, result, reused: None
    progress: ProgressCallback = no_progress
    should_stop: StopCallback = never_stop


def named_models(names: str) -> tuple[Model, ...]:
    """``all`` registered models, or those named, separated by commas; each once, in that order."""
    wanted = list(MODELS) if names.strip() == "all" else [n.strip() for n in names.split(",")]
    for name in wanted:
        if name not in MODELS:
            raise ScreenError(f"unknown model {name!r}; known are all, {', '.join(MODELS)}")
    return tuple(MODELS[name] for name in dict.fromkeys(wanted))


def chosen_folds(only: str | None, folds: int) -> tuple[int, ...]:
    """Fold numbers from ``"0,1"``; all of them for ``None``."""
    if only is None:
        return tuple(range(folds))
    try:
        numbers = sorted({int(text) for text in only.split(",")})
    except ValueError:
        raise ScreenError(f"folds are numbers separated by commas, not {only!r}") from None
    if numbers[0] < 0 or numbers[-1] >= folds:
        raise ScreenError(f"there is no fold {only!r}: they count from 0 to {folds - 1}")
    return tuple(numbers)


def run_study(
    data: StudyData,
    models: Sequence[Model],
    folds: Sequence[int],
    store: ResultStore,
    *,
    device: str = "cpu",
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Evaluate ``models`` and the baselines on ``folds``; the report of :func:`describe`.

    Results in ``store`` with the same specification are reused, new ones kept at once: a study
    that was stopped goes on where it was. A model that cannot be fitted to these data is listed
    in ``failed`` with the reason, and the others go on. Raises ``Stopped``.
    """
    run = _Run(data, store, device, watcher or Watcher(), len(models) * len(folds))
    for number in folds:
        fold = _LazyFold(data, number)
        run.baselines(fold)
        for model in models:
            run.model(model, fold)
    return describe(data, run.results, run.failed, run.baseline_names)


def describe(
    data: StudyData,
    results: Mapping[str, Sequence[Result]],
    failed: Mapping[str, str],
    baselines: Sequence[str],
) -> dict[str, Any]:
    """JSON-able: the study, the data, and for each model its folds, their summary and the paired
    tests against every other one."""
    return {
        "format": FORMAT,
        "study": asdict(data.study),
        "data": {
            "digest": data.digest,
            "n_blocks": len(data.blocks),
            "n_compounds": len(data.folder.compound_names),
            "n_cell_lines": len(data.folder.cell_line_names),
        },
        "versions": library_versions(),
        "baselines": list(baselines),
        "models": {
            name: {
                "summary": summarise(own),
                "against": {
                    other: compare(own, theirs)
                    for other, theirs in results.items()
                    if other != name
                },
                "folds": list(own),
            }
            for name, own in results.items()
        },
        "failed": dict(failed),
    }


def library_versions() -> dict[str, str]:
    """What numbers depend on besides our code."""
    return {"torch": torch.__version__, "numpy": np.__version__, "scipy": scipy.__version__}


class _LazyFold:
    """Data of a fold, made when the first fit needs them."""

    def __init__(self, data: StudyData, number: int) -> None:
        self.number, self._data = number, data
        self._made: FoldData | None = None

    def __call__(self) -> FoldData:
        if self._made is None:
            self._made = self._data.fold(self.number)
        return self._made


class _Run:
    """The state of one study while it runs."""

    def __init__(
        self, data: StudyData, store: ResultStore, device: str, watcher: Watcher, total: int
    ) -> None:
        self.data, self.store, self.device, self.watcher = data, store, device, watcher
        self.results: dict[str, list[Result]] = {}
        self.failed: dict[str, str] = {}
        self.baseline_names: list[str] = []
        self._done, self._total = 0, total

    def baselines(self, fold: _LazyFold) -> None:
        """Quick enough not to be worth a task each."""
        spec = self._spec("baselines", fold.number, ())
        found = self.store.get(spec)
        if found is None:
            made = fold()
            found = {
                name: _result(name, made, self.data.study, forecast.report(), (0.0, 0.0), None)
                for name, forecast in forecast_baselines(made, self.data.study).items()
            }
            self.store.put(spec, found)
        for name, result in found.items():
            self.results.setdefault(name, []).append(result)
        self.baseline_names = list(found)

    def model(self, model: Model, fold: _LazyFold) -> None:
        """One task: reuse, fit or explain."""
        task = Task(model.name, fold.number, self._done, self._total)
        self._done += 1
        if model.name in self.failed:
            self.watcher.finished(task, self.failed[model.name], True)
            return
        spec = self._spec(model.name, fold.number, model_modules(model), repr_of(model))
        result = self.store.get(spec)
        reused = result is not None
        if result is None:
            self.watcher.started(task)
            try:
                result = self._fit(model, fold())
            except (ScreenError, ArithmeticError) as error:
                self.failed[model.name] = str(error)
                self.watcher.finished(task, str(error), False)
                return
            self.store.put(spec, result)
        self.results.setdefault(model.name, []).append(result)
        self.watcher.finished(task, result, reused)

    def _fit(self, model: Model, fold: FoldData) -> dict[str, Any]:
        study, started = self.data.study, time.perf_counter()
        seed = study.seed * 1009 + fold.fold.number
        posterior = model.fit(
            fold.training,
            seed=seed,
            device=self.device,
            on_progress=self.watcher.progress,
            should_stop=self.watcher.should_stop,
        )
        fitted = time.perf_counter()
        if self.watcher.should_stop():
            raise Stopped
        forecast = forecast_model(posterior, fold, study, seed)
        seconds = (fitted - started, time.perf_counter() - fitted)
        convergence = {
            "schedule": [posterior.schedule.steps, posterior.schedule.horizon],
            **posterior.diagnostics(),
        }
        return _result(model.name, fold, study, forecast.report(), seconds, convergence)

    def _spec(
        self, model: str, fold: int, modules: Sequence[str], configuration: str = ""
    ) -> dict[str, Any]:
        study = self.data.study
        code = code_digest((*SCORED_WITH, *modules), MADE_BY)
        return {
            "format": FORMAT,
            "model": model,
            "configuration": configuration,
            "fold": fold,
            **asdict(study),
            "data": self.data.digest,
            "device": self.device,
            "code": code,
            "features": inspect.getsource(features_of),
            **library_versions(),
        }


def _result(
    name: str,
    fold: FoldData,
    study: Study,
    scores: Mapping[str, Any],
    seconds: tuple[float, float],
    convergence: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "model": name,
        "fold": fold.fold.number,
        "n_train": len(fold.training.blocks),
        "n_train_before_limit": len(fold.fold.train),
        "n_test": len(fold.test),
        "n_dropped": len(fold.fold.dropped),
        "scores": dict(scores),
        "noise_ceiling": {"pearson": ceiling(fold, study)},
        "seconds": {"fit": round(seconds[0], 3), "forecast": round(seconds[1], 3)},
        "convergence": None if convergence is None else dict(convergence),
    }


def model_modules(model: Model) -> tuple[str, ...]:
    """Modules of a model and of its components, if it has any."""
    inner: list[Model] = list(getattr(model, "components", {}).values())
    if hasattr(model, "inner"):
        inner.append(model.inner)
    below = (name for part in inner for name in model_modules(part))
    return tuple(sorted({type(model).__module__, *below}))


def repr_of(model: Model) -> str:
    """What a model was set up with, without addresses in memory."""
    parts = {key: repr(value) for key, value in sorted(vars(model).items())}
    return re.sub(r" at 0x[0-9a-f]+", "", repr(parts))
