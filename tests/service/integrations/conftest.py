"""Waiting with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for a condition; fail rather than hang."""

    def wait(condition: Callable[[], Any], patience_s: float = 30.0) -> Any:
        give_up_at = time.monotonic() + patience_s
        while not (value := condition()):
            assert time.monotonic() < give_up_at, "waited in vain"
            time.sleep(0.05)
        return value

    return wait
