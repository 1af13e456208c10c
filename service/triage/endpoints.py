"""`/v1/campaigns/{id}/triage`; `/v1/triage-cards`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.kit.auth import scopes
from service.kit.csv_out import csv_text
from service.kit.jobs.endpoints import accepted
from service.kit.jobs.schemas import JobOut
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Conflict, Invalid, NotFound, documented
from service.kit.schemas import Name
from service.kit.unit import UnitDep, UnitRoute, needs
from service.plates.endpoints import PAGE_HEADERS
from service.triage.schemas import (
    ScoredPair,
    TriageCardOut,
    TriageIn,
    TriageScoresOut,
    TriageSummaryOut,
)
from service.triage.service import TriageService

router = APIRouter(route_class=UnitRoute, tags=["triage"])


@router.post(
    "/campaigns/{campaign_id}/triage",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def make_triage_card(campaign_id: str, body: TriageIn, unit: UnitDep, response: Response) -> JobOut:
    """Make a scorecard of everything measured so far: seconds, without a network. The job's result
    names the card; it fails with 409 where no measured block, or every one, is a hit."""
    service = TriageService(unit)
    return accepted(service.make(service.campaigns.campaigns.get(campaign_id), body.seed), response)


@router.get(
    "/campaigns/{campaign_id}/triage",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_triage_cards(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[TriageSummaryOut]:
    """The scorecards of a campaign, oldest first."""
    service = TriageService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.cards.page(page, service.cards.of_campaign(campaign.id))
    return page_out(request, response, rows, TriageSummaryOut.model_validate)


@router.get(
    "/triage-cards/{card_id}",
    dependencies=[needs(scopes.READ)],
    response_model=TriageCardOut,
    responses={
        200: {
            "content": {"text/plain": {}, "text/html": {}},
            "description": "The card, to read, to print or to compute with.",
        },
        **documented(NotFound, Invalid),
    },
)
def get_triage_card(
    card_id: str,
    unit: UnitDep,
    format: Annotated[
        Literal["json", "text", "html"], Query(description="How to write it; html is printable.")
    ] = "json",
) -> TriageCardOut | Response:
    """A scorecard: points of everything that is known of a block, and how far to trust them."""
    service = TriageService(unit)
    card = service.cards.get(card_id)
    if format == "text":
        return Response(service.text(card), media_type="text/plain; charset=utf-8")
    if format == "html":
        page = service.page(card)
        return Response(page, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)
    summary = TriageSummaryOut.model_validate(card).model_dump()
    return TriageCardOut.model_validate({**summary, **service.document(card)})


@router.get(
    "/triage-cards/{card_id}/scores",
    dependencies=[needs(scopes.READ)],
    response_model=TriageScoresOut,
    responses={
        200: {"content": {"text/csv": {}}, "description": "Candidates, the most points first."},
        **documented(NotFound, Invalid),
    },
)
def get_triage_scores(
    card_id: str,
    unit: UnitDep,
    limit: Annotated[int, Query(ge=1, le=5000, description="At most so many.")] = 100,
    compound: Annotated[
        Name | None, Query(description="Only pairs with this compound, by name or id.")
    ] = None,
    partner: Annotated[Name | None, Query(description="And with this one.")] = None,
    cell_line: Annotated[Name | None, Query(description="Only in this one, by name or id.")] = None,
    format: Annotated[Literal["json", "csv"], Query(description="How to write it.")] = "json",
) -> TriageScoresOut | Response:
    """What is not measured yet, by its points: chance of a hit, credible interval, reasons."""
    service = TriageService(unit)
    card = service.cards.get(card_id)
    wanted = [one for one in (compound, partner) if one is not None]
    items = service.scores(card, limit, wanted, cell_line)
    if format == "csv":
        rows = [_csv_row(ScoredPair.model_validate(item)) for item in items]
        return Response(csv_text(_CSV_HEADER, rows), media_type="text/csv; charset=utf-8")
    return TriageScoresOut(card_id=card.id, n_scored=card.n_scored, items=items)


_CSV_HEADER = [
    *["compound_1", "compound_2", "cell_line", "points", "chance", "low", "high", "reasons"],
]


def _csv_row(item: ScoredPair) -> list[object]:
    first, second = item.compounds
    return [
        *[first.name, second.name, item.cell_line.name, item.total],
        *[item.chance, item.low, item.high, " | ".join(item.reasons)],
    ]
