"""Figures: golden numbers, units, order, and a reason wherever there is no number."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from models.quality.metrics import (
    coefficient_of_variation,
    measure_plate,
    replicate_concordance,
    replicate_sd,
    robust_coefficient_of_variation,
    robust_ssmd,
    robust_z_prime,
    ssmd,
    z_prime,
)
from models.quality.plate import PlateReadings, Role
from models.quality.simulate import PlateLayout, ReaderModel, simulate_plate
from models.quality.spread import MAD_TO_SD, median_variance, well_sd
from models.screen import ScreenError

NEGATIVE = np.array([100.0, 102, 98, 101, 99])
POSITIVE = np.array([5.0, 6, 4, 5, 5])


def test_golden_numbers() -> None:
    assert z_prime(NEGATIVE, POSITIVE).value == pytest.approx(0.927740, abs=1e-6)
    assert ssmd(NEGATIVE, POSITIVE).value == pytest.approx(-54.848276, abs=1e-6)
    assert robust_z_prime(NEGATIVE, POSITIVE).value == pytest.approx(0.953181, abs=1e-6)
    assert robust_ssmd(NEGATIVE, POSITIVE).value == pytest.approx(-95 / MAD_TO_SD)
    assert coefficient_of_variation(NEGATIVE).value == pytest.approx(np.sqrt(2.5) / 100)
    many = np.tile(NEGATIVE, 2)
    assert robust_coefficient_of_variation(many).value == pytest.approx(MAD_TO_SD / 100)


def test_undefined_figures_have_reasons() -> None:
    one = NEGATIVE[:1]
    for figure in (z_prime, robust_z_prime, ssmd, robust_ssmd):
        assert figure(NEGATIVE, one).value is None
        assert "1 positive" in figure(NEGATIVE, one).reason
    assert "same mean" in z_prime(NEGATIVE, NEGATIVE).reason
    assert "scatter" in ssmd(np.ones(3), np.zeros(3)).reason
    assert "alike" in robust_ssmd(np.ones(3), np.zeros(3)).reason
    assert "too few" in coefficient_of_variation(one).reason
    assert "not above" in coefficient_of_variation(-NEGATIVE).reason
    assert "not above" in robust_coefficient_of_variation(-NEGATIVE).reason


def test_spread_of_controls() -> None:
    assert well_sd(np.ones(1)) is None
    assert well_sd(NEGATIVE) == pytest.approx(np.sqrt(2.5))
    assert well_sd(np.array([1.0] * 7 + [3.0] * 2)) > 0
    draws = np.random.default_rng(0).standard_normal((40_000, 9))
    for n in (1, 3, 9):
        found = np.var(np.median(draws[:, :n], axis=1))
        assert median_variance(n) == pytest.approx(found, abs=0.02)


def test_replicate_sd_and_concordance_of_known_noise() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(2000), 3)
    value = 0.2 * rng.standard_normal(2000)[group] + 0.05 * rng.standard_normal(6000)
    assert replicate_sd(value, group).value == pytest.approx(0.05, rel=0.04)
    expected = 0.2**2 / (0.2**2 + 0.05**2)
    assert replicate_concordance(value, group).value == pytest.approx(expected, abs=0.01)


def test_concordance_of_pairs_is_the_analysis_of_variance() -> None:
    value, group = np.array([1.0, 2, 4, 5, 9, 8]), np.array([0, 0, 1, 1, 2, 2])
    between, within = stats.f_oneway(*value.reshape(3, 2)).statistic, 1.0
    assert replicate_concordance(value, group).value == pytest.approx(
        (between - within) / (between + within)
    )
    assert "2 treatments" in replicate_concordance(value[:4], group[:4]).reason
    assert "alike" in replicate_concordance(np.ones(6), group).reason


def test_figures_do_not_know_the_units_nor_the_order() -> None:
    plate = simulate_plate(3, layout=PlateLayout(replicates=3, blanks=4)).readings
    figures = measure_plate(plate, np.array([0.5, 0.6, 0.55]))
    shuffled = plate.select(np.random.default_rng(0).permutation(len(plate)))
    assert measure_plate(shuffled, np.array([0.6, 0.55, 0.5])) == figures
    # A power of two changes no digit.
    assert measure_plate(replace(plate, value=plate.value * 1024.0)).z_prime == figures.z_prime
    scaled = measure_plate(replace(plate, value=plate.value * 1000.0), np.array([0.5, 0.6, 0.55]))
    for name, one in numbers(figures.to_dict()).items():
        assert numbers(scaled.to_dict())[name] == pytest.approx(one, rel=1e-9), name


def numbers(table: dict[str, object], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, entry in table.items():
        if isinstance(entry, dict):
            found |= numbers(entry, f"{prefix}{name}.")
        elif isinstance(entry, int | float):
            found[prefix + name] = float(entry)
    return found


def test_excluded_and_empty_wells_count_for_nothing() -> None:
    plate = simulate_plate(4).readings
    bad = np.flatnonzero(plate.role == Role.VEHICLE)[:3]
    value, excluded, role = plate.value.copy(), plate.excluded.copy(), plate.role.copy()
    value[bad], excluded[bad[:2]], role[bad[2]] = 1e9, True, Role.EMPTY
    spoiled = measure_plate(replace(plate, value=value, excluded=excluded, role=role))
    without = measure_plate(plate.select(np.delete(np.arange(len(plate)), bad)))
    assert spoiled.excluded == 2
    assert replace(spoiled, excluded=0) == without


def test_missing_wells_are_counted_and_a_plate_of_nothing_has_reasons() -> None:
    plate = simulate_plate(5, ReaderModel(missing=0.5)).readings
    share = float(np.mean(np.isnan(plate.value)))
    assert measure_plate(plate).missing.value == share
    nothing = measure_plate(replace(plate, value=np.full(len(plate), np.nan))).to_dict()
    assert numbers(nothing) == pytest.approx(
        {"missing.value": 1.0, "excluded": 0.0} | {f"wells.{r.name.lower()}": 0.0 for r in Role}
    )
    assert all(
        e["reason"]
        for e in nothing.values()
        if isinstance(e, dict) and "reason" in e and e.get("value", 0.0) is None
    )
    no_wells = plate.select(np.zeros(len(plate), bool))
    assert measure_plate(no_wells).missing.reason == "no wells"


def test_drift_is_the_t_test_of_one_new_plate() -> None:
    plate = simulate_plate(6).readings
    history = np.array([0.70, 0.72, 0.69, 0.71])
    drift = measure_plate(plate, history).drift
    assert drift.now == pytest.approx(0.55, abs=0.08)
    t = (drift.now - history.mean()) / (history.std(ddof=1) * np.sqrt(1.25))
    assert drift.p_value == pytest.approx(2 * stats.t.sf(abs(t), 3))
    assert "three are needed" in measure_plate(plate, history[:2]).drift.reason
    assert "digit" in measure_plate(plate, np.ones(3)).drift.reason
    without = plate.select(plate.role != Role.REFERENCE)
    assert "no usable reference" in measure_plate(without, history).drift.reason
    with pytest.raises(ScreenError, match="NaN"):
        measure_plate(plate, np.array([np.nan]))


def test_background_is_the_positive_control_else_the_blank() -> None:
    def plate(role: Role) -> PlateReadings:
        value = np.array([300.0, 300.0, 100.0])
        codes = np.array([Role.VEHICLE, Role.VEHICLE, role])
        at = np.arange(3)
        return PlateReadings(at * 0, at, value, codes, np.zeros(3, bool), 8, 12)

    assert measure_plate(plate(Role.POSITIVE)).signal_to_background.value == 3.0
    assert measure_plate(plate(Role.BLANK)).signal_to_background.value == 3.0
    assert measure_plate(plate(Role.SAMPLE)).signal_to_background.value is None
