"""SQL of recommendations and batches."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, func

from service.batches.tables import Batch, BatchItem, Recommendation
from service.kit.repository import Repository

Block = tuple[str, str, str]


class RecommendationRepository(Repository[Recommendation]):
    entity = Recommendation
    noun = "recommendation"

    def of_campaign(self, campaign_id: str) -> Select[Recommendation]:
        return self.readable().where(Recommendation.campaign_id == campaign_id)


class BatchRepository(Repository[Batch]):
    entity = Batch
    noun = "batch"

    def of_campaign(self, campaign_id: str) -> Select[Batch]:
        return self.readable().where(Batch.campaign_id == campaign_id)

    def next_round(self, campaign_id: str) -> int:
        """1 + the last round that was not called off."""
        last = self.session.scalar(
            self.columns(func.max(Batch.round)).where(
                Batch.campaign_id == campaign_id, Batch.status != "cancelled"
            )
        )
        return 1 + int(last or 0)


class BatchItemRepository(Repository[BatchItem]):
    entity = BatchItem
    noun = "batch item"

    def of_batch(self, batch_id: str) -> Sequence[BatchItem]:
        statement = self.readable().where(BatchItem.batch_id == batch_id)
        return self.session.scalars(statement.order_by(BatchItem.position, BatchItem.id)).all()

    def pending_blocks(self, campaign_id: str) -> set[Block]:
        """What is in the lab now."""
        statement = self.columns(
            BatchItem.compound_a_id, BatchItem.compound_b_id, BatchItem.cell_line_id
        ).where(BatchItem.campaign_id == campaign_id, BatchItem.status == "pending")
        return {(row[0], row[1], row[2]) for row in self.session.execute(statement)}
