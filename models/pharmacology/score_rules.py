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


_OVER: Mapping[str, str] = {
    "bliss": "excess over Bliss independence",
    "hsa": "excess over the highest single agent",
    "loewe": "excess over Loewe additivity, where that is defined",
    "zip": "ZIP delta: fitted rows and columns against Bliss of the single curves",
}


def _rules() -> dict[str, ScoreRule]:
    rules = {}
    for reference, over in _OVER.items():
        rules[f"{reference}_mean"] = ScoreRule(reference, "mean", f"mean {over}")
        rules[f"{reference}_max"] = ScoreRule(
            reference, "max", f"largest {over}; noise biases it upwards"
        )
    rules["inhibition_mean"] = ScoreRule(
        "none", "mean", "mean inhibition, no single agents taken off"
    )
    rules["inhibition_max"] = ScoreRule(
        "none", "max", "largest inhibition, no single agents taken off; noise biases it upwards"
    )
    return rules


SCORES: Mapping[str, ScoreRule] = MappingProxyType(_rules())
"""The scores a campaign can maximise, in percentage points."""


def score_rule(score: str) -> ScoreRule:
    """The rule named ``score``; :class:`ScreenError` listing the known ones if there is none."""
    if score not in SCORES:
        raise ScreenError(f"unknown score {score!r}; known are {', '.join(SCORES)}")
    return SCORES[score]
