"""What a round makes of its pool: a step of the schedule, mended hit probabilities, an outlook.

    scores = value_pool(posterior, fitted.evidence, blocks, pool.candidates, usable, rules, seed,
                        round_number=3, history=history)
    scores.acquisition, scores.step["reason"], scores.outlook["advice"]

The pool is drawn once; only the next plate is drawn again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.acquisition.hit_calibration import (
    ForecastHistory,
    HitCalibration,
    learn_calibration,
)
from models.acquisition.joint import JOINT
from models.acquisition.joint_pool import joint_values
from models.acquisition.outlook import Outlook
from models.acquisition.pool import PoolRequest, PoolScores, summarise_pool
from models.acquisition.rules import AUTO_ACQUISITION, RoundRules
from models.acquisition.schedule import EXPLORE, Step, mixed_values, propose_step
from models.objectives.scores import Blocks
from models.screen import (
    BoolArray,
    Candidates,
    ProgressCallback,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.registry import ModelPosterior

FIXED = "fixed"
"""Phase of a step that the rules name."""
SPREAD, RANDOM = "space_filling", "random"


def value_pool(
    posterior: ModelPosterior,
    evidence: Mapping[str, Any],
    blocks: Blocks,
    candidates: Candidates,
    usable: BoolArray,
    rules: RoundRules,
    seed: int,
    *,
    round_number: int,
    history: ForecastHistory,
    waiting: BoolArray | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolScores:
    """One row of numbers per candidate, with the step, the calibration and the outlook.

    ``evidence``: of the model, see :func:`models.synergy.evidence.measure_evidence`. ``blocks``:
    measured so far. ``usable`` ``(m,)``: candidates that may compete. ``history``: of earlier
    rounds. ``waiting`` ``(m,)``: candidates that are pinned or in the lab; sets are valued given
    them. Hit probabilities are mended; so is the acquisition where it is the hit probability,
    which changes no order but makes sums over a batch the expected hits.
    """
    step = choose_step(rules, round_number, evidence)
    request = _request(step, rules, float(blocks.score.max()), seed)
    calibration = learn_calibration(evidence.get("hit_forecast"), history, rules.hit_threshold)
    outlook = Outlook(rules, int(usable.sum()), calibration)
    scores = summarise_pool(
        posterior,
        candidates,
        usable,
        request,
        watch=outlook.watch,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    scores = _mixed(_mended(scores, request, calibration), usable, step, request.top)
    if step.acquisition in JOINT:
        known = np.zeros_like(usable) if waiting is None else waiting
        kind = JOINT[step.acquisition]
        values = joint_values(posterior, candidates, usable, known, scores, kind, request)
        scores = replace(scores, acquisition=values)
    found = int((blocks.score > rules.hit_threshold).sum())
    return replace(
        scores,
        step=dataclasses.asdict(step),
        calibration=None if calibration is None else calibration.as_dict(),
        outlook=outlook.describe(posterior, candidates, usable, scores, seed, found, evidence),
    )


def _request(step: Step, rules: RoundRules, incumbent: float, seed: int) -> PoolRequest:
    """The pass over the pool; a set is valued after it, by what it says of single candidates."""
    joint = step.acquisition in JOINT
    return PoolRequest(
        "hit_probability" if joint else step.acquisition,
        rules.hit_threshold,
        step.kappa,
        rules.draws,
        seed,
        max(rules.ranked, 4 * rules.batch_size),
        incumbent=incumbent,
        xi=rules.xi,
        top_k=rules.best_sought,
        explorer=step.explorer if 0.0 < step.explore_share < 1.0 else None,
    )


def choose_step(rules: RoundRules, round_number: int, evidence: Mapping[str, Any] | None) -> Step:
    """The step of the schedule where the rules leave it to that, else what the rules name."""
    if rules.acquisition == AUTO_ACQUISITION:
        return propose_step(round_number, rounds_planned=rules.rounds_planned, evidence=evidence)
    reason = f"The rules ask for {rules.acquisition}."
    return Step(FIXED, rules.acquisition, rules.kappa, rules.acquisition, 0.0, reason)


def step_without_model(rules: RoundRules, reason: str) -> dict[str, Any]:
    """The step of a round that has no model, for the ``reason`` that its fit gave."""
    if rules.acquisition == RANDOM:
        return dataclasses.asdict(Step(FIXED, RANDOM, rules.kappa, RANDOM, 0.0, reason))
    return dataclasses.asdict(Step(EXPLORE, SPREAD, rules.kappa, SPREAD, 1.0, reason))


def _mended(
    scores: PoolScores, request: PoolRequest, calibration: HitCalibration | None
) -> PoolScores:
    raw = scores.hit_probability
    if calibration is None:
        return replace(scores, raw_hit_probability=raw)
    chance = calibration.apply(raw)
    finds = request.acquisition == "hit_probability"
    return replace(
        scores,
        hit_probability=chance,
        raw_hit_probability=raw,
        acquisition=chance if finds else scores.acquisition,
    )


def _mixed(scores: PoolScores, usable: BoolArray, step: Step, top: int) -> PoolScores:
    """A share of the order by the explorer; candidates that may not compete take no turn."""
    if scores.exploring is None:
        return scores
    rows, values = np.flatnonzero(usable), scores.acquisition.copy()
    values[rows] = mixed_values(
        values[rows], scores.exploring[rows], step.explore_share, min(top, len(rows))
    )
    return replace(scores, acquisition=values)
