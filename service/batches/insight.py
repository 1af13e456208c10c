"""Questions to a recommendation: why this one, what instead of it, and what if."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.batches.bench import Bench, BrokenLimit, Spot
from service.batches.hit_counts import HitCount, count_hits, unpack_chances
from service.batches.repository import RecommendationRepository
from service.batches.schemas import AskedCandidate, DryRunIn
from service.batches.service import BatchService, block_of, choose
from service.batches.tables import Recommendation
from service.campaigns.service import CampaignService, resolve_pair
from service.datasets.explaining import Mechanisms
from service.kit.problems import Conflict, FieldError, Invalid, NotFound
from service.kit.unit import Unit
from service.learning.repository import FittedModelRepository

BY_ORDER = frozenset({"thompson", "random", "space_filling"})
"""Acquisitions whose values are places in an order, not worth."""
MOST_RELATED, MOST_ALTERNATIVES = 5, 100
_SHARED = ("both compounds", "one compound, same cell line", "one compound")

Candidate = dict[str, Any]


class Question:
    """A recommendation with its candidates, ready to be asked."""

    def __init__(self, unit: Unit, recommendation: Recommendation) -> None:
        self.unit, self.recommendation = unit, recommendation
        self.batches = BatchService(unit)
        self.campaign = CampaignService(unit).campaigns.get(recommendation.campaign_id)
        self.candidates = self.batches.candidates_of(recommendation)
        self.bench = Bench.of(recommendation, self.candidates)
        self.batch = choose(self.candidates, None)

    @classmethod
    def about(cls, unit: Unit, recommendation_id: str) -> Question:
        """Of this workspace's own recommendations."""
        found = RecommendationRepository(unit.session, unit.principal).get(recommendation_id)
        return cls(unit, found)

    def candidate(self, rank: int) -> Candidate:
        """The candidate with this rank."""
        if not 1 <= rank <= len(self.candidates):
            raise NotFound(f"This recommendation ranks 1 to {len(self.candidates)}.")
        return self.candidates[rank - 1]

    @property
    def ranked_by(self) -> str:
        step = self.recommendation.step or {}
        return str(step.get("acquisition") or self.recommendation.rules.get("acquisition"))

    @property
    def is_order_only(self) -> bool:
        """Whether the values that rank are places in an order."""
        mixed = 0 < (self.recommendation.step or {}).get("explore_share", 0) < 1
        return mixed or self.ranked_by in BY_ORDER

    def why(self, rank: int) -> dict[str, Any]:
        """Why a candidate is in the batch, or is not."""
        candidate = self.candidate(rank)
        value = candidate["acquisition"]
        place = 1 + sum(other["acquisition"] > value for other in self.candidates)
        free = [one for one in self.batch if not one.get("pinned")]
        lowest = min(free, key=lambda one: one["acquisition"], default=None)
        kept_out = [] if candidate["in_batch"] else self._kept_out(candidate, lowest)
        decided, words = self._decided(candidate, place, lowest, kept_out)
        unavailable = self.batches.unavailable(self.campaign, [candidate]).get(rank)
        return {
            "recommendation_id": self.recommendation.id,
            "candidate": candidate,
            "decided_by": decided,
            "words": words,
            "ranked_by": self.ranked_by,
            "why_ranked_so": (self.recommendation.step or {}).get("reason"),
            "place": place,
            "n_ranked": len(self.candidates),
            "lowest_in_batch": None if lowest is None else lowest["acquisition"],
            "kept_out_by": kept_out,
            "unavailable": None if unavailable is None else unavailable.message,
            "nearest_measured": candidate["nearest_measured"],
            "related": self._related(candidate),
            "mechanisms": self._mechanisms(candidate),
        }

    def _mechanisms(self, candidate: Candidate) -> list[dict[str, Any]]:
        """What attached data sets say of the pair."""
        pair = [compound["id"] for compound in candidate["compounds"]]
        return Mechanisms(self.unit, self.campaign.id).of_pair(pair)

    def alternatives(self, rank: int, within: float) -> dict[str, Any]:
        """What of nearly equal value could take the place of a candidate of the batch."""
        candidate = self.candidate(rank)
        if not candidate["in_batch"]:
            raise Conflict(f"Rank {rank} is not in the batch, so nothing can take its place.")
        name = "hit_probability" if self.is_order_only else "acquisition"
        value = candidate[name]
        least = value - within * abs(value)
        outside = [one for one in self.candidates if not one["in_batch"] and one[name] >= least]
        taken = self.batches.unavailable(self.campaign, outside)
        found = [
            {
                "candidate": one,
                "value": one[name],
                "difference": one[name] - value,
                "plate": candidate.get("plate"),
            }
            for one in outside
            if one["rank"] not in taken and not self._breaks(one, candidate)
        ]
        found.sort(key=lambda one: (-one["value"], one["candidate"]["rank"]))
        return {
            "recommendation_id": self.recommendation.id,
            "rank": rank,
            "compared_by": name,
            "value": value,
            "within": within,
            "items": found[:MOST_ALTERNATIVES],
        }

    def dry_run(self, body: DryRunIn) -> dict[str, Any]:
        """What a choice of candidates would give, cost and break. Nothing is written."""
        chosen = (
            choose(self.candidates, body.ranks)
            if body.candidates is None
            else self._named(body.candidates)
        )
        if not chosen:
            raise Conflict("The recommended batch is empty; name ranks.")
        spots = self.bench.lay_out(map(Spot.of, chosen))
        compounds = {name for spot in spots for name in spot.compounds}
        priced = any(self.bench.limits.get(name) for name in ("plate_cost", "block_cost"))
        taken = self.batches.unavailable(self.campaign, chosen)
        return {
            "recommendation_id": self.recommendation.id,
            "ranks": [one["rank"] for one in chosen],
            "expected_hits": self._hits(chosen),
            "recommended": self._hits(self.batch),
            "forecast": _forecast(chosen),
            "n_compounds": len(compounds),
            "compounds": self._called(compounds),
            "cell_lines": self._called({spot.cell_line for spot in spots}),
            "plates": self._plates(spots),
            "cost": self.bench.cost(spots) if priced else None,
            "broken_limits": self.bench.broken(spots),
            "unavailable": [error.message for error in taken.values()],
        }

    @property
    def is_short(self) -> bool:
        """Whether the batch holds fewer than asked for."""
        asked = self.bench.limits.get("batch")
        return asked is not None and len(self.batch) < asked

    def _kept_out(self, candidate: Candidate, lowest: Candidate | None) -> list[BrokenLimit]:
        """What would break if ``candidate`` was added where there is room, or else took the place
        of the lowest of the batch."""
        if lowest is not None and not self.is_short:
            return self._breaks(candidate, lowest)
        spots = [Spot.of(one) for one in self.batch]
        return self._new([*spots, self._placed(candidate, spots, None)], spots)

    def _breaks(self, newcomer: Candidate, leaver: Candidate) -> list[BrokenLimit]:
        """Limits that the batch breaks once the one has taken the other's place."""
        spots = [Spot.of(one) for one in self.batch]
        rest = [Spot.of(one) for one in self.batch if one["rank"] != leaver["rank"]]
        return self._new([*rest, self._placed(newcomer, rest, leaver.get("plate"))], spots)

    def _placed(self, newcomer: Candidate, rest: Sequence[Spot], plate: int | None) -> Spot:
        a, b, line = block_of(newcomer)
        spot = Spot((a, b), line, plate)
        if plate is None and self.bench.has_plates:
            return Spot((a, b), line, self.bench.plate_for(spot, rest))
        return spot

    def _new(self, spots: Sequence[Spot], before: Sequence[Spot]) -> list[BrokenLimit]:
        known = {(one.limit, one.subject) for one in self.bench.broken(before)}
        return [b for b in self.bench.broken(spots) if (b.limit, b.subject) not in known]

    def _decided(
        self,
        candidate: Candidate,
        place: int,
        lowest: Candidate | None,
        kept_out: Sequence[BrokenLimit],
    ) -> tuple[str, str]:
        size, of = len(self.batch), f"{len(self.candidates)} ranked candidates"
        order = f"It is number {place} of {of} by {self.ranked_by}"
        if candidate["in_batch"]:
            if candidate.get("pinned"):
                return "pin", f"It is pinned, so it is in the batch first. {order}."
            if place <= size:
                return "value", f"{order}, and the batch holds {size}."
            why = "others before it were kept out by limits or made way for pinned ones"
            return "limits", f"{order}; the batch of {size} reaches it because {why}."
        said = " ".join(one.message for one in kept_out)
        if self.is_short and kept_out:
            return "limits", f"{order}. The batch has room, but no place for it. {said}"
        pinned = sum(bool(one.get("pinned")) for one in self.batch)
        if pinned and place <= size + (lowest is None) * len(self.candidates):
            return "pin", f"{order}; {pinned} of {size} places went to pinned candidates."
        if lowest is None or candidate["acquisition"] < lowest["acquisition"]:
            if self.is_order_only or lowest is None:
                return "value", f"{order}, after everything in the batch."
            worst = f"the lowest of the batch has {lowest['acquisition']:g}"
            return "value", f"{order} with {candidate['acquisition']:g}; {worst}."
        if kept_out:
            but = "but it cannot take the place of the lowest of the batch"
            return "limits", f"{order}, {but}. {said}"
        return "order", f"{order}; as good as the lowest of the batch, and not before it."

    def _related(self, candidate: Candidate) -> list[dict[str, Any]]:
        """Measured blocks with the same compounds, the closest first."""
        if self.recommendation.model_id is None:
            return []
        models = FittedModelRepository(self.unit.session, self.unit.principal)
        model = models.get(self.recommendation.model_id)
        a, b, line = block_of(candidate)
        found = []
        for block in json.loads(self.unit.parts.artifacts.get(model.blocks)):
            shared = len({a, b} & set(block["compounds"]))
            if shared:
                kind = 0 if shared == 2 else 1 if block["cell_line"] == line else 2
                found.append((kind, block))
        found.sort(key=lambda entry: entry[0])
        return [
            {
                **{name: block[name] for name in ("score", "standard_error", "is_hit")},
                "compounds": block["compound_names"],
                "cell_line": block["cell_line_name"],
                "shared": _SHARED[kind],
            }
            for kind, block in found[:MOST_RELATED]
        ]

    def _hits(self, chosen: Sequence[Candidate]) -> HitCount:
        stated = [one["hit_probability"] for one in chosen]
        packed = self.batches.recommendations.worlds(self.recommendation.id)
        if packed is None:
            return count_hits([stated], sum(stated))
        rows = [one["rank"] - 1 for one in chosen]
        return count_hits(unpack_chances(packed, len(self.candidates), rows), sum(stated))

    def _named(self, asked: Sequence[AskedCandidate]) -> list[Candidate]:
        """The ranked candidates that are meant; raises with every row that is none."""
        compounds, lines = self.batches.campaigns.member_directories(self.campaign)
        ranked = {block_of(one): one for one in self.candidates}
        errors: list[FieldError] = []
        found: list[Candidate] = []
        seen: set[int] = set()
        for row, item in enumerate(asked):
            pointer = f"/candidates/{row}"
            pair = resolve_pair(compounds, item.compounds, f"{pointer}/compounds", row, errors)
            line = lines.resolve(item.cell_line)
            if line is None:
                message = lines.unknown(item.cell_line, "It must be in the campaign.")
                errors.append(_error("unknown_cell_line", message, f"{pointer}/cell_line", row))
            if pair is None or line is None:
                continue
            one = ranked.get((*pair, line))
            if one is None or one["rank"] in seen:
                why = "is not among the ranked candidates" if one is None else "is named twice"
                message = f"{' + '.join(item.compounds)} in {item.cell_line} {why}."
                errors.append(_error("candidate", message, pointer, row))
            else:
                seen.add(one["rank"])
                found.append(one)
        if errors:
            raise Invalid(errors[0].message, errors=errors)
        return found

    def _plates(self, spots: Sequence[Spot]) -> list[dict[str, Any]]:
        plates: dict[int, list[Spot]] = {}
        for spot in spots:
            if spot.plate is not None:
                plates.setdefault(spot.plate, []).append(spot)
        return [
            {
                "plate": number,
                "n_blocks": len(plates[number]),
                "compounds": self._called({c for spot in plates[number] for c in spot.compounds}),
                "cell_lines": self._called({spot.cell_line for spot in plates[number]}),
            }
            for number in sorted(plates)
        ]

    def _called(self, ids: set[str]) -> list[str]:
        return sorted(self.bench.names[identifier] for identifier in ids)


def _forecast(chosen: Sequence[Candidate]) -> dict[str, float]:
    means = [one["mean"] for one in chosen]
    return {
        "mean": sum(means) / len(means),
        "highest": max(means),
        "sd": sum(one["sd"] for one in chosen) / len(chosen),
        "hit_probability": sum(one["hit_probability"] for one in chosen) / len(chosen),
    }


def _error(code: str, message: str, pointer: str, row: int) -> FieldError:
    return FieldError(code=code, message=message, pointer=pointer, row=row)


def learning_curve(unit: Unit, campaign_id: str) -> dict[str, Any]:
    """Hits by round as the latest recommendation with a model knew them."""
    campaign = CampaignService(unit).campaigns.get(campaign_id)
    recommendations = RecommendationRepository(unit.session, unit.principal)
    latest = recommendations.latest_with_curve(campaign.id)
    if latest is None:
        raise Conflict(
            "No recommendation of this campaign had a model and blocks that the campaign measured "
            "itself. Measure blocks, then POST "
            f"/v1/campaigns/{campaign.id}/recommendations."
        )
    return {
        "campaign_id": campaign.id,
        "recommendation_id": latest.id,
        "as_of": latest.created_at,
        "hit_threshold": latest.rules["hit_threshold"],
        "rounds": latest.curve,
        "outlook": latest.outlook,
        "earlier": latest.earlier,
    }
