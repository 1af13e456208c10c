"""The figures of a plate: each a number, or None with the reason why there is none.

Every figure is a ratio of readings or lies on the viability scale, so the reader's units cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from models.quality.neutral import NeutralWells, neutral_wells
from models.quality.normalise import Normalised, blank_level, controls_median
from models.quality.plate import PlateReadings, Role
from models.quality.position_tests import PositionEffect, axis_trend, edge_effect
from models.quality.spread import MAD_TO_SD, mad_sd, well_sd
from models.screen import BoolArray, FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class Figure:
    """One number, or None and the ``reason``."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Drift:
    """The reference pair against earlier plates, as fractions of viability.

    ``now``: median of this plate's reference wells. ``expected``: mean of the earlier plates'.
    ``p_value``: two-sided, of the t test for one new value given ``n`` earlier ones. None where
    ``reason`` says why.
    """

    now: float | None
    expected: float | None
    p_value: float | None
    reason: str = ""


@dataclass(frozen=True)
class PlateMetrics:
    """All figures of one plate; see the functions of this module for each.

    ``edge_controls``: vehicle wells only. ``edge_replicates``: everything else that repeats on the
    plate. ``row_trend``, ``column_trend``: vehicles and replicates together. ``replicate_sd``:
    scatter of one well on the viability scale. ``missing``: share of the wells meant to be read
    that have no reading. ``wells``: usable wells by role.
    """

    z_prime: Figure
    robust_z_prime: Figure
    ssmd: Figure
    robust_ssmd: Figure
    signal_to_background: Figure
    cv_vehicle: Figure
    robust_cv_vehicle: Figure
    cv_positive: Figure
    edge_controls: PositionEffect
    edge_replicates: PositionEffect
    row_trend: PositionEffect
    column_trend: PositionEffect
    replicate_sd: Figure
    replicate_concordance: Figure
    drift: Drift
    missing: Figure
    excluded: int
    wells: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, words and None only."""
        return asdict(self)


def measure_plate(plate: PlateReadings, history: FloatArray | None = None) -> PlateMetrics:
    """Every figure of ``plate``; never refuses a plate, however bad.

    ``history``: ``(h,)`` viability of the reference pair on earlier plates that passed (a failed
    plate among them would hide a drift).
    """
    plate, _ = plate.in_order()
    vehicle, positive = plate.readings(Role.VEHICLE), plate.readings(Role.POSITIVE)
    viability = _normalised(plate)
    dead = 0.0 if isinstance(viability, str) else viability.levels.dead
    neutral = neutral_wells(plate, dead)
    meant = plate.role != Role.EMPTY
    n_missing = int(np.sum(meant & ~plate.measured))
    return PlateMetrics(
        z_prime=z_prime(vehicle, positive),
        robust_z_prime=robust_z_prime(vehicle, positive),
        ssmd=ssmd(vehicle, positive),
        robust_ssmd=robust_ssmd(vehicle, positive),
        signal_to_background=_signal_to_background(plate, vehicle, positive),
        cv_vehicle=coefficient_of_variation(vehicle - blank_level(plate)),
        robust_cv_vehicle=robust_coefficient_of_variation(vehicle - blank_level(plate)),
        cv_positive=coefficient_of_variation(positive - blank_level(plate)),
        edge_controls=_edge(neutral, neutral.vehicle),
        edge_replicates=_edge(neutral, ~neutral.vehicle),
        row_trend=axis_trend(neutral, "row"),
        column_trend=axis_trend(neutral, "column"),
        replicate_sd=_replicates(plate, viability, replicate_sd),
        replicate_concordance=_replicates(plate, viability, replicate_concordance),
        drift=_drift(plate, viability, history),
        missing=Figure(n_missing / int(meant.sum())) if meant.any() else Figure(None, "no wells"),
        excluded=int(np.sum(plate.excluded & meant)),
        wells={role.name.lower(): len(plate.readings(role)) for role in Role},
    )


def z_prime(negative: FloatArray, positive: FloatArray) -> Figure:
    """``Z' = 1 - 3 (s+ + s-) / |m+ - m-|`` (Zhang, Chung and Oldenburg 1999), sd with n - 1."""
    short = _too_few(negative, positive)
    gap = 0.0 if short else abs(float(np.mean(positive) - np.mean(negative)))
    if not gap:
        return Figure(None, short or "both controls have the same mean")
    spread = float(np.std(positive, ddof=1) + np.std(negative, ddof=1))
    return Figure(1.0 - 3.0 * spread / gap)


def robust_z_prime(negative: FloatArray, positive: FloatArray) -> Figure:
    """Z' with medians for means and 1.4826 MAD for standard deviations."""
    short = _too_few(negative, positive)
    gap = 0.0 if short else abs(float(np.median(positive) - np.median(negative)))
    if not gap:
        return Figure(None, short or "both controls have the same median")
    return Figure(1.0 - 3.0 * (mad_sd(positive) + mad_sd(negative)) / gap)


def ssmd(negative: FloatArray, positive: FloatArray) -> Figure:
    """``(m+ - m-) / sqrt(s+^2 + s-^2)`` (Zhang 2007); negative where the positives kill."""
    short = _too_few(negative, positive)
    if short:
        return Figure(None, short)
    spread = float(np.hypot(np.std(positive, ddof=1), np.std(negative, ddof=1)))
    if spread == 0.0:
        return Figure(None, "the controls do not scatter at all")
    return Figure(float(np.mean(positive) - np.mean(negative)) / spread)


def robust_ssmd(negative: FloatArray, positive: FloatArray) -> Figure:
    """SSMD with medians for means and 1.4826 MAD for standard deviations."""
    short = _too_few(negative, positive)
    if short:
        return Figure(None, short)
    spread = float(np.hypot(mad_sd(positive), mad_sd(negative)))
    if spread == 0.0:
        return Figure(None, "more than half of each control read exactly alike")
    return Figure(float(np.median(positive) - np.median(negative)) / spread)


def coefficient_of_variation(readings: FloatArray) -> Figure:
    """Standard deviation (n - 1) over the mean of blank-subtracted ``readings`` ``(n,)``."""
    if len(readings) < 2:
        return Figure(None, f"{len(readings)} wells are too few")
    mean = float(np.mean(readings))
    if mean <= 0:
        return Figure(None, "the mean is not above the blanks")
    return Figure(float(np.std(readings, ddof=1)) / mean)


def robust_coefficient_of_variation(readings: FloatArray) -> Figure:
    """1.4826 MAD (of eight wells or more; else the ordinary sd) over the median."""
    sd = well_sd(readings)
    if sd is None:
        return Figure(None, f"{len(readings)} wells are too few")
    middle = float(np.median(readings))
    if middle <= 0:
        return Figure(None, "the median is not above the blanks")
    return Figure(sd / middle)


def _too_few(negative: FloatArray, positive: FloatArray) -> str:
    """Why a figure of two controls is undefined, or nothing."""
    few = [
        f"{len(x)} {name}"
        for name, x in (("vehicle", negative), ("positive", positive))
        if len(x) < 2
    ]
    return f"{' and '.join(few)} wells; two of each are needed" if few else ""


def _signal_to_background(
    plate: PlateReadings, vehicle: FloatArray, positive: FloatArray
) -> Figure:
    """Mean of the vehicles over that of the positive controls, or of the blanks without any."""
    background = positive if len(positive) else plate.readings(Role.BLANK)
    if not len(vehicle) or not len(background):
        return Figure(None, "needs vehicle wells, and positive controls or blanks")
    level = float(np.mean(background))
    if level <= 0:
        return Figure(None, "the background is not above 0")
    return Figure(float(np.mean(vehicle)) / level)


def _edge(neutral: NeutralWells, kind: BoolArray) -> PositionEffect:
    wells = neutral.select(kind)
    if not len(wells):
        return PositionEffect(None, None, "no two usable wells of equal content")
    return edge_effect(wells)


def _normalised(plate: PlateReadings) -> Normalised | str:
    try:
        return controls_median(plate)
    except ScreenError as error:
        return str(error)


def _replicates(
    plate: PlateReadings,
    viability: Normalised | str,
    figure: Callable[[FloatArray, IntArray], Figure],
) -> Figure:
    if isinstance(viability, str):
        return Figure(None, viability)
    content = plate.content()
    inside = plate.usable & (content > 0)
    return figure(viability.value[inside], content[inside])


def _groups(value: FloatArray, group: IntArray) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Values and groups ``0..g-1`` of those with two members or more, their counts ``(g,)``."""
    _, group, count = np.unique(group, return_inverse=True, return_counts=True)
    kept = count[group] > 1
    _, group, count = np.unique(group[kept], return_inverse=True, return_counts=True)
    return value[kept], group, count, np.arange(len(count))


def replicate_sd(value: FloatArray, group: IntArray) -> Figure:
    """Robust standard deviation of one well around its treatment, ``value`` and ``group`` ``(n,)``.

    1.4826 times the median of ``|x - mean| sqrt(n / (n - 1))`` over all treatments with replicates.
    """
    value, group, count, every = _groups(value, group)
    if len(every) < 3:
        return Figure(None, f"{len(every)} treatments repeat on the plate; three are needed")
    mean = np.bincount(group, value) / count
    residual = np.abs(value - mean[group]) * np.sqrt(count / (count - 1.0))[group]
    return Figure(MAD_TO_SD * float(np.median(residual)))


def replicate_concordance(value: FloatArray, group: IntArray) -> Figure:
    """One-way intraclass correlation (Shrout and Fleiss 1979, ICC(1,1)), 1 = perfect agreement.

    Small also where the treatments do not differ: it judges replicates only among active drugs.
    """
    value, group, count, every = _groups(value, group)
    k, n = len(every), len(value)
    if k < 3:
        return Figure(None, f"{k} treatments repeat on the plate; three are needed")
    mean = np.bincount(group, value) / count
    between = float(np.sum(count * (mean - np.mean(value)) ** 2)) / (k - 1)
    within = float(np.sum((value - mean[group]) ** 2)) / (n - k)
    size = (n - float(np.sum(count**2)) / n) / (k - 1)
    whole = between + (size - 1.0) * within
    if whole <= 0:
        return Figure(None, "all repeated treatments read exactly alike")
    return Figure((between - within) / whole)


def _drift(plate: PlateReadings, viability: Normalised | str, history: FloatArray | None) -> Drift:
    if isinstance(viability, str):
        return Drift(None, None, None, viability)
    wells = plate.usable & (plate.role == Role.REFERENCE)
    if not wells.any():
        return Drift(None, None, None, "the plate has no usable reference wells")
    now = float(np.median(viability.value[wells]))
    earlier = np.sort(np.zeros(0) if history is None else np.asarray(history, dtype=np.float64))
    if not np.all(np.isfinite(earlier)):
        raise ScreenError("the history of the reference pair holds NaN or infinity")
    if len(earlier) < 3:
        expected = float(np.mean(earlier)) if len(earlier) else None
        return Drift(now, expected, None, f"{len(earlier)} earlier plates; three are needed")
    expected, sd = float(np.mean(earlier)), float(np.std(earlier, ddof=1))
    if sd == 0.0:
        return Drift(now, expected, None, "the earlier plates agree to the digit")
    t = (now - expected) / (sd * np.sqrt(1.0 + 1.0 / len(earlier)))
    return Drift(now, expected, float(2.0 * stats.t.sf(abs(t), len(earlier) - 1)))
