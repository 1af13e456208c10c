"""Which function runs which kind of job, and on which queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.kit.jobs.context import JobContext
from service.kit.jobs.errors import UnknownJobKind

HandlerFunction = Callable[[JobContext], dict[str, Any]]

QUEUES: dict[str, int] = {"train": 1, "score": 1, "cpu": 2, "io": 8}
"""Jobs that one worker runs at once, for each queue.

A worker owns one device, so 1 means "one training per device". A job that waits for other jobs
must not share their queue: with one slot that never ends.
"""

DEFAULT_MAX_ATTEMPTS = 3
_LONGEST_WAIT_S = 6 * 3600.0


@dataclass(frozen=True)
class Handler:
    """A kind of job. ``retry_s`` doubles with each failed attempt, up to six hours."""

    kind: str
    queue: str
    max_attempts: int
    retry_s: float
    function: HandlerFunction

    def wait_before_retry(self, attempt: int) -> float:
        """Seconds between failed attempt number ``attempt`` and the next one."""
        return min(self.retry_s * 2.0 ** (attempt - 1), _LONGEST_WAIT_S)


_handlers: dict[str, Handler] = {}


def handler(
    kind: str, *, queue: str, max_attempts: int = DEFAULT_MAX_ATTEMPTS, retry_s: float = 5.0
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Register the decorated ``(ctx) -> dict`` as the way to run jobs of ``kind``."""
    if queue not in QUEUES:
        raise ValueError(f"jobs of kind {kind!r} ask for queue {queue!r}; there are {list(QUEUES)}")
    if max_attempts < 1:
        raise ValueError(f"jobs of kind {kind!r} need at least one attempt")

    def register(function: HandlerFunction) -> HandlerFunction:
        existing = _handlers.get(kind)
        if existing is not None and not _is_same(existing.function, function):
            raise ValueError(f"two handlers are registered for jobs of kind {kind!r}")
        _handlers[kind] = Handler(kind, queue, max_attempts, retry_s, function)
        return function

    return register


def find_handler(kind: str) -> Handler:
    """The handler of ``kind``."""
    try:
        return _handlers[kind]
    except KeyError:
        raise UnknownJobKind(kind, registered_kinds()) from None


def registered_kinds() -> list[str]:
    """Every kind that this process can run."""
    return sorted(_handlers)


def _is_same(one: HandlerFunction, other: HandlerFunction) -> bool:
    # A module that is imported twice or reloaded registers the same function again.
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
