"""SQL of what was learned."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Select

from service.kit.repository import Repository
from service.learning.tables import FittedModel, Prediction, ReplayedCampaign


class FittedModelRepository(Repository[FittedModel]):
    entity = FittedModel
    noun = "model"

    def of_campaign(self, campaign_id: str) -> Select[FittedModel]:
        return self.readable().where(FittedModel.campaign_id == campaign_id)

    def latest(self, campaign_id: str) -> FittedModel | None:
        statement = self.of_campaign(campaign_id).order_by(FittedModel.id.desc()).limit(1)
        return self.session.scalar(statement)


class PredictionRepository(Repository[Prediction]):
    entity = Prediction
    noun = "prediction"

    def of_campaign(self, campaign_id: str) -> Select[Prediction]:
        return self.readable().where(Prediction.campaign_id == campaign_id)


class ReplayedCampaignRepository(Repository[ReplayedCampaign]):
    entity = ReplayedCampaign
    noun = "replay"

    def of_campaign(self, campaign_id: str) -> Select[ReplayedCampaign]:
        return self.readable().where(ReplayedCampaign.campaign_id == campaign_id)


def artifacts_in_use(models: Iterator[FittedModel]) -> set[str]:
    """The artifacts that stored models need."""
    return {name for row in models for name in (row.snapshot, row.weights, row.metadata_artifact)}
