"""`/v1/webhooks`, their deliveries, and `/v1/events`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.integrations.schemas import (
    DeliveryOut,
    EventOut,
    EventType,
    NewWebhookOut,
    ReplayIn,
    ReplayOut,
    RotationIn,
    WebhookIn,
    WebhookOut,
    WebhookPatch,
)
from service.integrations.service import WebhookService
from service.integrations.tables import Webhook
from service.kit import etag
from service.kit.auth import scopes
from service.kit.outbox.repository import EventRepository
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    documented,
)
from service.kit.unit import Unit, UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["webhooks"])


@router.post(
    "/webhooks",
    status_code=201,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(Invalid, Conflict),
)
def create_webhook(body: WebhookIn, unit: UnitDep, response: Response) -> NewWebhookOut:
    """Subscribe a URL to events. The secret that signs them is in this answer and nowhere else."""
    webhook, secret = WebhookService(unit).create(body)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    return _with_secret(unit, webhook, secret)


@router.get("/webhooks", dependencies=[needs(scopes.ADMIN)], responses=documented(Invalid))
def list_webhooks(
    unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[WebhookOut]:
    """The webhooks of the workspace, oldest first."""
    webhooks = WebhookService(unit).webhooks
    return page_out(request, response, webhooks.page(page), WebhookOut.model_validate)


@router.get(
    "/webhooks/{webhook_id}",
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Invalid),
)
def get_webhook(webhook_id: str, unit: UnitDep, response: Response) -> WebhookOut:
    """One webhook: whether it is told, and if not why."""
    webhook = WebhookService(unit).webhooks.get(webhook_id)
    etag.tag(response, webhook.version)
    return WebhookOut.model_validate(webhook)


@router.patch(
    "/webhooks/{webhook_id}",
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Conflict, PreconditionFailed, PreconditionRequired, Invalid),
)
def change_webhook(
    webhook_id: str,
    body: WebhookPatch,
    unit: UnitDep,
    response: Response,
    if_match: etag.IfMatch = None,
) -> WebhookOut:
    """Change the URL or the event types, switch it off, or on again after a failure."""
    service = WebhookService(unit)
    webhook = service.webhooks.get(webhook_id)
    etag.check(if_match, webhook.version)
    service.patch(webhook, body)
    etag.tag(response, webhook.version)
    return WebhookOut.model_validate(webhook)


@router.post(
    "/webhooks/{webhook_id}/secret-rotation",
    status_code=201,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Invalid, Conflict),
)
def rotate_webhook_secret(webhook_id: str, body: RotationIn, unit: UnitDep) -> NewWebhookOut:
    """A new secret. For a while messages carry a signature with each of the two."""
    service = WebhookService(unit)
    webhook = service.webhooks.get(webhook_id)
    return _with_secret(unit, webhook, service.rotate(webhook, body.keep_old_hours))


@router.post(
    "/webhooks/{webhook_id}/ping",
    status_code=202,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def ping_webhook(webhook_id: str, unit: UnitDep) -> DeliveryOut:
    """Send a `webhook.test` event to this webhook alone; its delivery says what came back."""
    service = WebhookService(unit)
    return DeliveryOut.model_validate(service.ping(service.webhooks.get(webhook_id)))


@router.post(
    "/webhooks/{webhook_id}/replay",
    status_code=202,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def replay_events(webhook_id: str, body: ReplayIn, unit: UnitDep) -> ReplayOut:
    """Deliver one event again, or all of a time range that this webhook wants."""
    service = WebhookService(unit)
    return service.replay(service.webhooks.get(webhook_id), body)


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Invalid),
)
def list_webhook_deliveries(
    webhook_id: str,
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    status: Annotated[
        Literal["pending", "delivered", "failed"] | None, Query(description="Only these.")
    ] = None,
) -> PageOut[DeliveryOut]:
    """The deliveries of a webhook with every attempt, oldest first."""
    service = WebhookService(unit)
    webhook = service.webhooks.get(webhook_id)
    rows = service.deliveries.page(page, service.deliveries.of_webhook(webhook.id, status))
    return page_out(request, response, rows, DeliveryOut.model_validate)


@router.get("/events", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_events(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    type: Annotated[EventType | None, Query(description="Only events of this type.")] = None,
) -> PageOut[EventOut]:
    """What happened in the workspace, oldest first: for systems that poll instead of listening."""
    events = EventRepository(unit.session, unit.principal)
    statement = None if type is None else events.of_type(type)
    return page_out(request, response, events.page(page, statement), EventOut.model_validate)


@router.get(
    "/events/{event_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid)
)
def get_event(event_id: str, unit: UnitDep) -> EventOut:
    """One event."""
    return EventOut.model_validate(EventRepository(unit.session, unit.principal).get(event_id))


def _with_secret(unit: Unit, webhook: Webhook, secret: str) -> NewWebhookOut:
    plain = WebhookOut.model_validate(webhook).model_dump()
    # What an idempotent replay may show: everything but the secret.
    unit.replay_body = NewWebhookOut(**plain, secret=None).model_dump_json()
    return NewWebhookOut(**plain, secret=secret)
