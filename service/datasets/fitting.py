"""The job that learns from a data set: read, learn, publish. Imported by workers only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog
from safetensors.torch import load, save
from sqlalchemy.orm import Session

from models.screen import ScreenError
from service.compounds.repository import CompoundRepository
from service.datasets.jobs import unit_of
from service.datasets.learning.learned import Learned
from service.datasets.service import DatasetService
from service.datasets.storage import load_courses, load_responses
from service.datasets.tables import DatasetFit
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.kit.outbox import emit

if TYPE_CHECKING:
    from service.datasets.learning.counts import Network

log = structlog.get_logger(__name__)


def fit(ctx: JobContext) -> dict[str, Any]:
    """Learn from the data set of the job; the result names the fit."""
    dataset_id = str(ctx.args["dataset_id"])
    with ctx.database.reading() as session:
        service = DatasetService(unit_of(ctx, session))
        dataset = service.datasets.get(dataset_id)
        holds, content = dataset.holds, str(dataset.content)
        name, targets = dataset.name, _targets(service, dataset_id)
    stored = ctx.step("learn", lambda: _store(ctx, _learn(ctx, holds, content, targets), name))

    def publish(session: Session) -> dict[str, Any]:
        unit = unit_of(ctx, session)
        fitted = DatasetFit(
            id=new_id("dsf"),
            dataset_id=dataset_id,
            job_id=ctx.job_id,
            seed=ctx.args["seed"],
            device=ctx.device,
            versions={"nextround": version("nextround"), "torch": version("torch")},
            **stored,
        )
        DatasetService(unit).fits.add(fitted)
        session.flush()
        warnings = fitted.report.get("health", {}).get("warnings", [])
        if warnings:
            log.warning("dataset.warned", fit_id=fitted.id, warnings=warnings)
        emit(session, "dataset.fitted", fitted, dataset_id=dataset_id, warnings=len(warnings))
        return {"fit": f"/v1/dataset-fits/{fitted.id}"}

    return ctx.transaction("publish", publish)


def _learn(
    ctx: JobContext, holds: str, content: str, targets: Mapping[str, tuple[str, ...]]
) -> Learned:
    seed = int(ctx.args["seed"])
    ctx.progress("reading the data set", 0, 1)
    try:
        if holds == "responses":
            from service.datasets.learning.responses import learn_responses

            return learn_responses(
                load_responses(content, ctx.artifacts), targets, seed=seed,
                on_progress=ctx.progress, should_stop=ctx.should_stop,
            )  # fmt: skip
        if holds == "cell_counts":
            from service.datasets.learning.counts import learn_counts

            return learn_counts(
                load_courses(content, ctx.artifacts), _earlier_networks(ctx), seed=seed,
                on_progress=ctx.progress, should_stop=ctx.should_stop,
            )  # fmt: skip
        from service.datasets.learning.courses import learn_courses

        return learn_courses(
            load_courses(content, ctx.artifacts), seed=seed,
            on_progress=ctx.progress, should_stop=ctx.should_stop,
        )  # fmt: skip
    except ScreenError as error:
        detail = f"Nothing can be learned from this data set: {error}."
        raise JobFailed(problem_dict("cannot-learn", "Nothing was learned", detail, 409)) from None


def _earlier_networks(ctx: JobContext) -> Iterator[Network]:
    """Networks of earlier fits to counts, newest first; their tensors are read when asked for."""
    from service.datasets.learning.counts import MODEL, Network

    with ctx.database.reading() as session:
        fits = DatasetService(unit_of(ctx, session)).fits.newest_by(MODEL)
        stored = [(fit.metadata_artifact, fit.weights) for fit in fits]
    for metadata, weights in stored:
        design = str(json.loads(ctx.artifacts.get(metadata))["design"])
        yield Network(design, partial(_tensors, ctx, weights))


def _tensors(ctx: JobContext, weights: str) -> Mapping[str, Any]:
    tensors: dict[str, Any] = load(ctx.artifacts.get(weights))
    return tensors


def _store(ctx: JobContext, learned: Learned, name: str) -> dict[str, Any]:
    """Files first; what goes into the row comes back."""
    artifacts = ctx.artifacts

    def keep(document: Any) -> str:
        return artifacts.put(dump_json(document).encode(), "json")

    return {
        "model": learned.model,
        "skill": learned.skill,
        "report": learned.report,
        "features": keep(learned.features.document(name, learned.skill)),
        "results": keep(learned.results),
        "weights": artifacts.put(save(dict(learned.tensors)), "safetensors"),
        "metadata_artifact": keep(learned.metadata),
    }


def _targets(service: DatasetService, dataset_id: str) -> dict[str, tuple[str, ...]]:
    """The genes that each perturbation acts on, by the compound of that name."""
    compounds = service.compounds_of([service.datasets.get(dataset_id)])
    unit = service.unit
    repository = CompoundRepository(unit.session, unit.principal)
    known = repository.targets({each for each in compounds.values() if each is not None})
    return {name: known[each] for name, each in compounds.items() if each in known}
