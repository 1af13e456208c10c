"""The benchmark of scoring: what it generates on the device is what a round would score."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from benchmarks import scoring
from models.acquisition.pool import PoolRequest, summarise_pool

COMPOUNDS, LINES, DRAWS = 30, 5, 16


@pytest.fixture(scope="module")
def posterior() -> scoring.BnnPosterior:
    return scoring.fitted(COMPOUNDS, LINES, "cpu")


def test_boxes_hold_every_candidate_once() -> None:
    seen = []
    for box in scoring.boxes(COMPOUNDS, LINES, 200):
        first, second, line = box.expand("cpu")
        assert bool((first < second).all())
        seen.append(((line * COMPOUNDS + first) * COMPOUNDS + second).numpy())
    keys = np.concatenate(seen)
    assert len(keys) == LINES * COMPOUNDS * (COMPOUNDS - 1) // 2
    assert len(np.unique(keys)) == len(keys)


def test_the_running_best_are_those_of_the_whole_pool(
    posterior: scoring.BnnPosterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "TOP", 60)
    count = LINES * COMPOUNDS * (COMPOUNDS - 1) // 2
    best, done = scoring.best_of_range(posterior, count, DRAWS, "cpu", elements=300 * DRAWS)
    assert done == count
    pool = scoring.whole_pool(posterior, count)
    asked = PoolRequest("hit_probability", scoring.THRESHOLD, 1.0, DRAWS, scoring.SEED, 60)
    scores = summarise_pool(posterior, pool, np.ones(count, bool), asked)
    chance = dict(zip(pool.keys(COMPOUNDS).tolist(), scores.hit_probability, strict=True))
    assert [chance[key] for key in best.key.tolist()] == pytest.approx(
        best.chance.tolist(), abs=1e-5
    )
    assert best.chance.numpy() == pytest.approx(
        np.sort(scores.hit_probability)[::-1][:60], abs=1e-5
    )


def test_both_forms_count_what_they_scored(
    posterior: scoring.BnnPosterior, capsys: pytest.CaptureFixture[str]
) -> None:
    options = argparse.Namespace(candidates=1500, draws=DRAWS, device="cpu", threads=2)
    count, seconds = scoring.streamed(posterior, options)
    assert count == 1500
    assert seconds > 0
    assert "quantiles of the best 1000" in capsys.readouterr().out
    count, seconds = scoring.generated(posterior, options)
    assert count >= 1500
    assert seconds > 0
    assert scoring.matmul_rate("cpu", 2) > 1e8
