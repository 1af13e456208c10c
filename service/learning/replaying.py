"""``nextround replay``: campaigns on a measured screen, with progress, Ctrl-C and rounds kept."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from models.evaluation.oneil import load_oneil_layout
from models.evaluation.replay_running import ReplayWatcher, RoundNews, run_replays
from models.evaluation.replay_study import (
    Amount,
    ReplayStudy,
    ReplayTask,
    Threshold,
    choose_strategies,
    folder_sources,
    on_plates,
)
from models.evaluation.replay_summary import Played
from models.screen import ScreenError, Stopped
from service.learning.replay_tables import replay_tables
from service.learning.terminal import (
    STOPPED,
    plain_console,
    stop_on_signal,
    time_left,
    write_report,
)

_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class ReplayOptions:
    """What the command line asked for, as text where it is read by :mod:`.replay_study`.
    ``json_out``: where the report goes; rounds are kept in a folder of the same name with
    ``.rounds`` behind it. ``jobs``: processes, as many as cores if ``None``."""

    data: Path
    score: str
    models: str | None
    acquisitions: str | None
    strategies: str | None
    batch: str
    initial: str
    rounds: int
    seeds: int
    json_out: Path
    plot_out: Path | None = None
    lines: str | None = None
    plates: str | None = None
    threshold: str = "10"
    kappa: float = 1.0
    jobs: int | None = None
    device: str = "cpu"


def replay_screen(options: ReplayOptions, console: Console | None = None) -> int:
    """Run, print, write; the exit code: 0, 1 if a campaign failed, 2 for a wrong request, 130 if
    it was stopped."""
    show = console or plain_console()
    kept = options.json_out.with_name(options.json_out.name + ".rounds")
    try:
        study = _study(options)
        jobs = min(options.jobs or _cores(), len(study.tasks()))
        show.print(
            f"{len(study.tasks())} campaign(s) of {study.rounds} rounds, {jobs} at a time; "
            f"rounds are kept in {kept}",
            soft_wrap=True,
        )
        with stop_on_signal() as stop, _Progress(show, study) as progress:
            watcher = ReplayWatcher(
                progress.round, progress.stage, progress.finished, lambda: stop.asked
            )
            report = run_replays(study, kept, jobs=jobs, device=options.device, watcher=watcher)
    except Stopped:
        show.print(
            f"Stopped. Finished rounds are in {kept}: the same command goes on.", soft_wrap=True
        )
        return STOPPED
    except (ScreenError, OSError) as error:
        print(f"nextround: {error}", file=sys.stderr)
        return 2
    write_report(options.json_out, report)
    for table in replay_tables(report):
        show.print(table)
    for name, reason in report["failed"].items():
        show.print(f"{name} could not be played: {reason}", soft_wrap=True)
    if options.plot_out is not None and report["strategies"]:
        # Not before it is needed: matplotlib takes a second to load.
        from service.learning.replay_plot import save_replay_plot

        save_replay_plot(report, options.plot_out)
        show.print(f"The curves are in {options.plot_out}.", soft_wrap=True)
    return 1 if report["failed"] else 0


def _study(options: ReplayOptions) -> ReplayStudy:
    """The study that was asked for; the folder is read for its cell lines alone."""
    if options.lines is None:
        known: tuple[str, ...] = ()
    else:
        known = load_oneil_layout(options.data).cell_line_names
    strategies = choose_strategies(
        options.models, options.acquisitions, options.strategies, options.kappa
    )
    return ReplayStudy(
        sources=folder_sources(options.data, options.score, options.lines, known),
        strategies=on_plates(strategies, options.plates),
        batch=Amount.read(options.batch),
        initial=Amount.read(options.initial),
        rounds=options.rounds,
        seeds=options.seeds,
        score=options.score,
        threshold=Threshold.read(options.threshold),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Progress:
    """A bar with the time left on a terminal; elsewhere a line for each campaign and every 10 s."""

    console: Console
    study: ReplayStudy
    _bar: Progress = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)
    _rounds: dict[str, int] = field(default_factory=dict)
    _found: dict[str, RoundNews] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)
    _fresh: int = 0

    def __post_init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TimeElapsedColumn(),
        )
        live = self.console.is_terminal
        self._campaigns = len(self.study.tasks())
        self._bar = Progress(*columns, console=self.console, transient=True, disable=not live)
        total = float(self._campaigns * self.study.rounds)
        self._row = self._bar.add_task("reading", total=total, left="")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def round(self, task: ReplayTask, news: RoundNews) -> None:
        if task.name in self._over:
            return
        self._rounds[task.name], self._found[task.name] = news.number, news
        self._fresh += news.number > 0 and not news.reused
        self._show(f"{task.name}: round {news.number}, {100 * news.top_found:.0f} % of the top 1 %")

    def stage(self, task: ReplayTask, stage: str, done: int, total: int) -> None:
        if task.name not in self._over:
            number = self._rounds.get(task.name, 0) + 1
            self._show(f"{task.name}: round {number}, {stage}")

    def finished(self, task: ReplayTask, outcome: Played | str) -> None:
        self._over.add(task.name)
        self._rounds[task.name] = self.study.rounds
        head = f"[{len(self._over)}/{self._campaigns}] {task.name}"
        self.console.print(f"{head}: {_in_words(outcome)}", soft_wrap=True)
        self._show(task.name)

    def _show(self, text: str) -> None:
        done = sum(self._rounds.values())
        total = self._campaigns * self.study.rounds
        left = time_left(time.monotonic() - self._began, self._fresh, total - done)
        self._bar.update(self._row, description=text, completed=float(done), left=left)
        now = time.monotonic()
        due = now - self._said >= _SAY_EVERY_S and done < total
        if due and not self.console.is_terminal:
            self._said = now
            details = ", ".join(part for part in (f"{done} of {total} rounds", left) if part)
            self.console.print(f"  ... {text} ({details})")


def _in_words(outcome: Played | str) -> str:
    if isinstance(outcome, str):
        return outcome
    last = outcome.rounds[-1]
    seconds = sum(sum(r["wall"].values()) for r in outcome.rounds)
    return (
        f"{100 * last['top']['1']:.0f} % of the top 1 % in {last['measured']:,} of "
        f"{outcome.blocks:,} blocks, {last['number']} rounds of {seconds:.1f} s in all"
    )
