"""One POST to one checked address: no redirects, bounded in time, nothing read but the status."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.integrations.addresses import AddressRefused, Policy, Resolve, Target, parse, permitted

CONNECT_S = 5.0
WHOLE_S = 15.0
"""A server that answers a byte a second would otherwise keep a sender for hours."""
_USER_AGENT = "nextround-webhooks/1"


@dataclass(frozen=True)
class Answer:
    """What became of one attempt: a status, or an error in words."""

    status: int | None
    error: str | None
    seconds: float
    retry_after_s: float = 0.0

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """The receiver says that it will never come back."""
        return self.status == 410


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to an address that was checked, whatever the name leads to by now."""

    def __init__(self, target: Target, address: str, context: ssl.SSLContext | None) -> None:
        super().__init__(target.host, target.port, timeout=CONNECT_S)
        self._address, self._target, self._context = address, target, context

    def connect(self) -> None:
        sock = socket.create_connection((self._address, self._target.port), timeout=CONNECT_S)
        self.sock = sock
        if self._context is not None:
            self.sock = self._context.wrap_socket(sock, server_hostname=self._target.host)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: Policy,
    *,
    resolve: Resolve | None = None,
    context: ssl.SSLContext | None = None,
    whole_s: float = WHOLE_S,
) -> Answer:
    """POST ``body`` and report; never raises for anything that the other side does."""
    began = time.monotonic()
    try:
        target = parse(url)
        address = permitted(target, policy, resolve)[0]
        secure = (context or ssl.create_default_context()) if target.scheme == "https" else None
        status, retry_after = _exchange(target, address, secure, body, headers, whole_s)
    except AddressRefused as error:
        return Answer(None, str(error), time.monotonic() - began)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(None, _in_words(error), time.monotonic() - began)
    return Answer(status, _complaint(status), time.monotonic() - began, retry_after)


def _exchange(
    target: Target,
    address: str,
    context: ssl.SSLContext | None,
    body: bytes,
    headers: Mapping[str, str],
    whole_s: float,
) -> tuple[int, float]:
    connection = _PinnedConnection(target, address, context)
    late = threading.Event()
    watch = threading.Timer(whole_s, _cut, [connection, late])
    watch.daemon = True
    watch.start()
    try:
        given = {"Host": target.host_header, "User-Agent": _USER_AGENT, "Connection": "close"}
        connection.request("POST", target.path, body, {**given, **headers})
        response = connection.getresponse()
        if late.is_set():  # a head that breaks off is taken for a whole one
            raise TimeoutError
        return response.status, _seconds(response.headers.get("retry-after"))
    finally:
        watch.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    """End a conversation that takes too long, from another thread."""
    late.set()
    if connection.sock is not None:
        try:
            # The socket below TLS: a polite farewell would wait for the other side again.
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        except OSError:
            return


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdigit() else 0.0


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed, enter the final URL"
    return f"answered {status}"


def _in_words(error: Exception) -> str:
    """Without what the other side said: that is no business of whoever reads the log."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return f"no connection: {error.strerror}"
    return f"no usable answer ({type(error).__name__})"
