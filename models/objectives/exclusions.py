"""What a score left out, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, Candidates, Screen, Wells


@dataclass(frozen=True)
class Exclusion:
    """Wells and blocks that were not scored, with the reason in words."""

    reason: str
    n_blocks: int
    n_wells: int


def explain_exclusions(screen: Screen, pairs: Wells, missing: BoolArray) -> tuple[Exclusion, ...]:
    """Reasons for all that a score leaves out.

    ``missing``: ``(len(pairs), 2)``, true where the compound has no single-agent wells in the
    cell line. A block that lacks both compounds is listed under each.
    """
    listed = []
    n = len(screen.compounds)
    unmeasured = pairs.compounds[:, :2] * len(screen.cell_lines) + pairs.cell_line[:, None]
    blocks = Candidates(pairs.compounds[:, :2], pairs.cell_line).keys(n)
    for key in np.unique(unmeasured[missing]):
        compound, cell_line = divmod(int(key), len(screen.cell_lines))
        rows = ((unmeasured == key) & missing).any(axis=1)
        reason = (
            f"{screen.compounds.ids[compound]} was never measured alone in "
            f"{screen.cell_lines.ids[cell_line]}"
        )
        listed.append(Exclusion(reason, len(np.unique(blocks[rows])), int(rows.sum())))
    return (*listed, *_triples(screen.wells))


def _triples(wells: Wells) -> tuple[Exclusion, ...]:
    count = int((wells.n_compounds > 2).sum())
    if not count:
        return ()
    return (Exclusion("wells of three compounds have no pair score", 0, count),)
