"""What a laboratory is to the demo: names, structures, doses, and blocks that it can measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from models.screen import ABSENT, Wells

SCORE = "bliss_mean"
"""What the demo's campaigns maximise: mean excess over Bliss, percentage points."""


class DemoError(Exception):
    """Why the demo cannot go on, in words for whoever started it."""


class Block(NamedTuple):
    """A pair of compounds in a cell line, by name. Build with :meth:`of`: (A, B) is (B, A)."""

    first: str
    second: str
    cell_line: str

    @classmethod
    def of(cls, one: str, other: str, cell_line: str) -> Block:
        """The block of these two compounds, whichever is named first."""
        return cls(min(one, other), max(one, other), cell_line)

    @property
    def pair(self) -> tuple[str, str]:
        """The two compounds."""
        return self.first, self.second


@dataclass(frozen=True)
class LabCompound:
    """A compound on the lab's shelf and the doses it takes in combination blocks."""

    name: str
    smiles: str | None
    doses_um: list[float]


@dataclass(frozen=True)
class LabCellLine:
    """A cell line and what is known about it (``None``: nothing)."""

    name: str
    features: dict[str, float] | None


@dataclass(frozen=True)
class Table:
    """Results as a lab exports them: a CSV long table.

    ``says`` holds what its header leaves open (scale, repeats), as the query of a submission.
    """

    csv: str
    n_wells: int
    says: Mapping[str, str]


class Lab(Protocol):
    """Where blocks are measured. ``true_scores`` is for the report only: no lab has it."""

    @property
    def title(self) -> str:
        """One line: what kind of lab this is, and how large its library."""
        ...

    @property
    def hit_threshold(self) -> float:
        """Mean excess over Bliss, in percentage points, above which a block is a hit."""
        ...

    @property
    def truth_note(self) -> str:
        """What the report takes for the truth."""
        ...

    @property
    def compounds(self) -> Sequence[LabCompound]:
        """Everything on the shelf."""
        ...

    @property
    def cell_lines(self) -> Sequence[LabCellLine]:
        """Everything in the incubator."""
        ...

    @property
    def pairs(self) -> Sequence[tuple[str, str]] | None:
        """The pairs that can be measured; ``None`` for all."""
        ...

    @property
    def missing(self) -> Sequence[Block]:
        """Blocks of those pairs that cannot be measured all the same."""
        ...

    @property
    def true_scores(self) -> Mapping[Block, float]:
        """The score of every block that can be measured."""
        ...

    def single_agents(self) -> Table:
        """Every compound alone in every cell line."""
        ...

    def measure(self, blocks: Sequence[Block]) -> Table:
        """The dose matrices of ``blocks``, all wells."""
        ...


def write_csv(wells: Wells, compounds: Sequence[str], cell_lines: Sequence[str]) -> str:
    """``wells`` as a long table: cell line, each compound with its dose, viability."""
    used = max(1, int(wells.n_compounds.max(initial=0)))
    header = ["cell_line"]
    for place in range(1, used + 1):
        header += [f"compound_{place}", f"dose_{place}_um"]
    lines = [",".join([*header, "viability_fraction"])]
    for row in range(len(wells)):
        cells = [cell_lines[wells.cell_line[row]]]
        for compound, dose in zip(wells.compounds[row, :used], wells.doses_um[row], strict=False):
            present = compound != ABSENT
            cells += [compounds[compound], f"{dose:g}"] if present else ["", ""]
        lines.append(",".join([*cells, f"{wells.viability[row]:.4f}"]))
    return "\n".join(lines) + "\n"
