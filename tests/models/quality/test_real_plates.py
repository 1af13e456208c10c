"""Real plates: untreated and treated EnVision runs, and a COMBOCAT plate of unknown layout."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from models.quality.normalise import growth_rate, normalise, time_zero_of
from models.quality.plate import PlateReadings, Role
from models.quality.verdict import check_plate

LINES = ["H01", "H03", "H04", "H05", "H06", "H07", "H08", "H09", "H11", "H12", "H14"]
LINES += ["K02", "K08", "K10"]


def grid_of(path: Path, skip: int) -> np.ndarray:
    with path.open(encoding="latin-1", newline="") as file:
        rows = list(csv.reader(file))[skip : skip + 16]
    cells = [[*row, *[""] * 24][:24] for row in rows]
    return np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in cells])


def plate_of(grid: np.ndarray, role: np.ndarray) -> PlateReadings:
    row, column = np.nonzero(np.isfinite(grid) & (role >= 0))
    at = (row, column)
    return PlateReadings(row, column, grid[at], role[at], np.zeros(len(row), bool), 16, 24)


def envision(folder: Path, barcode: str, *, treated: bool) -> PlateReadings:
    """Rows C..N and columns B..V are read; the treated template leaves columns B, L and V to the
    vehicle."""
    role = np.full((16, 24), int(Role.SAMPLE if treated else Role.VEHICLE))
    role[:, [1, 11, 21]] = Role.VEHICLE
    return plate_of(grid_of(folder / "envision_run" / f"{barcode}.csv", 4), role)


@pytest.mark.data
@pytest.mark.parametrize("line", LINES)
def test_untreated_plates_are_even_enough_to_use(data_folder: Path, line: str) -> None:
    plate = envision(data_folder, f"{line}09269D00", treated=False)
    assert len(plate) == 252
    quality = check_plate(plate)
    assert quality.metrics.wells["vehicle"] == 252
    assert quality.metrics.z_prime.value is None
    assert "0 positive" in quality.metrics.z_prime.reason
    assert 0.01 < quality.metrics.robust_cv_vehicle.value < 0.15
    assert quality.verdict.level in ("pass", "warn")
    assert np.median(quality.viability.value) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.data
def test_dividing_out_the_effect_foretells_left_out_vehicles_better(data_folder: Path) -> None:
    """Half of the vehicles of each untreated plate judge what the other half taught."""
    plain, smooth = [], []
    for line in LINES:
        plate = envision(data_folder, f"{line}09269D00", treated=False)
        hidden = np.random.default_rng(0).random(len(plate)) < 0.5
        role = np.where(hidden, int(Role.SAMPLE), plate.role)
        grid = np.full((16, 24), np.nan)
        roles = np.full((16, 24), -1)
        grid[plate.row, plate.column], roles[plate.row, plate.column] = plate.value, role
        half = plate_of(grid, roles)
        samples = half.role == Role.SAMPLE
        for rule, errors in (("controls-median/1", plain), ("plate-effect/1", smooth)):
            value = normalise(half, rule).value[samples]
            errors.append(np.sqrt(np.mean((value - 1.0) ** 2)))
    assert np.mean(smooth) < np.mean(plain)
    assert np.all(np.array(smooth) < 1.05 * np.array(plain))


@pytest.mark.data
@pytest.mark.parametrize("line", LINES)
def test_treated_plates_have_growth_rates(data_folder: Path, line: str) -> None:
    start = time_zero_of(envision(data_folder, f"{line}09269D00", treated=False))
    plate = envision(data_folder, f"{line}09269D01", treated=True)
    result = growth_rate(plate, start)
    vehicle = plate.role == Role.VEHICLE
    assert np.median(result.value[vehicle]) == pytest.approx(1.0, abs=1e-3)
    assert result.undefined == 0
    assert np.all(result.value > -1.0)
    assert np.median(result.value[~vehicle]) < 1.05


@pytest.mark.data
def test_a_plate_of_unknown_layout_has_reasons_instead_of_figures(data_folder: Path) -> None:
    path = data_folder / "combocat384" / "dense_mode" / "raw" / "CHP134_Rucaparib_AZD1390.csv"
    grid = grid_of(path, 0)
    start = time.perf_counter()
    quality = check_plate(plate_of(grid, np.full((16, 24), int(Role.SAMPLE))))
    assert time.perf_counter() - start < 1.0
    assert quality.verdict.level == "fail"
    assert any("no usable vehicle" in words for words in quality.verdict.reasons)
    assert quality.metrics.robust_z_prime.value is None
