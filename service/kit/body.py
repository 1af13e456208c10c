"""The request body: read once, bounded, hashed, kept on disk when it is large; strict JSON."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.kit.problems import BadRequest, FieldError, TooLarge, UnsupportedMedia

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
    if length and request.headers.get("content-encoding", "identity").lower() != "identity":
        file.close()
        raise UnsupportedMedia("Send the body as it is, without a Content-Encoding.")
    file.seek(0)
    return ReceivedBody(file, length, digest.hexdigest())  # type: ignore[arg-type]


def require_json(content_type: str) -> None:
    """Refuse a body that is not said to be JSON, which is UTF-8."""
    media_type, _, parameters = content_type.lower().partition(";")
    if media_type.strip() != "application/json":
        given = media_type.strip()[:60] or "(none)"
        raise UnsupportedMedia(f"Send the body as Content-Type: application/json, not {given!r}.")
    if "charset=" in parameters and "utf-8" not in parameters:
        raise UnsupportedMedia("JSON is UTF-8; leave the charset out of the Content-Type.")


def parse_json(content: bytes) -> Any:
    """``content`` as strict JSON, or a problem that says what is wrong with it.

    What two readers could understand differently is refused: keys that occur twice, NaN and
    infinity, other encodings than UTF-8.
    """
    try:
        text = content.decode("utf-8")
        if text.startswith("\ufeff"):
            raise _not_json("it begins with a byte order mark")
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise _not_json(f"it is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    except ValueError as error:
        raise _not_json(str(error)) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _not_json(why: str) -> BadRequest:
    message = f"The body is not valid JSON: {why}."
    return BadRequest(message, errors=[FieldError(code="json_invalid", message=message)])


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit / 2**20:.0f} MiB. Split it, or ask the operator to raise "
        f"the limit."
    )
