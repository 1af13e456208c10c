"""Whose the wells of a snapshot are: the campaign's own, or those of campaigns it learns from.

Compounds and cell lines that only earlier campaigns have are strangers: they teach the model, and
nothing with them is ever proposed. Imported by workers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.screen import BoolArray, Candidates, IntArray, Screen
from service.campaigns.repository import CampaignSourceRepository
from service.cell_lines.repository import CellLineRepository
from service.compounds.repository import CompoundRepository
from service.kit.unit import Unit


@dataclass(frozen=True)
class Origin:
    """``campaigns``: ids, the campaign itself first. ``well`` ``(n,)``: position in ``campaigns``
    of each well. ``strangers``: ids of compounds and cell lines that are not the campaign's."""

    campaigns: tuple[str, ...]
    well: IntArray
    strangers: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        """All but the wells."""
        return {"campaigns": list(self.campaigns), "strangers": sorted(self.strangers)}

    @classmethod
    def of_json(cls, said: Mapping[str, Any], well: IntArray) -> Origin:
        """Inverse of :meth:`to_json`."""
        return cls(tuple(said["campaigns"]), well, frozenset(said["strangers"]))

    def names(self, known: Mapping[str, str]) -> dict[str, str]:
        """What the earlier campaigns are called."""
        return {identifier: known[identifier] for identifier in self.campaigns[1:]}

    def members(self, ids: Sequence[str]) -> BoolArray:
        """``(len(ids),)`` which compounds or lines of a screen are the campaign's own."""
        return np.array([identifier not in self.strangers for identifier in ids], dtype=bool)

    def inside(self, screen: Screen, at: Candidates) -> BoolArray:
        """``(len(at),)`` which blocks are of the campaign's own compounds and lines."""
        compounds, lines = self.members(screen.compounds.ids), self.members(screen.cell_lines.ids)
        return np.asarray(compounds[at.compounds].all(axis=1) & lines[at.cell_line])

    def measured_by(self, screen: Screen, at: Candidates) -> BoolArray:
        """``(len(at), len(campaigns))`` which campaigns have wells of each block."""
        n = len(screen.compounds)
        keys = at.keys(n)
        return np.stack(
            [np.isin(keys, self.pairs(screen, row).keys(n)) for row in range(len(self.campaigns))],
            axis=1,
        )

    def pairs(self, screen: Screen, campaign: int) -> Candidates:
        """The block of every well with two compounds that this campaign has, one for each well."""
        rows = (screen.wells.n_compounds == 2) & (self.well == campaign)
        return Candidates(screen.wells.compounds[rows, :2], screen.wells.cell_line[rows])


@dataclass(frozen=True)
class Strangers:
    """Names by id of what only earlier campaigns have."""

    compounds: dict[str, str]
    lines: dict[str, str]


def source_names(unit: Unit, campaign_id: str) -> dict[str, str]:
    """Id and name of each campaign that one learns from."""
    sources = CampaignSourceRepository(unit.session, unit.principal).sources(campaign_id)
    return {row[0]: row[1] for row in sources}


def strangers_in(unit: Unit, rows: Sequence[Any], members: Mapping[str, str]) -> Strangers:
    """What ``rows`` of wells (line, three compounds and more) hold beside the ``members``."""
    lines = {row[0] for row in rows} - members.keys()
    compounds = {one for row in rows for one in row[1:4] if one is not None} - members.keys()
    found = CompoundRepository(unit.session, unit.principal).get_many(sorted(compounds))
    known = CellLineRepository(unit.session, unit.principal).get_many(sorted(lines))
    return Strangers(
        {identifier: row.name for identifier, row in found.items()},
        {identifier: row.name for identifier, row in known.items()},
    )


def origin_of(campaigns: Sequence[str], own: str, strange: Strangers) -> Origin | None:
    """From the campaign of each well; nothing where all wells are the campaign's ``own``."""
    others = sorted(set(campaigns) - {own})
    if not others:
        return None
    row = {identifier: number for number, identifier in enumerate((own, *others))}
    well = np.array([row[identifier] for identifier in campaigns], dtype=np.int64)
    return Origin(tuple(row), well, frozenset([*strange.compounds, *strange.lines]))
