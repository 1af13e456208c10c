"""Strategies side by side: means, areas, budgets and tests against numbers known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from models.evaluation.campaign_report import Round, forecast_report
from models.evaluation.replay_summary import Played, compare, paired, pooled, summarise


def rounds(found: list[float], step: int = 10) -> list[Round]:
    """A campaign on 100 blocks that measures ``step`` a round."""
    forecast = {
        "hit_probability": np.full(step, 0.3),
        "mean": np.zeros(step),
        "sd": np.ones(step),
        "position": np.linspace(0, 1, step),
        "log_density": np.full(step, -1.5),
    }
    hit = np.arange(step) < 3
    return [
        {
            "number": k,
            "measured": step * (k + 1),
            "batch": step,
            "hits": {"batch": 3, "all": 3 * k, "share": share},
            "top": {"1": share, "5": share / 2},
            "enrichment": {"batch": None, "chosen": None}
            if k == 0
            else {"batch": {"value": 2.0}, "chosen": {"value": None}},
            "regret": {"best": 1 - share, "mean_of_best": 1 - share, "k": 1},
            "distinct": {"compounds": 5, "pairs": 7, "cell_lines": 1},
            "forecast": None if k == 0 else forecast_report(forecast, hit, np.zeros(step)),
            "wall": {} if k == 0 else {"fit": 2.0, "select": 1.0},
            "cpu": {} if k == 0 else {"fit": 1.5},
            "model": None,
        }
        for k, share in enumerate(found)
    ]


def seeds(*curves: list[float]) -> list[Played]:
    return [Played("all lines", k, 100, rounds(curve)) for k, curve in enumerate(curves)]


def test_curves_are_means_over_seeds_with_intervals() -> None:
    summary = summarise(seeds([0.0, 0.2, 0.6], [0.0, 0.4, 0.8], [0.1, 0.3, 1.0]))
    assert (summary["n_campaigns"], summary["n_units"]) == (3, 3)
    assert summary["measured"] == [10, 20, 30]
    assert summary["measured_share"] == [0.1, 0.2, 0.3]
    assert summary["ceiling"] == [0.1, 1.0, 1.0]
    point = summary["curves"]["top_1"][1]
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t with two degrees of freedom, sd 0.1
    assert [point["mean"], point["low"], point["high"]] == pytest.approx(
        [0.3, 0.3 - half, 0.3 + half], abs=1e-5
    )
    assert summary["area"]["top_1"]["mean"] == pytest.approx(np.mean([0.4, 0.6, 0.65]), abs=1e-6)
    assert summary["area_early"]["top_1"] is None
    assert summary["rounds_to"] == {"50": 2, "80": 2, "90": None}
    assert summary["curves"]["enrichment_batch"][0]["mean"] is None
    assert summary["curves"]["enrichment_batch"][1]["mean"] == 2.0
    assert summary["seconds"]["wall"] == {"fit": 2.0, "select": 1.0}
    assert summary["seconds"]["wall_total"] == 6.0
    assert summary["seconds"]["cpu_total"] == 3.0


def test_budgets_are_read_between_rounds() -> None:
    late = summarise(seeds([0.0, 0.2, 0.6]))
    assert late["budgets"]["5"] is None  # begins with 10 % of the blocks
    assert late["budgets"]["10"]["top_1"] == {"mean": 0.0, "low": None, "high": None}
    fine = Played("all lines", 0, 100, rounds([0.0, 0.2, 0.6], step=3))
    assert summarise([fine])["budgets"]["5"]["top_1"]["mean"] == pytest.approx(0.4 / 3, abs=1e-6)
    assert summarise([fine])["budgets"]["10"] is None  # ends with 9 %
    nearly = Played("all lines", 0, 901, rounds([0.0, 0.2, 0.6], step=30))
    assert summarise([nearly])["budgets"]["10"]["top_1"]["mean"] == 0.6


def test_a_campaign_that_ran_out_of_blocks_keeps_what_it_found() -> None:
    short, long = rounds([0.0, 1.0]), rounds([0.0, 0.2, 0.6])
    summary = summarise([Played("x", 0, 100, short), Played("x", 1, 100, long)])
    assert [p["mean"] for p in summary["curves"]["top_1"]] == [0.0, 0.6, 0.8]
    assert summary["curves"]["log_density"][2] == {"mean": -1.5, "low": None, "high": None}


def test_lines_are_the_units_where_there_are_several() -> None:
    played = [
        Played(line, seed, 100, rounds([0.0, base + 0.1 * seed]))
        for line, base in (("A", 0.2), ("B", 0.6))
        for seed in (0, 1)
    ]
    summary = summarise(played)
    assert (summary["n_campaigns"], summary["n_units"]) == (4, 2)
    assert summary["curves"]["top_1"][1]["mean"] == pytest.approx(0.45)
    test = compare(played, played)["area"]["top_1"]
    assert (test["n"], test["wins"], test["losses"], test["mean"]) == (2, 0, 0, 0.0)
    assert test["sign"] is None


def test_paired_tests_agree_with_scipy() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(0.6, 0.1, 8), random.normal(0.5, 0.1, 8)
    names = "abcdefgh"
    report = paired(dict(zip(names, first, strict=True)), dict(zip(names, second, strict=True)))
    known = scipy.stats.ttest_rel(first, second)
    ends = known.confidence_interval(0.95)
    assert report["t"] == pytest.approx(known.pvalue, abs=1e-6)
    assert (report["low"], report["high"]) == pytest.approx((ends.low, ends.high), abs=1e-6)
    wins = int((first > second).sum())
    assert report["wins"] == wins
    assert report["sign"] == pytest.approx(scipy.stats.binomtest(wins, 8).pvalue, abs=1e-6)
    five = paired(dict.fromkeys("abcde", 1.0), dict.fromkeys("abcde", 0.5))
    assert five["sign"] == pytest.approx(2 / 2**5)
    assert paired({"a": 1.0}, {"b": 0.0})["n"] == 0


def test_compared_are_only_units_that_both_played() -> None:
    report = compare(seeds([0.0, 0.2, 0.6], [0.0, 0.3, 0.7]), seeds([0.0, 0.1, 0.1]))
    assert report["area"]["top_1"]["n"] == 1
    assert report["area"]["top_1"]["mean"] == pytest.approx(0.3)
    assert report["10"]["top_1"]["mean"] == 0.0
    assert report["5"]["top_1"]["n"] == 0


def test_honest_forecasts_hold_and_boastful_ones_do_not() -> None:
    random = np.random.default_rng(1)
    p = random.beta(1, 3, size=(20, 200))
    hit = random.random(p.shape) < p
    for boast, holds in ((0.0, True), (0.15, False)):
        reports = []
        for said, got in zip(np.minimum(p + boast, 1), hit, strict=True):
            forecast = {
                "hit_probability": said,
                **{name: np.zeros(200) for name in ("mean", "sd", "position", "log_density")},
            }
            reports.append({"forecast": forecast_report(forecast, got, np.zeros(200))})
        found = pooled(reports)
        inside = found["expected_low"] <= found["found"] <= found["expected_high"]
        held = [row["share_low"] <= row["p"] <= row["share_high"] for row in found["bins"]]
        assert inside == holds
        assert (np.mean(held) >= 0.8) == holds
        assert found["n"] == 4000


def test_settled_rounds_come_after_the_third() -> None:
    summary = summarise(seeds([0.0] * 6))
    calibration = summary["calibration"]
    assert (calibration["all"]["n"], calibration["settled"]["n"]) == (50, 20)
    assert [row["number"] for row in calibration["by_round"]] == [1, 2, 3, 4, 5]
    assert calibration["all"]["bins"] == [
        {
            "low": 0.3,
            "high": 0.4,
            "n": 50,
            "p": 0.3,
            "share": 0.3,
            "share_low": pytest.approx(0.1786, abs=1e-4),
            "share_high": pytest.approx(0.4461, abs=1e-4),
        }
    ]
    assert set(summary["coverage"]["settled"]) == {"50", "80", "90", "95"}
    one_round = summarise(seeds([0.0, 0.5]))
    assert one_round["calibration"]["settled"]["n"] == 0
    assert one_round["coverage"]["settled"] == {}
