"""What a round makes of its pool: a step of the schedule, mended hit probabilities, an outlook.

    scores = value_pool(posterior, fitted.evidence, measured, pool.candidates, usable, rules,
                        seed, round_number=3, history=history)
    scores.acquisition, scores.step["reason"], scores.outlook["advice"]

The pool is drawn once; only the next plate is drawn again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.acquisition.aimed_pool import Members, set_members
from models.acquisition.front_values import FrontValues, value_front
from models.acquisition.hit_calibration import (
    ForecastHistory,
    HitCalibration,
    learn_calibration,
)
from models.acquisition.joint import JOINT
from models.acquisition.joint_pool import joint_values
from models.acquisition.outlook import Outlook
from models.acquisition.pool import PoolRequest, PoolScores, summarise_pool
from models.acquisition.rules import (
    AUTO_ACQUISITION,
    FRONT_ACQUISITIONS,
    HYPERVOLUME,
    RoundRules,
)
from models.acquisition.schedule import EXPLORE, FIND, Step, mixed_values, propose_step
from models.objectives.measured import MeasuredObjective
from models.objectives.posterior import FrontPosterior
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    ProgressCallback,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.registry import ModelPosterior

FIXED = "fixed"
"""Phase of a step that the rules name."""
SPREAD, RANDOM = "space_filling", "random"
OVER_THE_BEST = ("expected_improvement", "probability_of_improvement", "joint_expected_best")
"""Acquisitions that compare with the best measured value."""


def value_pool(
    posterior: ModelPosterior,
    evidence: Mapping[str, Any],
    measured: MeasuredObjective,
    candidates: Candidates,
    usable: BoolArray,
    rules: RoundRules,
    seed: int,
    *,
    round_number: int,
    history: ForecastHistory,
    waiting: BoolArray | None = None,
    found: MeasuredObjective | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolScores:
    """One row of numbers per candidate, with the step, the calibration and the outlook.

    ``posterior``: of the objective. ``evidence``: of the model, see
    :func:`models.synergy.evidence.measure_evidence`. ``measured``: the objective where it is
    known; improvement is over the best of it, or over the hit threshold before any is known (the
    step's reason then says so). ``usable`` ``(m,)``: candidates that may compete.
    ``history``: of earlier rounds. ``waiting`` ``(m,)``: candidates that are pinned or in the lab;
    sets are valued given them. ``found``: what the campaign measured itself, whose hits count;
    ``None`` where that is all of ``measured``. Where cell lines are compared a set is one of
    pairs, and each block has the value of its pair. Hit probabilities are mended; so is the
    acquisition where it is the hit probability, which changes no order but makes sums over a
    batch the expected hits.
    """
    step = _told(choose_step(rules, round_number, evidence), rules, measured)
    request = _request(step, rules, measured.best, seed)
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
    known = np.zeros_like(usable) if waiting is None else waiting
    members = set_members(candidates, usable, known, rules)
    if step.acquisition in FRONT_ACQUISITIONS and isinstance(posterior, FrontPosterior):
        at = candidates.select(members.rows)
        of = (posterior, at, members.usable, members.waiting, measured, rules, step.acquisition)
        scores = _with_front(scores, members, value_front(*of, seed, should_stop=should_stop))
    if step.acquisition in JOINT:
        values = _joint(posterior, members, candidates, scores, request, JOINT[step.acquisition])
        scores = replace(scores, acquisition=values)
    hits = (measured if found is None else found).hits(rules.hit_threshold)
    return replace(
        scores,
        step=dataclasses.asdict(step),
        calibration=None if calibration is None else calibration.as_dict(),
        outlook=outlook.describe(posterior, candidates, usable, scores, seed, hits, evidence),
    )


def _told(step: Step, rules: RoundRules, measured: MeasuredObjective) -> Step:
    """The step, saying what improvement is over where nothing is known."""
    if measured.best is not None or step.acquisition not in OVER_THE_BEST:
        return step
    words = (
        f" The objective is not known of any measured block yet: improvement is over the hit "
        f"threshold of {rules.hit_threshold:g}."
    )
    return dataclasses.replace(step, reason=step.reason + words)


def _request(step: Step, rules: RoundRules, best: float | None, seed: int) -> PoolRequest:
    """The pass over the pool; a set is valued after it, by what it says of single candidates."""
    joint = step.acquisition in (*JOINT, *FRONT_ACQUISITIONS)
    return PoolRequest(
        "hit_probability" if joint else step.acquisition,
        rules.hit_threshold,
        step.kappa,
        rules.draws,
        seed,
        max(rules.ranked, 4 * rules.batch_size),
        incumbent=rules.hit_threshold if best is None else best,
        xi=rules.xi,
        top_k=rules.best_sought,
        explorer=step.explorer if 0.0 < step.explore_share < 1.0 else None,
    )


def _with_front(scores: PoolScores, members: Members, front: FrontValues) -> PoolScores:
    """The scores with what each candidate's member is worth to the front."""
    return replace(
        scores,
        acquisition=front.values[members.owner],
        front_probability=front.front_probability[members.owner],
        on_mean_front=front.on_mean_front[members.owner],
    )


def _joint(
    posterior: ModelPosterior,
    members: Members,
    candidates: Candidates,
    scores: PoolScores,
    request: PoolRequest,
    kind: str,
) -> FloatArray:
    """``(m,)`` values of a set; of each member once."""
    rows = members.rows
    short = replace(
        scores,
        mean=scores.mean[rows],
        epistemic_sd=scores.epistemic_sd[rows],
        hit_probability=scores.hit_probability[rows],
    )
    at = candidates.select(rows)
    values = joint_values(posterior, at, members.usable, members.waiting, short, kind, request)
    return values[members.owner]


def choose_step(rules: RoundRules, round_number: int, evidence: Mapping[str, Any] | None) -> Step:
    """The step of the schedule where the rules leave it to that, else what the rules name."""
    if rules.has_front and rules.acquisition == AUTO_ACQUISITION:
        reason = "A front is grown by what each candidate may add to it."
        return Step(FIND, HYPERVOLUME, rules.kappa, HYPERVOLUME, 0.0, reason)
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
