"""Recommendations and batches as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.campaigns.schemas import AcquisitionName
from service.kit.schemas import Body, IdText, Out, Reason, Text


class RecommendIn(Body):
    """All optional: what is not said comes from the campaign."""

    acquisition: AcquisitionName | None = None
    batch_size: int | None = Field(None, ge=1, le=10_000, examples=[96])
    seed: int | None = Field(None, ge=0, lt=2**31, description="Null: one is drawn and stored.")


class CandidateCompound(Out):
    id: str
    name: str
    doses_um: list[float]


class CandidateCellLine(Out):
    id: str
    name: str


class NearestMeasured(Out):
    compounds: list[str]
    cell_line: str
    score: float


class CandidateOut(Out):
    rank: int
    in_batch: bool
    batch_position: int | None
    compounds: list[CandidateCompound]
    cell_line: CandidateCellLine
    mean: float = Field(description="Expected score, percentage points.")
    sd: float = Field(description="Of a measurement: epistemic and observation noise together.")
    q05: float
    q50: float
    q95: float
    hit_probability: float = Field(description="P(a measurement exceeds the hit threshold).")
    epistemic_sd: float = Field(description="What more measurements would take away.")
    observation_sd: float = Field(description="What stays: the noise of one measurement.")
    acquisition: float = Field(description="The value that the ranking follows.")
    nearest_measured: NearestMeasured | None
    reason: str


class RecommendationSummaryOut(Out):
    id: str
    campaign_id: str
    job_id: str
    model_id: str | None = Field(description="Null in a first round, before there is a model.")
    round: int
    rules: dict[str, Any]
    seed: int
    n_pool: int = Field(description="Candidates that were considered.")
    n_ranked: int
    n_batch: int
    reason: str = Field(description="How this ranking came about, in words.")
    timings: dict[str, Any]
    created_at: datetime


class RecommendationOut(RecommendationSummaryOut):
    candidates: list[CandidateOut] = Field(description="Batch first, then by acquisition value.")


class AcceptIn(Body):
    recommendation_id: IdText
    ranks: list[int] | None = Field(
        None,
        min_length=1,
        max_length=10_000,
        description="Ranks to take; null for the batch as recommended.",
        examples=[[1, 2, 5]],
    )
    note: Text | None = None


class BatchPatch(Body):
    status: Literal["running", "done", "cancelled"] | None = Field(
        None,
        description="accepted -> running -> done; `cancelled` gives the candidates back. `done` "
        "gives back those without results.",
        examples=["running"],
    )
    note: Text | None = None


class ReplaceIn(Body):
    reason: Reason = Field(examples=["Vincristine is out of stock"])
    ban: bool = Field(False, description="True: never propose the replaced candidate again.")


class BatchItemOut(Out):
    id: str
    position: int
    rank: int
    compounds: list[CandidateCompound]
    cell_line: CandidateCellLine
    predicted: dict[str, Any]
    status: Literal["pending", "measured", "missing", "replaced", "released"]
    has_results: bool


class BatchSummaryOut(Out):
    id: str
    campaign_id: str
    recommendation_id: str
    round: int
    status: Literal["accepted", "running", "done", "cancelled"]
    note: str | None
    version: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class BatchOut(BatchSummaryOut):
    n_items: int
    n_with_results: int
    items: list[BatchItemOut]
