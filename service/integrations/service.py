"""Rules of webhooks: who is told what, with which secret, and what is told again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.integrations import signing
from service.integrations.addresses import AddressRefused, Policy, check_literal
from service.integrations.queue import new_delivery, valid_secrets
from service.integrations.repository import DeliveryRepository, WebhookRepository
from service.integrations.schemas import (
    MAX_WEBHOOKS,
    TEST_TYPE,
    ReplayIn,
    ReplayOut,
    WebhookIn,
    WebhookPatch,
)
from service.integrations.tables import Webhook, WebhookDelivery
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.outbox.repository import EventRepository
from service.kit.outbox.tables import OutboxEvent
from service.kit.pagination import PageQuery
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit

MAX_REPLAYED = 5000


@dataclass
class WebhookService:
    unit: Unit

    def __post_init__(self) -> None:
        self.session = self.unit.session
        self.webhooks = WebhookRepository(self.session, self.unit.principal)
        self.deliveries = DeliveryRepository(self.session, self.unit.principal)
        self.events = EventRepository(self.session, self.unit.principal)

    def create(self, body: WebhookIn) -> tuple[Webhook, str]:
        """A subscription and its secret, which nobody can read again later."""
        self._check_url(body.url)
        if len(self.webhooks.page(PageQuery(MAX_WEBHOOKS, None)).items) >= MAX_WEBHOOKS:
            raise Conflict(f"A workspace has at most {MAX_WEBHOOKS} webhooks. Change one instead.")
        secret = signing.new_secret()
        webhook = Webhook(
            id=new_id("whk"),
            url=body.url,
            types=sorted(set(body.types)),
            description=body.description,
            active=True,
            secrets=[{"secret": secret, "until": None}],
        )
        self.webhooks.add(webhook)
        self.session.flush()
        return webhook, secret

    def patch(self, webhook: Webhook, change: WebhookPatch) -> Webhook:
        """Change what is given; activating it forgets why it was disabled."""
        if change.url is not None:
            self._check_url(change.url)
            webhook.url = change.url
        if change.types is not None:
            webhook.types = sorted(set(change.types))
        if "description" in change.model_fields_set:
            webhook.description = change.description
        if change.active is True:
            webhook.active, webhook.disabled_reason, webhook.disabled_at = True, None, None
        elif change.active is False and webhook.active:
            webhook.active, webhook.disabled_at = False, utcnow()
            webhook.disabled_reason = "Somebody switched it off."
        self.session.flush()
        return webhook

    def rotate(self, webhook: Webhook, keep_old_hours: int) -> str:
        """A new secret. The present one goes on signing for a while; older ones keep their end."""
        now, secret = utcnow(), signing.new_secret()
        until = (now + timedelta(hours=keep_old_hours)).isoformat()
        valid = set(valid_secrets(webhook, now))
        former = [
            {**one, "until": one["until"] or until}
            for one in webhook.secrets
            if one["secret"] in valid and (one["until"] is not None or keep_old_hours)
        ]
        webhook.secrets = [{"secret": secret, "until": None}, *former]
        self.session.flush()
        return secret

    def ping(self, webhook: Webhook) -> WebhookDelivery:
        """A test event for this webhook alone."""
        self._require_active(webhook)
        now = utcnow()
        event = OutboxEvent(
            id=new_id("evt"), type=TEST_TYPE, subject_id=webhook.id, data={}, at=now
        )
        event.dispatched_at = now  # nobody else is told
        self.events.add(event)
        self.session.flush()
        return self._queue(webhook, event, replayed=False)

    def replay(self, webhook: Webhook, body: ReplayIn) -> ReplayOut:
        """Tell it again, in the order of the events."""
        self._require_active(webhook)
        events = self._chosen(webhook, body)
        underway = self.deliveries.underway(webhook.id, [event.id for event in events])
        for event in events:
            if event.id not in underway:
                self._queue(webhook, event, replayed=True)
        return ReplayOut(queued=len(events) - len(underway), underway=len(underway))

    def _chosen(self, webhook: Webhook, body: ReplayIn) -> list[OutboxEvent]:
        if (body.event_id is None) == (body.since is None):
            raise _invalid("/event_id", "Give either event_id, or since (and until).")
        if body.event_id is not None:
            return [self.events.get(body.event_id)]
        since, until = _utc("/since", body.since), _utc("/until", body.until or utcnow())
        if since >= until:
            raise _invalid("/since", "since must be before until.")
        events = self.events.between(since, until, list(webhook.types), MAX_REPLAYED + 1)
        if len(events) > MAX_REPLAYED:
            raise _invalid("/since", f"There are more than {MAX_REPLAYED} events; ask for less.")
        return events

    def _queue(self, webhook: Webhook, event: OutboxEvent, *, replayed: bool) -> WebhookDelivery:
        delivery = self.deliveries.add(new_delivery(webhook, event, utcnow(), replayed=replayed))
        self.session.flush()
        return delivery

    def _require_active(self, webhook: Webhook) -> None:
        if not webhook.active:
            raise Conflict("This webhook is switched off. PATCH it with active: true first.")

    def _check_url(self, url: str) -> None:
        try:
            check_literal(url, Policy.of(self.unit.parts.settings))
        except AddressRefused as error:
            raise _invalid("/url", f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


def _utc(pointer: str, moment: datetime | None) -> datetime:
    try:
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except OverflowError:
        pass  # beyond the year 9999 once it is UTC
    raise _invalid(pointer, "Give the time with a time zone, such as Z.")


def _invalid(pointer: str, message: str) -> Invalid:
    return Invalid(message, errors=[FieldError(code="webhook", message=message, pointer=pointer)])
