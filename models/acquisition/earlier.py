"""What the screen of a campaign holds of earlier campaigns, for everything that chooses.

    pool = Pool(candidates, pinned, excluded, earlier=Earlier(compounds, lines, own, again))

A campaign may learn from measurements of other campaigns. Their compounds and cell lines need not
be its own: these teach the model and are never proposed. Blocks that only others measured are
known, so they are not proposed again unless somebody wants that, and they are no finds of this
campaign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.objectives.measured import MeasuredObjective
from models.screen import BoolArray, Candidates, ScreenError


@dataclass(frozen=True)
class Earlier:
    """``compounds`` ``(n,)`` and ``cell_lines`` ``(l,)``: which of the screen's are the campaign's
    own. ``own``: the blocks that it measured itself. ``again`` ``(m,)``: candidates of the pool
    that may be chosen although an earlier campaign measured them."""

    compounds: BoolArray
    cell_lines: BoolArray
    own: Candidates
    again: BoolArray

    def is_inside(self, at: Candidates) -> BoolArray:
        """``(len(at),)`` which blocks could be the campaign's: both compounds and the line are."""
        return np.asarray(self.compounds[at.compounds].all(axis=1) & self.cell_lines[at.cell_line])

    def is_own(self, at: Candidates) -> BoolArray:
        """``(len(at),)`` which blocks the campaign measured itself."""
        n = len(self.compounds)
        return np.isin(at.keys(n), self.own.keys(n))

    def check(self, n_compounds: int, n_lines: int, n_candidates: int) -> None:
        """Raise :class:`ScreenError` where the sizes are not those of the screen and the pool."""
        sizes = len(self.compounds), len(self.cell_lines), len(self.again)
        if sizes != (n_compounds, n_lines, n_candidates):
            raise ScreenError(
                f"what is known of earlier campaigns has {sizes} compounds, lines and candidates, "
                f"expected {(n_compounds, n_lines, n_candidates)}"
            )


def inside_and_found(
    earlier: Earlier | None, measured: MeasuredObjective, blocks: Candidates
) -> tuple[MeasuredObjective, MeasuredObjective]:
    """Of what was measured: all about the campaign's own compounds and lines, over which an
    improvement counts, whoever measured it; and what the campaign measured itself, its finds.

    ``blocks``: those that ``measured`` counts.
    """
    if earlier is None:
        return measured, measured
    return measured.within(earlier.is_inside(blocks)), measured.within(earlier.is_own(blocks))
