"""SQL of campaigns, their design space and their marks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, insert

from service.campaigns.tables import (
    Campaign,
    CampaignCellLine,
    CampaignCompound,
    CampaignPair,
    CampaignSource,
    CandidateMark,
)
from service.cell_lines.tables import CellLine
from service.compounds.tables import Compound
from service.kit.repository import Repository


class CampaignRepository(Repository[Campaign]):
    entity = Campaign
    noun = "campaign"

    def hold(self, campaign_id: str) -> Campaign:
        """The campaign as it is now; until the transaction ends nobody else holds or changes it.

        SQLite has one writer anyway.
        """
        statement = (
            self.readable().where(Campaign.id == campaign_id).with_for_update(key_share=True)
        )
        return self.session.scalars(statement.execution_options(populate_existing=True)).one()


class CampaignCompoundRepository(Repository[CampaignCompound]):
    entity = CampaignCompound
    noun = "compound of the campaign"

    def members(self, campaign_id: str) -> list[tuple[str, str, list[float]]]:
        """(id, name, doses) of the campaign's compounds, in ascending order of id."""
        statement = (
            self.columns(Compound.id, Compound.name, CampaignCompound.doses_um)
            .join(Compound, Compound.id == CampaignCompound.compound_id)
            .where(CampaignCompound.campaign_id == campaign_id)
            .order_by(Compound.id)
        )
        return [(row[0], row[1], row[2]) for row in self.session.execute(statement)]


class CampaignCellLineRepository(Repository[CampaignCellLine]):
    entity = CampaignCellLine
    noun = "cell line of the campaign"

    def members(self, campaign_id: str) -> list[tuple[str, str]]:
        """(id, name) of the campaign's cell lines, in ascending order of id."""
        statement = (
            self.columns(CellLine.id, CellLine.name)
            .join(CellLine, CellLine.id == CampaignCellLine.cell_line_id)
            .where(CampaignCellLine.campaign_id == campaign_id)
            .order_by(CellLine.id)
        )
        return [(row[0], row[1]) for row in self.session.execute(statement)]


class CampaignSourceRepository(Repository[CampaignSource]):
    entity = CampaignSource
    noun = "earlier campaign"

    def sources(self, campaign_id: str) -> list[tuple[str, str, str]]:
        """(id, name, status) of the campaigns that it learns from, in ascending order of id."""
        statement = (
            self.columns(Campaign.id, Campaign.name, Campaign.status)
            .join(Campaign, Campaign.id == CampaignSource.source_id)
            .where(CampaignSource.campaign_id == campaign_id)
            .order_by(Campaign.id)
        )
        return [(row[0], row[1], row[2]) for row in self.session.execute(statement)]

    def of_campaign(self, campaign_id: str) -> list[CampaignSource]:
        statement = self.readable().where(CampaignSource.campaign_id == campaign_id)
        return list(self.session.scalars(statement))


class CampaignPairRepository(Repository[CampaignPair]):
    entity = CampaignPair
    noun = "pair of the campaign"

    def pairs(self, campaign_id: str) -> list[tuple[str, str]]:
        statement = self.columns(CampaignPair.compound_a_id, CampaignPair.compound_b_id).where(
            CampaignPair.campaign_id == campaign_id
        )
        return [(row[0], row[1]) for row in self.session.execute(statement)]

    def count(self, campaign_id: str) -> int:
        statement = self.columns(func.count()).where(CampaignPair.campaign_id == campaign_id)
        return int(self.session.scalar(statement) or 0)

    def insert(self, campaign_id: str, pairs: list[tuple[str, str]]) -> None:
        rows: list[dict[str, Any]] = [
            {
                "workspace_id": self.principal.workspace_id,
                "campaign_id": campaign_id,
                "compound_a_id": a,
                "compound_b_id": b,
            }
            for a, b in pairs
        ]
        if rows:
            self.session.execute(insert(CampaignPair), rows)


class MarkRepository(Repository[CandidateMark]):
    entity = CandidateMark
    noun = "mark"

    def in_campaign(self, campaign_id: str) -> Select[CandidateMark]:
        return self.readable().where(CandidateMark.campaign_id == campaign_id)

    def of_campaign(self, campaign_id: str) -> list[CandidateMark]:
        statement = self.in_campaign(campaign_id).order_by(CandidateMark.id)
        return list(self.session.scalars(statement))
