"""Asking for a scorecard, and reading it."""

from __future__ import annotations

import json
from typing import Any

from models.triage.printing import card_text
from service.campaigns.tables import Campaign
from service.kit.jobs import Job
from service.kit.names import is_called
from service.kit.problems import Conflict
from service.kit.unit import Unit
from service.learning.service import LearningService, draw_seed, request_job, rules_of
from service.learning.sources import count_measured_blocks
from service.triage.printable import card_page
from service.triage.repository import TriageCardRepository
from service.triage.tables import TriageCard

TRIAGE = "triage"
FEWEST_BLOCKS = 5
"""Measured pairs in cell lines: with fewer a scorecard would say nothing."""


class TriageService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.campaigns = LearningService(unit).campaigns
        self.cards = TriageCardRepository(unit.session, unit.principal)

    def make(self, campaign: Campaign, seed: int | None) -> Job:
        """Ask for a scorecard of everything measured so far."""
        self.campaigns.require_not_closed(campaign)
        goal = campaign.goal
        if goal is not None and goal["kind"] not in ("score", "efficacy"):
            raise Conflict(
                f"A scorecard asks whether one pair in one cell line is a hit, and this campaign's "
                f"goal is {goal['kind']}. PATCH the objective to a score or an efficacy."
            )
        measured = count_measured_blocks(self.unit, campaign)
        if measured < FEWEST_BLOCKS:
            raise Conflict(
                f"{measured} pairs in cell lines are measured, a scorecard needs {FEWEST_BLOCKS}, "
                f"hits and misses among them. Measure a few blocks and their single agents first."
            )
        args = {"rules": rules_of(campaign), "seed": draw_seed(seed)}
        return request_job(self.unit, TRIAGE, campaign, args)

    def document(self, card: TriageCard) -> dict[str, Any]:
        """Base, sections and points."""
        found: dict[str, Any] = json.loads(self.unit.parts.artifacts.get(card.card))
        return found

    def text(self, card: TriageCard) -> str:
        """The card for a terminal."""
        return card_text(self.document(card), card.report)

    def page(self, card: TriageCard) -> str:
        """The card to print."""
        campaign = self.campaigns.campaigns.get(card.campaign_id)
        return card_page(self.document(card), card.report, campaign.name, describe(card))

    def scores(
        self, card: TriageCard, limit: int, compounds: list[str], cell_line: str | None
    ) -> list[dict[str, Any]]:
        """The best ``limit`` with all of these compounds, by name or id, in this cell line."""
        rows: list[dict[str, Any]] = json.loads(self.unit.parts.artifacts.get(card.scores))
        wanted = [one.casefold() for one in compounds]
        kept = (
            row
            for row in rows
            if all(any(is_called(each, one) for each in row["compounds"]) for one in wanted)
            and (cell_line is None or is_called(row["cell_line"], cell_line.casefold()))
        )
        return [row for row, _ in zip(kept, range(limit), strict=False)]


def describe(card: TriageCard) -> str:
    """What a hit is, in words."""
    return f"{card.score} above {card.hit_threshold:g}"
