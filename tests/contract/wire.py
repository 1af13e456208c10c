"""HTTP by hand: what no client library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.contract.live import LiveServer

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The body, which must be a problem that names its own request."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        body: dict[str, Any] = json.loads(self.body)
        assert body["status"] == self.status
        assert body["instance"] == self.headers["x-request-id"]
        assert body["detail"]
        assert b"Traceback" not in self.body
        return body


def head(
    method: str, target: str | bytes, server: LiveServer, *more: bytes, key: bool = True
) -> bytes:
    """The head of a request, byte for byte."""
    target = target.encode() if isinstance(target, str) else target
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: test"]
    if key:
        lines.append(b"Authorization: Bearer " + server.keys_shown[0].encode())
    return b"\r\n".join([*lines, *more]) + b"\r\n\r\n"


def with_body(method: str, target: str, server: LiveServer, body: bytes, *more: bytes) -> bytes:
    """A whole request with a body of known length; JSON unless ``more`` says otherwise."""
    if not any(line.lower().startswith(b"content-type") for line in more):
        more = (*more, b"Content-Type: application/json")
    length = b"Content-Length: %d" % len(body)
    return head(method, target, server, length, *more) + body


def connect(server: LiveServer) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(server: LiveServer, *pieces: bytes) -> Answer:
    """Send the pieces one after the other and read one answer."""
    with closing(connect(server)) as connection:
        send(connection, pieces)
        return read_answer(connection)


def send(connection: socket.socket, pieces: Iterable[bytes]) -> None:
    """Send until everything is sent or the other side has had enough."""
    try:
        for piece in pieces:
            connection.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass


def read_answer(connection: socket.socket) -> Answer:
    """The next answer on the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, f"the connection ended within the head: {received!r}"
        received += piece
    raw_head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = raw_head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    wanted = int(headers.get("content-length", 0))
    while len(body) < wanted or ("content-length" not in headers and not body):
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return Answer(int(status_line.split()[1]), headers, body)
