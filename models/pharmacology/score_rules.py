"""The scores a campaign can maximise: a reference of no interaction and a summary over doses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.screen import ScreenError


@dataclass(frozen=True)
class ScoreRule:
    """A score: excess over ``reference`` (a key of ``REFERENCES``), summarised by ``summary``."""

    reference: str
    summary: str
    meaning: str


SCORES: Mapping[str, ScoreRule] = MappingProxyType(
    {
        "bliss_mean": ScoreRule("bliss", "mean", "mean excess over Bliss independence"),
        "bliss_max": ScoreRule(
            "bliss", "max", "largest excess over Bliss independence; noise biases it upwards"
        ),
        "hsa_mean": ScoreRule("hsa", "mean", "mean excess over the highest single agent"),
        "hsa_max": ScoreRule(
            "hsa", "max", "largest excess over the highest single agent; noise biases it upwards"
        ),
    }
)
"""The scores a campaign can maximise, in percentage points."""


def score_rule(score: str) -> ScoreRule:
    """The rule named ``score``; :class:`ScreenError` listing the known ones if there is none."""
    if score not in SCORES:
        raise ScreenError(f"unknown score {score!r}; known are {', '.join(SCORES)}")
    return SCORES[score]
