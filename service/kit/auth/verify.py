"""From the ``Authorization`` header to a principal."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

import structlog
from fastapi import Request
from fastapi.security import HTTPBearer
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from service.kit.auth.principal import Principal
from service.kit.auth.tables import ApiKey
from service.kit.database import Database, utcnow
from service.kit.problems import Unauthenticated

log = structlog.get_logger(__name__)

_PREFIX = "nr"
_NOTE_EVERY = timedelta(minutes=5)

bearer = HTTPBearer(
    scheme_name="ApiKey",
    auto_error=False,
    description="`Authorization: Bearer nr_...`: a key of your workspace, shown once when made.",
)


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


def hash_secret(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_text(key_id: str, secret: str) -> str:
    """The key as its owner holds it."""
    return f"{_PREFIX}_{key_id.removeprefix('key_')}_{secret}"


def authenticate(database: Database, request: Request) -> Principal:
    """The principal behind ``request``, or a 401 that does not tell which part was wrong."""
    key_id, secret = _split(request.headers.get("authorization"))
    with database.reading() as session:
        # The one read that precedes a principal: it is how a principal is made.
        key = session.scalar(select(ApiKey).where(ApiKey.id == key_id))
    stored = key.secret_sha256 if key is not None else "0" * 64
    matches = hmac.compare_digest(stored, hash_secret(secret))
    now = utcnow()
    if key is None or not matches:
        raise Unauthenticated("The API key is not known here. Check it, or ask for a new one.")
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise Unauthenticated("The API key has expired or was revoked. Ask for a new one.")
    _note_use(database, key, now)
    return Principal(key.workspace_id, key.id, frozenset(map(str, key.scopes)))


def _split(header: str | None) -> tuple[str, str]:
    scheme, _, text = (header or "").partition(" ")
    parts = text.strip().split("_")
    usable = scheme.lower() == "bearer" and len(parts) == 3 and parts[0] == _PREFIX
    if not usable or not (text.isascii() and text.isprintable() and len(text) < 200):
        raise Unauthenticated("Send your API key as: Authorization: Bearer nr_...")
    return f"key_{parts[1]}", parts[2]


def _note_use(database: Database, key: ApiKey, now: datetime) -> None:
    """Remember the last use, seldom and without waiting: reading must not become writing."""
    if key.last_used_at is not None and now - key.last_used_at < _NOTE_EVERY:
        return
    try:
        with database.writing_at_once() as session:
            session.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))
    except OperationalError as error:
        # A long import holds SQLite's write lock; the next request notes it.
        log.info("last use of a key not noted", key=key.id, error=str(error.orig))
