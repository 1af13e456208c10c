"""Rules of campaigns: what may be combined, and how a campaign lives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from service.campaigns.goal_lines import acquisition_of, check_acquisition, goal_of
from service.campaigns.laboratory import lab_of
from service.campaigns.repository import (
    CampaignCellLineRepository,
    CampaignCompoundRepository,
    CampaignPairRepository,
    CampaignRepository,
)
from service.campaigns.schemas import (
    CampaignCompoundIn,
    CampaignIn,
    CampaignPatch,
    Learning,
    Limits,
    Objective,
)
from service.campaigns.sources import SourceService
from service.campaigns.tables import Campaign, CampaignCellLine, CampaignCompound
from service.cell_lines.repository import CellLineRepository
from service.compounds.repository import AliasRepository
from service.kit.audit.recorder import record
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.names import NameDirectory
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit

_NEXT_STATUS = {
    "draft": {"open", "closed"},
    "open": {"paused", "closed"},
    "paused": {"open", "closed"},
    "closed": set[str](),
}


class CampaignService:
    def __init__(self, unit: Unit) -> None:
        self.session = unit.session
        self.unit = unit
        self.campaigns = CampaignRepository(unit.session, unit.principal)
        self.compounds = CampaignCompoundRepository(unit.session, unit.principal)
        self.cell_lines = CampaignCellLineRepository(unit.session, unit.principal)
        self.pairs = CampaignPairRepository(unit.session, unit.principal)
        self.sources = SourceService(unit)

    def create(self, body: CampaignIn) -> Campaign:
        """Open a campaign over registered compounds and cell lines."""
        compound_ids = self._resolve_compounds(
            [item.compound for item in body.compounds], "/compounds"
        )
        line_ids = self._resolve_lines(body.cell_lines, "/cell_lines")
        campaign = Campaign(id=new_id("cam"), name=body.name, status=body.status, note=body.note)
        campaign.all_pairs, campaign.repeat_earlier = body.pairs is None, body.repeat_earlier
        goal = self._goal(body.objective, set(line_ids))
        _set_objective(campaign, body.objective, goal)
        _set_limits(campaign, body.limits, self._laboratory(body.limits, set(compound_ids)))
        _set_learning(campaign, body.learning)
        _check_acquisition(campaign)
        self.campaigns.add(campaign)
        self.session.flush()
        self._add_compounds(campaign, body.compounds, compound_ids, body.common_doses())
        self._add_lines(campaign, line_ids)
        if body.pairs is not None:
            self._add_pairs(campaign, body.pairs, "/pairs")
        self.sources.replace(campaign, body.learn_from)
        return campaign

    def patch(self, campaign: Campaign, change: CampaignPatch) -> Campaign:
        """Change a campaign; compounds, cell lines and pairs are only ever added."""
        self.require_not_closed(campaign)
        # First, and once: every flush of a changed campaign would count as a version.
        lab = goal = None
        if change.limits is not None:
            lab = self._laboratory(change.limits, self._members_after(campaign, change))
        if change.objective is not None:
            goal = self._goal(change.objective, self._lines_after(campaign, change))
        if change.status is not None and change.status != campaign.status:
            _check_transition(campaign.status, change.status)
            campaign.status = change.status
        campaign.name = change.name or campaign.name
        if "note" in change.model_fields_set:
            campaign.note = change.note
        if change.objective is not None:
            _set_objective(campaign, change.objective, goal)
        if change.limits is not None:
            _set_limits(campaign, change.limits, lab)
        if change.learning is not None:
            _set_learning(campaign, change.learning)
        _check_acquisition(campaign)
        if change.repeat_earlier is not None:
            campaign.repeat_earlier = change.repeat_earlier
        campaign.updated_at = utcnow()
        self.session.flush()
        self._extend(campaign, change)
        if change.learn_from is not None:
            self.sources.replace(campaign, change.learn_from)
        return campaign

    def require_not_closed(self, campaign: Campaign) -> None:
        """A closed campaign is history: nothing in it changes."""
        if campaign.status == "closed":
            raise Conflict(f"Campaign {campaign.name!r} is closed; nothing in it can change.")

    def require_open(self, campaign: Campaign, what: str) -> None:
        """Only an open campaign moves on."""
        if campaign.status != "open":
            raise Conflict(
                f"Campaign {campaign.name!r} is {campaign.status}; {what} needs it open. "
                f'PATCH it with {{"status": "open"}}.'
            )

    def n_pairs(self, campaign: Campaign, n_compounds: int) -> int:
        """How many pairs may be proposed."""
        if campaign.all_pairs:
            return n_compounds * (n_compounds - 1) // 2
        return self.pairs.count(campaign.id)

    def allowed_pairs(self, campaign: Campaign) -> set[tuple[str, str]] | None:
        """The pairs that may be proposed, ids in ascending order; nothing where all may."""
        return None if campaign.all_pairs else set(self.pairs.pairs(campaign.id))

    def member_directories(self, campaign: Campaign) -> tuple[NameDirectory, NameDirectory]:
        """Names and ids of the campaign's compounds and cell lines, with all aliases."""
        compounds = {row[0] for row in self.compounds.members(campaign.id)}
        lines = {row[0] for row in self.cell_lines.members(campaign.id)}
        aliases = AliasRepository(self.session, self.unit.principal).everything()
        known = CellLineRepository(self.session, self.unit.principal).everything()
        return (
            NameDirectory("compound of the campaign", [r for r in aliases if r[2] in compounds]),
            NameDirectory("cell line of the campaign", [r for r in known if r[2] in lines]),
        )

    def _laboratory(self, limits: Limits, members: set[str]) -> dict[str, Any] | None:
        """What the laboratory can do, with the ids of ``members``."""
        aliases = AliasRepository(self.session, self.unit.principal).everything()
        rows = [row for row in aliases if row[2] in members]
        errors: list[FieldError] = []
        lab = lab_of(limits, NameDirectory("compound of the campaign", rows), errors)
        _refuse(errors)
        return lab

    def _goal(self, objective: Objective, members: set[str]) -> dict[str, Any] | None:
        """What is sought, with the ids of cell lines, which are among ``members``."""
        known = CellLineRepository(self.session, self.unit.principal).everything()
        lines = NameDirectory("cell line of the campaign", [r for r in known if r[2] in members])
        errors: list[FieldError] = []
        goal = goal_of(objective.goal, lines, errors)
        _refuse(errors)
        return goal

    def _lines_after(self, campaign: Campaign, change: CampaignPatch) -> set[str]:
        """The cell lines that the campaign will have."""
        members = {row[0] for row in self.cell_lines.members(campaign.id)}
        known = CellLineRepository(self.session, self.unit.principal).everything()
        directory = NameDirectory("cell line", known)
        added = (directory.resolve(name) for name in change.add_cell_lines)
        return members | {identifier for identifier in added if identifier is not None}

    def _members_after(self, campaign: Campaign, change: CampaignPatch) -> set[str]:
        """The compounds that the campaign will have."""
        members = {row[0] for row in self.compounds.members(campaign.id)}
        aliases = AliasRepository(self.session, self.unit.principal)
        directory = NameDirectory("compound", aliases.everything())
        added = (directory.resolve(item.compound) for item in change.add_compounds)
        return members | {identifier for identifier in added if identifier is not None}

    def _extend(self, campaign: Campaign, change: CampaignPatch) -> None:
        if change.add_compounds:
            present = {row[0] for row in self.compounds.members(campaign.id)}
            names = [item.compound for item in change.add_compounds]
            ids = self._resolve_compounds(names, "/add_compounds", present)
            self._add_compounds(campaign, change.add_compounds, ids, None, "/add_compounds")
        if change.add_cell_lines:
            lines = {row[0] for row in self.cell_lines.members(campaign.id)}
            self._add_lines(
                campaign, self._resolve_lines(change.add_cell_lines, "/add_cell_lines", lines)
            )
        if change.add_pairs:
            if campaign.all_pairs:
                raise Conflict("This campaign allows all pairs already; there is nothing to add.")
            self._add_pairs(campaign, change.add_pairs, "/add_pairs")

    def _resolve_compounds(
        self, names: Sequence[str], pointer: str, present: Iterable[str] = ()
    ) -> list[str]:
        aliases = AliasRepository(self.session, self.unit.principal)
        directory = NameDirectory("compound", aliases.everything())
        return _resolve(directory, names, pointer, "Register it with POST /v1/compounds.", present)

    def _resolve_lines(
        self, names: Sequence[str], pointer: str, present: Iterable[str] = ()
    ) -> list[str]:
        lines = CellLineRepository(self.session, self.unit.principal)
        directory = NameDirectory("cell line", lines.everything())
        return _resolve(directory, names, pointer, "Register it with POST /v1/cell-lines.", present)

    def _add_compounds(
        self,
        campaign: Campaign,
        chosen: Sequence[CampaignCompoundIn],
        ids: Sequence[str],
        common: list[float] | None,
        pointer: str = "/compounds",
    ) -> None:
        errors = []
        for row, (item, identifier) in enumerate(zip(chosen, ids, strict=True)):
            doses = item.doses_um or common
            if doses is None:
                errors.append(_no_doses(item.compound, pointer, row))
                continue
            self.compounds.add(
                CampaignCompound(
                    campaign_id=campaign.id, compound_id=identifier, doses_um=sorted(set(doses))
                )
            )
        _refuse(errors)
        self.session.flush()

    def _add_lines(self, campaign: Campaign, ids: Sequence[str]) -> None:
        for identifier in ids:
            self.cell_lines.add(CampaignCellLine(campaign_id=campaign.id, cell_line_id=identifier))
        self.session.flush()

    def _add_pairs(self, campaign: Campaign, pairs: Sequence[list[str]], pointer: str) -> None:
        directory, _ = self.member_directories(campaign)
        known = set(self.pairs.pairs(campaign.id))
        added: list[tuple[str, str]] = []
        errors: list[FieldError] = []
        for row, pair in enumerate(pairs):
            resolved = resolve_pair(directory, pair, f"{pointer}/{row}", row, errors)
            if resolved is None:
                continue
            if resolved in known:
                message = f"{pair[0]} + {pair[1]} is listed twice; the order does not matter."
                errors.append(_error("repeated_pair", message, f"{pointer}/{row}", row))
            known.add(resolved)
            added.append(resolved)
        _refuse(errors)
        self.pairs.insert(campaign.id, added)
        record(
            self.session, "campaign.pairs_added", "campaign", campaign.id, new={"pairs": len(added)}
        )


def resolve_pair(
    directory: NameDirectory,
    pair: Sequence[str],
    pointer: str,
    row: int,
    errors: list[FieldError],
) -> tuple[str, str] | None:
    """The two compound ids in ascending order; otherwise ``errors`` says what is wrong."""
    ids = [directory.resolve(name) for name in pair]
    for place, (name, identifier) in enumerate(zip(pair, ids, strict=True)):
        if identifier is None:
            fix = "Add it to the campaign first."
            message = directory.unknown(name, fix)
            errors.append(_error("unknown_compound", message, f"{pointer}/{place}", row))
    if None in ids:
        return None
    first, second = sorted(str(identifier) for identifier in ids)
    if first == second:
        message = f"{pair[0]!r} and {pair[1]!r} are the same compound; a pair needs two."
        errors.append(_error("same_compound", message, pointer, row))
        return None
    return first, second


def _set_objective(campaign: Campaign, objective: Objective, goal: dict[str, Any] | None) -> None:
    campaign.score, campaign.hit_threshold = objective.score, objective.threshold()
    campaign.goal = goal


def _set_limits(campaign: Campaign, limits: Limits, lab: dict[str, Any] | None) -> None:
    campaign.batch_size, campaign.max_per_compound = limits.batch_size, limits.max_per_compound
    campaign.lab = lab


def _set_learning(campaign: Campaign, learning: Learning) -> None:
    campaign.model = learning.model
    campaign.acquisition = acquisition_of(learning, campaign.goal)
    campaign.kappa, campaign.xi = learning.kappa, learning.xi
    campaign.top_k, campaign.rounds_planned = learning.top_k, learning.rounds_planned


def _check_acquisition(campaign: Campaign) -> None:
    wrong = check_acquisition(campaign.acquisition, campaign.goal, "/learning/acquisition")
    _refuse([] if wrong is None else [wrong])


def _check_transition(present: str, wanted: str) -> None:
    if wanted not in _NEXT_STATUS[present]:
        allowed = ", ".join(sorted(_NEXT_STATUS[present])) or "nothing"
        raise Conflict(f"A campaign that is {present} cannot become {wanted}, only {allowed}.")


def _resolve(
    directory: NameDirectory,
    names: Sequence[str],
    pointer: str,
    fix: str,
    present: Iterable[str],
) -> list[str]:
    seen = dict.fromkeys(present, "")
    errors, ids = [], []
    for row, name in enumerate(names):
        identifier = directory.resolve(name)
        if identifier is None:
            code, message = (
                f"unknown_{directory.noun.replace(' ', '_')}",
                directory.unknown(name, fix),
            )
            errors.append(_error(code, message, f"{pointer}/{row}", row))
            continue
        if identifier in seen:
            message = f"{name!r} is in the campaign twice (as {seen[identifier] or identifier!r})."
            errors.append(_error("repeated", message, f"{pointer}/{row}", row))
        seen[identifier] = repr(name)
        ids.append(identifier)
    _refuse(errors)
    return ids


def _no_doses(name: str, pointer: str, row: int) -> FieldError:
    message = f"{name!r} has no doses. Give doses_um for this compound"
    if pointer == "/compounds":
        message += ", or doses_um or dose_range for the campaign"
    return _error("doses", f"{message}.", f"{pointer}/{row}/doses_um", row)


def _error(code: str, message: str, pointer: str, row: int) -> FieldError:
    return FieldError(code=code, message=message, pointer=pointer, row=row)


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        more = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
        raise Invalid(f"{errors[0].message}{more}", errors=errors)
