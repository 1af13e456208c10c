"""One live service for the whole folder, with rows in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.live import LiveServer, serving
from tests.contract.seeds import Known, Seeder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The service without a worker, with small limits."""
    limits = {"max_body_bytes": 2**20, "max_upload_bytes": 32 * 2**20}
    with serving(tmp_path_factory.mktemp("live"), "--no-worker", **limits) as live:
        yield live


@pytest.fixture(scope="session")
def known(server: LiveServer) -> Known:
    """Identifiers that lead to rows, by the name of the parameter."""
    return Seeder(server).run()
