"""Play a whole study of replays: in this process, or in several with one thread each.

report = run_replays(study, folder, jobs=2)

Every finished round is kept in ``folder`` at once; what was stopped goes on from there.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from models.acquisition.draws import AcquisitionError
from models.bayes.training import one_thread
from models.evaluation.campaign_report import campaign_report
from models.evaluation.past_campaign import PastCampaign, Source
from models.evaluation.replay import RoundRecord, replay
from models.evaluation.replay_study import FORMAT, ReplayStudy, ReplayTask, StoredRounds
from models.evaluation.replay_summary import Played, compare, summarise
from models.evaluation.running import library_versions
from models.screen import ScreenError, StopCallback, Stopped, never_stop

POLL_S = 0.1
STAGE_EVERY_S = 0.5
GRACE_S = 2.0
"""How long a process may take to notice that it should stop."""
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class RoundNews:
    """A round that is over: ``top_found`` of the top 1 %, ``hit_rate`` of the batch, ``seconds``
    that it took; ``reused`` where it was remembered."""

    number: int
    measured: int
    top_found: float
    hit_rate: float
    seconds: float
    reused: bool

    @classmethod
    def of(cls, record: RoundRecord) -> RoundNews:
        """What a watcher wants to know of it."""
        return cls(
            record.number,
            record.measured,
            record.top_found,
            record.hit_rate,
            record.seconds,
            record.reused,
        )


@dataclass(frozen=True)
class ReplayWatcher:
    """Whom a study tells, always from the caller's thread. ``round``: a round is over, round 0
    included; ``stage``: within a round (stage, done, total); ``finished``: a campaign is over, or
    failed for the reason in words."""

    round: Callable[[ReplayTask, RoundNews], None] = lambda task, news: None
    stage: Callable[[ReplayTask, str, int, int], None] = lambda task, stage, done, total: None
    finished: Callable[[ReplayTask, Played | str], None] = lambda task, outcome: None
    should_stop: StopCallback = never_stop


def run_replays(
    study: ReplayStudy,
    folder: Path,
    *,
    jobs: int = 1,
    device: str = "cpu",
    watcher: ReplayWatcher | None = None,
) -> dict[str, Any]:
    """Play every task; the report of :func:`describe_replays`.

    A campaign that cannot go on (a model that cannot be fitted, draws that cannot be ranked) is
    listed in ``failed``, and the others go on. Raises ``Stopped``, and :class:`ScreenError` for a
    folder that cannot be read or a process that died.
    """
    if jobs < 1:
        raise ScreenError(f"{jobs} jobs cannot play a replay")
    tasks, watch = study.tasks(), watcher or ReplayWatcher()
    tasks[0].rules(_campaign(tasks[0].source))
    run = _alone if min(jobs, len(tasks)) == 1 else _in_processes
    outcomes = run(tasks, folder, min(jobs, len(tasks)), device, watch)
    played: dict[str, list[Played]] = {}
    failed: dict[str, str] = {}
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, str):
            failed[task.name] = outcome
        else:
            played.setdefault(task.strategy.name, []).append(outcome)
    return describe_replays(study, played, failed)


def describe_replays(
    study: ReplayStudy, played: Mapping[str, Sequence[Played]], failed: Mapping[str, str]
) -> dict[str, Any]:
    """JSON-able: the study and, for each strategy, what it is, its summary, the paired tests
    against every other one and its campaigns round by round."""
    definitions = {strategy.name: asdict(strategy) for strategy in study.strategies}
    return {
        "format": FORMAT,
        "study": study.describe(),
        "versions": library_versions(),
        "strategies": {
            name: {
                "definition": definitions[name],
                "summary": summarise(own),
                "against": {
                    other: compare(own, theirs) for other, theirs in played.items() if other != name
                },
                "campaigns": [one.to_json() for one in own],
            }
            for name, own in played.items()
        },
        "failed": dict(failed),
    }


@dataclass(frozen=True)
class _Teller:
    """What one campaign says while it runs, by the number of its task."""

    number: int
    tell: Callable[[int, str, tuple[Any, ...]], None]
    should_stop: StopCallback

    def play(self, task: ReplayTask, folder: Path, device: str) -> Played | str:
        """Play a campaign to its end; the reason in words where it cannot be."""
        if self.should_stop():
            raise Stopped
        campaign, said = _campaign(task.source), [0.0]

        def stage(name: str, done: int, total: int) -> None:
            """Pass a stage on, but not more often than every ``STAGE_EVERY_S`` seconds."""
            now = time.monotonic()
            if now - said[0] >= STAGE_EVERY_S:
                said[0] = now
                self.tell(self.number, "stage", (name, done, total))

        try:
            rules = task.rules(campaign)
            records = replay(
                campaign,
                rules,
                rounds=task.study.rounds,
                initial=task.study.initial.of(len(campaign.candidates)),
                seed=task.seed,
                strategy=task.strategy,
                memory=StoredRounds(folder, task, campaign, rules, device),
                device=device,
                on_progress=stage,
                should_stop=self.should_stop,
                on_round=self._round,
            )
        except (ScreenError, AcquisitionError, ArithmeticError) as error:
            return str(error)
        threshold = rules.hit_threshold
        report = campaign_report(campaign, records, threshold)
        return Played(task.source.name, task.seed, len(campaign.candidates), report, threshold)

    def _round(self, record: RoundRecord) -> None:
        self.tell(self.number, "round", (RoundNews.of(record),))
        if self.should_stop():
            raise Stopped


@lru_cache(maxsize=4)
def _campaign(source: Source) -> PastCampaign:
    return source.load()


def _alone(
    tasks: Sequence[ReplayTask], folder: Path, jobs: int, device: str, watch: ReplayWatcher
) -> list[Played | str]:
    """One after the other, here."""
    outcomes: list[Played | str] = []
    with one_thread():
        for number, task in enumerate(tasks):
            teller = _Teller(
                number,
                lambda n, kind, news: _pass_on(watch, tasks[n], kind, news),
                watch.should_stop,
            )
            outcomes.append(teller.play(task, folder, device))
            watch.finished(task, outcomes[-1])
    return outcomes


def _pass_on(watch: ReplayWatcher, task: ReplayTask, kind: str, news: tuple[Any, ...]) -> None:
    tell: Callable[..., None] = watch.round if kind == "round" else watch.stage
    tell(task, *news)


def _in_processes(
    tasks: Sequence[ReplayTask], folder: Path, jobs: int, device: str, watch: ReplayWatcher
) -> list[Played | str]:
    """Several at a time, in processes of their own that start afresh."""
    context = multiprocessing.get_context("spawn")
    news, stop = context.Queue(), context.Event()
    ours, futures = set(multiprocessing.active_children()), []
    with _one_thread_in_children():
        executor = ProcessPoolExecutor(jobs, context, _begin, (news, stop))
        try:
            with _deaf_children():
                futures = [
                    executor.submit(_work, number, task, folder, device)
                    for number, task in enumerate(tasks)
                ]
            return _gather(tasks, futures, news, watch)
        except BrokenProcessPool as error:
            raise ScreenError(
                "a process of the replay died, perhaps for want of memory; finished rounds are "
                "kept, the same command goes on: try it with fewer jobs"
            ) from error
        finally:
            stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
            wait(futures, GRACE_S)
            for process in set(multiprocessing.active_children()) - ours:
                if not all(future.done() for future in futures):
                    process.terminate()  # still loading; whatever is finished is on disk
            executor.shutdown(wait=True)
            news.cancel_join_thread()
            news.close()


def _gather(
    tasks: Sequence[ReplayTask],
    futures: Sequence[Future[Played | str]],
    news: Any,
    watch: ReplayWatcher,
) -> list[Played | str]:
    """Tell the watcher what happens until all is over."""
    waiting = set(range(len(tasks)))
    while waiting:
        if watch.should_stop():
            raise Stopped
        _drain(news, tasks, watch)
        for number in sorted(waiting):
            if futures[number].done():
                outcome = futures[number].result()
                waiting.discard(number)
                _drain(news, tasks, watch, patience=0.0)
                watch.finished(tasks[number], outcome)
    return [future.result() for future in futures]


def _drain(
    news: Any, tasks: Sequence[ReplayTask], watch: ReplayWatcher, patience: float = POLL_S
) -> None:
    """All that was said since; waits a moment for the first."""
    try:
        while True:
            number, kind, said = news.get(timeout=patience) if patience else news.get_nowait()
            _pass_on(watch, tasks[number], kind, said)
            patience = 0.0
    except queue.Empty:
        return


_NEWS: Any = None
_STOP: Any = None


def _begin(news: Any, stop: Any) -> None:
    """In a new process: Ctrl-C is the parent's business, and one thread is enough."""
    global _NEWS, _STOP
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _NEWS, _STOP = news, stop


def _work(number: int, task: ReplayTask, folder: Path, device: str) -> Played | str:
    teller = _Teller(number, lambda n, kind, said: _NEWS.put((n, kind, said)), _STOP.is_set)
    return teller.play(task, folder, device)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that start in here never hear Ctrl-C, not even before their first line; this one
    hears it as soon as it leaves."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread_in_children() -> Iterator[None]:
    """Children read this before they load PyTorch."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
