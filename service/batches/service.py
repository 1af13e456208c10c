"""Rules of batches: nothing is proposed twice, and every candidate comes back or is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.assays.repository import MeasurementRepository
from service.batches.bench import Bench, Spot
from service.batches.documents import load_candidates
from service.batches.jobs import RECOMMEND
from service.batches.repository import (
    BatchItemRepository,
    BatchRepository,
    Block,
    RecommendationRepository,
)
from service.batches.schemas import AcceptIn, BatchPatch, RecommendIn, ReplaceIn
from service.batches.tables import Batch, BatchItem, Recommendation
from service.campaigns.goal_lines import check_acquisition
from service.campaigns.marks import MarkService
from service.campaigns.schemas import MarkIn
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.audit.recorder import give_reason
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.jobs.tables import Job
from service.kit.outbox import emit
from service.kit.problems import Conflict, FieldError, Invalid, NotFound
from service.kit.unit import Unit
from service.learning.service import draw_seed, request_job, rules_of
from service.learning.sources import measured_elsewhere
from service.plates.repository import PlateLayoutRepository, PlateRepository

Marks = dict[tuple[str, str, str | None], str]

_NEXT_STATUS = {
    "accepted": {"running", "cancelled"},
    "running": {"done", "cancelled"},
    "done": set[str](),
    "cancelled": set[str](),
}


class BatchService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.campaigns = CampaignService(unit)
        self.recommendations = RecommendationRepository(unit.session, unit.principal)
        self.batches = BatchRepository(unit.session, unit.principal)
        self.items = BatchItemRepository(unit.session, unit.principal)
        self.measurements = MeasurementRepository(unit.session, unit.principal)
        self.layouts = PlateLayoutRepository(unit.session, unit.principal)
        self.plates = PlateRepository(unit.session, unit.principal)

    def recommend(self, campaign: Campaign, body: RecommendIn) -> Job:
        """Ask for the next batch. The rules are frozen now; the data when the job starts."""
        self.campaigns.require_open(campaign, "asking for a recommendation")
        rules = rules_of(campaign)
        if body.acquisition is not None:
            rules["acquisition"] = body.acquisition
        if body.batch_size is not None:
            rules["batch_size"] = body.batch_size
            # What is asked for now also holds where whole plates would hold more.
            rules["lab"] = rules["lab"] and {**rules["lab"], "batch_size": body.batch_size}
        wrong = check_acquisition(rules["acquisition"], campaign.goal, "/acquisition")
        if wrong is not None:
            raise Invalid(wrong.message, errors=[wrong])
        args = {"rules": rules, "seed": draw_seed(body.seed)}
        return request_job(self.unit, RECOMMEND, campaign, args)

    def accept(self, campaign: Campaign, body: AcceptIn) -> Batch:
        """Take candidates of a recommendation into the lab. From now on they are pending."""
        recommendation = self.recommendations.get(body.recommendation_id)
        if recommendation.campaign_id != campaign.id:
            raise NotFound("That recommendation belongs to another campaign.")
        candidates = self.candidates_of(recommendation)
        chosen = choose(candidates, body.ranks)
        spots = Bench.of(recommendation, candidates).lay_out(map(Spot.of, chosen))
        campaign = self.campaigns.campaigns.hold(campaign.id)
        self.campaigns.require_open(campaign, "accepting a batch")
        self._refuse_unavailable(campaign, chosen)
        batch = Batch(
            id=new_id("bat"),
            campaign_id=campaign.id,
            recommendation_id=recommendation.id,
            round=self.batches.next_round(campaign.id),
            note=body.note,
        )
        self.batches.add(batch)
        self.session.flush()
        for position, (candidate, spot) in enumerate(zip(chosen, spots, strict=True), start=1):
            self.items.add(_item(batch, position, candidate, spot.plate))
        self.session.flush()
        emit(self.session, "batch.accepted", batch, round=batch.round, n_items=len(spots))
        return batch

    def patch(self, batch: Batch, change: BatchPatch) -> Batch:
        """Move a batch on, or note something about it."""
        self.campaigns.require_not_closed(self.campaigns.campaigns.get(batch.campaign_id))
        before = batch.version
        if change.status is not None and change.status != batch.status:
            self._move(batch, change.status)
        if "note" in change.model_fields_set:
            batch.note = change.note
        self.session.flush()
        if batch.version != before:
            emit(self.session, "batch.changed", batch, status=batch.status)
        return batch

    def replace(self, batch: Batch, item: BatchItem, body: ReplaceIn) -> BatchItem:
        """Take one candidate out and the next best one in."""
        campaign = self.campaigns.campaigns.hold(batch.campaign_id)
        self.campaigns.require_not_closed(campaign)
        self.session.refresh(batch)
        self.session.refresh(item)
        if batch.status != "accepted":
            raise Conflict(f"The batch is {batch.status}; only an accepted one can be changed.")
        if item.status != "pending":
            raise Conflict(f"This item is {item.status}; only a pending one can be replaced.")
        if self.layouts.issued(batch.id) is not None:
            raise Conflict(
                "The batch is on plates already. Call them off with "
                f"POST /v1/batches/{batch.id}/plates/cancellation, replace, and lay it out again."
            )
        give_reason(self.session, body.reason)
        if body.ban:
            self._ban(campaign, item, body.reason)
        item.status = "replaced"  # first, so that it does not count towards the cap
        recommendation = self.recommendations.get(batch.recommendation_id)
        candidate = self._next_best(campaign, recommendation, batch, item)
        batch.changed_at = utcnow()  # the batch's ETag has to change with its items
        self.session.flush()
        successor = self.items.add(_item(batch, item.position, candidate, item.plate))
        self.session.flush()
        emit(self.session, "batch.changed", batch, status=batch.status)
        return successor

    def candidates_of(self, recommendation: Recommendation) -> list[dict[str, Any]]:
        """The ranked list, as it was recommended."""
        return load_candidates(self.unit.parts.artifacts.get(recommendation.candidates))

    def measured(self, campaign_id: str) -> set[Block]:
        """The blocks that have results of the campaign itself."""
        return {(a, b, line) for a, b, line, _ in self.measurements.measured_blocks(campaign_id)}

    def _move(self, batch: Batch, status: str) -> None:
        if status not in _NEXT_STATUS[batch.status]:
            allowed = " or ".join(sorted(_NEXT_STATUS[batch.status])) or "nothing else"
            raise Conflict(f"A batch that is {batch.status} can become {allowed}, not {status}.")
        batch.status = status
        if status == "running":
            batch.started_at = utcnow()
            return
        batch.finished_at = utcnow()
        if status == "cancelled":
            self._call_off_plates(batch)
        measured = self.measured(batch.campaign_id)
        for item in self.items.of_batch(batch.id):
            if item.status == "pending":
                item.status = _final_status(status, block_of_item(item) in measured)

    def _call_off_plates(self, batch: Batch) -> None:
        """Nobody fills plates of a batch that is called off; those with results stay."""
        layout = self.layouts.issued(batch.id)
        if layout is None:
            return
        layout.status = "cancelled"
        for plate in self.plates.of_layout(layout.id):
            if plate.status == "issued":
                plate.status, plate.changed_at = "cancelled", utcnow()

    def unavailable(
        self, campaign: Campaign, chosen: Sequence[dict[str, Any]]
    ) -> dict[int, FieldError]:
        """Which of ``chosen`` could not be accepted now, by rank, and why."""
        pending = self.items.pending_blocks(campaign.id)
        measured, marks = self.measured(campaign.id), self._marks(campaign)
        earlier = self._settled(campaign, marks)
        errors = {}
        for candidate in chosen:
            block = block_of(candidate)
            reason = (
                "is in another batch that is not finished"
                if block in pending
                else "was measured since"
                if block in measured
                else "was measured in an earlier campaign"
                if block in earlier
                else "was banned since"
                if _is_banned(block, marks)
                else None
            )
            if reason:
                errors[candidate["rank"]] = _unavailable(candidate, reason)
        return errors

    def _settled(self, campaign: Campaign, marks: Marks) -> set[Block]:
        """Blocks that are not measured again because an earlier campaign did."""
        if campaign.repeat_earlier:
            return set()
        found = measured_elsewhere(self.unit, campaign.id)
        return {block for block in found if _mark_of(block, marks) != "pin"}

    def _refuse_unavailable(self, campaign: Campaign, chosen: Sequence[dict[str, Any]]) -> None:
        errors = list(self.unavailable(campaign, chosen).values())
        if errors:
            raise Conflict(
                f"{errors[0].message} Ask for a new recommendation, or accept other ranks.",
                errors=errors,
            )

    def _marks(self, campaign: Campaign) -> Marks:
        marks = MarkService(self.unit).marks.of_campaign(campaign.id)
        return {(m.compound_a_id, m.compound_b_id, m.cell_line_id): m.mark for m in marks}

    def _ban(self, campaign: Campaign, item: BatchItem, reason: str) -> None:
        mark = MarkIn(
            mark="ban",
            compounds=[item.compound_a_id, item.compound_b_id],
            cell_line=item.cell_line_id,
            reason=reason,
        )
        MarkService(self.unit).write(campaign, [mark])

    def _next_best(
        self, campaign: Campaign, recommendation: Recommendation, batch: Batch, item: BatchItem
    ) -> dict[str, Any]:
        """The best candidate that is free and breaks no limit in the place of ``item``."""
        items = self.items.of_batch(batch.id)
        marks, candidates = self._marks(campaign), self.candidates_of(recommendation)
        taken = self.items.pending_blocks(campaign.id) | self.measured(campaign.id)
        taken |= {block_of_item(one) for one in items} | self._settled(campaign, marks)
        bench = Bench.of(recommendation, candidates)
        rest = [_spot(one) for one in items if one.status == "pending"]
        before = {(one.limit, one.subject) for one in bench.broken([*rest, _spot(item)])}
        for candidate in candidates:
            block = block_of(candidate)
            if block in taken or _is_banned(block, marks):
                continue
            spot = Spot(block[:2], block[2], item.plate)
            if all((b.limit, b.subject) in before for b in bench.broken([*rest, spot])):
                return candidate
        raise Conflict("No other candidate of this recommendation is free. Ask for a new one.")


def block_of(candidate: dict[str, Any]) -> Block:
    """The block of a ranked candidate, compounds in ascending order of id."""
    a, b = sorted(compound["id"] for compound in candidate["compounds"])
    return a, b, candidate["cell_line"]["id"]


def block_of_item(item: BatchItem) -> Block:
    """The block of a batch item."""
    return item.compound_a_id, item.compound_b_id, item.cell_line_id


def choose(candidates: Sequence[dict[str, Any]], ranks: list[int] | None) -> list[dict[str, Any]]:
    """The candidates with these ranks, in that order; without ranks those of the batch."""
    if ranks is None:
        return [candidate for candidate in candidates if candidate["in_batch"]]
    by_rank = {candidate["rank"]: candidate for candidate in candidates}
    errors = []
    for row, rank in enumerate(ranks):
        if rank not in by_rank or rank in ranks[:row]:
            why = "is listed twice" if rank in ranks[:row] else f"is not in 1 to {len(candidates)}"
            message = f"Rank {rank} {why}."
            errors.append(
                FieldError(code="rank", message=message, pointer=f"/ranks/{row}", row=row)
            )
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    return [by_rank[rank] for rank in ranks]


def _spot(item: BatchItem) -> Spot:
    return Spot((item.compound_a_id, item.compound_b_id), item.cell_line_id, item.plate)


def _item(batch: Batch, position: int, candidate: dict[str, Any], plate: int | None) -> BatchItem:
    first, second = sorted(candidate["compounds"], key=lambda compound: str(compound["id"]))
    predicted = ("mean", "sd", "q05", "q50", "q95", "hit_probability", "acquisition", "reason")
    raw = candidate.get("raw_hit_probability")
    return BatchItem(
        id=new_id("itm"),
        batch_id=batch.id,
        campaign_id=batch.campaign_id,
        position=position,
        rank=candidate["rank"],
        compound_a_id=first["id"],
        compound_b_id=second["id"],
        cell_line_id=candidate["cell_line"]["id"],
        doses_a_um=first["doses_um"],
        doses_b_um=second["doses_um"],
        plate=plate,
        predicted={
            **{name: candidate[name] for name in predicted},
            **({} if raw is None else {"raw_hit_probability": raw}),
        },
        status="pending",
    )


def _is_banned(block: Block, marks: Marks) -> bool:
    """Whether people banned ``block``; a mark on it overrules one on the whole pair."""
    return _mark_of(block, marks) == "ban"


def _mark_of(block: Block, marks: Marks) -> str | None:
    return marks.get(block) or marks.get((block[0], block[1], None))


def _final_status(batch_status: str, has_results: bool) -> str:
    if has_results:
        return "measured"
    return "missing" if batch_status == "done" else "released"


def _unavailable(candidate: dict[str, Any], reason: str) -> FieldError:
    names = " + ".join(compound["name"] for compound in candidate["compounds"])
    message = f"Rank {candidate['rank']} ({names} in {candidate['cell_line']['name']}) {reason}."
    return FieldError(code="unavailable", message=message, row=candidate["rank"])
