"""Webhooks and events as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from service.kit.schemas import Body, IdText, Out, Text

EventType = Literal[
    "submission.stored",
    "measurement.corrected",
    "dataset.fitted",
    "model.ready",
    "model.warned",
    "surfaces.ready",
    "triage.ready",
    "recommendation.ready",
    "batch.accepted",
    "batch.changed",
    "plate.measured",
    "plate.revised",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
]
TEST_TYPE = "webhook.test"
MAX_WEBHOOKS = 50

Url = Annotated[
    str, Field(min_length=1, max_length=2000, examples=["https://lims.example.org/hooks/nextround"])
]
Types = Annotated[
    list[EventType],
    Field(min_length=1, max_length=20, examples=[["recommendation.ready", "job.failed"]]),
]
Moment = Annotated[datetime, Strict(False)]


class WebhookIn(Body):
    url: Url
    types: Types = Field(description="What it wants to be told.")
    description: Text | None = None


class WebhookPatch(Body):
    url: Url | None = None
    types: Types | None = None
    description: Text | None = None
    active: bool | None = Field(
        None, description="True after a failure: what is on its way goes on.", examples=[True]
    )


class RotationIn(Body):
    keep_old_hours: int = Field(
        24,
        ge=0,
        le=24 * 30,
        description="How long messages carry a signature with the former secret as well.",
        examples=[24],
    )


class ReplayIn(Body):
    """One event, or those of a time range that the webhook wants."""

    event_id: IdText | None = Field(None, examples=["evt_01k8c3v6s0e9x7q2m4n5p6r7st"])
    since: Moment | None = Field(
        None, description="With a time zone.", examples=["2030-01-01T00:00:00Z"]
    )
    until: Moment | None = Field(None, description="With a time zone; default: now.")


class WebhookOut(Out):
    id: str
    url: str
    types: list[str]
    description: str | None
    active: bool
    disabled_reason: str | None = Field(description="Why it is not told any more.")
    disabled_at: datetime | None
    version: int
    created_at: datetime


class NewWebhookOut(WebhookOut):
    secret: str | None = Field(
        description="Verifies signatures (`whsec_...`). Shown this once; a replay of the request "
        "answers null."
    )


class AttemptOut(Out):
    at: datetime
    status: int | None = Field(description="HTTP status, if there was an answer.")
    error: str | None
    seconds: float


class DeliveryOut(Out):
    id: str
    webhook_id: str
    event_id: str = Field(description="Also the `webhook-id` header of every attempt.")
    status: Literal["pending", "delivered", "failed"]
    replayed: bool
    attempts: list[AttemptOut]
    due_at: datetime | None = Field(description="When the next attempt is made.")
    created_at: datetime
    finished_at: datetime | None


class ReplayOut(Out):
    queued: int
    underway: int = Field(description="Events that were on their way already.")


class EventOut(Out):
    id: str
    type: str
    at: datetime
    subject_id: str
    campaign_id: str | None
    data: dict[str, Any]
