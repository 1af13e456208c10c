"""What the perturbation VAE learns from: cells (or samples), their doses and what was read.

The dose row of a cell is over *targets*: compounds act through them (:mod:`.doses`), and where no
targets are known each perturbation is its own target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from models.perturbation.data import ResponseTable, require_doses
from models.screen import BoolArray, FloatArray, IntArray, ScreenError

Observation = Literal["counts", "continuous"]
OBSERVATIONS: tuple[str, ...] = get_args(Observation)
COUNTS_PER_CELL = 1e4
"""Library size that profiles are scaled to before logarithms."""


@dataclass(frozen=True)
class CellTable:
    """``n`` cells of ``p`` perturbations that act on ``t`` targets, read at ``g`` readouts.

    ``doses`` ``(n, p)``: 0 where absent, 1 where present "as used", else in that unit.
    ``targets`` ``(t,)`` names and ``affinity`` ``(p, t)`` >= 0: how strongly a perturbation in full
    acts on each target. ``values`` ``(n, g)``: whole numbers for ``counts``; any for
    ``continuous``, NaN where missing. ``library`` ``(n,)``: molecules a cell, all readouts or more
    (1 where not counted). ``low_quality`` ``(n,)``: cells that failed a quality check.
    Raises :class:`ScreenError` naming what is wrong.
    """

    perturbations: tuple[str, ...]
    doses: FloatArray
    targets: tuple[str, ...]
    affinity: FloatArray
    readouts: tuple[str, ...]
    values: FloatArray
    observation: Observation
    library: FloatArray
    low_quality: BoolArray

    @classmethod
    def of(
        cls,
        *,
        perturbations: Sequence[str],
        doses: FloatArray,
        readouts: Sequence[str],
        values: FloatArray,
        observation: Observation,
        targets: Sequence[str] | None = None,
        affinity: FloatArray | None = None,
        library: FloatArray | None = None,
        low_quality: BoolArray | None = None,
    ) -> CellTable:
        """A table; without targets each perturbation is its own, without library sizes those are
        the sums of the counts, without flags all cells are good."""
        if (targets is None) != (affinity is None):
            raise ScreenError("give both the targets and how strongly perturbations act on them")
        n = len(values)
        if library is None:
            library = np.nansum(values, axis=1) if observation == "counts" else np.ones(n)
        return cls(
            tuple(perturbations),
            require_doses(doses, perturbations),
            tuple(perturbations if targets is None else targets),
            np.eye(len(perturbations)) if affinity is None else np.asarray(affinity, np.float64),
            tuple(readouts),
            np.asarray(values, np.float64),
            observation,
            np.asarray(library, np.float64),
            np.zeros(n, np.bool_) if low_quality is None else np.asarray(low_quality, np.bool_),
        )

    def __post_init__(self) -> None:
        if self.observation not in OBSERVATIONS:
            raise ScreenError(f"observations are {self.observation!r}, not one of {OBSERVATIONS}")
        shapes = {
            "doses": (self.doses, (len(self.values), len(self.perturbations))),
            "affinity": (self.affinity, (len(self.perturbations), len(self.targets))),
            "values": (self.values, (len(self.values), len(self.readouts))),
            "library": (self.library, (len(self.values),)),
            "low_quality": (self.low_quality, (len(self.values),)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ScreenError(f"{name} has shape {array.shape}, expected {shape}")
        for what, names in (("target", self.targets), ("readout", self.readouts)):
            if len(set(names)) != len(names):
                raise ScreenError(f"a {what} is listed twice")
        if not (np.all(np.isfinite(self.affinity)) and np.all(self.affinity >= 0)):
            raise ScreenError("affinities must be finite and not negative")
        if np.any(self.affinity.sum(axis=1) == 0):
            raise ScreenError("a perturbation acts on no target: give it a target of its own")
        self._require_values()

    def _require_values(self) -> None:
        if np.any(np.isinf(self.values)):
            raise ScreenError("values hold infinity: leave them out (NaN)")
        if len(self) and np.any(np.all(np.isnan(self.values), axis=0)):
            raise ScreenError("a readout has no value in any cell: leave it out")
        if self.observation == "continuous":
            return
        if not np.all((self.values >= 0) & (self.values == np.floor(self.values))):
            raise ScreenError("counts must be 0, 1, 2, ... in every cell and readout")
        if not (np.all(np.isfinite(self.library)) and np.all(self.library > 0)):
            raise ScreenError("a cell has no molecules: leave it out")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_control(self) -> BoolArray:
        """``(n,)`` no perturbation present."""
        return np.asarray((self.doses == 0).all(axis=1), np.bool_)

    def select(self, rows: BoolArray | IntArray) -> CellTable:
        """The cells at ``rows`` (mask or indices)."""
        return CellTable(
            self.perturbations,
            self.doses[rows],
            self.targets,
            self.affinity,
            self.readouts,
            self.values[rows],
            self.observation,
            self.library[rows],
            self.low_quality[rows],
        )

    def profiles(self) -> FloatArray:
        """``(n, g)`` values as they are, or log1p of counts scaled to ``COUNTS_PER_CELL``."""
        if self.observation == "continuous":
            return self.values
        return np.asarray(np.log1p(self.values * (COUNTS_PER_CELL / self.library[:, None])))

    def target_presence(self) -> BoolArray:
        """``(n, t)`` whether a cell's perturbations act on a target."""
        return np.asarray((self.doses > 0).astype(np.float64) @ self.affinity > 0, np.bool_)

    def target_rows(self) -> FloatArray:
        """``(n, t)`` dose rows where each present perturbation acts in full."""
        return np.asarray((self.doses > 0).astype(np.float64) @ self.affinity)

    def responses(self) -> ResponseTable:
        """The same rows as conditions named after their perturbations and doses."""
        return ResponseTable.of(
            perturbations=self.perturbations,
            readouts=self.readouts,
            conditions=[condition_name(self.perturbations, row) for row in self.doses],
            doses=self.doses,
            values=self.values,
            kind="counts" if self.observation == "counts" else "log_ratio",
            low_quality=self.low_quality,
        )


def from_responses(
    table: ResponseTable,
    *,
    targets: Sequence[str] | None = None,
    affinity: FloatArray | None = None,
) -> CellTable:
    """Conditions as cells; log ratios become continuous values."""
    return CellTable.of(
        perturbations=table.perturbations,
        doses=table.doses,
        readouts=table.readouts,
        values=table.values,
        observation="counts" if table.kind == "counts" else "continuous",
        targets=targets,
        affinity=affinity,
        low_quality=table.low_quality,
    )


def condition_name(perturbations: Sequence[str], doses: FloatArray) -> str:
    """``A + B (0.5)``: names in the order of the table, doses other than 1 in brackets."""
    parts = [
        name if dose == 1 else f"{name} ({float(dose)!r})"
        for name, dose in zip(perturbations, doses, strict=True)
        if dose > 0
    ]
    return " + ".join(parts) if parts else "control"
