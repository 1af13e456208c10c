"""The floor under every model: does it forecast hits better than the scorecard does?

Both learn from the same blocks and are asked for the same held-out ones. A model that needs hours
and cannot beat a card that needs a second has nothing to say of hits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from scipy.special import logit

from models.pharmacology.dose_response import CurveTable
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    Screen,
    ScreenError,
    StopCallback,
    never_stop,
)
from models.triage.attributes import describe_compounds
from models.triage.calibration import area_under_curve, log_loss
from models.triage.features import BlockTable, SingleAgents, describe_blocks
from models.triage.making import make_scorecard

BEYOND_NOISE = 1.282
"""Standard errors of the mean gain that are taken for more than chance: one in ten by noise."""
FEWEST = 20
"""Held-out blocks of a fit below which the comparison is a toss of coins."""
SMALLEST = 1e-6
"""A chance is held this far from 0 and 1, or one surprise would be worth any number of blocks."""


class Scored(Protocol):
    """Measured blocks and their scores, such as :class:`models.objectives.scores.Blocks`."""

    @property
    def candidates(self) -> Candidates:
        """``(m,)`` blocks."""
        ...

    @property
    def score(self) -> FloatArray:
        """``(m,)`` measured scores, in their unit."""
        ...


class Measured(Protocol):
    """What is made of a screen before any model: :class:`models.rounds.Prepared` is one."""

    @property
    def curves(self) -> CurveTable:
        """Single agents of the screen."""
        ...

    @property
    def blocks(self) -> Scored:
        """Its measured blocks."""
        ...


def compare_with_scorecard(
    train: BlockTable,
    hit: BoolArray,
    test: BlockTable,
    chance: FloatArray,
    found: BoolArray,
    *,
    seed: int,
    should_stop: StopCallback = never_stop,
) -> dict[str, Any]:
    """A model's ``chance`` ``(m,)`` of each ``test`` block against that of a scorecard made from
    the blocks ``train``, of which ``hit`` ``(n,)`` are hits; ``found`` ``(m,)``: what they were.

    JSON-able: ``n``, ``n_hits``, ``log_loss`` and ``auc`` of ``model``, ``scorecard`` and
    ``base_rate``; ``gain`` of the model in nats a block with its ``standard_error``; ``beats``:
    true or false beyond noise, null where nobody can say; ``words``.
    """
    try:
        card = make_scorecard(train, hit, seed=seed, should_stop=should_stop).card
    except ScreenError as error:
        return {"n": len(found), "beats": None, "words": f"No scorecard to compare with: {error}."}
    outcome = found.astype(np.float64)
    said = {
        "model": logit(np.clip(chance, SMALLEST, 1 - SMALLEST)),
        "scorecard": card.calibration.apply(card.core.logits(test)),
        "base_rate": np.full(len(found), float(logit(hit.mean()))),
    }
    loss = {name: np.logaddexp(0.0, value) - outcome * value for name, value in said.items()}
    gain = loss["scorecard"] - loss["model"]
    spread = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else float("inf")
    mean = float(gain.mean())
    beats = None if abs(mean) <= BEYOND_NOISE * spread else mean > 0
    return {
        "n": len(found),
        "n_hits": int(found.sum()),
        "log_loss": {name: log_loss(value, outcome) for name, value in said.items()},
        "auc": {name: area_under_curve(value, outcome) for name, value in said.items()},
        "gain": mean,
        "standard_error": spread if np.isfinite(spread) else None,
        "beats": beats,
        "words": _words(beats, mean),
    }


def floor_of_fit(
    screen: Screen,
    measured: Measured,
    rows: tuple[IntArray, IntArray],
    forecast: Mapping[str, Any] | None,
    seed: int,
    should_stop: StopCallback = never_stop,
) -> dict[str, Any] | None:
    """:func:`compare_with_scorecard` for the held-out blocks of a fit.

    ``rows``: positions of the measured blocks that the model learned from, and of those held out,
    these in the order of ``forecast`` (``threshold``, ``chance``, ``hit``). ``None`` without a
    forecast, or for fewer than ``FEWEST`` blocks held out.
    """
    if forecast is None or len(rows[1]) < FEWEST:
        return None
    attributes = describe_compounds(screen.compounds)
    single = SingleAgents.of_screen(screen.wells, measured.curves)
    table = describe_blocks(measured.blocks.candidates, attributes, single)
    score = measured.blocks.score
    kept, left_out = rows
    return compare_with_scorecard(
        table.select(kept),
        score[kept] > forecast["threshold"],
        table.select(left_out),
        np.array(forecast["chance"], dtype=np.float64),
        np.array(forecast["hit"], dtype=bool),
        seed=seed,
        should_stop=should_stop,
    )


def _words(beats: bool | None, gain: float) -> str:
    if beats is None:
        return "It forecasts held-out hits as well as the scorecard, give or take chance."
    if beats:
        return f"It forecasts held-out hits better than the scorecard, by {gain:.4f} nats a block."
    return (
        f"Warning: the scorecard forecasts held-out hits better than it does, by {-gain:.4f} nats "
        "a block."
    )
