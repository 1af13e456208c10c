"""The whole way: a service, its worker, and a receiver that checks the signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import Nextround, verify
from tests.contract.live import LiveServer
from tests.service.integrations.receiver import Receiver, receiving

OPENED = {"webhook_private": "allow", "webhook_private_networks": "127.0.0.0/8"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path, **OPENED)
    try:
        yield server.until_alive()
    finally:
        server.process.terminate()
        server.process.wait(60)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.mark.slow
def test_a_worker_delivers(
    server: LiveServer, receiver: Receiver, until: Callable[..., Any]
) -> None:
    receiver.statuses = [500, 204]
    with Nextround(server.url, server.keys_shown[0]) as lab:
        webhook = lab.create_webhook(receiver.url, ["submission.stored"])
        lab.ping_webhook(webhook["id"])
        until(lambda: len(receiver.requests) == 2, patience_s=60.0)
        (delivery,) = until(
            lambda: [
                one
                for one in lab.list_webhook_deliveries(webhook["id"])
                if one["status"] == "delivered"
            ]
        )
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 204]
    for _, headers, body in receiver.requests:
        message = verify(webhook["secret"], headers, body)
        assert (message["type"], message["data"]["id"]) == ("webhook.test", webhook["id"])
        assert headers["webhook-id"] == delivery["event_id"]
