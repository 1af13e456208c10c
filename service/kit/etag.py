"""Optimistic concurrency: the version of a row is its ETag."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Header, Response
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from service.kit.problems import PreconditionFailed, PreconditionRequired

_STRONG = re.compile(r'"(\d{1,9})(?:-[0-9a-f]{1,64})?"')

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="The ETag of the version you read; required.",
        examples=['"1"'],
    ),
]


class Versioned:
    """Mix-in: each change counts ``version`` up, and a concurrent change loses with a 412."""

    version: Mapped[int] = mapped_column(default=1)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, object]:
        return {"version_id_col": cls.version}


def tag(response: Response, version: int, content: str = "") -> None:
    """Put the ETag of ``version`` on ``response``.

    ``content`` stands for what is shown with the row and changes without it, such as results that
    came in: whoever polls must see it, whoever changes the row need not care.
    """
    suffix = f"-{_digest(content.encode())}" if content else ""
    response.headers["ETag"] = f'"{version}{suffix}"'


def conditional(if_none_match: str | None, response: Response) -> Response:
    """``response`` to a GET, or a 304 without a body where the caller has it already.

    A JSON document without an ETag of its own gets one of its content.
    """
    body = getattr(response, "body", None)  # a stream has none
    if response.status_code != 200 or body is None:
        return response
    if "etag" not in response.headers:
        if not response.headers.get("content-type", "").startswith("application/json"):
            return response
        response.headers["ETag"] = f'W/"{_digest(bytes(body))}"'
    mark = response.headers["etag"]
    if not is_known(if_none_match, mark.removeprefix("W/")):
        return response
    kept = {name: response.headers[name] for name in ("etag", "link") if name in response.headers}
    return Response(status_code=304, headers=kept)


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the caller has what ``tag`` names; a proxy may have made the tag a weak one."""
    given = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return tag in given or "*" in given


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def touch(row: Versioned) -> None:
    """Make a new version of ``row`` where only what belongs to it has changed."""
    row.version = row.version + 1


def check(if_match: str | None, version: int) -> None:
    """Refuse to change a row that the caller has not read in its present version."""
    if if_match is None:
        raise PreconditionRequired(
            f'Read it, then send its ETag: If-Match: "{version}" is the present version.'
        )
    if if_match.strip() == "*":
        return
    versions = {int(match) for match in _STRONG.findall(if_match)}
    if version not in versions:
        raise PreconditionFailed(
            f'If-Match does not name the present version "{version}". Read it again and retry.'
        )
