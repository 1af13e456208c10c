"""Which candidates an objective is about: all, or those in the cell lines that it compares; and
what the members of a set are, where sets are valued."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.acquisition.rules import Pool, RoundRules
from models.objectives.objective import PAIR, candidate_unit, lines_of
from models.screen import BoolArray, Candidates, CellLineTable, IntArray, ScreenError

_SHOWN = 5


def aim_pool(pool: Pool, lines: CellLineTable, rules: RoundRules) -> tuple[Pool, str]:
    """The pool with candidates in other cell lines excluded, and a sentence that says so (empty
    where there are none). Pins on them are let go, and the sentence says how many.

    Doing it twice changes nothing more. Raises :class:`ScreenError` for a cell line that is not
    in ``lines``.
    """
    objective = rules.objective
    if objective is None or candidate_unit(objective) != PAIR:
        return pool, ""
    wanted = lines_of(objective)
    unknown = [name for name in wanted if name not in lines.ids]
    if unknown:
        raise ScreenError(f"the objective names cell lines not in the screen: {unknown}")
    named = np.array([lines.ids.index(name) for name in wanted], dtype=np.int64)
    elsewhere = ~np.isin(pool.candidates.cell_line, named)
    if not elsewhere.any():
        return pool, ""
    others = [lines.ids[row] for row in np.unique(pool.candidates.cell_line[elsewhere])]
    shown = ", ".join(others[:_SHOWN]) + f" and {len(others) - _SHOWN} more" * (
        len(others) > _SHOWN
    )
    let_go = int((pool.pinned & elsewhere).sum())
    pins = f", {let_go} of them pinned," if let_go else ""
    words = (
        f"{int(elsewhere.sum())} candidates{pins} are in cell lines that the objective does not "
        f"compare ({shown}) and are left out."
    )
    aimed = replace(pool, pinned=pool.pinned & ~elsewhere, excluded=pool.excluded | elsewhere)
    return aimed, words


@dataclass(frozen=True)
class Members:
    """What a set is made of: single candidates, or pairs, of which each stands for its blocks.

    ``rows`` ``(p,)``: a candidate of the pool for each member. ``owner`` ``(m,)``: member of each
    candidate. ``usable``, ``waiting`` ``(p,)``: may be chosen; has its result on the way. A pair
    with some blocks in the lab and others left is not waiting: what is left completes it.
    """

    rows: IntArray
    owner: IntArray
    usable: BoolArray
    waiting: BoolArray


def set_members(
    candidates: Candidates, usable: BoolArray, waiting: BoolArray, rules: RoundRules
) -> Members:
    """The members of sets that are chosen from ``candidates``; ``usable``, ``waiting`` ``(m,)``."""
    m, objective = len(candidates), rules.objective
    if objective is None or candidate_unit(objective) != PAIR:
        return Members(np.arange(m), np.arange(m), usable, waiting)
    n = 1 + int(candidates.compounds.max(initial=0))
    keys = candidates.compounds[:, 0] * n + candidates.compounds[:, 1]
    _, rows, owner = np.unique(keys, return_index=True, return_inverse=True)
    free = np.bincount(owner[usable & ~waiting], minlength=len(rows)) > 0
    known = np.bincount(owner[waiting], minlength=len(rows)) > 0
    return Members(rows, owner, free, known & ~free)
