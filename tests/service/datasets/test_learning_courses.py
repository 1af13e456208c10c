"""Learning from time courses: pairs by growth and death, other signals by a neural system."""

import json
import re
from functools import partial

import numpy as np
import pytest

from models.dynamics.hmc import Settings
from models.dynamics.pair_posterior import fit_pair
from models.screen import ScreenError
from service.datasets.learning import drug_pairs, signals
from service.datasets.learning.courses import growth_channels, learn_courses
from service.datasets.learning.drug_pairs import experiments, why_not_trusted
from service.datasets.reading.found import Course, Courses

HOURS = np.arange(0.0, 49.0, 6.0)


def no_progress(stage, done, total):
    return None


def learn(found, seed=0):
    return learn_courses(found, seed=seed, on_progress=no_progress, should_stop=lambda: False)


def courses(doses, curve, channels, *, lines=None, plates=None, drugs=("A", "B")):
    """Series of ``curve(doses, hours) -> (channels, hours)`` with a little noise."""
    generator = np.random.default_rng(1)
    made, series, times, values = [], [], [], []
    for at, pair in enumerate(doses):
        line = "X" if lines is None else lines[at]
        plate = "p" if plates is None else plates[at]
        made.append(Course(f"w{at}", line, plate, tuple(float(d) for d in pair)))
        table = np.asarray(curve(pair, HOURS)).T
        series += [at] * len(HOURS)
        times += HOURS.tolist()
        values.append(table * (1 + 0.02 * generator.normal(size=table.shape)))
    return Courses(
        tuple(made), channels, drugs, ("uM",) * len(drugs),
        np.array(series), np.array(times), np.concatenate(values),
    )  # fmt: skip


def growing(pair, hours):
    """Confluence; B stops growth, A slows it down."""
    rate = 0.04 / (1 + pair[0] / 2.0) / (1 + (pair[1] / 1.0) ** 2)
    alive = 10.0 * np.exp(rate * hours)
    return [alive, 0.1 + 0.002 * hours, 0.1 + 0.003 * hours]


GRID = [(a, b) for a in (0.0, 1.0, 3.0) for b in (0.0, 0.5, 2.0)]


def test_what_an_imager_calls_its_channels():
    assert growth_channels(("Red", "Phase", "overlap")) == (1, None, 0)
    assert growth_channels(("OD", "YFP")) == (None, None, None)


class TestExperiments:
    def test_each_pair_in_each_line_with_its_controls(self):
        doses = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 0, 0), (1, 1, 0)]
        lines = ["X"] * 5 + ["Y"] * 2

        def curve(pair, hours):
            return growing(pair, hours)[:1]

        found = courses(doses, curve, ("phase",), lines=lines, drugs=("A", "B", "C"))
        named = {name: len(series) for name, _, series in experiments(found)}
        assert named == {"X / A + B": 3, "X / A + C": 4, "Y / A + B": 2}

    def test_no_controls_no_experiment(self):
        found = courses([(1, 1), (1, 0)], growing, ("phase", "green", "red"))
        with pytest.raises(ScreenError, match="add controls"):
            experiments(found)


@pytest.mark.slow
def test_a_drug_pair(monkeypatch):
    quick = partial(fit_pair, settings=Settings(chains=8, warm_up=40, draws=30))
    monkeypatch.setattr(drug_pairs, "fit_pair", quick)
    learned = learn(courses(GRID * 2, growing, ("phase", "green", "red")))
    assert learned.model == "growth and death"
    assert 0.0 <= learned.skill <= 1.0
    (name,) = learned.results["experiments"]
    found = learned.results["experiments"][name]
    assert name == "X / A + B"
    viability = {tuple(row["doses"]): row["mean"] for row in found["viability"]}
    assert viability[0.0, 0.0] == 1.0
    assert viability[0.0, 2.0] < viability[0.0, 0.5] < 1.0
    rates = {tuple(row["doses"]): row for row in found["rates"]}
    assert rates[0.0, 0.0]["growth"]["mean"] - rates[0.0, 0.0]["death"]["mean"] == pytest.approx(
        0.04, abs=0.01
    )
    assert rates[0.0, 2.0]["growth"]["mean"] < 0.5 * rates[0.0, 0.0]["growth"]["mean"]
    assert rates[3.0, 0.0]["cytostatic"] == {"mean": 0.0, "sd": 0.0, "above_zero": 0.0}
    assert len(found["wells"]) == len(GRID) * 2
    levels = found["levels"]
    low, middle, high = levels["population"]["growth"]
    assert 0.02 < low < middle < high < 0.08
    assert levels["plates"] == []
    assert [well["name"] for well in levels["wells"]] == [well["name"] for well in found["wells"]]
    first = levels["wells"][0]
    assert first["parameters"]["initial"][1] == pytest.approx(10.0, rel=0.1)
    assert np.shape(first["median"]) == (3, len(HOURS))
    assert learned.features.pairs[0][:2] == (0, 1)
    health = learned.report["health"]
    assert health["experiments"][name]["counts"]["wells"] == len(GRID) * 2
    assert all(said.startswith(f"{name}: ") for said in health["warnings"])
    json.dumps([learned.report, learned.results], allow_nan=False)


@pytest.mark.slow
def test_any_other_signal(monkeypatch):
    monkeypatch.setattr(signals, "STEPS", 60)
    monkeypatch.setattr(signals, "REFINING", 20)

    def rising(pair, hours):
        return [0.1 + (1 - np.exp(-hours / 10)) / (1 + pair[0]), 5 + 0.1 * hours]

    doses = [(d, 0.0) for d in (0, 0, 0, 1, 1, 2, 2, 4, 4, 8, 8, 8)]
    learned = learn(courses(doses, rising, ("OD", "YFP")))
    assert (learned.model, learned.skill) == ("neural", 0.0)
    judged = learned.report["judged"]
    assert judged["series"] == 3
    assert set(judged["coverage_90"]) == {"OD", "YFP"}
    first = learned.results["series"][0]
    assert len(first["mean"]) == 2
    assert len(first["mean"][0]) == len(HOURS)
    levels = learned.results["levels"]
    assert [row["name"] for row in levels["series"]] == [
        row["name"] for row in learned.results["series"]]  # fmt: skip
    assert levels["population"]
    assert all(low <= high for low, high in zip(first["low"][0], first["high"][0], strict=True))
    json.dumps([learned.report, learned.results], allow_nan=False)


def test_a_channel_that_never_changes():
    found = courses([(0, 0)] * 9, lambda pair, hours: [hours * 0.0, hours], ("OD", "YFP"))
    with pytest.raises(ScreenError, match="'OD' never changes"):
        learn(found)


def test_too_few_series():
    found = courses([(0, 0)] * 3, lambda pair, hours: [hours, hours], ("OD", "YFP"))
    with pytest.raises(ScreenError, match="3 series, at least 8"):
        learn(found)


@pytest.mark.parametrize(
    ("diagnostics", "says"),
    [
        ({"rhat_max": 1.01, "pareto_k": 0.3}, None),
        ({}, None),
        ({"rhat_max": 3.7}, "chains did not agree .R-hat 3.70"),
        ({"rhat_max": float("nan")}, "chains did not agree"),
        ({"pareto_k": 0.9}, "too uneven"),
        ({"pareto_k": float("inf")}, "too uneven"),
    ],
)
def test_a_fit_that_did_not_settle_says_so(diagnostics, says):
    doubt = why_not_trusted(diagnostics)
    assert (doubt is None) == (says is None)
    if says:
        assert re.search(says, doubt)
