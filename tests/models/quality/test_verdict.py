"""Verdicts and flags: clean plates pass, bad ones do not, limits are data, flags only propose."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from models.quality.flags import propose_flags
from models.quality.limits import Limit, QcLimits
from models.quality.metrics import measure_plate
from models.quality.normalise import TimeZero, normalise
from models.quality.plate import Role
from models.quality.simulate import PlateLayout, ReaderModel, simulate_plate
from models.quality.verdict import check_plate, judge
from models.screen import ScreenError


def test_clean_plates_pass() -> None:
    levels = [check_plate(simulate_plate(seed).readings).verdict.level for seed in range(30)]
    assert levels.count("pass") >= 29


@pytest.mark.parametrize(
    ("reader", "metric", "level"),
    [
        (ReaderModel(column_gradient=0.3), "column_trend", "warn"),
        (ReaderModel(edge=-0.25), "edge_controls", "warn"),
        (ReaderModel(edge=-0.5), "edge_controls", "fail"),
        (ReaderModel(noise_cv=0.5), "robust_z_prime", "fail"),
        (ReaderModel(missing=0.06), "missing", "warn"),
        (ReaderModel(missing=0.4), "missing", "fail"),
        (ReaderModel(floor=350_000), "signal_to_background", "fail"),
    ],
)
def test_bad_plates_say_what_is_bad(reader: ReaderModel, metric: str, level: str) -> None:
    verdict = check_plate(simulate_plate(11, reader).readings).verdict
    found = {finding.metric: finding for finding in verdict.findings}[metric]
    assert found.level == level
    assert found.words in verdict.reasons
    assert f"{found.limit:g}" in found.words
    assert verdict.level in (level, "fail")


def test_plates_that_cannot_be_normalised_fail_in_words() -> None:
    plate = simulate_plate(0).readings
    swapped = np.where(plate.role == Role.VEHICLE, Role.POSITIVE, plate.role)
    swapped[plate.role == Role.POSITIVE] = Role.VEHICLE
    quality = check_plate(replace(plate, role=swapped))
    assert quality.verdict.level == "fail"
    assert quality.viability is None
    assert any("wrong way round" in words for words in quality.verdict.reasons)


def test_the_reference_pair_can_drift() -> None:
    plate = simulate_plate(1).readings
    steady = check_plate(plate, history=np.array([0.52, 0.56, 0.58, 0.54]))
    assert "drift" not in [finding.metric for finding in steady.verdict.findings]
    moved = check_plate(plate, history=np.array([0.80, 0.81, 0.79, 0.80]))
    assert moved.verdict.level == "fail"
    assert "reference pair" in moved.verdict.reasons[0]


def test_limits_are_data_and_go_there_and_back() -> None:
    limits = QcLimits.from_dict({"edge": {"warn": 0.2, "fail": None}, "p_value": 0.001})
    assert limits.edge == Limit(0.2, None)
    assert limits.trend == QcLimits().trend
    assert QcLimits.from_dict(json.loads(json.dumps(limits.to_dict()))) == limits
    figures = measure_plate(simulate_plate(11, ReaderModel(edge=-0.5)).readings)
    edge = [f.level for f in judge(figures, limits).findings if f.metric == "edge_controls"]
    assert edge == ["warn"]
    off = replace(limits, edge=Limit(None, None))
    assert "edge_controls" not in [f.metric for f in judge(figures, off).findings]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"z": {"warn": 1, "fail": 2}}, "no limits named z"),
        ({"edge": {"warn": 0.3, "fail": 0.1}}, "wrong way round"),
        ({"robust_z_prime": {"warn": 0.0, "fail": 0.5}}, "wrong way round"),
        ({"edge": {"warn": "0.3", "fail": None}}, "expected a number"),
        ({"edge": {"warn": True, "fail": None}}, "expected a number"),
        ({"edge": {"warn": float("nan"), "fail": None}}, "is nan"),
        ({"edge": 0.3}, "exactly"),
        ({"p_value": 0}, "between 0 and 1"),
        ({"p_value": None}, "switched off"),
    ],
)
def test_impossible_limits_are_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ScreenError, match=words):
        QcLimits.from_dict(table)


def test_one_bad_well_of_three_is_flagged_alone() -> None:
    plate = simulate_plate(2, layout=PlateLayout(replicates=3)).readings
    clean = check_plate(plate).flags
    samples = np.flatnonzero((plate.role == Role.SAMPLE) & (plate.treatment % 8 == 0))
    bad = int(samples[0])
    plate.value[bad] *= 0.2
    (flag,) = set(check_plate(plate).flags) - set(clean)
    assert (flag.row, flag.column) == (plate.row[bad], plate.column[bad])
    assert flag.kind == "replicate outlier"
    assert f"{flag.viability:.3f}" in flag.words
    assert not plate.excluded.any()


def test_two_that_disagree_are_flagged_both_and_a_bad_control_is_found() -> None:
    plate = simulate_plate(3, layout=PlateLayout(replicates=2)).readings
    clean = {(flag.row, flag.column) for flag in check_plate(plate).flags}
    pair = np.flatnonzero((plate.role == Role.SAMPLE) & (plate.treatment == 0))
    vehicle = int(np.flatnonzero(plate.role == Role.VEHICLE)[0])
    plate.value[[pair[0], vehicle]] *= 0.3
    new = [f for f in check_plate(plate).flags if (f.row, f.column) not in clean]
    assert sorted(f.kind for f in new) == [
        "control outlier",
        "replicates disagree",
        "replicates disagree",
    ]
    plate.excluded[[pair[0], vehicle]] = True
    left = {(flag.row, flag.column) for flag in check_plate(plate).flags}
    assert left <= clean


@pytest.mark.parametrize("replicates", [1, 3])
def test_clean_plates_are_seldom_flagged(replicates: int) -> None:
    """Nominally 5 %; 60 plates have a standard error of 2.8 %."""
    layout = PlateLayout(replicates=replicates)
    flagged = 0
    for seed in range(60):
        plate = simulate_plate(500 + seed, layout=layout).readings
        flagged += bool(propose_flags(plate, normalise(plate, "controls-median/1")).flags)
    assert flagged / 60 < 0.05 + 3 * 0.028


def test_many_failed_dispenses_warn() -> None:
    layout = PlateLayout(replicates=3)
    quality = check_plate(simulate_plate(4, ReaderModel(failed=0.08), layout).readings)
    assert "outliers" in [finding.metric for finding in quality.verdict.findings]
    assert quality.verdict.level == "warn"
    json.dumps(quality.verdict.to_dict())


def test_flags_need_viability_of_the_same_plate() -> None:
    plate = simulate_plate(5).readings
    with pytest.raises(ScreenError, match="viability scale"):
        propose_flags(plate, normalise(plate, "growth-rate/1", TimeZero(1e5)))
    with pytest.raises(ScreenError, match="values for"):
        propose_flags(plate.select(np.arange(9)), normalise(plate, "controls-median/1"))


def test_order_of_the_wells_changes_nothing() -> None:
    plate = simulate_plate(6, ReaderModel(failed=0.05), PlateLayout(replicates=3)).readings
    shuffled = plate.select(np.random.default_rng(1).permutation(len(plate)))
    one, other = check_plate(plate), check_plate(shuffled)
    assert one.verdict == other.verdict
    assert [f.words for f in one.flags] == [f.words for f in other.flags]


def test_a_384_well_plate_is_judged_within_a_second() -> None:
    plate = simulate_plate(7, layout=PlateLayout(replicates=3)).readings
    start = time.perf_counter()
    check_plate(plate)
    assert time.perf_counter() - start < 1.0
