"""What is printed: the same words on a terminal and in a log, control codes only on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from service.demo import console
from service.demo.client import JobEvent
from service.demo.console import JobState, Show, describe

EVENTS = [
    JobEvent("status", {"status": "queued", "attempt": 0}),
    JobEvent("status", {"status": "running", "attempt": 2, "worker": "w"}),
    JobEvent("progress", {"stage": "training", "done": 5, "total": 20, "eta_s": 12.4}),
    JobEvent("status", {"status": "succeeded", "attempt": 2}),
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def written(stream: io.StringIO) -> str:
    return stream.getvalue()


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (EVENTS[0], JobState("waiting for the worker", 0, None, "")),
        (EVENTS[1], JobState("the worker has taken the job, attempt 2", 0, None, "")),
        (
            JobEvent("status", {"status": "queued", "attempt": 1, "reason": "worker lost"}),
            JobState("waiting for the worker (worker lost)", 0, None, ""),
        ),
        (EVENTS[2], JobState("training", 5, 20, "12 s left")),
        (
            JobEvent("progress", {"stage": "curves", "done": 0, "total": 0, "eta_s": None}),
            JobState("curves", 0, 0, ""),
        ),
    ],
)
def test_an_event_in_words(event: JobEvent, state: JobState) -> None:
    assert describe(event) == state


def test_a_log_holds_every_step_once_and_no_control_codes() -> None:
    stream = io.StringIO()
    show = Show(stream)
    show.title("Title", "[not markup] :smile:")
    with show.step("reading") as step:
        step.result = "12 things read"
    with show.following("asking", EVENTS) as step:
        step.result = "answered"
    show.fail("Broken.")
    text = written(stream)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[not markup] :smile:" in text
    assert "reading" not in text
    assert re.search(r"✓ 12 things read +0\.\d s\n", text)
    assert re.search(r"✓ answered +0\.\d s\n", text)
    assert "training" not in text  # too quick to be worth a line


def test_a_log_of_a_long_job_says_from_time_to_time_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "_SAY_EVERY_S", 0.0)
    stream = io.StringIO()
    with Show(stream).following("asking", EVENTS):
        pass
    assert "  ... training (25 %, 12 s left)\n" in written(stream)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_retry_is_never_hidden(stream: io.StringIO) -> None:
    lost = JobEvent("status", {"status": "queued", "attempt": 1, "reason": "worker lost"})
    with Show(stream).following("asking", [EVENTS[0], lost, *EVENTS[1:]]):
        pass
    assert "  ... waiting for the worker (worker lost)" in written(stream)


def test_colours_are_not_forced_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    show = Show(stream)
    show.heading("Part")
    with show.step("step"):
        pass
    assert "\x1b" not in written(stream)


def test_a_terminal_gets_an_animation_and_the_same_last_word() -> None:
    stream = Terminal()
    with Show(stream).following("asking", EVENTS) as step:
        step.result = "answered"
    text = written(stream)
    assert "\x1b[" in text
    assert "training" in text
    assert "12 s left" in text
    assert re.search(r"✓.*answered", text.splitlines()[-1])


def test_a_stream_without_unicode_still_gets_its_text() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii", write_through=True)
    show = Show(stream)
    with show.step("working"):
        pass
    show.say("+1.5 ± 0.3")
    assert buffer.getvalue().startswith(b"+ working")
    assert buffer.getvalue().endswith(b"+1.5 ? 0.3\n")


def test_an_error_inside_a_step_is_no_success() -> None:
    stream = io.StringIO()
    show = Show(stream)
    with pytest.raises(ValueError, match="no"), show.step("working"):
        raise ValueError("no")
    assert "working" not in written(stream)
