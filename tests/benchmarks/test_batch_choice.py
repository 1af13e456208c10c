"""The benchmark of choosing plates, at a small size."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import batch_choice


def test_values_are_those_of_the_draws() -> None:
    posterior = batch_choice.LowRank.of(8, 40_000)
    assert len(posterior.lines[0]) == 2
    value = batch_choice.value_of(posterior, 1)
    draws = posterior.draws(1, slice(None), slice(None)).flatten(1)[:, batch_choice.PAIRS]
    exact = (draws > batch_choice.THRESHOLD).float().mean(0) + 0.01 * draws.std(0, correction=0)
    assert value == pytest.approx(exact.numpy(), abs=1e-4)
    best, plates = batch_choice.candidate_plates(posterior, [value, value], 5)
    assert plates.shape == (5, batch_choice.BLOCKS_PER_PLATE)
    assert len(np.unique(plates)) == plates.size
    assert best.shape[1] > plates.max()


def test_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--candidates 30000 --plates 30 --draws 12 --batch 3 --shortlist 8 --threads 1"
    monkeypatch.setattr(sys, "argv", ["batch_choice", *words.split()])
    batch_choice.main()
    assert "30 candidate plates of 24 -> 3 plates" in capsys.readouterr().out
