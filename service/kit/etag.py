"""Optimistic concurrency: the version of a row is its ETag."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Response
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from service.kit.problems import PreconditionFailed, PreconditionRequired

_STRONG = re.compile(r'"(\d{1,9})"')

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


def tag(response: Response, version: int) -> None:
    """Put the ETag of ``version`` on ``response``."""
    response.headers["ETag"] = f'"{version}"'


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the caller has what ``tag`` names; a proxy may have made the tag a weak one."""
    given = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return tag in given or "*" in given


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
