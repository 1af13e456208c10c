"""Making and revoking keys; making the first workspace."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth import scopes
from service.kit.auth.principal import Principal
from service.kit.auth.repository import ApiKeyRepository
from service.kit.auth.tables import ApiKey, Workspace
from service.kit.auth.verify import hash_secret, key_text, new_secret
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.problems import Conflict, FieldError, Forbidden, Invalid


class ApiKeyService:
    def __init__(self, session: Session, principal: Principal) -> None:
        self.keys = ApiKeyRepository(session, principal)
        self.session = session
        self.principal = principal

    def create(
        self, name: str, scope_names: Iterable[str], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which nobody can read again later."""
        granted = sorted(set(scope_names))
        lacking = [scope for scope in granted if not self.principal.may(scope)]
        if lacking:
            raise Forbidden(f"A key cannot give what it does not have: {', '.join(lacking)}.")
        expires_at = None if expires_at is None else _in_future(expires_at)
        secret = new_secret()
        key = ApiKey(
            id=new_id("key"),
            name=name,
            secret_sha256=hash_secret(secret),
            scopes=granted,
            expires_at=expires_at,
        )
        self.keys.add(key)
        self.session.flush()
        return key, key_text(key.id, secret)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key at once. A key cannot end itself: somebody must stay able to let others in."""
        key = self.keys.get(key_id)
        if key.id == self.principal.actor:
            raise Conflict("A key cannot revoke itself. Use another administrator's key.")
        if key.revoked_at is None:
            key.revoked_at = utcnow()
        self.session.flush()
        return key


def _in_future(moment: datetime) -> datetime:
    """``moment`` as UTC; raises unless it is later than now and says in which zone."""
    try:
        if moment.tzinfo is not None and moment.astimezone(UTC) > utcnow():
            return moment.astimezone(UTC)
    except OverflowError:
        pass  # beyond the year 9999 once it is UTC
    message = "expires_at must be in the future and carry a time zone, such as Z."
    errors = [FieldError(code="expires_at", message=message, pointer="/expires_at")]
    raise Invalid(message, errors=errors)


def create_workspace(session: Session, name: str) -> tuple[Workspace, str]:
    """A workspace and the text of its first key, which may do everything."""
    workspace = Workspace(id=new_id("wsp"), name=name)
    session.add(workspace)
    session.flush()
    maker = Principal(workspace.id, "operator", frozenset({scopes.ADMIN}))
    attach(session, AuditContext(maker))
    _, text = ApiKeyService(session, maker).create("first key", [scopes.ADMIN], None)
    return workspace, text
