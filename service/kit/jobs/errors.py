"""What can go wrong with a job, in the words of the person who will read it."""

from __future__ import annotations

from typing import Any


def problem_dict(slug: str, title: str, detail: str, status: int = 500) -> dict[str, Any]:
    """A problem object (RFC 9457) as it is stored on a failed job."""
    return {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail}


class JobFailed(Exception):
    """Raised by a handler whose job can never succeed: no further attempt is made.

    ``problem`` is shown to the user as it is (see :func:`problem_dict`).
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or "the job failed")
        self.problem = problem


class JobStopped(Exception):
    """Raised by ``ctx.raise_if_stopped()``: cancelled, or the worker is going away."""


class Fenced(JobStopped):
    """Another worker has taken this job over: nothing that this attempt writes may count."""


class UnknownJobKind(LookupError):
    """No handler is registered for this kind of job."""

    def __init__(self, kind: str, known: list[str]) -> None:
        super().__init__(f"no handler is registered for jobs of kind {kind!r}; known: {known}")
        self.kind = kind


class BadJobArguments(ValueError):
    """Arguments or results that are not plain, finite and small JSON."""


class JobAlreadyFinished(Exception):
    """A finished job cannot be cancelled."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} has already {_FINISHED_AS[status]}")
        self.job_id = job_id
        self.status = status


class UnknownQueue(ValueError):
    """A worker was told to listen to a queue that does not exist."""


class LeaseHeld(RuntimeError):
    """Another live worker holds the name or the device; the message says who and what to do."""


class EngineNotReady(RuntimeError):
    """The tables of the job engine are missing or old; the message says what to run."""


_FINISHED_AS = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}
