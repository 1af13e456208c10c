"""`/v1/campaigns/{id}/models` and `/predictions`; `/v1/models`, `/v1/predictions`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.kit.auth import scopes
from service.kit.csv_out import csv_text
from service.kit.jobs.endpoints import accepted
from service.kit.jobs.schemas import JobOut
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Conflict, Invalid, NotFound, documented
from service.kit.unit import UnitDep, UnitRoute, needs
from service.learning.health import describe_again
from service.learning.schemas import (
    DataOut,
    DataSourceOut,
    MeasureAgainOut,
    MeasuredBlocksOut,
    ModelOut,
    PredictedItem,
    PredictIn,
    PredictionOut,
    ReplayIn,
    ReplayOut,
    ReplayRound,
    ReplaySummaryOut,
    TrainIn,
)
from service.learning.service import LearningService, describe_replay
from service.learning.sources import describe_data

router = APIRouter(route_class=UnitRoute, tags=["learning"])


@router.get(
    "/campaigns/{campaign_id}/data",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_campaign_data(campaign_id: str, unit: UnitDep) -> DataOut:
    """Where the measurements lie that the next model learns from."""
    campaign = LearningService(unit).campaigns.campaigns.get(campaign_id)
    return DataOut(items=[DataSourceOut(**row) for row in describe_data(unit, campaign)])


@router.post(
    "/campaigns/{campaign_id}/models",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def train_model(campaign_id: str, body: TrainIn, unit: UnitDep, response: Response) -> JobOut:
    """Fit the campaign's model on everything measured so far. The job's result names the model."""
    service = LearningService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    return accepted(service.train(campaign, body.seed), response)


@router.get(
    "/campaigns/{campaign_id}/models",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_models(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[ModelOut]:
    """The models of a campaign, oldest first, each with its out-of-sample evidence."""
    service = LearningService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.models.page(page, service.models.of_campaign(campaign.id))
    return page_out(request, response, rows, ModelOut.model_validate)


@router.get(
    "/models/{model_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid)
)
def get_model(model_id: str, unit: UnitDep) -> ModelOut:
    """One model: what it was fitted on, and how it did on what it did not see."""
    return ModelOut.model_validate(LearningService(unit).models.get(model_id))


@router.get(
    "/models/{model_id}/blocks",
    dependencies=[needs(scopes.READ)],
    response_model=MeasuredBlocksOut,
    responses={
        200: {"content": {"text/csv": {}}, "description": "Measured scores, block by block."},
        **documented(NotFound, Invalid),
    },
)
def get_measured_blocks(
    model_id: str,
    unit: UnitDep,
    format: Annotated[Literal["json", "csv"], Query(description="How to write it.")] = "json",
) -> MeasuredBlocksOut | Response:
    """What every measured block scored: the data as the model saw them."""
    model = LearningService(unit).models.get(model_id)
    items = json.loads(unit.parts.artifacts.get(model.blocks))
    if format == "csv":
        rows = [
            [
                *item["compound_names"],
                item["cell_line_name"],
                *(item[name] for name in ("score", "standard_error", "n_wells", "is_hit")),
                " ".join(item.get("earlier", [])),
            ]
            for item in items
        ]
        return Response(csv_text(_BLOCK_HEADER, rows), media_type="text/csv; charset=utf-8")
    return MeasuredBlocksOut(model_id=model.id, score=model.score, items=items)


@router.get(
    "/models/{model_id}/measure-again",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_contradictions(model_id: str, unit: UnitDep) -> MeasureAgainOut:
    """Near-identical experiments with contradictory outcomes: what to measure again, and why."""
    model = LearningService(unit).models.get(model_id)
    return MeasureAgainOut(model_id=model.id, score=model.score, **describe_again(model.evidence))


@router.post(
    "/campaigns/{campaign_id}/predictions",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def predict(campaign_id: str, body: PredictIn, unit: UnitDep, response: Response) -> JobOut:
    """Ask a model about any pairs (scores) or treatments (viabilities) of the campaign."""
    service = LearningService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    return accepted(service.predict(campaign, body), response)


@router.get(
    "/predictions/{prediction_id}",
    dependencies=[needs(scopes.READ)],
    response_model=PredictionOut,
    responses={
        200: {
            "content": {"text/csv": {}},
            "description": "The answers, in order of the questions.",
        },
        **documented(NotFound, Invalid),
    },
)
def get_prediction(
    prediction_id: str,
    unit: UnitDep,
    format: Annotated[Literal["json", "csv"], Query(description="How to write it.")] = "json",
) -> PredictionOut | Response:
    """The answers of a model, with their uncertainties."""
    prediction = LearningService(unit).predictions.get(prediction_id)
    if format == "csv":
        rows = [_csv_row(PredictedItem.model_validate(item)) for item in prediction.items]
        return Response(csv_text(_CSV_HEADER, rows), media_type="text/csv; charset=utf-8")
    return PredictionOut.model_validate(prediction)


@router.post(
    "/campaigns/{campaign_id}/replays",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def replay_campaign(campaign_id: str, body: ReplayIn, unit: UnitDep, response: Response) -> JobOut:
    """Compare strategies on the campaign's own measured blocks, as if it began anew."""
    service = LearningService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    return accepted(service.replay(campaign, body), response)


@router.get(
    "/campaigns/{campaign_id}/replays",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_replays(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[ReplaySummaryOut]:
    """The comparisons of a campaign, oldest first."""
    service = LearningService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.replays.page(page, service.replays.of_campaign(campaign.id))
    return page_out(request, response, rows, ReplaySummaryOut.model_validate)


@router.get(
    "/replays/{replay_id}",
    dependencies=[needs(scopes.READ)],
    response_model=ReplayOut,
    responses={
        200: {"content": {"text/csv": {}}, "description": "What each strategy found by round."},
        **documented(NotFound, Invalid),
    },
)
def get_replay(
    replay_id: str,
    unit: UnitDep,
    format: Annotated[Literal["json", "csv"], Query(description="How to write it.")] = "json",
) -> ReplayOut | Response:
    """What each strategy would have found, round by round, and paired tests between them."""
    found = ReplayOut.model_validate(describe_replay(LearningService(unit).replays.get(replay_id)))
    if format == "csv":
        rows = [_replay_row(one.name, row) for one in found.strategies for row in one.rounds]
        return Response(csv_text(_REPLAY_HEADER, rows), media_type="text/csv; charset=utf-8")
    return found


_BLOCK_HEADER = [
    *["compound_1", "compound_2", "cell_line", "score", "standard_error", "n_wells", "is_hit"],
    "earlier_campaigns",
]
_SHARES = ("hits", "top_1", "top_5")
_REPLAY_HEADER = ["strategy", "round", "measured", "measured_share"] + [
    f"{name}{end}" for name in _SHARES for end in ("", "_low", "_high")
]


def _replay_row(strategy: str, row: ReplayRound) -> list[object]:
    cells: list[object] = [strategy, row.round, row.measured, row.measured_share]
    for name in _SHARES:
        share = getattr(row, name)
        cells += [share.mean, share.low, share.high]
    return cells


_NUMBERS = ["mean", "sd", "q05", "q50", "q95", "epistemic_sd", "observation_sd", "hit_probability"]
_CSV_HEADER = [
    *["cell_line", "compound_1", "dose_1_um", "compound_2", "dose_2_um", "quantity"],
    *_NUMBERS,
]


def _csv_row(item: PredictedItem) -> list[object]:
    cells: list[object] = [item.cell_line]
    for place in range(2):
        dose = item.doses[place] if place < len(item.doses) else {}
        cells += [dose.get("compound"), dose.get("dose_um")]
    return [*cells, item.quantity, *(getattr(item, name) for name in _NUMBERS)]
