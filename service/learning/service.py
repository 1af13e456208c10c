"""Asking for work, and reading what came of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from service.assays.repository import MeasurementRepository
from service.campaigns.goal_lines import check_acquisition
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.audit.recorder import record
from service.kit.database import dump_json
from service.kit.jobs import enqueue
from service.kit.jobs.tables import Job
from service.kit.names import NameDirectory
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit
from service.learning.repository import (
    FittedModelRepository,
    PredictionRepository,
    ReplayedCampaignRepository,
)
from service.learning.schemas import AskedItem, PredictIn, ReplayIn
from service.learning.sources import measured_elsewhere
from service.learning.tables import WITHHELD, FittedModel, ReplayedCampaign

TRAIN, PREDICT, REPLAY = "train", "predict", "replay"
FEWEST_REPLAYED = 40
"""Measured blocks: with fewer, chance decides which strategy looks better."""


@dataclass(frozen=True)
class ResolvedItem:
    """A question with ids instead of names; a dose of ``None`` asks for the block's score."""

    cell_line: str
    compounds: list[str]
    doses_um: list[float | None]

    def plain(self) -> dict[str, Any]:
        return {"cell_line": self.cell_line, "compounds": self.compounds, "doses_um": self.doses_um}


def rules_of(campaign: Campaign) -> dict[str, Any]:
    """The rules of a round as they are now, frozen into the job that was asked for."""
    return {
        "score": campaign.score,
        "hit_threshold": campaign.hit_threshold,
        "objective": campaign.goal,
        "batch_size": campaign.batch_size,
        "max_per_compound": campaign.max_per_compound,
        "acquisition": campaign.acquisition,
        "kappa": campaign.kappa,
        "xi": campaign.xi,
        "top_k": campaign.top_k,
        "rounds_planned": campaign.rounds_planned,
        "model": campaign.model,
        "lab": campaign.lab,
    }


def seeks_score(campaign: Campaign) -> bool:
    """Whether the score itself is what the campaign looks for."""
    return campaign.goal is None or campaign.goal["kind"] == "score"


def draw_seed(given: int | None) -> int:
    """The seed that was asked for, or a fresh one."""
    return secrets.randbelow(2**31) if given is None else given


class LearningService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.campaigns = CampaignService(unit)
        self.models = FittedModelRepository(unit.session, unit.principal)
        self.predictions = PredictionRepository(unit.session, unit.principal)
        self.replays = ReplayedCampaignRepository(unit.session, unit.principal)

    def train(self, campaign: Campaign, seed: int | None) -> Job:
        """Ask for a model of everything measured so far."""
        self.campaigns.require_not_closed(campaign)
        args = {"rules": rules_of(campaign), "seed": draw_seed(seed)}
        return request_job(self.unit, TRAIN, campaign, args)

    def predict(self, campaign: Campaign, body: PredictIn) -> Job:
        """Ask a fitted model about treatments or pairs."""
        model = self._model(campaign, body.model_id)
        if model.weights == WITHHELD:
            raise Conflict(
                f"Model {model.id} came with an archive that left out its weights, so it cannot "
                f"predict. Train one: POST /v1/campaigns/{campaign.id}/models."
            )
        compounds, lines = self.campaigns.member_directories(campaign)
        items = resolve_items(body.items, compounds, lines)
        question = self.unit.parts.artifacts.put(
            dump_json([item.plain() for item in items]).encode(), "json"
        )
        # The threshold of another objective says nothing of the scores that are asked for.
        threshold = campaign.hit_threshold if seeks_score(campaign) else None
        args = {"model_id": model.id, "question": question, "hit_threshold": threshold}
        return request_job(self.unit, PREDICT, campaign, args)

    def replay(self, campaign: Campaign, body: ReplayIn) -> Job:
        """Ask for a comparison of strategies on what was measured so far."""
        if not seeks_score(campaign):
            kind = (campaign.goal or {})["kind"]
            raise Conflict(
                f"A replay looks for high scores, and this campaign's goal is {kind}: its rounds "
                f"cannot be replayed. PATCH the objective to one without a goal to compare "
                f"strategies on the score."
            )
        for row, name in enumerate(body.acquisitions or ()):
            wrong = check_acquisition(name, None, f"/acquisitions/{row}")
            if wrong is not None:
                raise Invalid(wrong.message, errors=[wrong])
        measurements = MeasurementRepository(self.session, self.unit.principal)
        blocks = {(a, b, line) for a, b, line, _ in measurements.measured_blocks(campaign.id)}
        measured = len(blocks - measured_elsewhere(self.unit, campaign.id))
        if measured < FEWEST_REPLAYED:
            raise Conflict(
                f"{measured} blocks are measured, a replay needs {FEWEST_REPLAYED}: with fewer, "
                f"chance decides. Measure more, then ask again."
            )
        if body.initial + body.batch > measured:
            message = (
                f"{body.initial} first blocks and a batch of {body.batch} are more than the "
                f"{measured} measured ones; ask for fewer."
            )
            raise Invalid(message, errors=[_field("initial", message)])
        asked = body.model_dump(exclude={"seed"})
        asked["models"] = body.models or [campaign.model]
        asked["acquisitions"] = body.acquisitions or _beside_chance(campaign.acquisition)
        args = {"rules": rules_of(campaign), "seed": draw_seed(body.seed), "asked": asked}
        return request_job(self.unit, REPLAY, campaign, args)

    def _model(self, campaign: Campaign, model_id: str | None) -> FittedModel:
        if model_id is not None:
            model = self.models.get(model_id)
            if model.campaign_id == campaign.id:
                return model
            raise Conflict(f"Model {model_id} belongs to another campaign.")
        latest = self.models.latest(campaign.id)
        if latest is None:
            raise Conflict(
                "This campaign has no model yet. Ask for one: POST "
                f"/v1/campaigns/{campaign.id}/models."
            )
        return latest


def request_job(unit: Unit, kind: str, campaign: Campaign, args: dict[str, Any]) -> Job:
    """Ask for a job of ``campaign`` in the unit's transaction, on the record."""
    job = enqueue(
        unit.session,
        workspace_id=unit.principal.workspace_id,
        kind=kind,
        args=args,
        campaign_id=campaign.id,
        created_by=unit.principal.actor,
    )
    new = {"kind": kind, "campaign_id": campaign.id, "args": args}
    record(unit.session, "job.requested", "job", job.id, new=new)
    return job


def resolve_items(
    items: list[AskedItem], compounds: NameDirectory, lines: NameDirectory
) -> list[ResolvedItem]:
    """Names to ids, compounds in ascending order; raises with every row that is wrong."""
    errors: list[FieldError] = []
    resolved = []
    for row, item in enumerate(items):
        fix = "It must be in the campaign."
        line = lines.resolve(item.cell_line)
        if line is None:
            _add(errors, row, "cell_line", lines.unknown(item.cell_line, fix))
        ids = [compounds.resolve(dose.compound) for dose in item.doses]
        for place, (identifier, dose) in enumerate(zip(ids, item.doses, strict=True)):
            if identifier is None:
                pointer = f"doses/{place}/compound"
                _add(errors, row, pointer, compounds.unknown(dose.compound, fix))
        _check_item(errors, row, item, ids)
        doses = [dose.dose_um for dose in item.doses]
        parts = sorted(zip(map(str, ids), doses, strict=True), key=lambda part: part[0])
        resolved.append(ResolvedItem(str(line), [p[0] for p in parts], [p[1] for p in parts]))
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    return resolved


def describe_replay(replay: ReplayedCampaign) -> dict[str, Any]:
    """The report as a table by round, strategy by strategy."""
    report = replay.report
    strategies = [
        {
            "name": name,
            "model": entry["definition"]["model"] if name != "random" else None,
            "acquisition": entry["definition"]["acquisition"],
            "rounds": _by_round(entry["summary"]),
            **{part: entry["summary"][part] for part in ("area", "calibration", "seconds")},
            "against": entry["against"],
        }
        for name, entry in report["strategies"].items()
    ]
    columns = ("id", "campaign_id", "job_id", "asked", "n_blocks", "snapshot", "created_at")
    kept = {name: getattr(replay, name) for name in columns}
    return {**kept, "strategies": strategies, "failed": report["failed"]}


def _by_round(summary: dict[str, Any]) -> list[dict[str, Any]]:
    curves = {name: summary["curves"][name] for name in ("hits", "top_1", "top_5")}
    return [
        {
            "round": number,
            "measured": measured,
            "measured_share": summary["measured_share"][number],
            **{name: curve[number] for name, curve in curves.items()},
        }
        for number, measured in enumerate(summary["measured"])
    ]


def _beside_chance(acquisition: str) -> list[str]:
    return list(dict.fromkeys([acquisition, "random"]))


def _field(name: str, message: str) -> FieldError:
    return FieldError(code=name, message=message, pointer=f"/{name}")


def _check_item(errors: list[FieldError], row: int, item: AskedItem, ids: list[str | None]) -> None:
    given = [dose.dose_um is not None for dose in item.doses]
    if any(given) and not all(given):
        _add(errors, row, "doses", "Give dose_um for both compounds, or for neither.")
    if len(item.doses) == 1 and not all(given):
        _add(errors, row, "doses/0/dose_um", "A single agent needs its dose_um.")
    if None not in ids and len(set(ids)) < len(ids):
        _add(errors, row, "doses", "Both names mean one compound; a pair needs two.")


def _add(errors: list[FieldError], row: int, column: str, message: str) -> None:
    errors.append(
        FieldError(
            code="item",
            message=f"Item {row}: {message}",
            pointer=f"/items/{row}/{column}",
            row=row,
            column=column,
        )
    )
