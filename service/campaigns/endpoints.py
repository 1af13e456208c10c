"""`/v1/campaigns` and the marks in them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from service.campaigns.laboratory import limits_of
from service.campaigns.marks import MarkService, describe_mark
from service.campaigns.schemas import (
    CampaignCellLineOut,
    CampaignCompoundOut,
    CampaignIn,
    CampaignOut,
    CampaignPatch,
    CampaignSummaryOut,
    Learning,
    MarkOut,
    MarksIn,
    MarksOut,
    Objective,
)
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit import etag
from service.kit.auth import scopes
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

router = APIRouter(route_class=UnitRoute, tags=["campaigns"], prefix="/campaigns")


@router.post(
    "",
    status_code=201,
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses=documented(Invalid, Conflict),
)
def create_campaign(body: CampaignIn, unit: UnitDep, response: Response) -> CampaignOut:
    """Open a campaign: compounds, cell lines, doses, what counts as a hit, limits of a round."""
    service = CampaignService(unit)
    campaign = service.create(body)
    response.headers["Location"] = f"/v1/campaigns/{campaign.id}"
    etag.tag(response, campaign.version)
    return _describe(service, campaign)


@router.get("", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_campaigns(
    unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[CampaignSummaryOut]:
    """The campaigns of the workspace, oldest first."""
    rows = CampaignService(unit).campaigns.page(page)
    return page_out(request, response, rows, _summarise)


@router.get(
    "/{campaign_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid)
)
def get_campaign(campaign_id: str, unit: UnitDep, response: Response) -> CampaignOut:
    """One campaign with its compounds and cell lines."""
    service = CampaignService(unit)
    campaign = service.campaigns.get(campaign_id)
    etag.tag(response, campaign.version)
    return _describe(service, campaign)


@router.patch(
    "/{campaign_id}",
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses=documented(NotFound, Conflict, PreconditionFailed, PreconditionRequired, Invalid),
)
def change_campaign(
    campaign_id: str,
    body: CampaignPatch,
    unit: UnitDep,
    response: Response,
    if_match: etag.IfMatch = None,
) -> CampaignOut:
    """Pause, close, extend or re-aim a campaign."""
    service = CampaignService(unit)
    campaign = service.campaigns.get(campaign_id)
    etag.check(if_match, campaign.version)
    service.patch(campaign, body)
    etag.tag(response, campaign.version)
    return _describe(service, campaign)


@router.post(
    "/{campaign_id}/marks",
    status_code=201,
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def mark_candidates(campaign_id: str, body: MarksIn, unit: UnitDep) -> MarksOut:
    """Pin candidates (propose them first) or ban them (never propose them)."""
    service = MarkService(unit)
    written = service.write(service.campaigns.campaigns.get(campaign_id), body.marks)
    return MarksOut(written=len(written), items=[describe_mark(mark) for mark in written])


@router.get(
    "/{campaign_id}/marks",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_marks(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[MarkOut]:
    """The pins and bans of a campaign."""
    service = MarkService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.marks.page(page, service.marks.in_campaign(campaign.id))
    return page_out(request, response, rows, describe_mark)


@router.delete(
    "/{campaign_id}/marks/{mark_id}",
    status_code=204,
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def remove_mark(campaign_id: str, mark_id: str, unit: UnitDep) -> None:
    """Take a pin or a ban back."""
    service = MarkService(unit)
    service.remove(service.campaigns.campaigns.get(campaign_id), mark_id)


def _summarise(campaign: Campaign) -> CampaignSummaryOut:
    return CampaignSummaryOut(**_shared(campaign))


def _describe(service: CampaignService, campaign: Campaign) -> CampaignOut:
    compounds = service.compounds.members(campaign.id)
    lines = service.cell_lines.members(campaign.id)
    return CampaignOut(
        **_shared(campaign),
        compounds=[CampaignCompoundOut(id=i, name=n, doses_um=d) for i, n, d in compounds],
        cell_lines=[CampaignCellLineOut(id=i, name=n) for i, n in lines],
        n_pairs=service.n_pairs(campaign, len(compounds)),
        learn_from=service.sources.ids(campaign.id),
    )


def _shared(campaign: Campaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "status": campaign.status,
        "objective": Objective.model_validate(
            {
                "score": campaign.score,
                "hit_threshold": campaign.hit_threshold,
                "goal": campaign.goal,
            }
        ),
        "limits": limits_of(campaign),
        "learning": Learning.model_validate(
            {
                "model": campaign.model,
                "acquisition": campaign.acquisition,
                "kappa": campaign.kappa,
                "xi": campaign.xi,
                "top_k": campaign.top_k,
                "rounds_planned": campaign.rounds_planned,
            }
        ),
        "repeat_earlier": campaign.repeat_earlier,
        "note": campaign.note,
        "version": campaign.version,
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
    }
