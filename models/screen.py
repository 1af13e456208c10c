"""The types every model shares: what was measured, what could be measured, what was learned.

A :class:`Screen` is the models' only input. A :class:`Posterior` is their only output. All
arrays are numpy, indices are int64 positions in the screen's tables, doses are micromolar of the
free form, and viability is the fraction of the vehicle control (1 = untreated).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch  # only named here: who reads files must not wait for it

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ABSENT = -1
"""Index that stands for "no compound here" in :attr:`Wells.compounds`."""

MAX_COMPOUNDS = 3
"""Most compounds that one well can hold."""

ProgressCallback = Callable[[str, int, int], None]
"""``on_progress(stage, done, total)``; called often, must be cheap."""

StopCallback = Callable[[], bool]
"""``should_stop()``; polled at least once a second by anything that takes longer than that."""


class ScreenError(ValueError):
    """A screen, pool or candidate list that no model may see, with the reason in words."""


class NothingLeft(ScreenError):
    """A pool from which nothing can be chosen any more."""


class Stopped(Exception):
    """Raised by long work after ``should_stop`` answered true. Nothing was half-returned."""


def never_stop() -> bool:
    """Default ``should_stop``: run to the end."""
    return False


def no_progress(stage: str, done: int, total: int) -> None:
    """Default ``on_progress``: say nothing."""


@dataclass(frozen=True)
class CompoundTable:
    """The compounds of a screen.

    ``ids``: ``n`` distinct identifiers. ``fingerprints``: ``(n, bits)`` uint8, a row of zeros
    where ``has_structure`` (``(n,)`` bool) is false. ``targets``: gene symbols of each compound's
    targets, or nothing at all; a compound without any has unknown targets.
    """

    ids: tuple[str, ...]
    fingerprints: NDArray[np.uint8]
    has_structure: BoolArray
    targets: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        _require_distinct("compounds", self.ids)
        if self.targets and len(self.targets) != len(self.ids):
            raise ScreenError(f"targets are given for {len(self.targets)} of {len(self.ids)}")
        _require_rows("fingerprints", self.fingerprints, len(self.ids), ndim=2)
        _require_rows("has_structure", self.has_structure, len(self.ids), ndim=1)
        if np.any(self.fingerprints[~self.has_structure]):
            raise ScreenError("a compound without a structure has a non-zero fingerprint")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class CellLineTable:
    """The cell lines of a screen.

    ``ids``: ``n`` distinct identifiers. ``features``: ``(n, f)`` float64 (``f`` may be 0), a row
    of zeros where ``has_features`` (``(n,)`` bool) is false.
    """

    ids: tuple[str, ...]
    features: FloatArray
    has_features: BoolArray

    def __post_init__(self) -> None:
        _require_distinct("cell lines", self.ids)
        _require_rows("features", self.features, len(self.ids), ndim=2)
        _require_rows("has_features", self.has_features, len(self.ids), ndim=1)
        if not np.all(np.isfinite(self.features)):
            raise ScreenError("cell-line features hold NaN or infinity")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class PlateTable:
    """Plates whose own control wells tell how much a well of them scatters.

    ``ids``: ``p`` distinct names, one for each plate, or for each cell line of a plate of several.
    ``control_sd``: ``(p,)`` standard deviation of one vehicle well, as a viability, positive.
    ``control_dof``: ``(p,)`` degrees of freedom that it rests on, positive.
    ``level_sd``: ``(p,)`` relative error that all wells of a plate share, because its controls and
    what was divided out are only estimates; ``None`` where nothing is known of any.
    """

    ids: tuple[str, ...]
    control_sd: FloatArray
    control_dof: FloatArray
    level_sd: FloatArray | None = None

    def __post_init__(self) -> None:
        _require_distinct("plates", self.ids)
        for name, column in (("control_sd", self.control_sd), ("control_dof", self.control_dof)):
            _require_rows(name, column, len(self.ids), ndim=1)
            if not np.all((column > 0) & np.isfinite(column)):
                raise ScreenError(
                    f"{name} of a plate must be positive and finite; a plate whose controls tell "
                    "nothing is left out of the table"
                )
        if self.level_sd is not None:
            _require_rows("level_sd", self.level_sd, len(self.ids), ndim=1)
            if not np.all((self.level_sd >= 0) & np.isfinite(self.level_sd)):
                raise ScreenError("level_sd of a plate must be 0 or more, and finite")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Wells:
    """Measured wells, one row each.

    ``cell_line``: ``(n,)``. ``compounds``: ``(n, 3)`` indices, ascending, distinct, padded with
    ``ABSENT`` at the end (a vehicle control is all ``ABSENT``). ``doses_um``: ``(n, 3)``, positive
    where a compound is present and exactly 0 where not. ``viability``: ``(n,)`` fraction.
    ``plate``: ``(n,)`` row of each well's plate in ``plates``, ``ABSENT`` where nothing is known
    of it; both ``None`` where nothing is known of any.
    """

    cell_line: IntArray
    compounds: IntArray
    doses_um: FloatArray
    viability: FloatArray
    plate: IntArray | None = None
    plates: PlateTable | None = None

    def __post_init__(self) -> None:
        n = len(self.cell_line)
        if (self.plate is None) != (self.plates is None):
            raise ScreenError("wells need both the plate of each well and the table of plates")
        if self.plate is not None and self.plates is not None:
            _require_rows("plate", self.plate, n, ndim=1)
            _require_in_range("wells.plate", self.plate, ABSENT, len(self.plates))
        _require_rows("compounds", self.compounds, n, ndim=2)
        _require_rows("doses_um", self.doses_um, n, ndim=2)
        _require_rows("viability", self.viability, n, ndim=1)
        if self.compounds.shape[1] != MAX_COMPOUNDS or self.doses_um.shape[1] != MAX_COMPOUNDS:
            raise ScreenError(f"wells need {MAX_COMPOUNDS} compound and dose columns")
        if not (np.all(np.isfinite(self.viability)) and np.all(np.isfinite(self.doses_um))):
            raise ScreenError("wells hold NaN or infinity")
        present = self.compounds != ABSENT
        if np.any(present[:, 1:] & ~present[:, :-1]):
            raise ScreenError("wells must list their compounds first and pad at the end")
        if np.any(present[:, 1:] & (self.compounds[:, 1:] <= self.compounds[:, :-1])):
            raise ScreenError("wells must list distinct compounds in ascending order")
        if np.any((self.doses_um > 0) != present):
            raise ScreenError("a dose is positive exactly where a compound is present")

    def __len__(self) -> int:
        return len(self.cell_line)

    @property
    def n_compounds(self) -> IntArray:
        """``(n,)`` number of compounds in each well: 0 = vehicle control, 1 = single agent."""
        return np.asarray((self.compounds != ABSENT).sum(axis=1), dtype=np.int64)

    def select(self, rows: BoolArray | IntArray) -> Wells:
        """The wells at ``rows`` (mask or indices). The table of plates stays whole."""
        return Wells(
            self.cell_line[rows],
            self.compounds[rows],
            self.doses_um[rows],
            self.viability[rows],
            None if self.plate is None else self.plate[rows],
            self.plates,
        )


@dataclass(frozen=True)
class Screen:
    """All usable measurements of a campaign."""

    compounds: CompoundTable
    cell_lines: CellLineTable
    wells: Wells

    def __post_init__(self) -> None:
        _require_in_range("wells.compounds", self.wells.compounds, ABSENT, len(self.compounds))
        _require_in_range("wells.cell_line", self.wells.cell_line, 0, len(self.cell_lines))


@dataclass(frozen=True)
class Candidates:
    """Pairs of compounds in cell lines: blocks that were or could be measured.

    ``compounds``: ``(m, 2)`` indices, ascending in each row. ``cell_line``: ``(m,)``.
    Build with :meth:`of`, which puts each pair into that order: (A, B) is (B, A).
    """

    compounds: IntArray
    cell_line: IntArray

    def __post_init__(self) -> None:
        _require_rows("compounds", self.compounds, len(self.cell_line), ndim=2)
        if self.compounds.shape[1] != 2:
            raise ScreenError("candidates are pairs: two compound columns")
        if np.any(self.compounds[:, 0] >= self.compounds[:, 1]):
            raise ScreenError("a candidate holds two different compounds, in ascending order")

    @classmethod
    def of(cls, first: IntArray, second: IntArray, cell_line: IntArray) -> Candidates:
        """Candidates from two columns in any order."""
        pair = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
        return cls(pair.astype(np.int64), np.asarray(cell_line, dtype=np.int64))

    @classmethod
    def empty(cls) -> Candidates:
        """No candidates."""
        return cls(np.empty((0, 2), np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.cell_line)

    def select(self, rows: BoolArray | IntArray) -> Candidates:
        """The candidates at ``rows`` (mask or indices)."""
        return Candidates(self.compounds[rows], self.cell_line[rows])

    def keys(self, n_compounds: int) -> IntArray:
        """``(m,)`` one integer per candidate, equal exactly for equal blocks."""
        a, b = self.compounds[:, 0], self.compounds[:, 1]
        return (self.cell_line * n_compounds + a) * n_compounds + b


@runtime_checkable
class Posterior(Protocol):
    """What a fitted model gives back: joint draws of the score for any candidates.

    Draw ``i`` under one seed is *one world*: the same function whichever candidates it is
    evaluated on and however they are split into calls.
    """

    def draws(self, candidates: Candidates, n: int, seed: int) -> torch.Tensor:
        """``(n, len(candidates))`` float32 draws of the noise-free score (epistemic part)."""
        ...

    def noise_sd(self, candidates: Candidates) -> torch.Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        ...


def _require_distinct(what: str, ids: Sequence[str]) -> None:
    if len(set(ids)) != len(ids):
        raise ScreenError(f"{what} are listed twice")


def _require_rows(name: str, array: NDArray[np.generic], rows: int, *, ndim: int) -> None:
    if array.ndim != ndim or array.shape[0] != rows:
        raise ScreenError(f"{name} has shape {array.shape}, expected {rows} rows, {ndim} axes")


def _require_in_range(name: str, array: IntArray, low: int, high: int) -> None:
    if array.size and (array.min() < low or array.max() >= high):
        raise ScreenError(f"{name} points outside its table ({array.min()}..{array.max()})")
