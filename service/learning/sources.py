"""Where the measurements lie that a campaign learns from."""

from __future__ import annotations

from typing import Any

from service.assays.repository import MeasurementRepository
from service.campaigns.repository import (
    CampaignCellLineRepository,
    CampaignCompoundRepository,
    CampaignSourceRepository,
)
from service.campaigns.tables import Campaign
from service.kit.unit import Unit

Block = tuple[str, str, str]


def measured_elsewhere(unit: Unit, campaign_id: str) -> set[Block]:
    """Blocks that earlier campaigns measured, of whatever compounds and lines."""
    sources = CampaignSourceRepository(unit.session, unit.principal).sources(campaign_id)
    measurements = MeasurementRepository(unit.session, unit.principal)
    return {
        (a, b, line)
        for source, _, _ in sources
        for a, b, line, _ in measurements.measured_blocks(source)
    }


def count_measured_blocks(unit: Unit, campaign: Campaign) -> int:
    """Blocks that the campaign or one that it learns from measured, each counted once."""
    own = MeasurementRepository(unit.session, unit.principal).measured_blocks(campaign.id)
    return len({(a, b, line) for a, b, line, _ in own} | measured_elsewhere(unit, campaign.id))


def describe_data(unit: Unit, campaign: Campaign) -> list[dict[str, Any]]:
    """Current wells and blocks of the campaign itself, then of each that it learns from."""
    earlier = CampaignSourceRepository(unit.session, unit.principal).sources(campaign.id)
    rows = [(campaign.id, campaign.name, campaign.status), *earlier]
    measurements = MeasurementRepository(unit.session, unit.principal)
    wells = measurements.count_wells([row[0] for row in rows])
    members = CampaignCompoundRepository(unit.session, unit.principal).members(campaign.id)
    lines = CampaignCellLineRepository(unit.session, unit.principal).members(campaign.id)
    compounds, own_lines = {row[0] for row in members}, {row[0] for row in lines}
    found = []
    for identifier, name, status in rows:
        blocks = measurements.measured_blocks(identifier)
        inside = [b for b in blocks if {b[0], b[1]} <= compounds and b[2] in own_lines]
        found.append(
            {
                "campaign_id": identifier,
                "name": name,
                "status": status,
                "own": identifier == campaign.id,
                "n_wells": wells.get(identifier, 0),
                "n_blocks": len(blocks),
                "n_blocks_inside": len(inside),
            }
        )
    return found
