"""Replay the first answer to a repeated POST.

The row is inserted first in the transaction of the effect. A second request with the same key
waits there (for SQLite's write lock, or for PostgreSQL's unique index) until the first has
committed, then finds the answer; if the first failed, nothing is left and the second runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.kit.auth.principal import Principal, readable
from service.kit.database import utcnow
from service.kit.idempotency.tables import IdempotentAnswer
from service.kit.problems import FieldError, Invalid

KEPT_HEADERS = ("location", "etag", "content-type")
LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class StoredAnswer:
    """What was answered the first time."""

    status: int
    headers: dict[str, str]
    body: str


def fingerprint(method: str, path: str, query: str, content_type: str, body_sha256: str) -> str:
    """What must be equal for two requests to be the same request."""
    text = "\n".join([method, path, query, content_type, body_sha256])
    return hashlib.sha256(text.encode()).hexdigest()


def valid_key(key: str) -> str:
    """The key, or a 422 that says what a key looks like."""
    if 1 <= len(key) <= 255 and key.isascii() and key.isprintable():
        return key
    message = "Idempotency-Key must be 1 to 255 printable ASCII characters; a UUID is best."
    raise Invalid(
        message,
        errors=[
            FieldError(code="idempotency_key", message=message, pointer="header/Idempotency-Key")
        ],
    )


def begin(session: Session, principal: Principal, key: str, digest: str) -> StoredAnswer | None:
    """Reserve ``key``, or return the answer that was given under it."""
    values: dict[str, Any] = {
        "workspace_id": principal.workspace_id,
        "api_key_id": principal.actor,
        "key": key,
        "fingerprint": digest,
    }
    _forget_expired(session, principal, key)
    try:
        with session.begin_nested():
            session.execute(insert(IdempotentAnswer).values(**values))
    except IntegrityError:
        return _replay(session, principal, key, digest)
    return None


def complete(
    session: Session,
    principal: Principal,
    key: str,
    status: int,
    headers: dict[str, str],
    body: str,
) -> None:
    """Remember the answer, in the transaction of its effect."""
    session.execute(
        update(IdempotentAnswer)
        .where(IdempotentAnswer.api_key_id == principal.actor, IdempotentAnswer.key == key)
        .values(status=status, headers=headers, body=body)
    )


def _forget_expired(session: Session, principal: Principal, key: str) -> None:
    session.execute(
        delete(IdempotentAnswer).where(
            IdempotentAnswer.api_key_id == principal.actor,
            IdempotentAnswer.key == key,
            IdempotentAnswer.created_at < utcnow() - LIFETIME,
        )
    )


def _replay(session: Session, principal: Principal, key: str, digest: str) -> StoredAnswer:
    row = session.scalars(
        readable(IdempotentAnswer, principal).where(
            IdempotentAnswer.api_key_id == principal.actor, IdempotentAnswer.key == key
        )
    ).one()
    if row.fingerprint != digest:
        message = (
            "This Idempotency-Key was already used for another request. "
            "Use a new key for a new request; repeat a request unchanged to get its first answer."
        )
        raise Invalid(
            message,
            errors=[
                FieldError(code="key_reused", message=message, pointer="header/Idempotency-Key")
            ],
        )
    return StoredAnswer(row.status, row.headers, row.body)


def forget_old(session: Session) -> int:
    """Delete the answers that nobody may ask for any more; return how many."""
    statement = delete(IdempotentAnswer).where(IdempotentAnswer.created_at < utcnow() - LIFETIME)
    return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
