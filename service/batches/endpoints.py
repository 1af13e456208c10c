"""`/v1/campaigns/{id}/recommendations`, `/v1/recommendations`, batches and their items."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response

from service.batches.documents import csv_of, doses_text, load_candidates
from service.batches.insight import Question, learning_curve
from service.batches.schemas import (
    AcceptIn,
    AlternativesOut,
    BatchItemOut,
    BatchOut,
    BatchPatch,
    BatchSummaryOut,
    CandidateCellLine,
    CandidateCompound,
    DryRunIn,
    DryRunOut,
    LearningCurveOut,
    RecommendationOut,
    RecommendationSummaryOut,
    RecommendIn,
    ReplaceIn,
    WhyOut,
)
from service.batches.service import BatchService, block_of_item
from service.batches.tables import Batch, Recommendation
from service.kit import etag
from service.kit.auth import scopes
from service.kit.csv_out import csv_text
from service.kit.jobs.endpoints import accepted
from service.kit.jobs.schemas import JobOut
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    documented,
)
from service.kit.unit import UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["batches"])

Rank = Annotated[int, Path(ge=1, le=1_000_000, description="Place in the ranked list, from 1.")]

_TABLES: dict[str, Any] = {
    "text/csv": {"schema": {"type": "string"}},
    "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
}


@router.post(
    "/campaigns/{campaign_id}/recommendations",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def request_recommendation(
    campaign_id: str, body: RecommendIn, unit: UnitDep, response: Response
) -> JobOut:
    """Learn from everything measured so far and rank what to measure next."""
    service = BatchService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    return accepted(service.recommend(campaign, body), response)


@router.get(
    "/campaigns/{campaign_id}/recommendations",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_recommendations(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[RecommendationSummaryOut]:
    """The recommendations of a campaign, oldest first."""
    service = BatchService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.recommendations.page(page, service.recommendations.of_campaign(campaign.id))
    return page_out(request, response, rows, RecommendationSummaryOut.model_validate)


@router.get(
    "/recommendations/{recommendation_id}",
    dependencies=[needs(scopes.READ)],
    response_model=RecommendationOut,
    responses={
        200: {"content": _TABLES, "description": "The ranked list."},
        304: {"description": "You have it already (If-None-Match)."},
        **documented(NotFound, Invalid),
    },
)
def get_recommendation(
    recommendation_id: str,
    unit: UnitDep,
    format: Annotated[
        Literal["json", "csv", "parquet"], Query(description="How to write it.")
    ] = "json",
    if_none_match: Annotated[
        str | None, Header(max_length=200, description="The ETag of what you have.")
    ] = None,
) -> Response:
    """Ranked candidates with uncertainties and reasons; the first `n_batch` make the batch."""
    recommendation = BatchService(unit).recommendations.get(recommendation_id)
    tag = f'"{recommendation.candidates[:16]}-{format}"'
    if etag.is_known(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    content, media_type = _render(recommendation, unit.parts.artifacts.get, format)
    return Response(content, media_type=media_type, headers={"ETag": tag})


def _render(recommendation: Recommendation, get: Any, format: str) -> tuple[bytes, str]:
    if format == "parquet":
        return get(recommendation.table_artifact), "application/vnd.apache.parquet"
    candidates: bytes = get(recommendation.candidates)
    if format == "csv":
        return csv_of(load_candidates(candidates)).encode(), "text/csv; charset=utf-8"
    summary = RecommendationSummaryOut.model_validate(recommendation).model_dump_json()
    # The list is JSON already: validating and dumping it again would take fifty times longer.
    return summary[:-1].encode() + b',"candidates":' + candidates + b"}", "application/json"


@router.get(
    "/recommendations/{recommendation_id}/candidates/{rank}/why",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def explain_candidate(recommendation_id: str, rank: Rank, unit: UnitDep) -> WhyOut:
    """Why a candidate is in the batch, or what kept it out."""
    return WhyOut.model_validate(Question.about(unit, recommendation_id).why(rank))


@router.get(
    "/recommendations/{recommendation_id}/candidates/{rank}/alternatives",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Conflict, Invalid),
)
def list_alternatives(
    recommendation_id: str,
    rank: Rank,
    unit: UnitDep,
    within: Annotated[
        float, Query(ge=0, le=1, description="Share of its value that an alternative may lack.")
    ] = 0.1,
) -> AlternativesOut:
    """Candidates of nearly equal value that could take its place in the batch, best first."""
    found = Question.about(unit, recommendation_id).alternatives(rank, within)
    return AlternativesOut.model_validate(found)


@router.post(
    "/recommendations/{recommendation_id}/dry-run",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Conflict, Invalid),
)
def try_batch(recommendation_id: str, body: DryRunIn, unit: UnitDep) -> DryRunOut:
    """What a choice of candidates would find, cost and break. Nothing is written."""
    return DryRunOut.model_validate(Question.about(unit, recommendation_id).dry_run(body))


@router.get(
    "/campaigns/{campaign_id}/learning-curve",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Conflict, Invalid),
)
def get_learning_curve(campaign_id: str, unit: UnitDep) -> LearningCurveOut:
    """Hits found round by round, against as many measurements in random order."""
    return LearningCurveOut.model_validate(learning_curve(unit, campaign_id))


@router.post(
    "/campaigns/{campaign_id}/batches",
    status_code=201,
    dependencies=[needs(scopes.BATCHES_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def accept_batch(campaign_id: str, body: AcceptIn, unit: UnitDep, response: Response) -> BatchOut:
    """Accept a recommended batch. Its candidates are pending and are not proposed again."""
    service = BatchService(unit)
    batch = service.accept(service.campaigns.campaigns.get(campaign_id), body)
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    etag.tag(response, batch.version)
    return _describe(service, batch)


@router.get(
    "/campaigns/{campaign_id}/batches",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_batches(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[BatchSummaryOut]:
    """The batches of a campaign, oldest first."""
    service = BatchService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.batches.page(page, service.batches.of_campaign(campaign.id))
    return page_out(request, response, rows, BatchSummaryOut.model_validate)


@router.get(
    "/batches/{batch_id}",
    dependencies=[needs(scopes.READ)],
    response_model=BatchOut,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The batch."},
        **documented(NotFound, Invalid),
    },
)
def get_batch(
    batch_id: str,
    unit: UnitDep,
    response: Response,
    format: Annotated[Literal["json", "csv"], Query(description="How to write it.")] = "json",
) -> BatchOut | Response:
    """One batch and its items, with what has come back from the lab so far."""
    service = BatchService(unit)
    batch = service.batches.get(batch_id)
    described = _describe(service, batch)
    if format == "csv":
        rows = [_csv_row(item) for item in described.items]
        return Response(csv_text(_CSV_HEADER, rows), media_type="text/csv; charset=utf-8")
    etag.tag(response, batch.version, str([item.has_results for item in described.items]))
    return described


@router.patch(
    "/batches/{batch_id}",
    dependencies=[needs(scopes.BATCHES_WRITE)],
    responses=documented(NotFound, Conflict, PreconditionFailed, PreconditionRequired, Invalid),
)
def change_batch(
    batch_id: str,
    body: BatchPatch,
    unit: UnitDep,
    response: Response,
    if_match: etag.IfMatch = None,
) -> BatchOut:
    """Say that a batch is running in the lab, done, or called off."""
    service = BatchService(unit)
    batch = service.batches.get(batch_id)
    etag.check(if_match, batch.version)
    service.patch(batch, body)
    etag.tag(response, batch.version)
    return _describe(service, batch)


@router.post(
    "/batches/{batch_id}/items/{item_id}/replacement",
    status_code=201,
    dependencies=[needs(scopes.BATCHES_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def replace_batch_item(batch_id: str, item_id: str, body: ReplaceIn, unit: UnitDep) -> BatchItemOut:
    """Take one candidate out of an accepted batch and the next best one in."""
    service = BatchService(unit)
    batch = service.batches.get(batch_id)
    item = service.items.get(item_id)
    if item.batch_id != batch.id:
        raise NotFound(f"There is no item {item_id[:60]!r} in this batch.")
    successor = service.replace(batch, item, body)
    return next(row for row in _describe(service, batch).items if row.id == successor.id)


_CSV_HEADER = [
    "position",
    "plate",
    "compound_1",
    "doses_1_um",
    "compound_2",
    "doses_2_um",
    "cell_line",
    "status",
    "has_results",
    "mean",
    "sd",
    "hit_probability",
    "reason",
]


def _csv_row(item: BatchItemOut) -> list[object]:
    first, second = item.compounds
    return [
        item.position,
        item.plate,
        first.name,
        doses_text(first.doses_um),
        second.name,
        doses_text(second.doses_um),
        item.cell_line.name,
        item.status,
        item.has_results,
        *(item.predicted[name] for name in ("mean", "sd", "hit_probability", "reason")),
    ]


def _describe(service: BatchService, batch: Batch) -> BatchOut:
    compounds = {row[0]: row[1] for row in service.campaigns.compounds.members(batch.campaign_id)}
    lines = dict(service.campaigns.cell_lines.members(batch.campaign_id))
    measured = service.measured(batch.campaign_id)
    items = [
        BatchItemOut(
            id=item.id,
            position=item.position,
            rank=item.rank,
            plate=item.plate,
            compounds=[
                CandidateCompound(id=i, name=compounds[i], doses_um=doses)
                for i, doses in (
                    (item.compound_a_id, item.doses_a_um),
                    (item.compound_b_id, item.doses_b_um),
                )
            ],
            cell_line=CandidateCellLine(id=item.cell_line_id, name=lines[item.cell_line_id]),
            predicted=item.predicted,
            status=item.status,
            has_results=block_of_item(item) in measured,
        )
        for item in service.items.of_batch(batch.id)
    ]
    summary = BatchSummaryOut.model_validate(batch).model_dump()
    active = [item for item in items if item.status != "replaced"]
    return BatchOut(
        **summary,
        n_items=len(active),
        n_with_results=sum(item.has_results for item in active),
        items=items,
    )
