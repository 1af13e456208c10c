"""Limits of the laboratory in a replay: compounds by row, and what cannot be replayed."""

from __future__ import annotations

import pytest

from models.evaluation.bench_limits import bench_rules
from models.screen import ScreenError


def test_compounds_that_left_the_campaign_bind_nothing() -> None:
    limits = {
        "never_together": [["a", "gone"], ["b", "a", "gone"]],
        "stock": {"gone": 3, "b": 1},
        "doses": 4,
        "block_shape": "diagonal",
    }
    rules = bench_rules(limits, ["b", "a"], 5)
    assert rules.never_together == ((0, 1),)
    assert rules.stock == {0: 1}
    assert (rules.batch_size, rules.doses, rules.wells_per_block) == (5, 4, 4)
    assert set(limits["stock"]) == {"gone", "b"}, "the limits themselves stay as they are"


def test_what_cannot_be_replayed_is_named() -> None:
    with pytest.raises(ScreenError, match="neither plates nor blocks_per_plate"):
        bench_rules({"lines_per_plate": 1}, ["a", "b"], 5)
    plates = {"plates": 2, "blocks_per_plate": 4}
    with pytest.raises(ScreenError, match=r"plates \(2\) of 4 blocks each, a round holds 8"):
        bench_rules(plates, ["a", "b"], 9)
    assert bench_rules(plates, ["a", "b"], 8).limits().batch == 8
    with pytest.raises(ScreenError, match="no such laboratory rule: colour"):
        bench_rules({"colour": 1}, [], 1)
