"""Blocks as a scorecard sees them: labels of both compounds, the cell line, and a few numbers.

Every number is a minimum, a maximum or a product over the two compounds, which commute in floating
point: (A, B) and (B, A) give the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.pharmacology.dose_response import CurveTable
from models.pharmacology.single_agents import POSITIONS, single_agent_responses
from models.screen import BoolArray, Candidates, FloatArray, IntArray, ScreenError, Wells
from models.triage.attributes import Attributes

NUMBERS: Mapping[str, str] = MappingProxyType(
    {
        "more_active": "viability under the more active single agent",
        "less_active": "viability under the less active single agent",
        "expected_at_top": "viability expected at the top doses if neither helped the other",
        "similarity": "similarity of structures (Tanimoto)",
        "shared_targets": "share of targets in common (Jaccard)",
    }
)
"""What each number is called on a card."""


@dataclass(frozen=True)
class SingleAgents:
    """``level`` ``(n_compounds, n_cell_lines)``: mean viability of each single agent over its dose
    range; ``top``: that at its highest dose. NaN where it was not measured in that line."""

    level: FloatArray
    top: FloatArray

    @classmethod
    def of(cls, viability: FloatArray, measured: BoolArray) -> SingleAgents:
        """``viability`` ``(n_compounds, n_cell_lines, doses)``, doses ascending; ``measured``
        ``(n_compounds, n_cell_lines)``. Raises :class:`ScreenError` where shapes differ."""
        if viability.shape[:2] != measured.shape:
            raise ScreenError(f"viabilities {viability.shape} do not fit {measured.shape} curves")
        known = np.where(measured[..., None], viability, np.nan)
        return cls(known.mean(axis=-1), known[..., -1])

    @classmethod
    def of_screen(cls, wells: Wells, curves: CurveTable) -> SingleAgents:
        """At the doses that each compound has in combinations; of a screen's fitted curves."""
        responses = single_agent_responses(wells, curves)
        return cls.of(responses[..., :POSITIONS], curves.measured)

    @classmethod
    def none(cls, n_compounds: int, n_cell_lines: int) -> SingleAgents:
        """Nothing is known of any."""
        empty = np.full((n_compounds, n_cell_lines), np.nan)
        return cls(empty, empty)


@dataclass(frozen=True)
class BlockTable:
    """``n`` blocks. ``compounds`` ``(n, 2)`` ascending; ``cell_line``, ``(n,)``; ``target``,
    ``mechanism`` ``(n, 2)``, ``ABSENT`` where not known; ``numbers``: ``(n,)`` by name, NaN where
    not known. ``n_compounds``, ``n_cell_lines``, ``n_targets``, ``n_mechanisms``: of the tables
    that they point into."""

    compounds: IntArray
    cell_line: IntArray
    target: IntArray
    mechanism: IntArray
    numbers: Mapping[str, FloatArray]
    n_compounds: int
    n_cell_lines: int
    n_targets: int
    n_mechanisms: int

    def __len__(self) -> int:
        return len(self.cell_line)

    def select(self, rows: BoolArray | IntArray) -> BlockTable:
        """The blocks at ``rows`` (mask or indices)."""
        return BlockTable(
            self.compounds[rows], self.cell_line[rows], self.target[rows], self.mechanism[rows],
            {name: column[rows] for name, column in self.numbers.items()},
            self.n_compounds, self.n_cell_lines, self.n_targets, self.n_mechanisms,
        )  # fmt: skip


def describe_blocks(
    candidates: Candidates, attributes: Attributes, single: SingleAgents
) -> BlockTable:
    """What is known of every candidate before it is measured."""
    pair, line = candidates.compounds, candidates.cell_line
    level, top = (table[pair, line[:, None]] for table in (single.level, single.top))
    a, b = pair[:, 0], pair[:, 1]
    numbers = {
        "more_active": level.min(axis=1),
        "less_active": level.max(axis=1),
        "expected_at_top": top[:, 0] * top[:, 1],
        "similarity": attributes.similarity[a, b],
        "shared_targets": attributes.shared_targets[a, b],
    }
    return BlockTable(
        pair, line, attributes.target[pair], attributes.mechanism[pair], numbers,
        len(attributes.target), single.level.shape[1],
        len(attributes.target_names), len(attributes.mechanism_names),
    )  # fmt: skip
