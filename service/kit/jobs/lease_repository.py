"""Every statement on the leases of workers.

Expiry is judged by the database's clock: the clocks of the machines may differ by more than a
lease lasts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from service.kit.database import utcnow
from service.kit.jobs.tables import WorkerLease


def now(session: Session) -> datetime:
    """The one clock that all workers share."""
    if session.get_bind().dialect.name == "postgresql":
        value: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return value
    return utcnow()


def live(session: Session) -> list[WorkerLease]:
    """Leases of workers in good standing."""
    statement = (
        select(WorkerLease)
        .where(WorkerLease.expires_at > now(session), WorkerLease.reaping.is_(False))
        .order_by(WorkerLease.name)
    )
    return list(session.scalars(statement))


def every(session: Session) -> list[WorkerLease]:
    """All leases, expired or not."""
    return list(session.scalars(select(WorkerLease).order_by(WorkerLease.name)))


def find_rival(session: Session, name: str, host: str, key: str | None) -> WorkerLease | None:
    """An unexpired lease with this name, or on this graphics card of this host."""
    statement = (
        select(WorkerLease)
        .where(_same_name_or_card(name, host, key), WorkerLease.expires_at > now(session))
        .order_by(WorkerLease.name != name)
        .limit(1)
    )
    return session.scalar(statement)


def take(session: Session, values: dict[str, Any], lease_s: float) -> None:
    """Insert a lease in place of expired ones. Raises IntegrityError if somebody was faster."""
    at = now(session)
    same = _same_name_or_card(values["name"], values["host"], values["device_key"])
    session.execute(delete(WorkerLease).where(same, WorkerLease.expires_at <= at))
    session.execute(
        insert(WorkerLease).values(
            **values, started_at=at, expires_at=at + timedelta(seconds=lease_s)
        )
    )


def renew(session: Session, name: str, token: str, lease_s: float, current_job: str | None) -> bool:
    """Extend our lease; false when it is ours no more."""
    result = session.execute(
        update(WorkerLease)
        .where(WorkerLease.name == name, WorkerLease.token == token)
        .values(expires_at=now(session) + timedelta(seconds=lease_s), current_job=current_job)
        .returning(WorkerLease.name)
    )
    return result.first() is not None


def is_held(session: Session, name: str, token: str) -> bool:
    """Whether our lease still stands; if so, nobody takes it before this transaction ends."""
    statement = (
        select(WorkerLease.name)
        .where(WorkerLease.name == name, WorkerLease.token == token)
        .with_for_update(read=True)
    )
    return session.scalar(statement) is not None


def release(session: Session, name: str, token: str) -> None:
    """Give our lease up."""
    session.execute(delete(WorkerLease).where(WorkerLease.name == name, WorkerLease.token == token))


def expire(session: Session, name: str, token: str) -> None:
    """Declare a lease over, for a worker that is known to be dead."""
    session.execute(
        update(WorkerLease)
        .where(WorkerLease.name == name, WorkerLease.token == token)
        .values(expires_at=now(session) - timedelta(seconds=1))
    )


def _same_name_or_card(name: str, host: str, key: str | None) -> ColumnElement[bool]:
    if key is None:
        return WorkerLease.name == name
    card = (WorkerLease.host == host) & (WorkerLease.device_key == key)
    return or_(WorkerLease.name == name, card)
