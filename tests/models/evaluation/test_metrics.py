"""Metrics of campaigns."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.metrics import bootstrap_interval, t_interval, top_rows, top_share_found


def test_top_share_counts_the_best_rows_that_were_measured() -> None:
    truth = np.arange(200.0)
    assert top_rows(truth, 0.01).tolist() == [199, 198]
    assert top_share_found(truth, np.array([199, 3, 5])) == 0.5
    with pytest.raises(ValueError, match="share"):
        top_rows(truth, 0.0)


def test_t_interval_of_known_numbers() -> None:
    interval = t_interval(np.array([1.0, 2.0, 3.0]))
    assert interval.mean == 2.0
    assert interval.high - 2.0 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    with pytest.raises(ValueError, match="two"):
        t_interval(np.array([1.0]))


def test_bootstrap_follows_its_seed_and_holds_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=30)
    first, second = bootstrap_interval(values, 1), bootstrap_interval(values, 1)
    assert first == second
    assert first.low < values.mean() < first.high
