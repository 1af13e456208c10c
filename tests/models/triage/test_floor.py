"""Whether a model beats the card, said only beyond noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from models.triage.floor import compare_with_scorecard
from tests.models.triage.blocks import simulate


@pytest.fixture(scope="module")
def blocks():  # type: ignore[no-untyped-def]
    table, hit, logits = simulate(3000, 30, seed=4)
    return table.select(np.arange(2000)), hit[:2000], table.select(np.arange(2000, 3000)), \
        hit[2000:], expit(logits[2000:])  # fmt: skip


def test_the_truth_beats_the_card_and_the_base_rate_does_not(blocks) -> None:  # type: ignore[no-untyped-def]
    train, hit, test, found, truth = blocks
    best = compare_with_scorecard(train, hit, test, truth, found, seed=0)
    assert best["beats"] is True
    assert best["log_loss"]["model"] < best["log_loss"]["scorecard"] < best["log_loss"]["base_rate"]
    dull = compare_with_scorecard(train, hit, test, np.full(1000, hit.mean()), found, seed=0)
    assert dull["beats"] is False
    assert "Warning" in dull["words"]
    assert dull["gain"] == pytest.approx(
        dull["log_loss"]["scorecard"] - dull["log_loss"]["base_rate"]
    )
    json.dumps(dull, allow_nan=False)


def test_a_certain_model_that_is_wrong_once_is_not_infinitely_bad(blocks) -> None:  # type: ignore[no-untyped-def]
    train, hit, test, found, _ = blocks
    said = compare_with_scorecard(train, hit, test, (~found).astype(float), found, seed=0)
    assert np.isfinite(said["log_loss"]["model"])
    assert said["beats"] is False


def test_without_a_hit_there_is_nothing_to_compare(blocks) -> None:  # type: ignore[no-untyped-def]
    train, hit, test, found, truth = blocks
    said = compare_with_scorecard(train, np.zeros_like(hit), test, truth, found, seed=0)
    assert said["beats"] is None
    assert "No scorecard" in said["words"]
