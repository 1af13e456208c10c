"""Verdicts and values of a plate map with its readings."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from models.quality.limits import QcLimits
from service.assays.files_in import Reading
from service.assays.uploads.judging import check_limits, judge, known_rules, level_at_zero
from service.assays.uploads.plate_files import PlateFiles
from service.plates.geometry import PLATE_96, WellAt
from service.plates.plate_map import Content, PlateMap, Role, Well, empty_plate

LIMITS = QcLimits().to_dict()
RULE = "controls-median/1"


def content(compound: str, dose: float) -> Content:
    return Content(compound, dose * 1.1, dose, 10.0, 2.5)


def two_lines() -> tuple[PlateMap, dict[WellAt, Reading]]:
    """Rows A to D hold line X, rows E to H line Y, which is ten times as bright; dead wells and
    one blank read 10."""
    wells, readings = [], {}
    for row in range(8):
        line, top = ("X", 1_000.0) if row < 4 else ("Y", 10_000.0)
        for column in range(12):
            at, wobble = (row, column), 1 + 0.01 * ((row * 5 + column * 3) % 7 - 3)
            if column < 4:
                well, signal = Well(at, Role.VEHICLE, cell_line=line), top * wobble
            elif column < 6:
                well, signal = Well(at, Role.POSITIVE, (content("p", 9.0),), line), 10.0 * wobble
            else:
                drug = (content("a", 1.0 + column),)
                well, signal = Well(at, Role.SINGLE, drug, line), top * 0.5 * wobble
            wells.append(well)
            readings[at] = Reading(row, column, signal, None, row + 7, column + 1)
    wells[-1] = Well((7, 11), Role.BLANK)
    readings[7, 11] = Reading(7, 11, 10.0, None, 14, 12)
    return empty_plate("P", 1, PLATE_96, 0.0).changed(wells), readings


def test_each_cell_line_is_judged_by_its_own_controls():
    plate, readings = two_lines()
    judged = judge(plate, readings, (), RULE, LIMITS, {})
    assert judged.error is None
    assert [group["cell_line"] for group in judged.groups] == ["X", "Y"]
    assert [round(g["levels"]["untreated"], -2) for g in judged.groups] == [1_000, 10_000]
    halves = [judged.values[well.at] for well in plate.of(Role.SINGLE)]
    assert all(value == pytest.approx(0.5, abs=0.03) for value in halves)
    assert json.loads(json.dumps(judged.groups, allow_nan=False)) == list(judged.groups)


def test_wells_without_a_reading_have_no_value_and_flagged_ones_teach_nothing():
    plate, readings = two_lines()
    del readings[0, 8]
    readings[0, 9] = replace(readings[0, 9], value=None, flag="OVER")
    readings[0, 0] = replace(readings[0, 0], value=1.0)
    plain = judge(plate, readings, (), RULE, LIMITS, {})
    assert (0, 8) not in plain.values
    assert (0, 9) not in plain.values
    flagged = judge(plate, readings, {(0, 0)}, RULE, LIMITS, {})
    low, high = (each.groups[0]["metrics"]["cv_vehicle"]["value"] for each in (flagged, plain))
    assert low < 0.05 < high
    counted = PlateFiles.counted(plate, readings, {(0, 0)}, flagged.values)
    names = {well.well for well in counted}
    assert not names & {"A01", "A09", "A10"}
    assert "A02" in names
    assert len(counted) == 8 * 10 - 1 - 3
    one = next(well for well in counted if well.components)
    assert one.components == (("a", 7.0),)
    assert (one.raw_value, one.row) == (readings[0, 6].value, 7)


def test_a_line_without_vehicles_says_so():
    plate, readings = two_lines()
    bare = plate.changed(Well(well.at) for well in plate.of(Role.VEHICLE) if well.cell_line == "Y")
    judged = judge(bare, readings, (), RULE, LIMITS, {})
    assert judged.verdict == "fail"
    assert "no usable vehicle" in str(judged.error)
    assert {plate.at(at).cell_line for at in judged.values} <= {"X", None}


def test_growth_rates_take_the_level_of_their_own_line():
    plate, readings = two_lines()
    at_zero = {at: replace(r, value=(r.value or 0.0) / 4) for at, r in readings.items()}
    levels = level_at_zero(plate, at_zero, ())
    assert set(levels) == {"X", "Y"}
    assert levels["Y"]["level"] / levels["X"]["level"] == pytest.approx(10, rel=0.1)
    judged = judge(plate, readings, (), "growth-rate/1", LIMITS, {}, levels)
    assert judged.error is None
    vehicles = [judged.values[well.at] for well in plate.of(Role.VEHICLE)]
    assert sum(vehicles) / len(vehicles) == pytest.approx(1, abs=0.02)
    assert "time-zero" in str(judge(plate, readings, (), "growth-rate/1", LIMITS, {}).error)


def test_the_reference_pair_has_a_name_that_plates_share():
    plate, readings = two_lines()
    pair = (content("b", 2.0), content("a", 1.0))
    wells = [Well((0, column), Role.REFERENCE, pair, "X") for column in (10, 11)]
    turned = [replace(well, contents=pair[::-1]) for well in wells]
    first, second = (
        judge(plate.changed(each), readings, (), RULE, LIMITS, {}) for each in (wells, turned)
    )
    assert first.reference == second.reference
    ((key, value),) = first.reference.items()
    assert value == pytest.approx(0.5, abs=0.03)
    past = {key: [0.9, 0.91, 0.89, 0.9]}
    drifted = judge(plate.changed(wells), readings, (), RULE, LIMITS, past)
    assert drifted.verdict == "fail"
    assert any("reference pair" in reason for reason in drifted.reasons)


def test_limits_are_completed_or_refused():
    assert check_limits({}) == LIMITS
    with pytest.raises(ValueError, match="no limits named"):
        check_limits({"colour": {"warn": 1, "fail": 2}})
    assert RULE in known_rules()
