"""From measured blocks to a scorecard with all that must be known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.screen import (
    BoolArray,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.triage.calibration import Calibration, calibrate, held_out_logits
from models.triage.drift import Drift, measure_drift
from models.triage.encoding import CATEGORIES, FOLDS, deal
from models.triage.features import BlockTable
from models.triage.fitting import Core, fit_core
from models.triage.propensity import Weights, inverse_propensity_weights
from models.triage.scorecard import PAIRS, WORDS, Scorecard, label_of

FEWEST_BLOCKS = 5
"""Measured blocks below which a card would say nothing."""


@dataclass(frozen=True)
class Made:
    """A ``card`` and what it rests on: ``weights`` of the rows, ``drift`` of the last round
    against those before by feature, ``report`` JSON-able (see :func:`make_scorecard`)."""

    card: Scorecard
    weights: Weights
    drift: tuple[Drift, ...]
    report: dict[str, Any]


def why_no_card(hit: BoolArray) -> str | None:
    """In words, why nothing can be learned from these outcomes ``(n,)``; nothing where it can."""
    n, hits = len(hit), int(hit.sum())
    if n < FEWEST_BLOCKS:
        return (
            f"{n} measured blocks have a score, and a scorecard needs {FEWEST_BLOCKS}: measure a "
            "few blocks more, and the single agents of those that have none"
        )
    if hits == 0:
        return (
            f"none of {n} measured blocks is a hit, so nothing tells hits from others: measure "
            "more, or lower the threshold"
        )
    if hits == n:
        return f"all {n} measured blocks are hits: raise the threshold to tell them apart"
    return None


def make_scorecard(
    table: BlockTable,
    hit: BoolArray,
    *,
    seed: int = 0,
    weights: Weights | None = None,
    rounds: IntArray | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Made:
    """A calibrated card from measured blocks ``(n,)`` and whether each is a hit.

    ``weights``: of :func:`models.triage.propensity.inverse_propensity_weights`, all alike where
    not given. ``rounds`` ``(n,)``: the round in which each block was measured, for the drift.
    Report: ``n_blocks``, ``n_hits``, ``base_rate``, ``features`` used, ``left_out`` of them,
    ``calibration``, ``weights``, ``drift``, each with words.
    Raises :class:`ScreenError` where nothing can be learned (:func:`why_no_card`), ``Stopped``.
    """
    if len(hit) != len(table):
        raise ScreenError(f"{len(hit)} outcomes do not fit {len(table)} blocks")
    why = why_no_card(hit)
    if why is not None:
        raise ScreenError(why)
    weighed = weights or inverse_propensity_weights(np.ones(len(table)))
    outcome = hit.astype(np.float64)
    fold = deal(table.compounds, table.n_compounds, FOLDS, seed)
    on_progress("scorecard", 0, FOLDS + 1)
    core = fit_core(table, outcome, weighed.weight, fold, seed, should_stop=should_stop)
    calibration = _calibrated(
        core, table, outcome, weighed.weight, fold, seed, on_progress, should_stop
    )
    card = Scorecard(core, calibration, seed)
    drift = () if rounds is None else drift_of(card, table, rounds)
    return Made(card, weighed, drift, _report(card, outcome, weighed, drift))


def drift_of(card: Scorecard, table: BlockTable, rounds: IntArray) -> tuple[Drift, ...]:
    """Of every feature of the card that is no history: the last round against all before."""
    last = rounds == rounds.max(initial=0)
    if last.all() or not last.any():
        return ()
    found = []
    for name in card.core.columns:
        if name in PAIRS:
            ordered = np.sort(label_of(name, table), axis=1)
            category = ordered[:, 0] * 1_000_003 + ordered[:, 1]
        elif name == "cell_line":
            category = table.cell_line
        else:
            category = card.core.bins[name].find(table.numbers[name])
        found.append(measure_drift(WORDS[name], category[~last], category[last]))
    return tuple(found)


def _calibrated(
    core: Core, table: BlockTable, outcome: FloatArray, weight: FloatArray, fold: IntArray,
    seed: int, on_progress: ProgressCallback, should_stop: StopCallback,
) -> Calibration:  # fmt: skip
    done = [0]

    def predict(train: IntArray, test: IntArray) -> FloatArray | None:
        done[0] += 1
        on_progress("scorecard", done[0], FOLDS + 1)
        if should_stop():
            raise Stopped
        if not len(train) or why_no_card(outcome[train] > 0.5) is not None:
            return None
        made = fit_core(
            table.select(train), outcome[train], weight[train], fold, seed, core.plan, should_stop
        )
        return made.logits(table.select(test))

    row, logits, share = held_out_logits(table, fold, predict)
    return calibrate(float(core.coefficients[0]), logits, outcome[row], share * weight[row])


def _report(
    card: Scorecard, outcome: FloatArray, weights: Weights, drift: tuple[Drift, ...]
) -> dict[str, Any]:
    offered = (*CATEGORIES, *(name for name in card.core.plan.bins))
    calibration = card.calibration
    return {
        "n_blocks": len(outcome),
        "n_hits": int(outcome.sum()),
        "base_rate": float(outcome.mean()),
        "features": [{"name": name, "words": WORDS[name]} for name in card.features],
        "left_out": [WORDS[name] for name in offered if name not in card.features],
        "calibration": {
            "shift": calibration.shift,
            "slope": calibration.slope,
            "held_out": calibration.held_out,
            "words": calibration.words,
        },
        "weights": {
            "effective_rows": weights.effective_rows,
            "truncated": weights.truncated,
            "words": weights.words,
        },
        "drift": [
            {"feature": d.feature, "psi": d.psi, "by_chance": d.by_chance, "verdict": d.verdict,
             "words": d.words}
            for d in drift
        ],
    }  # fmt: skip
