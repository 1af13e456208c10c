"""What long commands share: a console, Ctrl-C that lets work end, files written whole."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

STOPPED = 130
"""Exit code of a command that was stopped."""
_LOG_WIDTH = 180


def plain_console() -> Console:
    """As wide as the terminal; wide enough for tables where the output goes to a file."""
    live = sys.stdout.isatty()
    width = None if live or "COLUMNS" in os.environ else _LOG_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """JSON: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    partial.replace(path)


@dataclass
class Stop:
    """Whether somebody pressed Ctrl-C."""

    asked: bool = False


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """The first Ctrl-C asks the work to end, the second one ends the process as usual."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def time_left(elapsed: float, done: float, remaining: float) -> str:
    """In words, from what the work took so far; nothing where that is too little to say."""
    if done <= 0.02:
        return ""
    seconds = elapsed / done * remaining
    if seconds > 2 * 3600:
        return f"about {seconds / 3600:.1f} h left"
    return f"about {seconds / 60:.0f} min left" if seconds > 120 else f"{seconds:.0f} s left"
