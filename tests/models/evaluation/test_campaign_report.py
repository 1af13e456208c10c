"""A campaign's numbers against a campaign small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from models.evaluation.campaign_report import (
    EDGES,
    binomial_interval,
    campaign_report,
    ceiling_share,
    forecast_report,
    hit_bins,
)
from models.evaluation.past_campaign import PastCampaign
from models.evaluation.replay import Choice, RoundRecord
from models.screen import Candidates, IntArray, Screen


def hundred() -> PastCampaign:
    """Block k of 100 has the score 100 - k; block 0 is the top 1 %, 0 to 4 the top 5 %."""
    first, second = np.triu_indices(25, k=1)
    candidates = Candidates.of(first[:100], second[:100], np.arange(100) % 2)
    truth = 100.0 - np.arange(100)

    def reveal(rows: IntArray) -> Screen:
        raise AssertionError("nothing is revealed to a report")

    return PastCampaign(candidates, truth, truth, reveal)


def record(number: int, chosen: list[int], p: float | None = None) -> RoundRecord:
    rows = np.array(chosen)
    choice = None
    if p is not None:
        of_all = np.ones(len(rows))
        forecast = {
            "hit_probability": p * of_all,
            "mean": 90.0 * of_all,
            "sd": 5.0 * of_all,
            "position": np.linspace(0.05, 0.95, len(rows)),
            "log_density": -2.0 * of_all,
        }
        choice = Choice(rows, forecast, "ridge", "", {}, {"fit": 2.0}, {"fit": 1.0})
    return RoundRecord(number, 0, 0.0, 0.0, {}, 0.0, rows, choice)


def test_what_was_found_is_counted() -> None:
    records = [
        record(0, [50, 60, 70, 2, 80]),
        record(1, [1, 3, 20, 90], 0.5),
        record(2, [0, 4, 5, 6, 7], 0.9),
    ]
    start, first, second = campaign_report(hundred(), records, threshold=90.0)
    assert [r["measured"] for r in (start, first, second)] == [5, 9, 14]
    assert start["hits"] == {"batch": 1, "all": 1, "share": 0.1}
    assert first["hits"] == {"batch": 2, "all": 3, "share": 0.3}
    assert second["hits"] == {"batch": 5, "all": 8, "share": 0.8}
    assert [r["top"]["1"] for r in (start, first, second)] == [0.0, 0.0, 1.0]
    assert [r["top"]["5"] for r in (start, first, second)] == [0.2, 0.6, 1.0]
    assert first["regret"] == {"best": 1.0, "mean_of_best": 1.0, "k": 1}
    assert second["regret"]["best"] == 0.0
    assert start["enrichment"] == {"batch": None, "chosen": None}
    # Of 95 blocks left 9 were hits, then 7 of 91; 7 of the 9 blocks chosen since were.
    assert first["enrichment"]["batch"]["value"] == pytest.approx(0.5 / (9 / 95), abs=1e-6)
    assert second["enrichment"]["batch"]["value"] == pytest.approx(1 / (7 / 91), abs=1e-6)
    chosen = second["enrichment"]["chosen"]
    assert chosen["value"] == pytest.approx((7 / 9) / (9 / 95), abs=1e-6)
    low, high = binomial_interval(7, 9)
    assert (chosen["low"], chosen["high"]) == pytest.approx((low * 95 / 9, high * 95 / 9), rel=1e-5)
    assert start["forecast"] is None
    assert (first["wall"], first["cpu"], first["model"]) == ({"fit": 2.0}, {"fit": 1.0}, "ridge")
    assert first["distinct"]["cell_lines"] == 2
    assert first["distinct"]["pairs"] == 4


def test_hits_that_do_not_exist_enrich_nothing() -> None:
    records = [record(0, [5, 6]), record(1, [7, 8], 0.1)]
    report = campaign_report(hundred(), records, threshold=1000.0)
    assert report[1]["hits"] == {"batch": 0, "all": 0, "share": None}
    assert report[1]["enrichment"]["batch"] == {"value": None, "low": None, "high": None}


def test_promises_are_held_against_hits() -> None:
    forecast = {
        "hit_probability": np.array([0.02, 0.5, 0.5, 1.0]),
        "mean": np.array([1.0, 2.0, 3.0, 4.0]),
        "sd": np.ones(4),
        "position": np.array([0.5, 0.2, 0.04, 0.99]),
        "log_density": np.array([-1.0, -2.0, -3.0, -4.0]),
    }
    hit = np.array([False, True, False, True])
    report = forecast_report(forecast, hit, np.array([1.0, 2.0, 3.0, 8.0]))
    assert report["expected"] == pytest.approx(2.02)
    assert report["sd"] == pytest.approx(np.sqrt(0.02 * 0.98 + 0.5), abs=1e-6)
    assert report["found"] == 2
    assert report["expected_raw"] is None
    stated = {**forecast, "raw_hit_probability": np.array([0.1, 0.6, 0.7, 1.0])}
    assert forecast_report(stated, hit, np.ones(4))["expected_raw"] == pytest.approx(2.4)
    assert report["inside"] == {"50": 1, "80": 2, "90": 2, "95": 3}
    assert (report["log_density"], report["rmse"], report["bias"]) == (-2.5, 2.0, -1.0)
    filled = {k: row for k, row in enumerate(report["bins"]) if row["n"]}
    assert filled == {
        0: {"n": 1, "expected": 0.02, "found": 0},
        6: {"n": 2, "expected": 1.0, "found": 1},
        10: {"n": 1, "expected": 1.0, "found": 1},
    }


def test_bins_hold_every_probability_once() -> None:
    p = np.array([0.0, *EDGES, 0.999, 1.0])
    bins = hit_bins(p, np.zeros(len(p), bool))
    assert sum(row["n"] for row in bins) == len(p)
    assert bins[0]["n"] == 2
    assert bins[-1]["n"] == 4  # 0.9, 0.999 and twice 1


@pytest.mark.parametrize(("found", "n"), [(0, 10), (10, 10), (3, 17), (1, 1)])
def test_the_interval_of_a_share_is_exact(found: int, n: int) -> None:
    known = scipy.stats.binomtest(found, n).proportion_ci(method="exact")
    assert binomial_interval(found, n) == pytest.approx((known.low, known.high), abs=1e-9)
    assert binomial_interval(0, 0) == (0.0, 1.0)


def test_an_oracle_finds_what_the_first_blocks_left() -> None:
    share = ceiling_share(np.array([10.0, 14.0, 19.0, 30.0]), 10, 100, 10)
    assert share.tolist() == pytest.approx([0.1, 0.5, 1.0, 1.0])
