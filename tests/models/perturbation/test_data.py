"""The table of responses: what it refuses, and what it does with replicates."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.data import ResponseTable, require_doses
from models.screen import ScreenError


def table(**changes: object) -> ResponseTable:
    given = {
        "perturbations": ["a", "b"],
        "readouts": ["x", "y", "z"],
        "conditions": ["control", "a", "a", "a+b"],
        "doses": [[0, 0], [1, 0], [1, 0], [1, 2]],
        "values": [[0, 0, 0], [1, 2, np.nan], [3, np.nan, np.nan], [5, 6, 7]],
        **changes,
    }
    return ResponseTable.of(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"perturbations": ["a", "a"]}, "perturbation 'a' is listed twice"),
        ({"readouts": ["x", " ", "z"]}, "readout 1 has no name"),
        ({"doses": [[0, 0], [1, 0], [1, 0], [1, -2]]}, "dose of 'b' in condition 'a\\+b' \\(row 3"),
        ({"values": [[0] * 3, [0] * 3, [0, np.inf, 0], [0] * 3]}, "value of 'y' in condition 'a'"),
        ({"doses": [[0, 0], [1, 0], [2, 0], [1, 2]]}, "'a' has other doses in row 2 than in row 1"),
        ({"doses": [[0, 0, 0]] * 4}, "doses have shape \\(4, 3\\)"),
        ({"kind": "counts", "values": [[1, 2, 3]] * 3 + [[1, 2.5, 3]]}, "count of 'y'.*is 2.5"),
        ({"kind": "colours"}, "kind of values is 'colours'"),
        ({"batch": ["one"]}, "1 batches are named for 4"),
        ({"low_quality": np.zeros(2, bool)}, "low_quality has shape"),
    ],
)
def test_refusals_name_the_place(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ScreenError, match=words):
        table(**changes)


def test_replicates_are_averaged_over_what_is_known() -> None:
    means = table().averaged()
    assert means.conditions == ("control", "a", "a+b")
    np.testing.assert_array_equal(means.values, [[0, 0, 0], [2, 2, np.nan], [5, 6, 7]])


def test_parts_of_the_table() -> None:
    whole = table()
    assert whole.is_control.tolist() == [True, False, False, False]
    assert (len(whole.controls()), len(whole.singles()), len(whole.pairs())) == (1, 2, 1)
    assert (whole.position("b"), whole.readout_position("z")) == (1, 2)
    with pytest.raises(ScreenError, match="no readout is called 'w'"):
        whole.readout_position("w")


def test_order_of_rows_leaves_no_trace() -> None:
    rng = np.random.default_rng(0)
    whole = table(batch=["p", "q", "p", "q"], low_quality=[False, True, False, False])
    for _ in range(5):
        mixed = whole.select(rng.permutation(4))
        for one, other in ((mixed.sorted(), whole.sorted()), (mixed.averaged(), whole.averaged())):
            assert (one.conditions, one.batch) == (other.conditions, other.batch)
            assert one.values.tobytes() == other.values.tobytes()
            assert one.low_quality.tolist() == other.low_quality.tolist()


def test_counts_are_not_averaged() -> None:
    with pytest.raises(ScreenError, match="log ratios first"):
        table(kind="counts", values=[[1, 2, 3]] * 4).averaged()


def test_an_empty_table_has_parts_too() -> None:
    empty = table().select(np.zeros(4, bool))
    assert len(empty.sorted()) == len(empty.averaged()) == len(empty.groups()) == 0


@pytest.mark.parametrize("doses", [[[1.0]], [[-1.0, 0.0]], [[np.nan, 0.0]], [1.0, 2.0]])
def test_doses_to_predict_at_are_checked(doses: list[object]) -> None:
    with pytest.raises(ScreenError, match="dose"):
        require_doses(np.array(doses, dtype=float), ["a", "b"])
