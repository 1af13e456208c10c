"""SQL of recommendations and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func
from sqlalchemy.orm import undefer

from service.batches.tables import Batch, BatchItem, Recommendation
from service.kit.repository import Repository

Block = tuple[str, str, str]


@dataclass(frozen=True)
class ChosenBlock:
    """A block of a batch: its round, what was said of it, whether a model said so, by which
    rules."""

    block: Block
    round: int
    predicted: dict[str, Any]
    modelled: bool
    rules: dict[str, Any]


class RecommendationRepository(Repository[Recommendation]):
    entity = Recommendation
    noun = "recommendation"

    def of_campaign(self, campaign_id: str) -> Select[Recommendation]:
        return self.readable().where(Recommendation.campaign_id == campaign_id)

    def latest_with_curve(self, campaign_id: str) -> Recommendation | None:
        """The last recommendation that knows how the campaign went until then."""
        statement = (
            self.of_campaign(campaign_id)
            .where(Recommendation.curve.is_not(None))
            .options(undefer(Recommendation.curve))
            .order_by(Recommendation.id.desc())
        )
        return self.session.scalar(statement.limit(1))

    def worlds(self, recommendation_id: str) -> bytes | None:
        """Chances of a hit in each world; see :mod:`service.batches.hit_counts`."""
        statement = self.columns(Recommendation.worlds)
        packed: bytes | None = self.session.scalar(
            statement.where(Recommendation.id == recommendation_id)
        )
        return packed


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

    def chosen_blocks(self, campaign_id: str) -> list[ChosenBlock]:
        """Everything that was ever taken into the lab, oldest first, but for what was replaced
        and what was called off."""
        statement = (
            self.columns(
                BatchItem.compound_a_id,
                BatchItem.compound_b_id,
                BatchItem.cell_line_id,
                Batch.round,
                BatchItem.predicted,
                Recommendation.model_id,
                Recommendation.rules,
            )
            .join(Batch, Batch.id == BatchItem.batch_id)
            .join(Recommendation, Recommendation.id == Batch.recommendation_id)
            .where(
                BatchItem.campaign_id == campaign_id,
                BatchItem.status != "replaced",
                Batch.status != "cancelled",
            )
            .order_by(BatchItem.id)
        )
        return [
            ChosenBlock((row[0], row[1], row[2]), row[3], row[4], row[5] is not None, row[6])
            for row in self.session.execute(statement)
        ]
