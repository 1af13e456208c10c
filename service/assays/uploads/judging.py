"""A plate's readings under its map: verdict, proposed flags and values. Needs numpy; no database.

A plate with several cell lines is judged line by line, each by the controls of its own line.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from models.quality.flags import RULE as FLAG_RULE
from models.quality.limits import QcLimits
from models.quality.normalise import RULES, Normalised, TimeZero, normalise, time_zero_of
from models.quality.plate import NO_TREATMENT, PlateReadings
from models.quality.plate import Role as Code
from models.quality.spread import well_sd_dof
from models.quality.verdict import LEVELS, PlateQuality, check_plate
from models.screen import ScreenError
from service.assays.files_in import Reading
from service.plates.geometry import WellAt, well_name
from service.plates.plate_map import PlateMap, Role, Well

_CODES = {
    Role.SAMPLE: Code.SAMPLE,
    Role.SINGLE: Code.SINGLE,
    Role.VEHICLE: Code.VEHICLE,
    Role.POSITIVE: Code.POSITIVE,
    Role.BLANK: Code.BLANK,
    Role.REFERENCE: Code.REFERENCE,
    Role.EMPTY: Code.EMPTY,
}
_ONE_GROUP = ""
Readings = Mapping[WellAt, Reading]


@dataclass(frozen=True)
class Judged:
    """What one rule and the limits say of a plate.

    ``values``: of every well that has one. ``groups``: metrics, findings, controls and noise of
    each cell line. ``reference``: viability of the reference pair by what it is. ``error``: why
    the rule has no values, in words.
    """

    rule: str
    scale: str
    verdict: str
    reasons: tuple[str, ...]
    groups: tuple[dict[str, Any], ...]
    proposed: tuple[dict[str, Any], ...]
    reference: dict[str, float]
    values: Mapping[WellAt, float]
    error: str | None = None


def known_rules() -> tuple[str, ...]:
    """Every rule of normalisation."""
    return tuple(RULES)


def check_limits(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The limits in full; raises ValueError with words for limits that cannot be."""
    return QcLimits.from_dict(definition).to_dict()


def judge(
    plate: PlateMap,
    readings: Readings,
    flagged: Collection[WellAt],
    rule: str,
    limits: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    time_zero: Mapping[str, Any] | None = None,
) -> Judged:
    """Verdict and values of a plate. ``history``: the reference pair on earlier plates that
    passed, by what it is; ``time_zero``: see :func:`level_at_zero`."""
    checked = QcLimits.from_dict(limits)
    groups, proposed = [], []
    values: dict[WellAt, float] = {}
    reference: dict[str, float] = {}
    errors = []
    for line, wells in _groups(plate):
        arrays = _arrays(plate, wells, readings, flagged)
        pair = _reference_key(wells)
        past = np.array(history.get(pair, ()), dtype=np.float64)
        quality = check_plate(arrays, checked, past)
        normal, error = _normalised(arrays, quality, rule, (time_zero or {}).get(line))
        groups.append(_describe(line, quality, normal, error))
        proposed += [_proposal(flag) for flag in quality.flags]
        if quality.metrics.drift.now is not None:
            reference[pair] = quality.metrics.drift.now
        if normal is None:
            errors.append(str(error))
            continue
        values.update(_values(wells, normal))
    verdict = max((group["verdict"] for group in groups), key=LEVELS.index)
    reasons = [reason for group in groups for reason in group["reasons"]]
    scale = "growth rate" if rule.startswith("growth-rate") else "viability"
    return Judged(
        rule,
        scale,
        verdict,
        tuple(dict.fromkeys(reasons)),
        tuple(groups),
        tuple({each["well"]: each for each in proposed}.values()),
        reference,
        values,
        "; ".join(errors) or None,
    )


def level_at_zero(
    plate: PlateMap, readings: Readings, flagged: Collection[WellAt]
) -> dict[str, Any]:
    """Level of the cells of each line when the drugs came: ``{line: {"level", "log_sd"}}``.

    Raises ValueError where the plate has none.
    """
    found = {}
    for line, wells in _groups(plate):
        level = time_zero_of(_arrays(plate, wells, readings, flagged))
        found[line] = {"level": level.level, "log_sd": level.log_sd}
    return found


class ToldNoise(NamedTuple):
    """What the controls of a plate say: scatter of one well at value 1, the degrees of freedom that
    it rests on, and the relative error that all treated wells of the plate share."""

    sd: float
    dof: float
    shared_sd: float


def told_noise(group: Mapping[str, Any]) -> ToldNoise | None:
    """Of a group of :class:`Judged` as it was stored; nothing where the vehicles say none.

    Vehicles that are equal to the last digit are a saturated reader, not a plate without noise.
    Results from before ``well_noise`` was kept tell the scatter of the vehicles, and no shared
    error; judging the plate again brings both.
    """
    if "well_noise" in group:
        noise = group["well_noise"]
        return None if noise is None else ToldNoise(noise[0], noise[1], group["shared_sd"])
    sd, vehicles = group.get("vehicle_sd"), int(group["metrics"]["wells"]["vehicle"])
    if sd is None or sd <= 0 or vehicles < 2:
        return None
    return ToldNoise(float(sd), well_sd_dof(vehicles), 0.0)


def _groups(plate: PlateMap) -> list[tuple[str, list[Well]]]:
    """The wells of each cell line, with those that have none (blanks)."""
    lines = plate.cell_lines
    if len(lines) <= 1:
        return [(lines[0] if lines else _ONE_GROUP, list(plate.used))]
    return [
        (line, [well for well in plate.used if well.cell_line in (line, None)]) for line in lines
    ]


def _arrays(
    plate: PlateMap, wells: Sequence[Well], readings: Readings, flagged: Collection[WellAt]
) -> PlateReadings:
    value = [_number(readings.get(well.at)) for well in wells]
    return PlateReadings(
        row=np.array([well.at[0] for well in wells], dtype=np.int64),
        column=np.array([well.at[1] for well in wells], dtype=np.int64),
        value=np.array(value, dtype=np.float64),
        role=np.array([int(_CODES[well.role]) for well in wells], dtype=np.int64),
        excluded=np.array([bool(w.excluded) or w.at in flagged for w in wells], dtype=np.bool_),
        n_rows=plate.format.rows,
        n_columns=plate.format.columns,
        treatment=np.array(_treatments(wells), dtype=np.int64),
    )


def _number(reading: Reading | None) -> float:
    return math.nan if reading is None or reading.value is None else reading.value


def _treatments(wells: Iterable[Well]) -> list[int]:
    """A number for each content, so that wells of equal content can be compared."""
    numbers: dict[tuple[Any, ...], int] = {}
    found = []
    for well in wells:
        if well.role not in (Role.SAMPLE, Role.SINGLE):
            found.append(NO_TREATMENT)
            continue
        key = (well.cell_line, *sorted((each.compound, each.real_um) for each in well.contents))
        found.append(numbers.setdefault(key, len(numbers)))
    return found


def _reference_key(wells: Iterable[Well]) -> str:
    """What the reference pair of these wells is, in words that are the same on every plate."""
    for well in wells:
        if well.role is Role.REFERENCE:
            doses = sorted(f"{each.compound}:{each.nominal_um:.4g}" for each in well.contents)
            return "+".join([str(well.cell_line), *doses])
    return ""


def _normalised(
    arrays: PlateReadings, quality: PlateQuality, rule: str, zero: Mapping[str, Any] | None
) -> tuple[Normalised | None, str | None]:
    if quality.viability is not None and quality.viability.rule == rule:
        return quality.viability, None
    level = None if zero is None else TimeZero(zero["level"], zero.get("log_sd"))
    try:
        return normalise(arrays, rule, level), None
    except ScreenError as error:
        return None, str(error)


def _values(wells: Sequence[Well], normal: Normalised) -> dict[WellAt, float]:
    pairs = zip(wells, normal.value.tolist(), strict=True)
    return {well.at: value for well, value in pairs if math.isfinite(value)}


def _describe(
    line: str, quality: PlateQuality, normal: Normalised | None, error: str | None
) -> dict[str, Any]:
    noise = None if normal is None else normal.control_noise()
    told = {} if normal is None else {
        name: getattr(normal, name)
        for name in (
            "level_sd", "zero_sd", "vehicle_sd", "positive_sd", "well_noise", "shared_sd", "notes"
        )
    }  # fmt: skip
    told_of: dict[str, Any] = _plain(
        {
            "cell_line": line or None,
            "verdict": quality.verdict.level,
            "reasons": quality.verdict.reasons,
            "findings": quality.verdict.to_dict()["findings"],
            "metrics": quality.metrics.to_dict(),
            "levels": None if normal is None else asdict(normal.levels),
            "noise": None if noise is None else asdict(noise),
            "error": error,
            **told,
        }
    )
    return told_of


def _proposal(flag: Any) -> dict[str, Any]:
    well = well_name(flag.row, flag.column)
    plain: dict[str, Any] = _plain({**asdict(flag), "well": well, "rule": FLAG_RULE})
    return plain


def _plain(value: Any) -> Any:
    """Only JSON: what is not finite is null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
