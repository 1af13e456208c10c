"""Why a batch holds fewer blocks than asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.acquisition.plate_problem import Ledger, Plate, Problem

_SHOWN = 3


def why_short(problem: Problem, ledger: Ledger, plan: Sequence[Plate]) -> str:
    """One sentence on what keeps the rest of the usable candidates out; empty for a full batch."""
    limits = problem.limits
    missing = limits.batch - ledger.blocks
    if missing <= 0:
        return ""
    head = f"{ledger.blocks} of {limits.batch} blocks"
    left = np.flatnonzero(ledger.free)
    if not len(left):
        return f"{head}: there are no more usable candidates"
    if ledger.blocks >= limits.payable(len(plan)):
        return f"{head}: the budget of {limits.budget:g} is used up"
    reasons = _reasons(problem, ledger, left)
    if len(plan) < limits.plates and limits.payable(len(plan) + 1) <= ledger.blocks:
        reasons.append(f"the budget of {limits.budget:g} does not pay for one more plate")
    elif len(plan) >= limits.plates:
        reasons.append(_on_plates(problem, plan))
    words = "; ".join(reason for reason in reasons if reason)
    return f"{head}: {len(left)} usable candidates are left, but {words}"


def _reasons(problem: Problem, ledger: Ledger, left: np.ndarray) -> list[str]:
    pair, line = problem.pair[left], problem.line[left]
    full = (ledger.room[pair] <= 0).any(axis=1)
    full_line = ledger.line_room[line] <= 0
    shut = ~ledger.open_lines()[line]
    found = []
    if full.any():
        over = problem.compound_ids[np.unique(pair[ledger.room[pair] <= 0])]
        found.append(f"{full.sum()} hold a compound without room for more ({_named(over)})")
    if (~full & full_line).any():
        found.append(f"{(~full & full_line).sum()} are in a cell line without room for more")
    if (~full & ~full_line & shut).any():
        count = (~full & ~full_line & shut).sum()
        found.append(f"{count} are in a cell line more than the batch may have")
    return found


def _on_plates(problem: Problem, plan: Sequence[Plate]) -> str:
    """What the plates themselves have no place for."""
    limits = problem.limits
    full = [len(plate.rows) >= limits.blocks for plate in plan]
    if all(full):
        return f"all {limits.plates} plates are full"
    compounds = [len(np.unique(problem.pair[plate.rows])) for plate in plan]
    lines = [len(np.unique(problem.line[plate.rows])) for plate in plan]
    found = []
    if any(count >= limits.compounds for count in compounds):
        found.append(f"plates hold their {limits.compounds} compounds")
    if any(count >= limits.lines for count in lines):
        found.append(f"plates hold their {limits.lines} cell line(s)")
    if problem.apart is not None:
        found.append("some compounds must not meet")
    return " and ".join(found)


def _named(compounds: np.ndarray) -> str:
    shown = ", ".join(str(int(one)) for one in compounds[:_SHOWN])
    return f"compound {shown}" + f" and {len(compounds) - _SHOWN} more" * (len(compounds) > _SHOWN)
