"""Rules: golden numbers, nothing clipped, stated notes, and effects that spare biology."""

from dataclasses import replace

import numpy as np
import pytest

from models.quality.normalise import (
    RULES,
    TimeZero,
    growth_rate_values,
    normalise,
    time_zero_of,
)
from models.quality.plate import PlateReadings, Role
from models.quality.simulate import PlateLayout, ReaderModel, simulate_plate
from models.screen import ScreenError

V, P, B, S = Role.VEHICLE, Role.POSITIVE, Role.BLANK, Role.SAMPLE


def plate_of(roles: list[Role], values: list[float]) -> PlateReadings:
    at = np.arange(len(roles))
    codes = np.array([int(role) for role in roles], np.int64)
    return PlateReadings(at // 12, at % 12, np.array(values), codes, np.zeros(len(at), bool), 8, 12)


def test_viability_between_the_medians_of_the_controls_unclipped() -> None:
    plate = plate_of([V, V, V, P, P, S, S, S, S], [99, 101, 110, 9, 11, 55.5, 120, 0, np.nan])
    result = normalise(plate, "controls-median/1")
    np.testing.assert_allclose(result.value[5:8], [0.5, 110 / 91, -10 / 91])
    assert np.isnan(result.value[8])
    assert result.undefined == 1
    assert result.rule == "controls-median/1"
    assert result.levels.dead_source == "positive controls"
    assert any("1 wells have no reading" in note for note in result.notes)


def test_without_positives_blanks_are_dead_and_without_both_zero_is() -> None:
    blanks = normalise(plate_of([V, V, B, S], [100, 100, 20, 60]), "controls-median/1")
    assert blanks.value[3] == 0.5
    assert "blanks" in blanks.notes[0]
    neither = normalise(plate_of([V, V, S], [100, 100, 60]), "controls-median/1")
    assert neither.value[2] == 0.6
    assert "zero of the reader" in neither.notes[0]
    assert neither.zero_sd == 0.0


def test_excluded_wells_teach_nothing_and_are_still_normalised() -> None:
    plate = plate_of([V, V, V, P, P], [100, 100, 9e9, 0, 0])
    plate.excluded[2] = True
    result = normalise(plate, "controls-median/1")
    assert result.value.tolist() == [1.0, 1.0, 9e7, 0.0, 0.0]


def test_plates_without_a_scale_are_refused() -> None:
    with pytest.raises(ScreenError, match="no usable vehicle"):
        normalise(plate_of([P, S], [1, 2]), "controls-median/1")
    with pytest.raises(ScreenError, match="wrong way round"):
        normalise(plate_of([V, P], [1, 2]), "plate-effect/1")
    with pytest.raises(ScreenError, match="there is no rule 'b-score/1'"):
        normalise(plate_of([V, P], [2, 1]), "b-score/1")


def test_errors_of_the_controls_are_those_of_repeated_plates() -> None:
    """300 plates of 15 vehicles: the sd of the level is known to 4 %, its estimates average."""
    rng = np.random.default_rng(0)
    levels, stated = [], []
    for _ in range(300):
        values = np.concatenate([rng.normal(100, 8, 15), rng.normal(10, 2, 9)])
        result = normalise(plate_of([V] * 15 + [P] * 9, list(values)), "controls-median/1")
        levels.append([result.levels.untreated / 90, result.levels.dead / 90])
        stated.append([result.level_sd, result.zero_sd])
    actual = np.std(levels, axis=0)
    np.testing.assert_allclose(np.mean(stated, axis=0), actual, rtol=0.17)


def test_one_control_well_has_an_unknown_error() -> None:
    result = normalise(plate_of([V, P, S], [100, 0, 50]), "controls-median/1")
    assert result.level_sd is None
    assert result.zero_sd is None
    assert result.control_noise() is None
    assert len(result.notes) == 3


def test_noise_for_the_model() -> None:
    reader = ReaderModel(noise_cv=0.08, floor_sd=0.02)
    sim = simulate_plate(1, reader, PlateLayout(vehicles=150, positives=150))
    noise = normalise(sim.readings, "controls-median/1").control_noise()
    assert noise.additive_sd == pytest.approx(0.02, rel=0.25)
    assert noise.proportional_sd == pytest.approx(0.08, rel=0.25)
    without = sim.readings.select(sim.readings.role != Role.POSITIVE)
    flat = normalise(without, "controls-median/1").control_noise()
    assert flat.proportional_sd == 0.0
    assert "vehicle" in flat.source


@pytest.mark.parametrize("rule", ["controls-median/1", "plate-effect/1", "growth-rate/1"])
def test_rules_know_neither_units_nor_order_and_leave_the_readings(rule: str) -> None:
    plate = simulate_plate(2, ReaderModel(row_gradient=0.3), PlateLayout(blanks=4)).readings
    before = plate.value.copy()
    zero = TimeZero(1e5)
    value = normalise(plate, rule, zero).value
    shuffle = np.random.default_rng(0).permutation(len(plate))
    again = normalise(plate.select(shuffle), rule, zero).value
    np.testing.assert_array_equal(again, value[shuffle])
    scaled = normalise(replace(plate, value=1000 * plate.value), rule, TimeZero(1e8)).value
    np.testing.assert_allclose(scaled, value, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(plate.value, before)
    assert rule in RULES


def rmse(seed: int, reader: ReaderModel, layout: PlateLayout, rule: str) -> float:
    sim = simulate_plate(seed, reader, layout)
    sample = sim.readings.role == Role.SAMPLE
    value = normalise(sim.readings, rule).value
    return float(np.sqrt(np.mean((value - sim.viability)[sample] ** 2)))


def test_no_effect_leaves_doses_along_the_columns_alone() -> None:
    layout = PlateLayout(by_column=True)
    same = 0
    for seed in range(20):
        readings = simulate_plate(seed, layout=layout).readings
        plain, smooth = (
            normalise(readings, "controls-median/1"),
            normalise(readings, "plate-effect/1"),
        )
        if not smooth.effect.present:
            np.testing.assert_array_equal(smooth.value, plain.value)
            assert "no plate effect" in smooth.notes[1]
            assert not smooth.effect_sd.any()
            same += 1
    assert same >= 17


@pytest.mark.parametrize("by_column", [False, True])
def test_a_real_gradient_is_divided_out(by_column: bool) -> None:
    layout = PlateLayout(by_column=by_column)
    reader = ReaderModel(row_gradient=0.2, column_gradient=0.3)
    for seed in range(6):
        plain = rmse(seed, reader, layout, "controls-median/1")
        assert rmse(seed, reader, layout, "plate-effect/1") < 0.75 * plain


def test_growth_rates() -> None:
    assert growth_rate_values(np.array(2000.0), 1000.0, 4000.0) == pytest.approx(0.414214, abs=1e-6)
    ends = growth_rate_values(np.array([4000.0, 1000.0, 0.0, -1.0]), 1000.0, 4000.0)
    np.testing.assert_allclose(ends, [1.0, 0.0, -1.0, np.nan], atol=1e-12)
    for bad in (500.0, 1000.0, np.nan):
        with pytest.raises(ScreenError, match="control > time zero > 0"):
            growth_rate_values(np.ones(1), 1000.0, bad)


def test_growth_rate_of_a_plate_subtracts_blanks_and_needs_time_zero() -> None:
    start = time_zero_of(plate_of([V, V, V, B], [1090, 1100, 1110, 100]))
    assert start.level == 1000.0
    assert start.log_sd == pytest.approx(0.01 * np.sqrt(np.pi / 2 / (3 + np.pi / 2 - 1)))
    plate = plate_of([V, V, B, S, S], [4100, 4100, 100, 2100, 50])
    result = normalise(plate, "growth-rate/1", start)
    assert result.value[3] == pytest.approx(0.414214, abs=1e-6)
    assert np.isnan(result.value[4])
    assert result.scale == "growth rate"
    assert any("less than the blanks" in note for note in result.notes)
    with pytest.raises(ScreenError, match="time-zero plate"):
        normalise(plate, "growth-rate/1")
    with pytest.raises(ScreenError, match="no vehicle wells above"):
        time_zero_of(plate_of([V, B], [100, 100]))
