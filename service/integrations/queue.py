"""The queue of deliveries, of all workspaces at once: what a worker does with it.

Every function is one transaction of the caller's. Several workers share the queue: a delivery is
claimed by moving its ``due_at`` on, so that a worker which dies with it costs no more than a delay.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from service.integrations.sending import Answer
from service.integrations.tables import Webhook, WebhookDelivery
from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth.principal import Principal
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.outbox.tables import OutboxEvent

WAITS_S = (5, 60, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 36_000)
"""Pauses between attempts: eleven attempts in a day."""
CLAIM_S = 120.0
_LONGEST_WAIT_S = 36_000.0
_PAGE = 200
_PATHS = {
    "submission": "/v1/submissions/",
    "measurement": "/v1/measurements/",
    "model": "/v1/models/",
    "recommendation": "/v1/recommendations/",
    "batch": "/v1/batches/",
    "job": "/v1/jobs/",
}


@dataclass(frozen=True)
class Claimed:
    """A delivery that is this worker's to attempt."""

    id: str
    webhook_id: str
    workspace_id: str
    event_id: str
    url: str
    secrets: tuple[str, ...]
    body: bytes


def has_waiting(session: Session) -> bool:
    """Whether there are events of which nobody decided yet who is told."""
    waiting = select(OutboxEvent.id).where(OutboxEvent.dispatched_at.is_(None)).limit(1)
    return session.scalar(waiting) is not None


def has_due(session: Session, now: datetime) -> bool:
    """Whether there is anything to deliver by ``now``."""
    return session.scalar(_due(now).with_only_columns(WebhookDelivery.id).limit(1)) is not None


def fan_out(session: Session, now: datetime) -> int:
    """Make a delivery for every webhook that an event concerns; returns how many events."""
    statement = (
        select(OutboxEvent)
        .where(OutboxEvent.dispatched_at.is_(None))
        .order_by(OutboxEvent.id)
        .limit(_PAGE)
        .with_for_update(skip_locked=True)
    )
    events = session.scalars(statement).all()
    webhooks = _active(session, {event.workspace_id for event in events})
    underway = _underway(session, [event.id for event in events])
    for event in events:
        event.dispatched_at = now
        for webhook in webhooks[event.workspace_id]:
            wanted = event.type in webhook.types and event.at >= webhook.created_at
            if wanted and (webhook.id, event.id) not in underway:
                session.add(new_delivery(webhook, event, now))
    return len(events)


def new_delivery(
    webhook: Webhook, event: OutboxEvent, now: datetime, *, replayed: bool = False
) -> WebhookDelivery:
    """A delivery that is due at once."""
    return WebhookDelivery(
        id=new_id("dlv"),
        workspace_id=webhook.workspace_id,
        webhook_id=webhook.id,
        event_id=event.id,
        status="pending",
        replayed=replayed,
        attempts=[],
        due_at=now,
        created_at=now,
    )


def claim(session: Session, now: datetime, busy: Collection[str] = ()) -> list[Claimed]:
    """The next due delivery of every webhook that is not ``busy``: one after the other for each,
    so that a slow receiver delays nobody else."""
    due = _due(now).with_only_columns(Webhook.id).distinct()
    claimed = []
    for webhook_id in session.scalars(due.order_by(Webhook.id)).all():
        if webhook_id in busy:
            continue
        statement = (
            select(WebhookDelivery, Webhook, OutboxEvent)
            .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
            .join(OutboxEvent, OutboxEvent.id == WebhookDelivery.event_id)
            .where(
                WebhookDelivery.webhook_id == webhook_id,
                WebhookDelivery.status == "pending",
                WebhookDelivery.due_at <= now,
            )
            .order_by(WebhookDelivery.due_at, WebhookDelivery.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=WebhookDelivery)
        )
        row = session.execute(statement).first()
        if row is not None:
            delivery, webhook, event = row
            delivery.due_at = now + timedelta(seconds=CLAIM_S)
            claimed.append(_claimed(delivery, webhook, event, now))
    return claimed


def settle(session: Session, claimed: Claimed, answer: Answer, now: datetime) -> None:
    """Note an attempt: delivered, to be tried again, or given up and the webhook with it."""
    principal = Principal(claimed.workspace_id, "webhooks", frozenset())
    attach(session, AuditContext(principal))
    delivery = session.get(WebhookDelivery, claimed.id, with_for_update=True)
    webhook = session.get(Webhook, claimed.webhook_id, with_for_update=True)
    if delivery is None or webhook is None or delivery.status != "pending":
        return
    noted = {
        "at": now.isoformat(),
        "status": answer.status,
        "error": answer.error,
        "seconds": round(answer.seconds, 3),
    }
    delivery.attempts = [*delivery.attempts, noted]
    n_attempts = len(delivery.attempts)
    if answer.succeeded:
        _finish(delivery, "delivered", now)
    elif answer.gone:
        _finish(delivery, "failed", now)
        disable(webhook, "The receiver answered 410 Gone.", now)
    elif n_attempts <= len(WAITS_S):
        wait_s = max(_wait_s(claimed.id, n_attempts), min(answer.retry_after_s, _LONGEST_WAIT_S))
        delivery.due_at = now + timedelta(seconds=wait_s)
    else:
        _finish(delivery, "failed", now)
        if not _delivered_since(session, webhook.id, delivery.created_at):
            why = f"{n_attempts} attempts over a day failed, the last one: {answer.error}."
            disable(webhook, why, now)


def disable(webhook: Webhook, reason: str, now: datetime) -> None:
    """Stop telling it. What is on its way waits until somebody activates it again."""
    if webhook.active:
        webhook.active, webhook.disabled_reason, webhook.disabled_at = False, reason, now


def forget(session: Session, before: datetime) -> int:
    """Delete events and their deliveries from before then; returns how many events."""
    old = select(OutboxEvent.id).where(
        OutboxEvent.at < before, OutboxEvent.dispatched_at.is_not(None)
    )
    _execute(session, delete(WebhookDelivery).where(WebhookDelivery.event_id.in_(old)))
    return _execute(session, delete(OutboxEvent).where(OutboxEvent.id.in_(old)))


def payload(event: OutboxEvent) -> bytes:
    """The body of a delivery, the same in every attempt: names and links, no results."""
    noun = event.type.partition(".")[0]
    link = {"link": _PATHS[noun] + event.subject_id} if noun in _PATHS else {}
    data = {"id": event.subject_id, "campaign_id": event.campaign_id, **link, **event.data}
    body = {"type": event.type, "timestamp": event.at.isoformat(), "data": data}
    return dump_json(body).encode()


def valid_secrets(webhook: Webhook, now: datetime) -> tuple[str, ...]:
    """Newest first: the present secret, and former ones until they end."""
    return tuple(
        one["secret"]
        for one in webhook.secrets
        if one["until"] is None or datetime.fromisoformat(one["until"]) > now
    )


def _due(now: datetime) -> Any:
    return (
        select(WebhookDelivery)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(
            WebhookDelivery.status == "pending",
            WebhookDelivery.due_at <= now,
            Webhook.active.is_(True),
        )
    )


def _claimed(
    delivery: WebhookDelivery, webhook: Webhook, event: OutboxEvent, now: datetime
) -> Claimed:
    return Claimed(
        id=delivery.id,
        webhook_id=webhook.id,
        workspace_id=webhook.workspace_id,
        event_id=event.id,
        url=webhook.url,
        secrets=valid_secrets(webhook, now),
        body=payload(event),
    )


def _active(session: Session, workspaces: Collection[str]) -> dict[str, list[Webhook]]:
    found: dict[str, list[Webhook]] = defaultdict(list)
    if workspaces:
        statement = select(Webhook).where(
            Webhook.active.is_(True), Webhook.workspace_id.in_(workspaces)
        )
        for webhook in session.scalars(statement.order_by(Webhook.id)):
            found[webhook.workspace_id].append(webhook)
    return found


def _underway(session: Session, events: Sequence[str]) -> set[tuple[str, str]]:
    """(webhook, event) of pending deliveries: somebody may have asked for a replay already."""
    rows = session.execute(
        select(WebhookDelivery.webhook_id, WebhookDelivery.event_id).where(
            WebhookDelivery.event_id.in_(events), WebhookDelivery.status == "pending"
        )
    )
    return {(row.webhook_id, row.event_id) for row in rows}


def _delivered_since(session: Session, webhook_id: str, since: datetime) -> bool:
    """Whether the receiver lives: then one event that it never takes does not end the rest."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    WebhookDelivery.webhook_id == webhook_id,
                    WebhookDelivery.status == "delivered",
                    WebhookDelivery.finished_at >= since,
                )
            )
        )
    )


def _finish(delivery: WebhookDelivery, status: str, now: datetime) -> None:
    delivery.status, delivery.finished_at, delivery.due_at = status, now, None


def _wait_s(delivery_id: str, n_attempts: int) -> float:
    """Up to a tenth more than planned, differently for each: receivers come back to a trickle."""
    share = zlib.crc32(f"{delivery_id}.{n_attempts}".encode()) / 2**32
    return WAITS_S[n_attempts - 1] * (1 + share / 10)


def _execute(session: Session, statement: Any) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)  # type: ignore[attr-defined]
