"""Everything that could be measured next, and what people and the lab say about it.

Imported by workers only: it needs the models' types.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.rounds import Earlier, Pool
from models.screen import Candidates, Screen
from service.batches.repository import BatchItemRepository
from service.campaigns.repository import CampaignPairRepository, CampaignRepository, MarkRepository
from service.campaigns.tables import CandidateMark
from service.kit.unit import Unit
from service.learning.origin import Origin
from service.learning.snapshots import Snapshot

Ints = NDArray[np.int64]


def read_pool(unit: Unit, campaign_id: str, snapshot: Snapshot) -> Pool:
    """The campaign's pairs in its cell lines, with pins, bans and pending blocks marked.

    What only earlier campaigns have is in the screen, and never in the pool.
    """
    screen, origin = snapshot.screen, snapshot.origin
    campaign = CampaignRepository(unit.session, unit.principal).get(campaign_id)
    pairs = CampaignPairRepository(unit.session, unit.principal)
    rows = None if campaign.all_pairs else pairs.pairs(campaign_id)
    members = [
        np.flatnonzero(np.ones(len(ids), bool) if origin is None else origin.members(ids))
        for ids in (screen.compounds.ids, screen.cell_lines.ids)
    ]
    candidates = _candidates(screen, rows, *members)
    marks = MarkRepository(unit.session, unit.principal).of_campaign(campaign_id)
    pending = BatchItemRepository(unit.session, unit.principal).pending_blocks(campaign_id)
    keys = candidates.keys(len(screen.compounds))
    index = _Index(screen)
    in_lab = np.isin(keys, index.keys(pending))
    excluded = in_lab | _marked(index, candidates, keys, marks, "ban")
    # A pinned block that is in the lab already is on its way: there is nothing left to pin.
    pinned = _marked(index, candidates, keys, marks, "pin") & ~excluded
    if origin is None:
        return Pool(candidates, pinned, excluded, in_lab)
    again = np.full(len(candidates), campaign.repeat_earlier) | pinned
    earlier = _earlier(screen, origin, candidates, again)
    return Pool(candidates, pinned, excluded, in_lab, earlier)


def _earlier(
    screen: Screen, origin: Origin, candidates: Candidates, again: NDArray[np.bool_]
) -> Earlier:
    """What the screen holds of others; ``again``: candidates that would be measured once more."""
    own = origin.pairs(screen, 0)
    done = np.isin(candidates.keys(len(screen.compounds)), own.keys(len(screen.compounds)))
    return Earlier(
        origin.members(screen.compounds.ids),
        origin.members(screen.cell_lines.ids),
        own,
        again & ~done,
    )


def _candidates(
    screen: Screen, pairs: Sequence[tuple[str, str]] | None, compounds: Ints, lines: Ints
) -> Candidates:
    """``compounds``, ``lines``: rows of the campaign's own."""
    if pairs is None:
        a, b = np.triu_indices(len(compounds), k=1)
        first, second = compounds[a], compounds[b]
    else:
        row_of = {identifier: row for row, identifier in enumerate(screen.compounds.ids)}
        # Sorted, so that the pool does not depend on the order of the rows in the database.
        known = sorted((row_of[a], row_of[b]) for a, b in pairs if a in row_of and b in row_of)
        first, second = np.array(known, dtype=np.int64).reshape(-1, 2).T
    return Candidates.of(
        np.repeat(first, len(lines)),
        np.repeat(second, len(lines)),
        np.tile(lines, len(first)),
    )


class _Index:
    """Ids to the keys of :meth:`Candidates.keys`."""

    def __init__(self, screen: Screen) -> None:
        self.compounds = {name: row for row, name in enumerate(screen.compounds.ids)}
        self.lines = {name: row for row, name in enumerate(screen.cell_lines.ids)}

    def keys(self, blocks: Iterable[tuple[str, str, str]]) -> Ints:
        """Keys of those ``blocks`` whose members are in the screen."""
        rows = [
            (self.compounds[a], self.compounds[b], self.lines[line])
            for a, b, line in blocks
            if a in self.compounds and b in self.compounds and line in self.lines
        ]
        a, b, line = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        return Candidates.of(a, b, line).keys(len(self.compounds))


def _marked(
    index: _Index, candidates: Candidates, keys: Ints, marks: Sequence[CandidateMark], mark: str
) -> NDArray[np.bool_]:
    """Which candidates carry ``mark``; a mark on one block overrules one on the whole pair."""
    chosen = np.zeros(len(candidates), dtype=bool)
    pair_keys = candidates.compounds @ np.array([len(index.compounds), 1], dtype=np.int64)
    for whole_pair in (True, False):
        for value in ("pin", "ban"):
            subset = [
                m for m in marks if (m.cell_line_id is None) == whole_pair and m.mark == value
            ]
            if whole_pair:
                codes = [
                    min(index.compounds[m.compound_a_id], index.compounds[m.compound_b_id])
                    * len(index.compounds)
                    + max(index.compounds[m.compound_a_id], index.compounds[m.compound_b_id])
                    for m in subset
                    if m.compound_a_id in index.compounds and m.compound_b_id in index.compounds
                ]
                hit = np.isin(pair_keys, np.array(codes, dtype=np.int64))
            else:
                blocks = [(m.compound_a_id, m.compound_b_id, str(m.cell_line_id)) for m in subset]
                hit = np.isin(keys, index.keys(blocks))
            chosen[hit] = value == mark
    return chosen
