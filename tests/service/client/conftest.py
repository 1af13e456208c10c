"""The client over the service in this process. Which database that has is not its business."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.client import Nextround
from tests.lab import Lab


class InProcess(httpx2.BaseTransport):
    """Hands requests to the tests' own client of the service; counts them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.answers: list[tuple[str, str, int]] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self.lab.http.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.read(),
            headers=dict(request.headers),
        )
        self.answers.append((request.method, request.url.path, answer.status_code))
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name in ("etag", "content-type", "location", "link")
        }
        return httpx2.Response(answer.status_code, content=answer.content, headers=kept)


@pytest.fixture
def database_url(sqlite_file: Path, tmp_path: Path) -> str:
    """SQLite alone."""
    shutil.copy(sqlite_file, tmp_path / "nextround.db")
    return f"sqlite:///{tmp_path / 'nextround.db'}"


@pytest.fixture
def wire(lab: Lab) -> InProcess:
    return InProcess(lab)


@pytest.fixture
def client(lab: Lab, wire: InProcess) -> Iterator[Nextround]:
    with Nextround("http://testserver", lab.key, transport=wire, pause_s=0.0) as client:
        yield client
