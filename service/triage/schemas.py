"""Scorecards as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.kit.schemas import Body, Out


class TriageIn(Body):
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Of folds and intervals. Null: one is drawn; stored with the card either way.",
        examples=[7],
    )


class TriageSummaryOut(Out):
    id: str
    campaign_id: str
    job_id: str
    score: str
    hit_threshold: float = Field(description="A hit scores above this.")
    n_blocks: int = Field(description="Measured blocks that the card was made from.")
    n_hits: int = Field(description="Of these.")
    n_scored: int = Field(description="Blocks not measured yet that have points.")
    report: dict[str, Any] = Field(
        description="`features` used and those `left_out`; `calibration` with the AUC and log loss "
        "on compounds held out in turn; `weights` of blocks that a model had chosen; `drift` of "
        "the last round; each with words."
    )
    seed: int
    versions: dict[str, str]
    created_at: datetime


class CardRow(Out):
    value: str
    points: int
    hits: float | None = Field(None, description="Of `blocks`; weighted ones need not be whole.")
    blocks: float | None = None
    expected: float | None = Field(None, description="Rate that the level above lets expect.")
    low: float | None = Field(None, description="Of the rate, 90 % credible.")
    high: float | None = None
    share: float | None = Field(None, description="Of the blocks that fall into this bin.")


class CardSection(Out):
    feature: str
    words: str
    rows: list[CardRow]
    sides: list[CardRow] | None = Field(
        None, description="Of each side, for pairs that are not among the rows: add both."
    )


class TriageCardOut(TriageSummaryOut):
    doubling: int = Field(description="Points that double the odds of a hit.")
    base: int = Field(description="Points to start with.")
    base_chance: float
    sections: list[CardSection] = Field(
        description="The points of everything that is known of a block. Their sum, base included, "
        "times ln 2 / doubling is the log-odds of a hit, exactly."
    )


class Named(Out):
    id: str
    name: str


class PointsPart(Out):
    feature: str
    value: str
    points: int


class ScoredPair(Out):
    compounds: list[Named]
    cell_line: Named
    total: int = Field(description="Base and points.")
    base: int
    chance: float = Field(description="Of a hit, calibrated.")
    low: float = Field(description="Of the chance, 90 % credible.")
    high: float
    parts: list[PointsPart]
    reasons: list[str] = Field(description="The weightiest first.")


class TriageScoresOut(Out):
    card_id: str
    n_scored: int = Field(description="Blocks that have points; the best 5,000 are kept.")
    items: list[ScoredPair] = Field(description="The most points first.")
