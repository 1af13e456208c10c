"""Earlier campaigns that a campaign learns from, and which may be named."""

from __future__ import annotations

from collections.abc import Sequence

from service.campaigns.repository import (
    CampaignCellLineRepository,
    CampaignCompoundRepository,
    CampaignRepository,
    CampaignSourceRepository,
)
from service.campaigns.tables import Campaign, CampaignSource
from service.kit.problems import FieldError, Invalid
from service.kit.unit import Unit

_POINTER = "/learn_from"


class SourceService:
    """What a campaign learns from is the current measurements of each campaign that it names, not
    of those that these name in turn."""

    def __init__(self, unit: Unit) -> None:
        self.session = unit.session
        self.campaigns = CampaignRepository(unit.session, unit.principal)
        self.sources = CampaignSourceRepository(unit.session, unit.principal)
        self.compounds = CampaignCompoundRepository(unit.session, unit.principal)
        self.cell_lines = CampaignCellLineRepository(unit.session, unit.principal)

    def replace(self, campaign: Campaign, named: Sequence[str]) -> None:
        """Learn from exactly these; raises with every one that makes no sense."""
        errors: list[FieldError] = []
        wanted = [self._checked(campaign, named, row, errors) for row in range(len(named))]
        if errors:
            raise Invalid(errors[0].message, errors=errors)
        before = {row.source_id: row for row in self.sources.of_campaign(campaign.id)}
        for identifier in before.keys() - set(wanted):
            self.session.delete(before[identifier])
        for identifier in wanted:
            if identifier not in before:
                link = CampaignSource(campaign_id=campaign.id, source_id=identifier)
                self.sources.add(link)
        self.session.flush()

    def ids(self, campaign_id: str) -> list[str]:
        """The campaigns that it learns from."""
        return [row[0] for row in self.sources.sources(campaign_id)]

    def _checked(
        self, campaign: Campaign, named: Sequence[str], row: int, errors: list[FieldError]
    ) -> str:
        identifier = named[row]
        found = self.campaigns.find(identifier)
        if identifier in named[:row]:
            self._refuse(errors, row, "repeated", f"{identifier} is listed twice; keep one.")
        elif identifier == campaign.id:
            message = "A campaign learns from its own measurements anyway; name other ones."
            self._refuse(errors, row, "itself", message)
        elif found is None:
            message = f"There is no campaign {identifier[:60]!r} in this workspace."
            self._refuse(errors, row, "unknown_campaign", message)
        elif not self._shares(campaign.id, identifier):
            message = (
                f"{found.name!r} ({identifier}) has no compound and no cell line of this campaign: "
                f"it can teach nothing here."
            )
            self._refuse(errors, row, "nothing_shared", message)
        return identifier

    def _shares(self, one: str, other: str) -> bool:
        compounds = ({row[0] for row in self.compounds.members(c)} for c in (one, other))
        lines = ({row[0] for row in self.cell_lines.members(c)} for c in (one, other))
        return bool(set.intersection(*compounds) or set.intersection(*lines))

    @staticmethod
    def _refuse(errors: list[FieldError], row: int, code: str, message: str) -> None:
        errors.append(FieldError(code=code, message=message, pointer=f"{_POINTER}/{row}", row=row))
