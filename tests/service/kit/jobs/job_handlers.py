"""Kinds of jobs that the tests ask for. They talk to the test through files in a folder."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from service.kit.auth.tables import Workspace
from service.kit.jobs import JobContext, JobFailed, handler, problem_dict

WORKSPACE = "ws_test"


def note(ctx: JobContext, line: str) -> None:
    """Leave a line in the job's diary; O_APPEND keeps lines of several processes whole."""
    with Path(ctx.args["folder"], "diary").open("a") as diary:
        diary.write(f"{line}\n")


def diary(folder: Path) -> list[str]:
    path = folder / "diary"
    return path.read_text().splitlines() if path.exists() else []


def wait_for_go(ctx: JobContext) -> None:
    """A stubborn wait that looks at nothing but the file ``go``."""
    while not Path(ctx.args["folder"], "go").exists():
        time.sleep(0.02)


@handler("add", queue="cpu")
def add(ctx: JobContext) -> dict[str, Any]:
    for done in range(3):
        ctx.progress("adding", done + 1, 3)
    return {"sum": ctx.args["a"] + ctx.args["b"], "device": ctx.device}


@handler("steps", queue="train", max_attempts=3)
def steps(ctx: JobContext) -> dict[str, Any]:
    """Three steps; the third waits for ``go``."""

    def first() -> int:
        note(ctx, f"first {os.getpid()}")
        return 1

    def second() -> int:
        note(ctx, f"second {os.getpid()}")
        return 2

    def third() -> int:
        note(ctx, f"third {os.getpid()}")
        wait_for_go(ctx)
        return 3

    return {"sum": ctx.step("1", first) + ctx.step("2", second) + ctx.step("3", third)}


@handler("loop", queue="train")
def loop(ctx: JobContext) -> dict[str, Any]:
    """Like a training: progress and polls, for ever."""
    done = 0
    note(ctx, "looping")
    while True:
        done += 1
        ctx.progress("training", done, 10**9)
        if ctx.should_stop():
            note(ctx, "stopping")
            ctx.raise_if_stopped()
        time.sleep(0.01)


@handler("model-stop", queue="cpu")
def model_stop(ctx: JobContext) -> dict[str, Any]:
    from models.screen import Stopped

    raise Stopped


@handler("crash", queue="cpu", max_attempts=2, retry_s=0.2)
def crash(ctx: JobContext) -> dict[str, Any]:
    raise RuntimeError("secret compound 42")


@handler("crash-once", queue="cpu", max_attempts=3, retry_s=0.2)
def crash_once(ctx: JobContext) -> dict[str, Any]:
    ctx.step("note", lambda: note(ctx, "step"))
    if ctx.attempt == 1:
        raise RuntimeError("first attempt")
    return {"attempt": ctx.attempt}


@handler("give-up", queue="cpu")
def give_up(ctx: JobContext) -> dict[str, Any]:
    raise JobFailed(problem_dict("no-data", "There is nothing to learn from", "Add plates.", 422))


@handler("die", queue="cpu", max_attempts=2)
def die(ctx: JobContext) -> dict[str, Any]:
    note(ctx, f"attempt {ctx.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@handler("nan", queue="cpu", max_attempts=1)
def nan(ctx: JobContext) -> dict[str, Any]:
    return {"value": float("nan")}


@handler("zombie", queue="train")
def zombie(ctx: JobContext) -> dict[str, Any]:
    """Ignores should_stop, then tries to write in every way there is."""
    note(ctx, f"begin {ctx.attempt}")
    wait_for_go(ctx)
    for name, write in (
        ("progress", lambda: ctx.progress("zombie", 1, 1)),
        ("step", lambda: ctx.step("s", lambda: 1)),
        ("transaction", lambda: ctx.transaction("t", lambda session: _rename(ctx, session))),
    ):
        try:
            write()
            note(ctx, f"{name} written by {ctx.attempt}")
        except Exception as error:
            note(ctx, f"{name} of {ctx.attempt} refused: {type(error).__name__}")
    return {"attempt": ctx.attempt}


@handler("rename", queue="cpu", max_attempts=2, retry_s=0.0)
def rename(ctx: JobContext) -> dict[str, Any]:
    """Adds one word in a transaction, then crashes once."""
    ctx.transaction("rename", lambda session: _rename(ctx, session))
    if ctx.attempt == 1:
        raise RuntimeError("after the commit")
    return {}


def _rename(ctx: JobContext, session: Any) -> str:
    workspace = session.get(Workspace, ctx.workspace_id)
    workspace.name = f"{workspace.name} renamed"
    return str(workspace.name)
