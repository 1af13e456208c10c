"""From readings to viability: rules with versioned names, each derived value under its rule.

A rule never changes a reading, never clips, and never drops a well: a well without a reading has
no value (NaN), an excluded well gets one that nothing was learned from. What a rule decided on
the way (no positive control, no plate effect) is said in the notes of its result. A rule whose
arithmetic changes gets a new name, so a name always means the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from models.pharmacology.noise import NoiseModel
from models.quality.plate import PlateReadings, Role
from models.quality.plate_effect import PlateEffect, estimate_plate_effect
from models.quality.spread import WellNoise, median_sd, median_variance, well_noise, well_sd
from models.screen import FloatArray, ScreenError


@dataclass(frozen=True)
class ControlLevels:
    """Where the controls of a plate lie, in the reader's units.

    ``untreated``: median of the vehicle wells. ``dead``: what viability 0 reads: the median of the
    positive controls, else of the blanks, else 0; ``dead_source`` says which. ``untreated_sd`` and
    ``dead_sd``: standard errors, None where fewer than two wells tell (0 without any control).
    """

    untreated: float
    untreated_sd: float | None
    dead: float
    dead_sd: float | None
    dead_source: str

    @property
    def window(self) -> float:
        """Readings between dead and untreated."""
        return self.untreated - self.dead


@dataclass(frozen=True)
class TimeZero:
    """Level of the cells when the drugs were added, in the reader's units, blank subtracted.

    ``log_sd``: standard error of its natural logarithm, None where it is unknown.
    """

    level: float
    log_sd: float | None = None


@dataclass(frozen=True)
class Normalised:
    """Derived values of one plate under one rule.

    ``rule``: versioned name. ``scale``: "viability" (1 = untreated) or "growth rate". ``value``:
    ``(n,)`` in the order of the plate's wells, NaN exactly where ``undefined`` says how many.
    ``level_sd``: standard deviation of the logarithm of the window: an error that multiplies the
    viability of every well of the plate alike; ``zero_sd``: error of the dead level in units of
    viability ``v``, which moves every well by ``(1 - v)`` times the same number. Either is None
    where too few controls tell. ``vehicle_sd``, ``positive_sd``: scatter of single control wells
    on the scale of ``value``. ``effect_sd``: ``(n,)`` standard deviation of the logarithm of the
    plate effect, zero where none was divided out. ``notes``: what was decided, in words.
    ``well_noise``: what one well scatters at value 1, for those who weigh plates by it: that of the
    vehicles, or, where a plate effect was divided out, that around the fitted effect, because the
    fit has taken part of the vehicles' scatter for itself. ``shared_sd``: relative error at value 1
    that all treated wells of the plate share, of the control level and of the plate effect.
    """

    rule: str
    scale: str
    value: FloatArray
    levels: ControlLevels
    level_sd: float | None
    zero_sd: float | None
    vehicle_sd: float | None
    positive_sd: float | None
    effect_sd: FloatArray
    notes: tuple[str, ...]
    effect: PlateEffect | None = None
    time_zero: TimeZero | None = None
    well_noise: WellNoise | None = None
    shared_sd: float | None = None

    @property
    def undefined(self) -> int:
        """Number of wells without a value."""
        return int(np.isnan(self.value).sum())

    def control_noise(self) -> NoiseModel | None:
        """Noise of a well of this plate as its controls show it; None with under two vehicles.

        The positive controls are the noise at viability 0, the vehicles at 1. Without positive
        controls the vehicles' noise is taken for every viability.
        """
        if self.vehicle_sd is None:
            return None
        if self.positive_sd is None:
            return NoiseModel(self.vehicle_sd, 0.0, "vehicle wells of the plate")
        gain = max(self.vehicle_sd**2 - self.positive_sd**2, 0.0)
        return NoiseModel(self.positive_sd, float(np.sqrt(gain)), "control wells of the plate")


Rule = Callable[[PlateReadings, TimeZero | None], Normalised]


def control_levels(plate: PlateReadings) -> ControlLevels:
    """Medians of the usable controls.

    Raises :class:`ScreenError` without a vehicle well, or when vehicles do not outshine the dead
    level: then no viability can be told.
    """
    vehicle = plate.readings(Role.VEHICLE)
    if not len(vehicle):
        raise ScreenError("the plate has no usable vehicle well, so viability has no 1")
    dead, dead_sd, source = _dead_level(plate)
    untreated = float(np.median(vehicle))
    if not untreated > dead:
        raise ScreenError(
            f"the vehicle wells (median {untreated:g}) are not above the {source} ({dead:g}); "
            "are the roles of the wells, or the scale of the readings, the wrong way round?"
        )
    return ControlLevels(untreated, median_sd(vehicle), dead, dead_sd, source)


def _dead_level(plate: PlateReadings) -> tuple[float, float | None, str]:
    for role, name in ((Role.POSITIVE, "positive controls"), (Role.BLANK, "blanks")):
        readings = plate.readings(role)
        if len(readings):
            return float(np.median(readings)), median_sd(readings), name
    return 0.0, 0.0, "zero of the reader"


def blank_level(plate: PlateReadings) -> float:
    """Median of the usable blanks in the reader's units, 0 without any."""
    blank = plate.readings(Role.BLANK)
    return float(np.median(blank)) if len(blank) else 0.0


def controls_median(plate: PlateReadings, time_zero: TimeZero | None = None) -> Normalised:
    """ "controls-median/1": ``(x - dead) / (untreated - dead)`` with the medians of the controls.

    ``dead`` is the positive controls' median, or the blanks', or 0. Blanks cancel where there are
    positive controls. ``time_zero`` is not used. Raises as :func:`control_levels`.
    """
    levels = control_levels(plate)
    signal = np.where(plate.measured, plate.value - levels.dead, np.nan)
    return _viability("controls-median/1", plate, levels, signal)


def plate_effect(plate: PlateReadings, time_zero: TimeZero | None = None) -> Normalised:
    """ "plate-effect/1": as "controls-median/1", each signal first divided by the plate effect.

    The effect is :func:`models.quality.plate_effect.estimate_plate_effect` of the plate; where its
    wells do not show one, the values are those of "controls-median/1" to the last bit, and a note
    says so. ``time_zero`` is not used. Raises as :func:`control_levels`.
    """
    levels = control_levels(plate)
    effect = estimate_plate_effect(plate, levels.dead)
    signal = np.where(plate.measured, plate.value - levels.dead, np.nan)
    at = (plate.row, plate.column)
    if effect.present:
        signal = signal / np.exp(effect.log_effect[at])
        vehicle = np.sort(signal[plate.usable & (plate.role == Role.VEHICLE)])
        untreated = levels.dead + float(np.median(vehicle))
        levels = replace(levels, untreated=untreated, untreated_sd=median_sd(vehicle))
    result = _viability("plate-effect/1", plate, levels, signal)
    result = replace(result, effect=effect, notes=(*result.notes, *effect.notes))
    if not effect.present or effect.noise_sd is None:
        return result
    noise = WellNoise(effect.noise_sd, float(effect.noise_dof)) if effect.noise_sd > 0 else None
    return _with_noise(replace(result, effect_sd=effect.log_sd[at]), plate, noise)


def _viability(
    rule: str, plate: PlateReadings, levels: ControlLevels, signal: FloatArray
) -> Normalised:
    viability = signal / levels.window
    noise = well_noise(_sorted_values(plate, viability, Role.VEHICLE))
    notes = [f"viability 0 is the {levels.dead_source}"]
    if levels.untreated_sd is None:
        notes.append("one vehicle well only: the error of the control level is unknown")
    if levels.dead_sd is None:
        notes.append(f"one well only of the {levels.dead_source}: the error of 0 is unknown")
    result = Normalised(
        rule=rule,
        scale="viability",
        value=viability,
        levels=levels,
        level_sd=None if levels.untreated_sd is None else levels.untreated_sd / levels.window,
        zero_sd=None if levels.dead_sd is None else levels.dead_sd / levels.window,
        vehicle_sd=_scatter(plate, viability, Role.VEHICLE),
        positive_sd=_scatter(plate, viability, Role.POSITIVE),
        effect_sd=np.zeros(len(plate)),
        notes=tuple(notes + _missing_notes(plate)),
    )
    return _with_noise(result, plate, noise)


def _with_noise(result: Normalised, plate: PlateReadings, noise: WellNoise | None) -> Normalised:
    """With the noise of a well, and what it and the plate effect leave all treated wells to share.

    What the effect is wrong by at single wells shows in their scatter; only its error on average
    is one that all share.
    """
    if noise is None:
        return replace(result, well_noise=None, shared_sd=None)
    vehicles = int(np.sum(plate.usable & (plate.role == Role.VEHICLE)))
    effect = 0.0 if result.effect is None else result.effect.shared_log_sd**2
    level = noise.sd**2 * median_variance(vehicles)
    return replace(result, well_noise=noise, shared_sd=float(np.sqrt(level + effect)))


def _sorted_values(plate: PlateReadings, value: FloatArray, role: Role) -> FloatArray:
    inside = plate.usable & (plate.role == role) & np.isfinite(value)
    return np.sort(value[inside])


def _scatter(plate: PlateReadings, value: FloatArray, role: Role) -> float | None:
    return well_sd(_sorted_values(plate, value, role))


def _missing_notes(plate: PlateReadings) -> list[str]:
    missing = int(np.sum(~plate.measured & (plate.role != Role.EMPTY)))
    return [f"{missing} wells have no reading and no value"] if missing else []


def growth_rate_values(value: FloatArray, time_zero: float, control: float) -> FloatArray:
    """``GR = 2^(log2(x / x0) / log2(c / x0)) - 1`` (Hafner et al., Nature Methods 2016, eq. 1).

    ``value``: any shape, in the units of ``time_zero`` and ``control``, blank subtracted. 1 is
    undisturbed growth, 0 standstill, below 0 death; a signal of 0 has the limit -1 and one below 0
    is NaN. Raises :class:`ScreenError` unless ``control > time_zero > 0``: cells that did not grow
    have no growth rate.
    """
    if not (np.isfinite(control) and control > time_zero > 0):
        raise ScreenError(
            f"growth rates need control > time zero > 0; control {control:g}, "
            f"time zero {time_zero:g}"
        )
    ratio = np.asarray(value, dtype=np.float64) / time_zero
    with np.errstate(invalid="ignore"):
        power = np.power(ratio, np.log(2.0) / np.log(control / time_zero))
    return np.asarray(np.where(ratio < 0, np.nan, power) - 1.0)


def time_zero_of(plate: PlateReadings) -> TimeZero:
    """Level of a time-zero plate: the median of its vehicle wells, blank subtracted.

    Raises :class:`ScreenError` without a vehicle well or with a level of 0 or less.
    """
    vehicle = plate.readings(Role.VEHICLE) - blank_level(plate)
    if not len(vehicle) or not np.median(vehicle) > 0:
        raise ScreenError("the time-zero plate has no vehicle wells above its blanks")
    level, sd = float(np.median(vehicle)), median_sd(vehicle)
    return TimeZero(level, None if sd is None else sd / level)


def growth_rate(plate: PlateReadings, time_zero: TimeZero | None = None) -> Normalised:
    """ "growth-rate/1": :func:`growth_rate_values` to the vehicles' median, blank subtracted.

    Raises :class:`ScreenError` without a time-zero level, or when the controls did not grow.
    """
    if time_zero is None:
        raise ScreenError("growth rates need the level of a time-zero plate; none was given")
    blank = blank_level(plate)
    blanks = plate.readings(Role.BLANK)
    levels = replace(
        control_levels(plate),
        dead=blank,
        dead_sd=median_sd(blanks) if len(blanks) else 0.0,
        dead_source="blanks" if len(blanks) else "zero of the reader",
    )
    signal = np.where(plate.measured, plate.value - blank, np.nan)
    value = growth_rate_values(signal, time_zero.level, levels.window)
    notes = [f"growth since a level of {time_zero.level:g}", *_missing_notes(plate)]
    below = int(np.sum(plate.measured & np.isnan(value)))
    if below:
        notes.append(f"{below} wells read less than the blanks and have no growth rate")
    result = Normalised(
        rule="growth-rate/1",
        scale="growth rate",
        value=value,
        levels=levels,
        level_sd=None if levels.untreated_sd is None else levels.untreated_sd / levels.window,
        zero_sd=None if levels.dead_sd is None else levels.dead_sd / levels.window,
        vehicle_sd=_scatter(plate, value, Role.VEHICLE),
        positive_sd=_scatter(plate, value, Role.POSITIVE),
        effect_sd=np.zeros(len(plate)),
        notes=tuple(notes),
        time_zero=time_zero,
    )
    return _with_noise(result, plate, well_noise(_sorted_values(plate, value, Role.VEHICLE)))


RULES: dict[str, Rule] = {
    "controls-median/1": controls_median,
    "plate-effect/1": plate_effect,
    "growth-rate/1": growth_rate,
}
"""Every rule that ever made a stored value, by its versioned name."""


def normalise(plate: PlateReadings, rule: str, time_zero: TimeZero | None = None) -> Normalised:
    """The plate under the rule of that name; :class:`ScreenError` for a name nobody knows."""
    if rule not in RULES:
        raise ScreenError(f"there is no rule {rule!r}; there are {', '.join(RULES)}")
    return RULES[rule](plate, time_zero)
