"""The report on a fit to time courses: the encoder's channels, and the counts."""

from __future__ import annotations

import json

import numpy as np
import torch

from models.dynamics.health import describe_fit_health
from models.dynamics.inference import Fit, Training, build
from models.dynamics.solver import Solver
from tests.models.dynamics.toys import Level, drawn_series, known_noise


def _fit(dead: int) -> Fit:
    series = drawn_series(120, 3, 2)
    model = build(series, Level(), known_noise(), Solver("exact"), 0)
    with torch.no_grad():
        model.encoder.second.bias[:dead] = -1e3
    fit = Fit(model, series, Training(steps=12, series=120, samples=4), 0)
    fit.run()
    return fit


def test_it_is_json_and_counts_weights_and_series() -> None:
    fit, series = _fit(0), drawn_series(120, 3, 2)
    report = describe_fit_health(fit, series)
    assert json.loads(json.dumps(report)) == report
    memory = report["memorisation"]
    assert memory["parameters"] == sum(p.numel() for p in fit.model.parameters())
    assert (memory["n"], memory["probe"]) == (120, None)
    assert "takes minutes" in memory["words"]
    assert [layer["name"] for layer in report["channels"]["layers"]] == [
        "bend_first", "bend_second",
    ]  # fmt: skip
    assert report["warnings"] == []


def test_dead_units_of_the_encoder_are_a_warning() -> None:
    report = describe_fit_health(_fit(20), drawn_series(120, 3, 2))
    assert report["channels"]["collapsed"] == 20
    assert "20 of 96 in bend_second" in report["warnings"][0]


def test_missing_readings_are_no_number() -> None:
    series = drawn_series(120, 3, 2)
    series.values[0, :, -1] = np.nan
    report = describe_fit_health(_fit(0), series)
    assert json.dumps(report, allow_nan=False)
