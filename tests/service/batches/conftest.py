"""A campaign that has enough to learn from, and training that takes a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from tests.lab import Lab
from tests.service.learning.bench import short_training, start_campaign


@pytest.fixture(autouse=True)
def _short_training(request: pytest.FixtureRequest) -> Iterator[None]:
    """A moment of training, but for the tests that are marked slow."""
    with nullcontext() if request.node.get_closest_marker("slow") else short_training():
        yield


@pytest.fixture
def campaign(lab: Lab) -> dict[str, Any]:
    return start_campaign(lab)
