"""Recommendations and batches as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from service.campaigns.schemas import AcquisitionName, Pair
from service.datasets.schemas import MechanismOut
from service.kit.schemas import Body, IdText, Name, Out, Reason, Text
from service.learning.schemas import EarlierOut


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


class PartValue(Out):
    """Noise-free: what measuring it over and over would give."""

    mean: float
    sd: float


class CandidateObjective(Out):
    parts: list[PartValue] = Field(description="In the order of the recommendation's parts.")
    front_probability: float | None = Field(
        description="Of a goal that keeps objectives apart: the chance that nothing measured, in "
        "the lab or in the pool is better in every objective."
    )
    on_front: bool | None = Field(description="On the front of the expected values.")


class CandidateOut(Out):
    rank: int
    in_batch: bool
    batch_position: int | None
    plate: int | None = Field(None, description="From 1; null outside of plates.")
    pinned: bool = False
    compounds: list[CandidateCompound]
    cell_line: CandidateCellLine
    mean: float = Field(
        description="Expected score, or what the goal asks for instead, percentage points; of "
        "objectives kept apart, by how much all of them exceed their reference."
    )
    sd: float = Field(description="Of a measurement: epistemic and observation noise together.")
    q05: float
    q50: float
    q95: float
    hit_probability: float = Field(description="P(a measurement exceeds the hit threshold).")
    raw_hit_probability: float | None = Field(
        None, description="As the model stated it, before what became of earlier ones mended it."
    )
    epistemic_sd: float = Field(description="What more measurements would take away.")
    observation_sd: float = Field(description="What stays: the noise of one measurement.")
    acquisition: float = Field(description="The value that the ranking follows.")
    probability_of_improvement: float | None = Field(
        None,
        description="Chance to be truly better than the best measured; of objectives kept apart, "
        "to reach beyond the measured front. Null without a model.",
    )
    expected_improvement: float | None = Field(
        None,
        description="By how much on average, none counted as 0; of objectives kept apart, the "
        "volume it adds to the measured front.",
    )
    objective: CandidateObjective | None = Field(
        None, description="The parts of the goal; null where it has none, or without a model."
    )
    nearest_measured: NearestMeasured | None
    reason: str


class ObjectivePart(Out):
    description: str
    weight: float | None = Field(description="In the sum; null for objectives kept apart.")
    cell_line: CandidateCellLine | None = Field(description="Where the part is one of one line.")


class ObjectiveOut(Out):
    """What the recommendation looked for, and how much of that is known."""

    kind: Literal["score", "efficacy", "selectivity", "weighted_sum", "pareto"]
    description: str
    compares_lines: bool = Field(
        description="It belongs to pairs: every block carries the numbers of its pair, and is a "
        "hit where its pair is."
    )
    parts: list[ObjectivePart]
    reference: list[float] | None = Field(description="Of objectives kept apart.")
    hit_threshold: float
    known: int = Field(description="Measured blocks for which it is known.")
    partly_measured: int = Field(
        description="Measured blocks of pairs that lack a cell line that is compared."
    )
    best: float | None = Field(description="The best measured.")
    batch_on_front: list[int] | None = Field(
        description="Ranks of the batch that are on the front of the expected values."
    )


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
    step: dict[str, Any] | None = Field(
        None, description="Which acquisition chose this batch, how much of it explores, and why."
    )
    calibration: dict[str, Any] | None = Field(
        None, description="How earlier forecasts mended the hit probabilities; null: they did not."
    )
    outlook: dict[str, Any] | None = Field(
        None,
        description="Expected hits left in the pool and on the next plate, with intervals, and "
        "whether to go on, with the reason; null without a model.",
    )
    shortfall: str | None = Field(
        None, description="Why the batch holds fewer blocks than asked for; null where it does not."
    )
    solution: dict[str, Any] | None = Field(
        None,
        description="With rules of the laboratory: the sum of values, a bound that no batch can "
        "exceed, whether it is proven the best, and how it was found.",
    )
    objective: ObjectiveOut | None = Field(
        None, description="Null in recommendations from before campaigns had goals."
    )
    earlier: EarlierOut | None = Field(
        None, description="What was learned from earlier campaigns; null where nothing was."
    )
    limits: dict[str, Any] | None = Field(
        None, description="What the batch obeys, as numbers; null stands for no limit."
    )
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
    plate: int | None = Field(None, description="From 1; null outside of plates.")
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


class BrokenLimitOut(Out):
    """A limit that a choice would break."""

    limit: str = Field(description="Its name in the campaign's `limits`.", examples=["stock"])
    message: str


class RelatedMeasurement(Out):
    """A measured block that shares a compound with a candidate."""

    compounds: list[str]
    cell_line: str
    score: float
    standard_error: float
    is_hit: bool | None = Field(description="Null where it is not known yet.")
    shared: Literal["both compounds", "one compound, same cell line", "one compound"]


class WhyOut(Out):
    """Why a candidate is in the batch, or is not."""

    recommendation_id: str
    candidate: CandidateOut
    decided_by: Literal["pin", "value", "limits", "order"] = Field(
        description="`value`: its place; `limits`: a limit kept it out; `order`: the batch was not "
        "filled by one value alone (an exploring share, whole draws, or whole plates)."
    )
    words: str
    ranked_by: str
    why_ranked_so: str | None
    place: int = Field(description="Place by value among the ranked candidates, 1 is the best.")
    n_ranked: int
    lowest_in_batch: float | None = Field(description="Least value of what was not pinned.")
    kept_out_by: list[BrokenLimitOut] = Field(
        description="What would break if it took the place of the batch's lowest candidate."
    )
    unavailable: str | None = Field(description="Why it could not be accepted now, if so.")
    nearest_measured: NearestMeasured | None = Field(description="Similar in structure.")
    related: list[RelatedMeasurement] = Field(description="Measured with the same compounds.")
    mechanisms: list[MechanismOut] = Field(
        description="What the data sets that the campaign learns from say of the pair."
    )


class AlternativeOut(Out):
    candidate: CandidateOut
    value: float
    difference: float = Field(description="Value minus that of the candidate it would replace.")
    plate: int | None


class AlternativesOut(Out):
    recommendation_id: str
    rank: int
    compared_by: Literal["acquisition", "hit_probability"] = Field(
        description="Hit probability where the order itself is no measure of worth."
    )
    value: float
    within: float
    items: list[AlternativeOut] = Field(description="Best first, at most 100.")


class AskedCandidate(Body):
    compounds: Pair
    cell_line: Name


class DryRunIn(Body):
    """Nothing: the batch as recommended."""

    ranks: list[int] | None = Field(None, min_length=1, max_length=10_000, examples=[[1, 2, 5]])
    candidates: list[AskedCandidate] | None = Field(None, min_length=1, max_length=10_000)

    @model_validator(mode="after")
    def _one(self) -> DryRunIn:
        if self.ranks is not None and self.candidates is not None:
            raise ValueError("give ranks or candidates, not both")
        return self


class HitCountOut(Out):
    expected: float
    low: int
    high: int
    level: float


class PlateOut(Out):
    plate: int
    n_blocks: int
    compounds: list[str]
    cell_lines: list[str]


class ForecastOut(Out):
    """Of the chosen candidates' measured scores."""

    mean: float
    highest: float
    sd: float = Field(description="Mean of the candidates' own.")
    hit_probability: float = Field(description="Mean.")


class DryRunOut(Out):
    recommendation_id: str
    ranks: list[int]
    expected_hits: HitCountOut = Field(
        description="Candidates err together: the interval counts that."
    )
    recommended: HitCountOut = Field(description="The same of the batch as recommended.")
    forecast: ForecastOut
    n_compounds: int
    compounds: list[str]
    cell_lines: list[str]
    plates: list[PlateOut] = Field(description="Empty where the campaign has no plates.")
    cost: float | None = Field(description="Null where nothing has a price.")
    broken_limits: list[BrokenLimitOut]
    unavailable: list[str] = Field(description="What could not be accepted now, and why.")


class LearningCurveRound(Out):
    number: int = Field(description="0: measured before the first batch.")
    measured: int = Field(description="Blocks so far.")
    found: int = Field(description="Hits so far.")
    random: float | None = Field(description="Hits expected of as many blocks in random order.")
    random_low: int
    random_high: int
    enrichment: float | None


class LearningCurveOut(Out):
    campaign_id: str
    recommendation_id: str = Field(description="What was known then is what the curve knows.")
    as_of: datetime
    hit_threshold: float
    rounds: list[LearningCurveRound] = Field(
        description="Blocks that the campaign itself measured; those that only earlier campaigns "
        "did are counted in `earlier`."
    )
    outlook: dict[str, Any] | None
    earlier: EarlierOut | None = Field(
        None, description="What was learned from earlier campaigns; null where nothing was."
    )
