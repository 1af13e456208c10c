"""How often progress is worth a write, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_EVERY_S = 0.25
_STAGE_LENGTH = 200


class ProgressMeter:
    """Thins out reports and estimates the time left in the present stage.

    A new stage is always worth a write: it may be the last report for a long while. The rate
    counts from the first report of a stage, so a stage that resumes at 80 % does not look five
    times faster than it is.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: str | None = None
        self._began_at = 0.0
        self._began_with = 0
        self._written_at = 0.0
        self.latest: dict[str, Any] = {}
        """The last report, written or not."""

    def measure(self, stage: str, done: int, total: int) -> dict[str, Any] | None:
        """The columns to write, or None when the last write was a moment ago."""
        now, done, total = self._clock(), int(done), int(total)
        self.latest = {"stage": stage[:_STAGE_LENGTH], "done": done, "total": total}
        if stage != self._stage:
            self._stage, self._began_at, self._began_with = stage, now, done
        elif now - self._written_at < _EVERY_S:
            return None
        self._written_at = now
        return self.latest | {"eta_s": self._seconds_left(now, done, total)}

    def _seconds_left(self, now: float, done: int, total: int) -> float | None:
        gained = done - self._began_with
        if gained <= 0 or total < done:
            return None
        return round((now - self._began_at) / gained * (total - done), 1)
