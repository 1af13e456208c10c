"""Keyset pagination: opaque cursors over identifiers, which sort by time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field

from service.kit.problems import FieldError, Invalid

Item = TypeVar("Item")
Out = TypeVar("Out")

MAX_LIMIT = 500


@dataclass(frozen=True)
class PageQuery:
    """What the caller asked for: at most ``limit`` rows after the row with id ``after``."""

    limit: int
    after: str | None


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Rows and whether there are more."""

    items: Sequence[Item]
    next_cursor: str | None

    @classmethod
    def of(cls, rows: Sequence[Any], limit: int) -> Page[Any]:
        """A page from ``limit + 1`` rows."""
        items = rows[:limit]
        return cls(items, encode_cursor(items[-1].id) if len(rows) > limit else None)


class PageOut(BaseModel, Generic[Out]):
    """A page of a list."""

    items: list[Out]
    next_cursor: str | None = Field(
        description="Pass as `cursor` for the next page; null at the end."
    )


def encode_cursor(after: str) -> str:
    """An opaque cursor that continues after ``after``."""
    text = json.dumps({"v": 1, "after": after}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The id in ``cursor``; a 422 for anything that we did not issue."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        after = content["after"]
        if content["v"] != 1 or not isinstance(after, str):
            raise ValueError(content)
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise _bad_cursor() from None
    if not (after.isascii() and after.isprintable()):
        raise _bad_cursor()
    return after


def _bad_cursor() -> Invalid:
    message = "Not a cursor of this service. Pass next_cursor of the previous page, unchanged."
    return Invalid(
        message, errors=[FieldError(code="cursor", message=message, pointer="query/cursor")]
    )


async def _page_query(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows per page.")] = 100,
    cursor: Annotated[
        str | None, Query(min_length=1, max_length=400, description="From `next_cursor`.")
    ] = None,
) -> PageQuery:
    return PageQuery(limit, decode_cursor(cursor) if cursor else None)


PageDep = Annotated[PageQuery, Depends(_page_query)]


def page_out(
    request: Request, response: Response, page: Page[Item], convert: Callable[[Item], Out]
) -> PageOut[Out]:
    """The body of ``page``, and the ``Link`` header to the next one."""
    if page.next_cursor:
        url = request.url.include_query_params(cursor=page.next_cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return PageOut(items=[convert(row) for row in page.items], next_cursor=page.next_cursor)
