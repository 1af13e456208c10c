"""Names of scores and what they stand for."""

import pytest

from models.pharmacology.references import REFERENCES, SUMMARIES
from models.pharmacology.score_rules import SCORES, score_rule
from models.screen import ScreenError


def test_every_score_has_a_reference_and_a_summary_that_exist() -> None:
    for rule in SCORES.values():
        assert rule.reference in REFERENCES
        assert rule.summary in SUMMARIES
        assert ("biases it upwards" in rule.meaning) == (rule.summary == "max")
    assert len({(rule.reference, rule.summary) for rule in SCORES.values()}) == len(SCORES) == 10
    assert {rule.reference for rule in SCORES.values()} == set(REFERENCES)


def test_the_meanings_of_older_scores_have_not_changed() -> None:
    assert SCORES["bliss_mean"].meaning == "mean excess over Bliss independence"
    assert SCORES["hsa_max"].meaning == (
        "largest excess over the highest single agent; noise biases it upwards"
    )


def test_unknown_scores_are_refused_with_the_known_ones() -> None:
    assert score_rule("inhibition_max").reference == "none"
    with pytest.raises(ScreenError, match=r"unknown score 'zip'; known are bliss_mean, .*zip_mean"):
        score_rule("zip")
