"""Loads what judges plates while nobody waits: importing SciPy takes seconds."""

from __future__ import annotations

import importlib
import threading
import time

import structlog

JUDGING = "service.assays.uploads.judging"

log = structlog.get_logger(__name__)


def warm_up(module: str = JUDGING) -> threading.Thread:
    """Import ``module`` on a thread of its own, and say in the log how long it took.

    A file that comes meanwhile waits for the same import. One that fails is logged, and fails
    again, aloud, for whoever needs it: nothing is marked as done.
    """
    thread = threading.Thread(target=_load, args=(module,), name="warm-up", daemon=True)
    thread.start()
    return thread


def _load(module: str) -> None:
    started = time.perf_counter()
    try:
        importlib.import_module(module)
    except Exception:
        log.exception("warm-up failed", module=module)
        return
    log.info("warmed up", module=module, seconds=round(time.perf_counter() - started, 2))
