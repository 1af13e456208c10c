"""Spellings that people mean as one name, and names that they nearly meant."""

import time

from hypothesis import given
from hypothesis import strategies as st

from models.chemistry.names import fold_name, nearest_names


def test_fold_name_makes_spellings_equal():
    assert fold_name("  IMATINIB\u00a0 mesylate\t") == "imatinib mesylate"
    assert fold_name("10 \u00b5M") == fold_name("10 \u03bcM") == fold_name("10 \u039cm".lower())
    assert fold_name("Straße") == fold_name("STRASSE")
    assert fold_name("①") == "1"


@given(st.text(max_size=30))
def test_fold_name_is_idempotent(name):
    assert fold_name(fold_name(name)) == fold_name(name)


def test_nearest_names_are_spelled_as_known_best_first():
    known = ["Nilotinib", "Imatinib", "Imatinib mesylate", "Cisplatin"]
    assert nearest_names("imatinb", known)[0] == "Imatinib"
    assert nearest_names("imatinb", known, n=1) == ["Imatinib"]
    assert nearest_names("xyz", known) == []
    assert nearest_names("imatinb", []) == []


def test_nearest_names_among_ten_thousand_is_quick():
    known = [f"compound {i:05d} {'ab' * (i % 7)}" for i in range(10_000)] + ["Imatinib"]
    start = time.process_time()
    assert nearest_names("imatinb", known)[0] == "Imatinib"
    assert time.process_time() - start < 1.0
