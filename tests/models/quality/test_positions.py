"""Rows, columns and edges: found when there, not found when not, and never read from biology."""

import numpy as np
import pytest

from models.quality.metrics import measure_plate
from models.quality.neutral import neutral_wells
from models.quality.plate import Role
from models.quality.plate_effect import estimate_plate_effect
from models.quality.position_tests import axis_trend, edge_effect
from models.quality.simulate import PlateLayout, ReaderModel, simulate_plate
from models.screen import ScreenError

REPEATED = PlateLayout(replicates=3)


def test_neutral_wells_repeat_and_are_bright() -> None:
    plate = simulate_plate(0, layout=REPEATED).readings
    wells = neutral_wells(plate, 2000.0)
    assert np.bincount(wells.group).min() >= 2
    assert wells.vehicle.sum() == 32
    assert wells.within(wells.log_signal).sum() == pytest.approx(0.0, abs=1e-9)
    without_samples = plate.select(plate.role != Role.SAMPLE)
    assert neutral_wells(without_samples, 2000.0).n_groups == 2


def test_p_values_are_uniform_without_an_effect() -> None:
    """200 plates: the share below 0.1 has a standard error of 0.021."""
    p_values = []
    for seed in range(200):
        plate = simulate_plate(seed, layout=PlateLayout(8, 12, 24, 4)).readings
        wells = neutral_wells(plate, 2000.0)
        found = [axis_trend(wells, "row"), axis_trend(wells, "column"), edge_effect(wells)]
        p_values.append([effect.p_value for effect in found])
    share = np.mean(np.array(p_values) < 0.1, axis=0)
    assert np.all(share < 0.1 + 3 * 0.021)
    assert np.all(share > 0.1 - 3 * 0.021)


def test_known_effects_are_measured() -> None:
    reader = ReaderModel(noise_cv=0.02, column_gradient=0.3)
    figures = measure_plate(simulate_plate(1, reader, REPEATED).readings)
    assert figures.column_trend.ratio == pytest.approx(1.15 / 0.85, rel=0.05)
    assert figures.column_trend.p_value < 1e-6
    assert figures.row_trend.ratio == pytest.approx(1.0, abs=0.04)
    rim = measure_plate(simulate_plate(2, ReaderModel(noise_cv=0.02, edge=-0.2), REPEATED).readings)
    assert rim.edge_controls.ratio == pytest.approx(0.8, rel=0.04)
    assert rim.edge_replicates.ratio == pytest.approx(0.8, rel=0.04)


def test_what_cannot_be_seen_has_a_reason() -> None:
    plate = simulate_plate(3).readings
    vehicles = plate.select(plate.role == Role.VEHICLE)
    one_row = vehicles.select(vehicles.row == vehicles.row[0])
    wells = neutral_wells(one_row, 0.0)
    assert "one row" in axis_trend(wells, "row").reason
    inside = neutral_wells(vehicles.select(~vehicles.edge), 0.0)
    assert "inside" in edge_effect(inside).reason
    few = neutral_wells(vehicles.select(np.arange(4)), 0.0)
    assert "too few" in axis_trend(few, "row").reason
    none = neutral_wells(plate.select(plate.role == Role.POSITIVE), 0.0)
    assert len(none) == 0
    assert axis_trend(none, "column").ratio is None


def test_a_clean_plate_shows_no_effect_and_a_steep_one_does() -> None:
    clean = [
        estimate_plate_effect(simulate_plate(seed).readings, 2000.0).present for seed in range(40)
    ]
    assert sum(clean) <= 6
    steep = ReaderModel(row_gradient=0.3)
    found = estimate_plate_effect(simulate_plate(1, steep).readings, 2000.0)
    assert found.probability > 0.99
    assert found.part_probability["row"] > 0.9
    truth = np.log(steep.effect(16, 24))
    error = (found.log_effect - found.log_effect.mean()) - (truth - truth.mean())
    assert np.sqrt(np.mean(error**2)) < 0.035
    # The estimate knows its error: 3 sd hold nearly everywhere.
    assert np.mean(np.abs(error) < 3 * found.log_sd) > 0.95


def test_a_perfect_effect_is_recovered_to_its_prior_shrinkage() -> None:
    reader = ReaderModel(noise_cv=0.001, floor_sd=0.0, bowl=0.2, edge=-0.1)
    layout = PlateLayout(vehicles=200)
    found = estimate_plate_effect(simulate_plate(5, reader, layout).readings, 2000.0)
    truth = np.log(reader.effect(16, 24))
    shape = found.log_effect - found.log_effect.mean() - (truth - truth.mean())
    assert np.abs(shape).max() < 0.01
    assert found.noise_sd < 0.005


def test_one_failed_dispense_is_not_an_edge() -> None:
    plate = simulate_plate(6).readings
    corner = np.flatnonzero((plate.role == Role.VEHICLE) & plate.edge)[0]
    plate.value[corner] *= 0.1
    assert not estimate_plate_effect(plate, 2000.0).present


def test_what_the_wells_cannot_show_is_said() -> None:
    plate = simulate_plate(7).readings
    few = plate.select(plate.role != Role.VEHICLE)
    assert "too few" in estimate_plate_effect(few, 0.0).notes[0]
    inner = plate.select(~plate.edge | (plate.role != Role.VEHICLE))
    inner = inner.select(inner.role == Role.VEHICLE)
    found = estimate_plate_effect(inner, 0.0)
    assert any("edge" in note and "cannot be seen" in note for note in found.notes)
    assert "edge" not in found.part_probability


def test_simulated_plates_repeat_with_their_seed_and_refuse_nonsense() -> None:
    one, two = simulate_plate(8), simulate_plate(8)
    np.testing.assert_array_equal(one.readings.value, two.readings.value)
    with pytest.raises(ScreenError, match="negative"):
        ReaderModel(row_gradient=3.0).effect(8, 12)
    with pytest.raises(ScreenError, match="do not fit"):
        simulate_plate(0, layout=PlateLayout(2, 3))
