"""SQL of scorecards."""

from __future__ import annotations

from sqlalchemy import Select

from service.batches.tables import Batch, Recommendation
from service.kit.repository import Repository
from service.triage.tables import TriageCard


class TriageCardRepository(Repository[TriageCard]):
    entity = TriageCard
    noun = "scorecard"

    def of_campaign(self, campaign_id: str) -> Select[TriageCard]:
        return self.readable().where(TriageCard.campaign_id == campaign_id)


class ChoiceRepository(Repository[Batch]):
    entity = Batch
    noun = "batch"

    def modelled(self, campaign_id: str) -> list[tuple[int, str]]:
        """Round and ranked candidates (an artifact) of every batch that a model proposed, but for
        those that were called off."""
        statement = (
            self.columns(Batch.round, Recommendation.candidates)
            .join(Recommendation, Recommendation.id == Batch.recommendation_id)
            .where(
                Batch.campaign_id == campaign_id,
                Batch.status != "cancelled",
                Recommendation.model_id.is_not(None),
            )
            .order_by(Batch.id)
        )
        return [(row[0], row[1]) for row in self.session.execute(statement)]
