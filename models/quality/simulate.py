"""Simulated readers and plates with known truth: position effects, edges, noise and failures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.quality.plate import NO_TREATMENT, PlateReadings, Role
from models.screen import FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class ReaderModel:
    """How a reader and a plate turn viability into readings.

    ``top``: reading of an untreated well, ``floor``: of a dead one. ``noise_cv``: relative scatter
    of one well's signal. ``floor_sd``: additive scatter in units of ``top``. ``row_gradient``,
    ``column_gradient``: change of the signal from the first to the last row or column, as a
    fraction. ``bowl``: how much brighter the rim's smooth surroundings are than the centre, as a
    fraction. ``edge``: relative change of the outermost ring. ``failed``: share of wells whose
    dispense failed (they read as if a random amount of their cells was missing). ``missing``: share
    of wells without a reading.
    """

    top: float = 500_000.0
    floor: float = 2_000.0
    noise_cv: float = 0.06
    floor_sd: float = 0.005
    row_gradient: float = 0.0
    column_gradient: float = 0.0
    bowl: float = 0.0
    edge: float = 0.0
    failed: float = 0.0
    missing: float = 0.0

    def effect(self, n_rows: int, n_columns: int) -> FloatArray:
        """``(n_rows, n_columns)`` factor on the signal at every place."""
        r = np.linspace(-0.5, 0.5, n_rows)[:, None] if n_rows > 1 else np.zeros((1, 1))
        c = np.linspace(-0.5, 0.5, n_columns)[None, :] if n_columns > 1 else np.zeros((1, 1))
        smooth = 1.0 + self.row_gradient * r + self.column_gradient * c
        smooth = smooth * (1.0 + self.bowl * 2.0 * (r**2 + c**2))
        rim = np.zeros((n_rows, n_columns), bool)
        rim[[0, -1]] = True
        rim[:, [0, -1]] = True
        factor = smooth * np.where(rim, 1.0 + self.edge, 1.0)
        if np.any(factor <= 0):
            raise ScreenError("the gradients are so steep that a signal would be negative")
        return np.asarray(factor)


def read_wells(
    row: IntArray,
    column: IntArray,
    viability: FloatArray,
    shape: tuple[int, int],
    reader: ReaderModel,
    rng: np.random.Generator,
) -> FloatArray:
    """``(n,)`` readings of wells with true ``viability`` ``(n,)``; NaN where one is missing."""
    n = len(row)
    effect = reader.effect(*shape)[row, column]
    noise = np.exp(reader.noise_cv * rng.standard_normal(n) - 0.5 * reader.noise_cv**2)
    kept = np.where(rng.random(n) < reader.failed, rng.uniform(0.0, 0.6, n), 1.0)
    signal = viability * kept * effect * noise + reader.floor_sd * rng.standard_normal(n)
    value = reader.floor + (reader.top - reader.floor) * signal
    return np.asarray(np.where(rng.random(n) < reader.missing, np.nan, value))


@dataclass(frozen=True)
class PlateLayout:
    """How many wells of each kind a simulated plate has; the rest are samples.

    ``replicates``: wells of each sample treatment. ``by_column``: samples fill the plate column by
    column in the order of their dose instead of at random. ``controls_at_edge``: vehicles and
    positives in the first and last columns instead of at random. ``skip_edge``: leave the
    outermost ring empty.
    """

    n_rows: int = 16
    n_columns: int = 24
    vehicles: int = 32
    positives: int = 16
    blanks: int = 0
    references: int = 4
    replicates: int = 1
    by_column: bool = False
    controls_at_edge: bool = False
    skip_edge: bool = False


@dataclass(frozen=True)
class SimulatedPlate:
    """A plate and its truth: ``viability`` ``(n,)`` and the ``reader`` that it was read with."""

    readings: PlateReadings
    viability: FloatArray
    reader: ReaderModel = field(default_factory=ReaderModel)


def simulate_plate(
    seed: int, reader: ReaderModel | None = None, layout: PlateLayout | None = None
) -> SimulatedPlate:
    """One plate of compounds with random Hill curves over eight doses. Same seed, same plate."""
    reader, layout = reader or ReaderModel(), layout or PlateLayout()
    rng = np.random.default_rng(seed)
    row, column, role = _places(layout, rng)
    n = len(row)
    treatment = np.full(n, NO_TREATMENT, np.int64)
    viability = np.ones(n)
    samples = np.flatnonzero(role == Role.SAMPLE)
    treatment[samples] = np.arange(len(samples)) // layout.replicates
    curve, dose = np.divmod(treatment[samples], 8)
    n_curves = int(curve.max(initial=-1)) + 1
    log_c, lowest = rng.uniform(-1.0, 8.0, n_curves), rng.uniform(0.0, 0.5, n_curves)
    active = 1.0 / (1.0 + np.exp(-1.2 * (dose - log_c[curve])))
    viability[samples] = 1.0 - (1.0 - lowest[curve]) * active
    viability[np.isin(role, (Role.POSITIVE, Role.BLANK))] = 0.0
    viability[role == Role.REFERENCE] = 0.55
    shape = (layout.n_rows, layout.n_columns)
    value = read_wells(row, column, viability, shape, reader, rng)
    readings = PlateReadings(
        row, column, value, role, np.zeros(n, bool), *shape, treatment=treatment
    )
    return SimulatedPlate(readings, viability, reader)


def _places(layout: PlateLayout, rng: np.random.Generator) -> tuple[IntArray, IntArray, IntArray]:
    """Row, column and role of every well, samples last and in the order they are to be filled."""
    skip = int(layout.skip_edge)
    rows = np.arange(skip, layout.n_rows - skip)
    columns = np.arange(skip, layout.n_columns - skip)
    column, row = (axis.ravel() for axis in np.meshgrid(columns, rows, indexing="ij"))
    kinds = {
        Role.VEHICLE: layout.vehicles,
        Role.POSITIVE: layout.positives,
        Role.BLANK: layout.blanks,
        Role.REFERENCE: layout.references,
    }
    controls = np.repeat([int(role) for role in kinds], list(kinds.values()))
    if len(controls) > len(row):
        raise ScreenError(f"{len(controls)} controls do not fit on {len(row)} wells")
    rank = rng.random(len(row))
    if layout.controls_at_edge:
        inner = (column != columns[0]) & (column != columns[-1])
        rank = rank + inner
    order = np.argsort(rank)
    rest = order[len(controls) :]
    # Ascending indices run down the columns, so doses follow the columns; otherwise at random.
    rest = np.sort(rest) if layout.by_column else rng.permutation(rest)
    order = np.concatenate([order[: len(controls)], rest]).astype(np.int64)
    role = np.full(len(row), int(Role.SAMPLE), np.int64)
    role[: len(controls)] = controls
    return row[order].astype(np.int64), column[order].astype(np.int64), role
