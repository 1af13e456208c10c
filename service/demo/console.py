"""What the demo prints: steps with their times, progress, tables. Plain text where no one looks.

On a terminal a running step is animated. Anywhere else (a file, the log of a build server) every
line is written once, without control codes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from service.demo.client import JobEvent

_LOG_WIDTH = 110
_SAY_EVERY_S = 10.0


@dataclass
class Step:
    """A step that is being made; ``result`` replaces its text once it is done."""

    text: str
    result: str | None = None


class Show:
    """Everything that the demo says, to one stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # an old code page must not end the demo
        self.is_live = stream.isatty()
        width = None if self.is_live or "COLUMNS" in os.environ else _LOG_WIDTH
        self.console = Console(
            file=stream,
            width=width,
            force_terminal=self.is_live,
            no_color=None if self.is_live else True,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def title(self, text: str, *lines: str) -> None:
        """The name of the whole, and what it is about."""
        self.console.print(text, style="bold")
        for line in lines:
            self.say(line)

    def heading(self, text: str) -> None:
        """The beginning of a part."""
        self.console.print()
        self.console.print(text, style="bold cyan")

    def say(self, text: str, style: str = "") -> None:
        """A paragraph."""
        self.console.print(Text(text, style=style))

    def say_long(self, text: str) -> None:
        """A line that must not be broken, because somebody will copy it."""
        self.console.print(Text(text), soft_wrap=True)

    def fail(self, text: str) -> None:
        """Why it went wrong."""
        self.console.print()
        self.console.print(Text(text, style="bold red"), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table."""
        self.console.print(table)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Something that takes a moment; says how long it took once it is done."""
        step, began = Step(text), time.perf_counter()
        if self.is_live:
            with self.console.status(Text(f"{text} ...")):
                yield step
        else:
            yield step
        self._done(step.result or text, time.perf_counter() - began)

    @contextmanager
    def following(self, text: str, events: Iterable[JobEvent]) -> Iterator[Step]:
        """The whole of a job, by its events; a step like others once it is over."""
        step, began = Step(text), time.perf_counter()
        if self.is_live:
            self._animate(text, events)
        else:
            self._narrate(events)
        yield step
        self._done(step.result or text, time.perf_counter() - began)

    def _done(self, text: str, seconds: float) -> None:
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(width=1)
        line.add_column(ratio=1)
        line.add_column(justify="right", no_wrap=True)
        mark = Text("✓" if self._can_write("✓") else "+", style="green")
        line.add_row(mark, Text(text), Text(f"{seconds:.1f} s", style="dim"))
        self.console.print(line)

    def _animate(self, text: str, events: Iterable[JobEvent]) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            bar = progress.add_task(text, total=None, left="")
            for event in events:
                state = describe(event)
                if event.data.get("reason"):
                    self.say(f"  ... {state.text}")
                progress.update(
                    bar,
                    description=state.text,
                    completed=state.done,
                    total=state.total,
                    left=state.left,
                    refresh=True,
                )

    def _narrate(self, events: Iterable[JobEvent]) -> None:
        """A line every few seconds: nobody watches, and a log should not drown in progress."""
        said_at = time.monotonic()
        for event in events:
            state, now = describe(event), time.monotonic()
            if now - said_at >= _SAY_EVERY_S or event.data.get("reason"):  # a retry is never hidden
                details = ", ".join(part for part in (state.share, state.left) if part)
                self.say(f"  ... {state.text}{f' ({details})' if details else ''}")
                said_at = now

    def _can_write(self, text: str) -> bool:
        try:
            text.encode(self.console.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True


@dataclass(frozen=True)
class JobState:
    """What an event says of the job, ready to be shown."""

    text: str
    done: int
    total: int | None
    left: str

    @property
    def share(self) -> str:
        """How much of the stage is done; empty where that is not known."""
        return f"{100 * self.done / self.total:.0f} %" if self.total else ""


def describe(event: JobEvent) -> JobState:
    """The event in words."""
    data = event.data
    if event.kind == "progress":
        eta = data.get("eta_s")
        left = "" if eta is None else f"{eta:.0f} s left"
        return JobState(str(data.get("stage")), data.get("done") or 0, data.get("total"), left)
    return JobState(_status_in_words(data), 0, None, "")


def _status_in_words(data: Mapping[str, Any]) -> str:
    status, attempt = str(data.get("status")), data.get("attempt") or 0
    words = {"queued": "waiting for the worker", "running": "the worker has taken the job"}
    again = f", attempt {attempt}" if attempt > 1 else ""
    reason = f" ({data['reason']})" if data.get("reason") else ""
    return f"{words.get(status, status)}{again}{reason}"
