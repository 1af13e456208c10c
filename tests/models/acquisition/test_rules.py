"""What the rules of a round say about the newer acquisitions."""

from __future__ import annotations

from typing import Any

import pytest

from models.acquisition.functions import ACQUISITIONS
from models.acquisition.rules import AUTO_ACQUISITION, RoundRules
from models.screen import ScreenError


def test_the_best_sought_are_as_many_as_the_batch_holds() -> None:
    assert RoundRules(batch_size=12).best_sought == 12
    assert RoundRules(batch_size=12, top_k=50).best_sought == 50


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_may_be_asked_for(name: str) -> None:
    rules = RoundRules(acquisition=name)
    assert rules.acquisition == name
    assert rules.acquisitions == (name,)


def test_the_schedule_may_be_asked_for() -> None:
    rules = RoundRules(acquisition=AUTO_ACQUISITION, rounds_planned=6)
    assert rules.acquisitions == ("hit_probability", "thompson")
    assert RoundRules().rounds_planned is None


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"xi": -1.0}, "xi"),
        ({"xi": float("nan")}, "xi"),
        ({"top_k": 0}, "top_k"),
        ({"draws": 1}, "at least 2"),
        ({"acquisition": "pdbal", "draws": 2}, "at least 3"),
        ({"acquisition": "nonsense"}, "known are.*auto"),
        ({"acquisition": "auto", "draws": 1}, "at least 2"),
        ({"rounds_planned": 0}, "0 rounds are planned"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ScreenError, match=word):
        RoundRules(**wrong)
