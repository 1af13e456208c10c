"""``nextround evaluate``: models on a measured screen, with progress, Ctrl-C and results kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from models.evaluation.comparing import Result
from models.evaluation.result_store import ResultStore
from models.evaluation.running import Task, Watcher, chosen_folds, named_models, run_study
from models.evaluation.study import Study, load_study
from models.screen import ScreenError, Stopped
from service.learning.evaluation_tables import study_tables
from service.learning.terminal import (
    STOPPED,
    plain_console,
    stop_on_signal,
    time_left,
    write_report,
)

_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line asked for. ``study``: the fields of
    :class:`models.evaluation.study.Study`. ``json_out``: where the report goes; results of single
    folds are kept in a folder of the same name with ``.folds`` behind it."""

    data: Path
    models: str
    study: Mapping[str, Any]
    only_folds: str | None
    json_out: Path
    device: str = "cpu"


def evaluate_screen(options: EvaluateOptions, console: Console | None = None) -> int:
    """Run, print, write; the exit code: 0, 1 if a model failed, 2 for a wrong request, 130 if
    it was stopped."""
    show = console or plain_console()
    store = ResultStore(options.json_out.with_name(options.json_out.name + ".folds"))
    try:
        study, models = Study(**options.study), named_models(options.models)
        folds = chosen_folds(options.only_folds, study.folds)
        data = load_study(options.data, study)
        show.print(
            f"{len(data.blocks):,} blocks; {len(models)} model(s), {len(folds)} of {study.folds} "
            f"folds by {study.split}; results are kept in {store.folder}",
            soft_wrap=True,
        )
        with stop_on_signal() as stop, _Progress(show, len(models) * len(folds)) as progress:
            watcher = Watcher(
                progress.started, progress.finished, progress.within, lambda: stop.asked
            )
            report = run_study(data, models, folds, store, device=options.device, watcher=watcher)
    except Stopped:
        text = f"Stopped. Finished folds are in {store.folder}: the same command goes on."
        show.print(text, soft_wrap=True)
        return STOPPED
    except (ScreenError, OSError) as error:
        print(f"nextround: {error}", file=sys.stderr)
        return 2
    write_report(options.json_out, report)
    for table in study_tables(report):
        show.print(table)
    for name, reason in report["failed"].items():
        show.print(f"{name} could not be evaluated: {reason}", soft_wrap=True)
    return 1 if report["failed"] else 0


@dataclass
class _Progress:
    """A bar with the time left on a terminal; elsewhere a line for each fit and every 10 s."""

    console: Console
    total: int
    _bar: Progress = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)
    _fresh: int = 0
    _task: Task | None = None

    def __post_init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TimeElapsedColumn(),
        )
        live = self.console.is_terminal
        self._bar = Progress(*columns, console=self.console, transient=True, disable=not live)
        self._row = self._bar.add_task("reading", total=float(self.total), left="")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, task: Task) -> None:
        self._task = task
        self._show(f"{task.model}, fold {task.fold}", 0.0)

    def finished(self, task: Task, result: Result | str, reused: bool) -> None:
        if not reused:
            self._fresh += 1
        if not (reused and isinstance(result, str)):
            self.console.print(_in_words(task, result, reused), soft_wrap=True)
        self._task = None
        self._bar.update(self._row, completed=float(task.done + 1), left=self._left(task.done + 1))

    def within(self, stage: str, done: int, total: int) -> None:
        if self._task is not None:
            share = min(done / total, 1.0) if total else 0.0
            self._show(f"{self._task.model}, fold {self._task.fold}: {stage}", share)

    def _show(self, text: str, share: float) -> None:
        done = (self._task.done if self._task else 0) + share
        left = self._left(done, share)
        self._bar.update(self._row, description=text, completed=done, left=left)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._said >= _SAY_EVERY_S:
            self._said = now
            details = ", ".join(part for part in (f"{100 * share:.0f} %", left) if part)
            self.console.print(f"  ... {text} ({details})")

    def _left(self, done: float, share: float = 0.0) -> str:
        """From what fits took so far; reused ones took nothing and do not count."""
        elapsed = time.monotonic() - self._began
        return time_left(elapsed, self._fresh + share, self.total - done)


def _in_words(task: Task, result: Result | str, reused: bool) -> str:
    head = f"[{task.done + 1}/{task.total}] {task.model}, fold {task.fold}"
    if isinstance(result, str):
        return f"{head}: {result}"
    pearson, elpd = (
        "-" if value is None else f"{value:.3f}"
        for value in (result["scores"]["pearson"], result["scores"]["elpd"])
    )
    how = "reused" if reused else f"{sum(result['seconds'].values()):.1f} s"
    return f"{head}: Pearson {pearson}, log density {elpd}, {how}"
