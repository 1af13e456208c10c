"""What can go wrong for a caller of the API, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = 5


class ClientError(Exception):
    """Anything that the client raises on purpose."""


class Unreachable(ClientError):
    """The service did not answer, after several attempts."""


class Refused(ClientError):
    """The service answered with a problem (RFC 9457): ``status``, ``problem`` and its errors."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        super().__init__(self._in_words())

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Row by row: ``code``, ``message``, ``row``, ``column``, ``pointer``; the first 100."""
        found: list[dict[str, Any]] = self.problem.get("errors") or []
        return found

    def _in_words(self) -> str:
        title = self.problem.get("title", "The service refused")
        lines = [f"{title} ({self.status}): {self.problem.get('detail', '')}"]
        lines += [f"  {error['message']}" for error in self.errors[:_SHOWN]]
        more = int(self.problem.get("error_count") or len(self.errors)) - _SHOWN
        return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])


class JobNotSucceeded(ClientError):
    """A job failed, was cancelled, or is not finished in time; ``job`` as it then was."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = dict(job)
        problem = self.job.get("problem") or {}
        why = problem.get("detail") or problem.get("title") or "no reason is given"
        super().__init__(f"job {self.job['id']} ({self.job['kind']}) {self.job['status']}: {why}")
