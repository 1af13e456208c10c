"""Saved fits: the same answers after a round trip through bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import load as bytes_to_tensors
from safetensors.torch import save as tensors_to_bytes

from models.dynamics.inference import Fit, Training, build
from models.dynamics.observation import Observation
from models.dynamics.posterior import DynamicPosterior
from models.dynamics.saving import load, save
from models.dynamics.solver import Solver
from models.dynamics.systems.logistic import LogisticGrowth
from models.screen import ScreenError
from tests.models.dynamics.toys import Level, drawn_series, known_noise


def test_a_saved_fit_answers_alike_to_the_bit() -> None:
    series = drawn_series(12, 3, 0)
    model = build(series, Level(), known_noise(), Solver("exact"), 0)
    Fit(model, series, Training(steps=10, series=12, samples=4), 0).run()
    tensors, facts = save(model)
    again = load(
        bytes_to_tensors(tensors_to_bytes(tensors)),
        json.loads(json.dumps(facts)),
        Level(),
        known_noise(),
        Solver("exact"),
    )
    first, second = DynamicPosterior(model, series), DynamicPosterior(again, series)
    np.testing.assert_array_equal(first.scores(50).bound, second.scores(50).bound)
    np.testing.assert_array_equal(first.predict(seed=1).lower, second.predict(seed=1).lower)


def test_another_system_is_refused() -> None:
    series = drawn_series(4, 2, 0)
    tensors, facts = save(build(series, Level(), known_noise(), Solver("exact"), 0))
    growth = LogisticGrowth("level")
    with pytest.raises(ScreenError, match="cannot be read as 'logistic-growth'"):
        load(tensors, facts, growth, known_noise(), Solver("exact"))
    with pytest.raises(ScreenError, match="other parameters"):
        load(tensors, facts, Level(), Observation(("level",)), Solver())
