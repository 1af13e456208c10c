"""A model of a plate reader: cells answer to what really fell into their well, plates have
gradients and dead wells, and the instrument writes a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.pharmacology.simulate import SimulatedScreen
from models.quality.simulate import ReaderModel, read_wells
from models.screen import Candidates
from service.plates.geometry import PLATE_384, WellAt
from tests.service.assays.files_bench import envision, section

GOOD = ReaderModel(
    noise_cv=0.04, floor_sd=0.002, row_gradient=0.18, column_gradient=-0.12, failed=0.003
)
BAD = ReaderModel(noise_cv=0.6, failed=0.2)
"""A plate that nobody should believe: as if the cells had been seeded without mixing."""


@dataclass(frozen=True)
class PlateWell:
    """A well of an issued plate as its map says it."""

    barcode: str
    name: str
    role: str
    line: str | None

    @property
    def at(self) -> WellAt:
        """Row and column, from 0."""
        return PLATE_384.parse(self.name)


@dataclass(frozen=True)
class PlateFile:
    """What an instrument wrote of one plate, and the numbers in it."""

    barcode: str
    content: bytes
    values: Mapping[str, float]


def viability(truth: SimulatedScreen, line: str, doses_um: Mapping[str, float]) -> float:
    """What these doses leave of the cells; a compound that is not of the screen kills them."""
    known = {name: row for row, name in enumerate(truth.compounds.ids)}
    if not set(doses_um) <= set(known):
        return 0.0
    rows = sorted((known[name], dose) for name, dose in doses_um.items())
    if not rows:
        return 1.0
    if len(rows) == 1:  # any other one at no dose
        rows.append((0 if rows[0][0] else 1, 0.0))
        rows.sort()
    (a, one), (b, two) = rows
    pair = Candidates.of(np.array([a]), np.array([b]), np.array([truth.cell_lines.ids.index(line)]))
    assert pair.compounds.tolist() == [[a, b]]
    return float(truth.viability(pair, np.array([[one, two]]))[0])


def read_plate(
    wells: list[PlateWell], truths: Mapping[str, float], model: ReaderModel, seed: int
) -> PlateFile:
    """Read a plate whose wells show ``truths``, by name."""
    rng = np.random.default_rng(seed)
    model = replace(model, top=model.top * rng.uniform(0.7, 1.3))
    row, column = (np.array([well.at[axis] for well in wells], np.int64) for axis in (0, 1))
    shown = np.array([truths[well.name] for well in wells])
    value = read_wells(row, column, shown, (16, 24), model, rng)
    assert all(math.isfinite(each) for each in value)
    rounded = {well.name: round(float(v), 1) for well, v in zip(wells, value, strict=True)}
    by_place: dict[Any, float] = {well.at: rounded[well.name] for well in wells}
    barcode = wells[0].barcode
    return PlateFile(barcode, envision(section(barcode, by_place)), rounded)
