"""Models and predictions as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from service.campaigns.schemas import AcquisitionName, ModelName, Status
from service.kit.schemas import Body, Dose, IdText, Name, Out


class TrainIn(Body):
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Null: one is drawn. Stored with the result either way.",
        examples=[42],
    )


class LearnedFrom(Out):
    campaign_id: str
    name: str | None = Field(description="Of an earlier campaign.")
    own: bool = Field(description="Whether it is the campaign itself.")
    n_wells: int
    n_blocks: int = Field(description="Scored blocks of which it has wells.")
    n_blocks_inside: int = Field(
        description="Of these, those of the campaign's own compounds and cell lines; the others "
        "only teach."
    )
    n_hits: int = Field(description="Of those inside.")


class DataSourceOut(Out):
    campaign_id: str
    name: str
    status: Status
    own: bool = Field(description="Whether it is the campaign itself.")
    n_wells: int = Field(description="Current wells.")
    n_blocks: int = Field(description="Pairs in cell lines that have current wells.")
    n_blocks_inside: int = Field(
        description="Of these, those of the campaign's own compounds and cell lines; the others "
        "only teach."
    )


class DataOut(Out):
    items: list[DataSourceOut] = Field(description="The campaign itself first.")


class AgreementOut(Out):
    """Treatments that an earlier campaign and this one both measured."""

    campaign_id: str
    with_own: bool = Field(
        description="False: nothing in common with the campaign's own wells; compared with those "
        "of the other earlier ones."
    )
    treatments: int
    beyond_noise: float | None = Field(
        description="Share that differ by more than noise explains; 0.05 would by chance."
    )
    shift: float | None = Field(description="Mean viability of the earlier one minus ours.")
    shift_sd: float | None
    well_sd: float = Field(description="Noise of one untreated well that was counted with.")
    disagrees: bool


class EarlierOut(Out):
    """What was learned from which campaign."""

    campaigns: list[LearnedFrom] = Field(description="The campaign itself first.")
    n_blocks_only_earlier: int = Field(
        description="Blocks of the campaign's own compounds and cell lines that only earlier "
        "campaigns measured. They are known, and not the campaign's finds."
    )
    n_hits_only_earlier: int
    judged_on: str = Field(description="Which blocks the held-out ones are drawn from.")
    agreement: list[AgreementOut]
    warnings: list[str]


class ModelOut(Out):
    id: str
    campaign_id: str
    job_id: str
    name: str
    score: str
    n_wells: int
    n_blocks: int
    evidence: dict[str, Any] = Field(
        description="How the model did on measured blocks that it did not see: expected log "
        "predictive density, RMSE, correlations, coverage of its intervals, beside the additive "
        "baseline. `modules`, with attached data sets: what each is worth here, and whether it is "
        "used. `health`: channels of networks that have collapsed, what the fit could have "
        "memorised, contradicting measurements, `warnings` in words."
    )
    earlier: EarlierOut | None = Field(
        None, description="Null where all measurements are the campaign's own."
    )
    excluded: list[dict[str, Any]] = Field(description="What the model could not use, and why.")
    snapshot: str = Field(description="Content hash of what it was fitted on.")
    seed: int
    device: str
    device_reason: str
    versions: dict[str, Any]
    created_at: datetime


class MeasuredBlock(Out):
    compounds: list[str]
    compound_names: list[str]
    cell_line: str
    cell_line_name: str
    score: float = Field(description="Percentage points, positive is synergy.")
    standard_error: float
    n_wells: int
    objective: float | None = Field(
        None,
        description="What the campaign looks for, as measured (of a front: by how much every "
        "objective exceeds its reference). Null where a pair is not measured in all cell lines "
        "that are compared.",
    )
    is_hit: bool | None = Field(description="Null where it is not known yet.")
    own: bool = Field(True, description="Whether the campaign itself measured it.")
    earlier: list[str] = Field(
        default_factory=list, description="Ids of earlier campaigns that measured it."
    )


class MeasuredBlocksOut(Out):
    model_id: str
    score: str
    items: list[MeasuredBlock]


class ContradictingBlock(Out):
    compounds: list[str]
    compound_names: list[str]
    cell_line: str
    cell_line_name: str
    score: float = Field(description="As measured.")
    standard_error: float
    expected: float = Field(description="By the model.")


class Contradiction(Out):
    """Two experiments with nearly the same inputs whose outcomes do not go together."""

    suspect: ContradictingBlock = Field(
        description="The one in more contradictions, or else further from what the model expects."
    )
    other: ContradictingBlock
    distance: float = Field(description="Of their inputs; 0 where they are the same.")
    z: float = Field(
        description="Difference in standard errors, the errors widened where all differ by more "
        "than they promise."
    )
    p: float
    q: float = Field(description="Share of false flags among pairs as surprising as this one.")
    words: str


class MeasureAgainOut(Out):
    model_id: str
    score: str
    tested: int = Field(description="Pairs of experiments that are near enough to be compared.")
    flagged: int = Field(description="Of these, those with q of at most 0.1.")
    items: list[Contradiction] = Field(description="The most surprising first, at most 50.")
    words: str


class AskedDose(Body):
    compound: Name
    dose_um: Dose | None = Field(None, description="Null for the score of the whole block.")


class AskedItem(Body):
    """A pair in a cell line (its score), or a treatment at doses (its viability)."""

    cell_line: Name
    doses: list[AskedDose] = Field(min_length=1, max_length=2)


class PredictIn(Body):
    items: list[AskedItem] = Field(min_length=1, max_length=20_000)
    model_id: IdText | None = Field(None, description="Null: the campaign's latest model.")


class PredictedItem(Out):
    cell_line: str
    doses: list[dict[str, Any]]
    quantity: Literal["score", "viability"]
    mean: float
    sd: float = Field(description="Of a measurement: epistemic and observation noise together.")
    q05: float
    q50: float
    q95: float
    epistemic_sd: float
    observation_sd: float
    hit_probability: float | None = Field(description="For scores: P(score > hit threshold).")


class PredictionOut(Out):
    id: str
    campaign_id: str
    model_id: str
    job_id: str
    items: list[PredictedItem]
    created_at: datetime


class ReplayIn(Body):
    """Strategies to compare on what the campaign has measured: every model with every
    acquisition. Null: the campaign's own, and chance."""

    models: list[ModelName] | None = Field(None, min_length=1, max_length=6)
    acquisitions: list[AcquisitionName] | None = Field(
        None, min_length=1, max_length=8, examples=[["hit_probability", "ucb", "random"]]
    )
    initial: int = Field(
        10, ge=2, le=10_000, description="Random blocks that each one begins with."
    )
    batch: int = Field(5, ge=1, le=10_000, description="Blocks a round.")
    rounds: int = Field(5, ge=1, le=50)
    seeds: int = Field(3, ge=1, le=20, description="Campaigns of each strategy.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="Null: one is drawn and stored.")

    @model_validator(mode="after")
    def _distinct(self) -> ReplayIn:
        for name in ("models", "acquisitions"):
            given = getattr(self, name) or []
            if len(set(given)) < len(given):
                raise ValueError(f"{name} names one twice; keep one")
        return self


class Interval(Out):
    """Over campaigns; null where there is nothing to say."""

    mean: float | None
    low: float | None
    high: float | None


class ReplayRound(Out):
    round: int = Field(description="0: the random blocks that each campaign begins with.")
    measured: float = Field(description="Blocks so far.")
    measured_share: float = Field(description="Of all; what chance finds of anything.")
    hits: Interval = Field(description="Share of all hits found so far.")
    top_1: Interval = Field(description="Share of the best 1 % found so far.")
    top_5: Interval


class ReplayStrategy(Out):
    name: str
    model: str | None = Field(description="Null for chance.")
    acquisition: str
    rounds: list[ReplayRound]
    area: dict[str, Interval] = Field(description="Mean of each share over the rounds.")
    against: dict[str, Any] = Field(description="Paired tests against each other strategy.")
    calibration: dict[str, Any] = Field(description="Promised hits of its batches against found.")
    seconds: dict[str, Any]


class ReplaySummaryOut(Out):
    id: str
    campaign_id: str
    job_id: str
    asked: dict[str, Any]
    n_blocks: int = Field(description="Measured blocks with a score: all that could be found.")
    snapshot: str
    created_at: datetime


class ReplayOut(ReplaySummaryOut):
    strategies: list[ReplayStrategy]
    failed: dict[str, str] = Field(description="Campaigns that could not be played, and why.")
