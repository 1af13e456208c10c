"""`/v1/datasets`, `/v1/dataset-fits`, and the data sets of `/v1/campaigns`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from service.assays.schemas import SubmissionOut, describe_submission
from service.datasets.schemas import (
    AttachedOut,
    AttachIn,
    DatasetOut,
    FitIn,
    FitOut,
    Holds,
    ValueKind,
    ViabilityIn,
    describe_dataset,
)
from service.datasets.service import DatasetService, Declared
from service.datasets.tables import Dataset
from service.datasets.viability import ViabilityService, Wanted
from service.kit.auth import scopes
from service.kit.jobs.endpoints import accepted
from service.kit.jobs.schemas import JobOut
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import (
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    TooLarge,
    UnsupportedMedia,
    documented,
)
from service.kit.schemas import Name
from service.kit.unit import ReceivedDep, UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["data sets"])

_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_FILE = {
    "required": True,
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}}
        for kind in ("application/octet-stream", "text/csv", "application/x-hdf5")
    },
}


@router.post(
    "/datasets",
    status_code=202,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses={
        200: {"model": DatasetOut, "description": "These very bytes came before."},
        **documented(Invalid, Conflict, BadRequest, TooLarge, UnsupportedMedia),
    },
    openapi_extra={"x-upload": True, "x-dataset": True, "requestBody": _FILE},
)
def upload_dataset(
    unit: UnitDep,
    received: ReceivedDep,
    request: Request,
    response: Response,
    holds: Annotated[Holds, Query(description="What the file holds.")],
    kind: Annotated[ValueKind, Query(description="What its values are; never guessed.")],
    name: Annotated[Name | None, Query(description="Else the file's name.")] = None,
    filename: Annotated[Name, Query(description="Its name.")] = "upload",
    treatment_column: Annotated[
        Name | None, Query(description="Of AnnData: the column of obs that holds the treatment.")
    ] = None,
    batch_column: Annotated[
        Name | None, Query(description="Of AnnData: the column of obs that holds the batch.")
    ] = None,
    joined_by: Annotated[
        str | None,
        Query(
            max_length=5,
            min_length=1,
            description="What joins the perturbations of one sample, such as `+`.",
        ),
    ] = None,
) -> DatasetOut:
    """Send responses to perturbations (a table or `.h5ad`) or time courses (a long table, a plate
    reader's wide one, or an IncuCyte workbook by condition), or counts of cells over time.

    The original is kept byte for byte; a worker reads it: follow the job, then GET the data set.
    """
    media_type = request.headers.get("content-type", "application/octet-stream")[:100]
    said = Declared(holds, kind, treatment_column, batch_column, joined_by)
    service = DatasetService(unit)
    dataset, created = service.take(received, name or filename, filename, media_type, said)
    response.status_code = 202 if created else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return describe_dataset(dataset, service.compounds_of([dataset]))


@router.get("/datasets", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_datasets(
    unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[DatasetOut]:
    """The data sets of the workspace, oldest first."""
    service = DatasetService(unit)
    rows = service.datasets.page(page)
    compounds = service.compounds_of(rows.items)
    return page_out(request, response, rows, lambda row: describe_dataset(row, compounds))


@router.get(
    "/datasets/{dataset_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_dataset(dataset_id: str, unit: UnitDep) -> DatasetOut:
    """One data set, and what was found in it."""
    service = DatasetService(unit)
    dataset = service.datasets.get(dataset_id)
    return describe_dataset(dataset, service.compounds_of([dataset]))


@router.get(
    "/datasets/{dataset_id}/original",
    dependencies=[needs(scopes.READ)],
    response_class=FileResponse,
    responses={
        200: {
            "content": _BYTES,
            "description": "The file as it came; byte ranges are served.",
        },
        **documented(NotFound, Invalid),
    },
)
def get_dataset_original(dataset_id: str, unit: UnitDep) -> FileResponse:
    """The file as it was sent, byte for byte."""
    dataset = DatasetService(unit).datasets.get(dataset_id)
    # Never rendered by a browser: somebody else's bytes.
    return FileResponse(
        unit.parts.artifacts.locate(dataset.original),
        media_type="application/octet-stream",
        filename=dataset.id,
        headers={"ETag": f'"{dataset.sha256}"'},
    )


@router.get(
    "/campaigns/{campaign_id}/datasets",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_campaign_datasets(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[DatasetOut]:
    """The data sets that a campaign learns from."""
    service = DatasetService(unit)
    service.require_campaign(campaign_id)
    rows = service.datasets.page(page, service.datasets.of_campaign(campaign_id))
    compounds = service.compounds_of(rows.items)

    def describe(row: Dataset) -> DatasetOut:
        return describe_dataset(row, compounds)

    return page_out(request, response, rows, describe)


@router.post(
    "/campaigns/{campaign_id}/datasets",
    status_code=201,
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def attach_dataset(campaign_id: str, body: AttachIn, unit: UnitDep) -> AttachedOut:
    """Let a campaign learn from a data set: its newest fit joins the next training, weighted by
    its held-out skill. Doing it again changes nothing."""
    return AttachedOut.model_validate(DatasetService(unit).attach(campaign_id, body.dataset_id))


@router.delete(
    "/campaigns/{campaign_id}/datasets/{dataset_id}",
    status_code=204,
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def detach_dataset(campaign_id: str, dataset_id: str, unit: UnitDep) -> None:
    """Let a campaign no longer learn from a data set; nothing is deleted."""
    DatasetService(unit).detach(campaign_id, dataset_id)


@router.post(
    "/datasets/{dataset_id}/fits",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def fit_dataset(dataset_id: str, body: FitIn, unit: UnitDep, response: Response) -> JobOut:
    """Learn from a data set: models beside baselines, judged on what was held out. The job's
    result names the fit."""
    return accepted(DatasetService(unit).fit(dataset_id, body.seed), response)


@router.get(
    "/datasets/{dataset_id}/fits",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_dataset_fits(
    dataset_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[FitOut]:
    """What was learned from a data set, oldest first."""
    service = DatasetService(unit)
    dataset = service.datasets.get(dataset_id)
    rows = service.fits.page(page, service.fits.of_dataset(dataset.id))
    return page_out(request, response, rows, FitOut.model_validate)


@router.get(
    "/dataset-fits/{fit_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_dataset_fit(fit_id: str, unit: UnitDep) -> FitOut:
    """One fit: its evidence beside the baselines, and its skill."""
    return FitOut.model_validate(DatasetService(unit).fits.get(fit_id))


@router.get(
    "/dataset-fits/{fit_id}/results",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_dataset_fit_results(fit_id: str, unit: UnitDep) -> dict[str, Any]:
    """Tables and curves of a fit, to read and to plot."""
    service = DatasetService(unit)
    return service.results(service.fits.get(fit_id))


@router.get(
    "/dataset-fits/{fit_id}/viability.csv",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses={
        200: {"content": {"text/csv": {}}, "description": "A row for each dose pair."},
        **documented(NotFound, Conflict, Invalid),
    },
)
def export_fit_viability(
    fit_id: str,
    unit: UnitDep,
    experiment: Annotated[
        Name | None, Query(description="Only this one of the fit; all if left out.")
    ] = None,
    cell_line: Annotated[Name | None, Query(description="Of data sets that name none.")] = None,
) -> Response:
    """Viability without plate effects of a fit to drug pairs over time, with its standard
    deviation: the very table that POST .../submissions submits."""
    asked = None if experiment is None else [experiment]
    content = ViabilityService(unit).csv(fit_id, Wanted(asked, cell_line))
    headers = {"Content-Disposition": f'attachment; filename="{fit_id[:60]}.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


@router.post(
    "/dataset-fits/{fit_id}/submissions",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses={
        200: {"model": SubmissionOut, "description": "Submitted before, or only checked."},
        **documented(NotFound, Conflict, Invalid),
    },
)
def submit_fit_viability(
    fit_id: str,
    body: ViabilityIn,
    unit: UnitDep,
    response: Response,
    dry_run: Annotated[bool, Query(description="Check everything, store nothing.")] = False,
) -> SubmissionOut:
    """Submit the viability of a fit to a campaign, as if its table had been sent. The submission
    names the fit; wells of an experiment that count already are refused."""
    wanted = Wanted(body.experiments, body.cell_line, body.despite_doubt)
    found = ViabilityService(unit).submit(fit_id, body.campaign_id, wanted, dry_run=dry_run)
    submission, outcome = found
    if outcome == "stored":
        response.headers["Location"] = f"/v1/submissions/{submission.id}"
    else:
        response.status_code = 200
    return describe_submission(submission, outcome)
