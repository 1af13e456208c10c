"""SQL of webhooks and their deliveries, as requests see them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Select

from service.integrations.tables import Webhook, WebhookDelivery
from service.kit.repository import Repository, in_chunks


class WebhookRepository(Repository[Webhook]):
    entity = Webhook
    noun = "webhook"


class DeliveryRepository(Repository[WebhookDelivery]):
    entity = WebhookDelivery
    noun = "delivery"

    def of_webhook(self, webhook_id: str, status: str | None) -> Select[WebhookDelivery]:
        statement = self.readable().where(WebhookDelivery.webhook_id == webhook_id)
        return statement if status is None else statement.where(WebhookDelivery.status == status)

    def underway(self, webhook_id: str, events: Iterable[str]) -> set[str]:
        """Those of ``events`` that are on their way to the webhook now."""
        found: set[str] = set()
        for chunk in in_chunks(events):
            statement = self.columns(WebhookDelivery.event_id).where(
                WebhookDelivery.webhook_id == webhook_id,
                WebhookDelivery.status == "pending",
                WebhookDelivery.event_id.in_(chunk),
            )
            found.update(self.session.scalars(statement))
        return found
