"""Tables and sentences of the demo, as a reader sees them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.table import Table

from service.demo.console import Show
from service.demo.labs import Block
from service.demo.report import know, tally
from service.demo.tables import (
    batch_table,
    evidence_table,
    first_reason,
    found_in_words,
    found_table,
    percent,
)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def text_of(table: Table) -> list[str]:
    stream = io.StringIO()
    Show(stream).table(table)
    return [" ".join(line.split()) for line in stream.getvalue().splitlines() if line.strip()]


def candidate(rank: int, **more: Any) -> dict[str, Any]:
    return {
        "rank": rank,
        "in_batch": True,
        "compounds": [{"name": "Imatinib"}, {"name": "[Vin]cristine"}],
        "cell_line": {"name": "A375"},
        "mean": 12.34,
        "sd": 4.06,
        "hit_probability": 0.716,
        "nearest_measured": {"compounds": ["A", "B"], "cell_line": "X", "score": -3.21},
        "reason": "High chance of a hit.",
        **more,
    }


def test_the_batch_shows_its_top_and_counts_the_rest() -> None:
    rows = [candidate(rank) for rank in range(1, 15)]
    rows += [candidate(15, in_batch=False)]
    lines = text_of(batch_table({"candidates": rows}))
    assert lines[0] == "Rank Pair Cell line Mean ± sd P(hit) Nearest measurement"
    assert lines[2] == "1 Imatinib + [Vin]cristine A375 +12.3 ± 4.1 71.6 % A + B in X: -3.2"
    assert lines[-1] == "and 2 more in the batch"
    assert len(lines) == 2 + 12 + 1


def test_a_small_batch_is_shown_whole() -> None:
    lines = text_of(batch_table({"candidates": [candidate(1, nearest_measured=None)]}))
    assert lines[-1].endswith("nothing similar yet")


def test_the_same_pair_in_another_cell_line_is_called_so() -> None:
    nearest = {"compounds": ["[Vin]cristine", "Imatinib"], "cell_line": "HT29", "score": 8.0}
    lines = text_of(batch_table({"candidates": [candidate(1, nearest_measured=nearest)]}))
    assert lines[-1].endswith("this pair in HT29: +8.0")


def test_the_first_reason_is_in_the_words_of_the_service() -> None:
    text = first_reason({"candidates": [candidate(1), candidate(2, reason="No.")]})
    assert text == "Rank 1, in words: High chance of a hit."


def found() -> Any:
    names = [Block("A", f"B{k:03d}", "X") for k in range(400)]
    truth = know({block: float(k) for k, block in enumerate(names)}, hit_threshold=389.5)
    rounds = [[*names[:38], names[399], names[398]], [*names[38:76], names[397], names[390]]]
    return tally(truth, names[100:110], rounds)


def test_what_was_found_stands_beside_chance() -> None:
    lines = text_of(found_table(found(), [3.25, 0.5], [12.34, 1.0]))
    assert lines[0] == "Round Blocks Hits forecast by chance Best 1 % by chance Time"
    assert lines[2].startswith("1 40 2 of 10 3.2 1.0 (0 to 3) 2 of 4 0.4 (0 to 2) 12 s")
    assert lines[-1].startswith("All 80 4 of 10 3.8 2.1 (0 to 4) 3 of 4 0.8 (0 to 2) 13 s")


def test_the_result_in_words_does_not_flatter() -> None:
    assert found_in_words(found()) == (
        "The rounds measured 80 of 390 blocks (20.5 %) and found 3 of the 4 best (75.0 %), "
        "3.7 times what chance finds. As many blocks at random find 0.8 on average, and 0 to 2 "
        "(0.0 % to 50.0 %) in nine of ten draws."
    )


def test_nothing_left_to_find_is_said() -> None:
    names = [Block("A", f"B{k}", "X") for k in range(10)]
    truth = know({block: float(k) for k, block in enumerate(names)}, 5.0)
    assert "none was left to find" in found_in_words(tally(truth, [names[9]], [[names[0]]]))


def test_evidence_stands_beside_the_baselines_and_gaps_stay_gaps() -> None:
    scores = {"pearson": 0.655, "spearman": None, "rmse": 5.31, "elpd": -3.09}
    evidence = {
        "model": {**scores, "coverage": {"50": 0.5, "90": 0.948}},
        "baselines": {
            "mean": {**scores, "pearson": None, "coverage": {"90": None}},
            "additive": {**scores, "coverage": {}},
            "later": {**scores, "coverage": {"90": 1.0}},
        },
    }
    lines = text_of(evidence_table(evidence))
    assert lines[0] == "Pearson Spearman RMSE log density 90 % holds"
    assert lines[2] == "The model 0.66 - 5.31 -3.09 95 %"
    assert lines[3] == "Mean of all blocks - - 5.31 -3.09 -"
    assert lines[4] == "Compounds + cell line 0.66 - 5.31 -3.09 -"
    assert lines[5] == "later 0.66 - 5.31 -3.09 100 %"


def test_percent() -> None:
    assert (percent(0.0153), percent(1, 0)) == ("1.5 %", "100 %")
