"""The request body, read once, bounded, hashed, and kept on disk when it is large."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.kit.problems import BadRequest, TooLarge

_IN_MEMORY = 1 << 20


@dataclass
class ReceivedBody:
    """A complete body: a file at position 0, its length and its SHA-256."""

    file: BinaryIO
    length: int
    sha256: str


async def receive(request: Request, limit: int) -> ReceivedBody:
    """Read the whole body, or refuse it as soon as it is known to be too large or truncated."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by the unit
    digest, length = hashlib.sha256(), 0
    try:
        async for chunk in request.stream():
            length += len(chunk)
            if length > limit:
                raise _too_large(limit)
            digest.update(chunk)
            if length > _IN_MEMORY:
                await run_in_threadpool(file.write, chunk)
            else:
                file.write(chunk)
    except ClientDisconnect:
        file.close()
        raise BadRequest("The upload broke off before its end; nothing was stored.") from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return ReceivedBody(file, length, digest.hexdigest())  # type: ignore[arg-type]


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit / 2**20:.0f} MiB. Split it, or ask the operator to raise "
        f"the limit."
    )
