"""Waiting out a database that is away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

log = structlog.get_logger(__name__)

Value = TypeVar("Value")

_LONGEST_WAIT_S = 5.0


def patiently(action: Callable[[], Value], give_up: Callable[[], bool]) -> Value:
    """Repeat a whole transaction until the database takes it, or until ``give_up``.

    Hours of work must not be lost to a database restart. What gives up is recovered later.
    """
    wait_s = 0.25
    while True:
        try:
            return action()
        except (OperationalError, InterfaceError) as error:
            # SQLite says "operational" of a missing table too, and that does not pass.
            if give_up() or "no such" in str(error.orig):
                raise
            log.warning("database does not answer; trying again", error=str(error.orig))
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
