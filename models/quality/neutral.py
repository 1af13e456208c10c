"""Wells of equal content at different places: all that a plate can say about its own unevenness.

Two wells with the same treatment differ by noise and by position only, so position effects are
learned within groups of equal content: the vehicle wells, the reference pair, and treatments that
repeat on the plate. Wells of unrepeated treatments are left out, because a dose that follows the
columns looks like a column effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.quality.plate import PlateReadings, Role
from models.screen import BoolArray, FloatArray, IntArray

LEAST_LEVEL = 0.5
"""Groups whose median is below this share of the vehicles' are left out: their logarithms are
mostly noise."""


@dataclass(frozen=True)
class NeutralWells:
    """Wells in groups of equal content, ordered by position.

    ``row``, ``column``: ``(n,)``. ``edge``: ``(n,)`` bool. ``log_signal``: ``(n,)`` natural
    logarithm of the reading above the dead level. ``group``: ``(n,)`` in ``0..n_groups - 1``, each
    with two wells or more. ``vehicle``: ``(n,)`` bool.
    """

    row: IntArray
    column: IntArray
    edge: BoolArray
    log_signal: FloatArray
    group: IntArray
    vehicle: BoolArray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def n_groups(self) -> int:
        """Number of groups; 0 without wells."""
        return int(self.group.max(initial=-1)) + 1

    @property
    def freedom(self) -> int:
        """Degrees of freedom left when each group has a level of its own."""
        return len(self) - self.n_groups

    def within(self, values: FloatArray, weight: FloatArray | None = None) -> FloatArray:
        """``values`` ``(n,)`` or ``(n, k)`` less the (weighted) mean of each group."""
        w = np.ones(len(self)) if weight is None else weight
        share = w / np.bincount(self.group, w, self.n_groups)[self.group]
        columns = values.reshape(len(self), -1)
        mean = np.zeros((self.n_groups, columns.shape[1]))
        np.add.at(mean, self.group, share[:, None] * columns)
        return np.asarray((columns - mean[self.group]).reshape(values.shape))

    def medians(self, values: FloatArray) -> FloatArray:
        """``(n,)`` median of ``values`` ``(n,)`` over the group of each well."""
        middle = [np.median(values[self.group == g]) for g in range(self.n_groups)]
        return np.asarray(middle, dtype=np.float64)[self.group]

    def select(self, wells: BoolArray) -> NeutralWells:
        """The groups that keep two wells or more among ``wells``."""
        kept = wells & (np.bincount(self.group[wells], minlength=self.n_groups)[self.group] > 1)
        group = np.unique(self.group[kept], return_inverse=True)[1]
        return NeutralWells(
            self.row[kept],
            self.column[kept],
            self.edge[kept],
            self.log_signal[kept],
            group.astype(np.int64),
            self.vehicle[kept],
        )


def neutral_wells(plate: PlateReadings, dead: float) -> NeutralWells:
    """The usable wells of repeated content whose signal above ``dead`` is at least half the
    vehicles' (or, without vehicles, half of the brightest group's)."""
    plate, _ = plate.in_order()
    content = plate.content()
    plate_wells = plate.usable & (content >= 0)
    plate_wells &= np.where(np.isfinite(plate.value), plate.value, dead) > dead
    plate, content = plate.select(plate_wells), content[plate_wells]
    signal = plate.value - dead
    _, group = np.unique(content, return_inverse=True)
    level = np.array([np.median(signal[group == g]) for g in range(group.max(initial=-1) + 1)])
    vehicle = plate.role == Role.VEHICLE
    top = float(np.median(signal[vehicle])) if vehicle.any() else float(level.max(initial=0.0))
    every = NeutralWells(
        plate.row, plate.column, plate.edge, np.log(signal), group.astype(np.int64), vehicle
    )
    return every.select(level[group] >= LEAST_LEVEL * top)
