"""HTTP/1.1 whose heads are bounded: uvicorn's fast parser takes headers without end.

Without this, anybody who reaches the port fills the memory with one request, and needs no key.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_SILENT_BYTES = 64 * 1024
"""Most bytes that may come without completing a head or bringing a piece of a body."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's own protocol; refuses heads and trailers that do not end."""

    _silent = 0

    def data_received(self, data: bytes) -> None:
        """More bytes from the client."""
        self._silent += len(data)
        super().data_received(data)
        if self._silent > MAX_SILENT_BYTES and not self.transport.is_closing():
            self.logger.warning("The head of a request does not end.")
            if self.cycle is not None and not self.cycle.response_complete:
                self.transport.close()  # a trailer without end: an answer may be under way
            else:
                self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._silent = 0
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A piece of the body begins."""
        self._silent = 0

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come."""
        self._silent = 0
        super().on_body(body)
