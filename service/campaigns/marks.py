"""Pins and bans: what people know and the model does not."""

from __future__ import annotations

from collections.abc import Sequence

from service.campaigns.repository import MarkRepository
from service.campaigns.schemas import MarkIn, MarkOut
from service.campaigns.service import CampaignService, resolve_pair
from service.campaigns.tables import Campaign, CandidateMark
from service.kit.ids import new_id
from service.kit.problems import FieldError, Invalid, NotFound
from service.kit.unit import Unit

Block = tuple[str, str, str | None]


class MarkService:
    def __init__(self, unit: Unit) -> None:
        self.session = unit.session
        self.campaigns = CampaignService(unit)
        self.marks = MarkRepository(unit.session, unit.principal)

    def write(self, campaign: Campaign, items: Sequence[MarkIn]) -> list[CandidateMark]:
        """Pin and ban, all or none. A new mark on the same block replaces the former one."""
        self.campaigns.require_not_closed(campaign)
        blocks = self._resolve(campaign, items)
        present = {_block(mark): mark for mark in self.marks.of_campaign(campaign.id)}
        written = []
        for block, item in zip(blocks, items, strict=True):
            mark = present.get(block) or self._new(campaign, block)
            present[block] = mark
            mark.mark, mark.reason = item.mark, item.reason
            written.append(mark)
        self.session.flush()
        return written

    def remove(self, campaign: Campaign, mark_id: str) -> None:
        """Take a pin or a ban back."""
        self.campaigns.require_not_closed(campaign)
        mark = self.marks.get(mark_id)
        if mark.campaign_id != campaign.id:
            raise NotFound(f"There is no mark {mark_id[:60]!r} in this campaign.")
        self.session.delete(mark)
        self.session.flush()

    def _new(self, campaign: Campaign, block: Block) -> CandidateMark:
        mark = CandidateMark(
            id=new_id("mrk"),
            campaign_id=campaign.id,
            compound_a_id=block[0],
            compound_b_id=block[1],
            cell_line_id=block[2],
            scope=block[2] or "*",
        )
        return self.marks.add(mark)

    def _resolve(self, campaign: Campaign, items: Sequence[MarkIn]) -> list[Block]:
        compounds, lines = self.campaigns.member_directories(campaign)
        allowed = self.campaigns.allowed_pairs(campaign)
        errors: list[FieldError] = []
        blocks: list[Block] = []
        seen: dict[Block, int] = {}
        for row, item in enumerate(items):
            pointer = f"/marks/{row}"
            pair = resolve_pair(compounds, item.compounds, f"{pointer}/compounds", row, errors)
            line = lines.resolve(item.cell_line) if item.cell_line else None
            if item.cell_line and line is None:
                message = lines.unknown(item.cell_line, "Add it to the campaign first.")
                errors.append(_error("unknown_cell_line", message, f"{pointer}/cell_line", row))
            if pair is None:
                continue
            if item.mark == "pin" and allowed is not None and pair not in allowed:
                message = "The campaign does not allow this pair. PATCH it with add_pairs first."
                errors.append(_error("pair_not_allowed", message, f"{pointer}/compounds", row))
            block = (*pair, line)
            if block in seen:
                message = f"The same block is marked in rows {seen[block]} and {row}; keep one."
                errors.append(_error("repeated_mark", message, pointer, row))
            seen[block] = row
            blocks.append(block)
        if errors:
            raise Invalid(f"No mark was written. {errors[0].message}", errors=errors)
        return blocks


def describe_mark(mark: CandidateMark) -> MarkOut:
    """What the outside sees of a mark."""
    return MarkOut(
        id=mark.id,
        mark=mark.mark,
        compounds=[mark.compound_a_id, mark.compound_b_id],
        cell_line=mark.cell_line_id,
        reason=mark.reason,
        created_at=mark.created_at,
    )


def _block(mark: CandidateMark) -> Block:
    return mark.compound_a_id, mark.compound_b_id, mark.cell_line_id


def _error(code: str, message: str, pointer: str, row: int) -> FieldError:
    return FieldError(code=code, message=message, pointer=pointer, row=row)
