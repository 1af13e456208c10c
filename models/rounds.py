"""One round of a campaign as one pure function: measurements and rules in, the next batch out.

The service's worker, the replay of past screens and the demo call :func:`run_round`. A durable
worker calls the four stages one by one and stores what lies between them:

    prepare -> Prepared      curves of the single agents, one score per measured block
    fit     -> Fitted        posterior and out-of-sample evidence        (save_fitted, load_fitted)
    score_pool -> PoolScores one row of numbers per candidate
    select  -> RankedCandidates  order, batch, intervals and reasons

Everything random follows from ``seed``: same screen, pool, rules and seed, same batch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from models.acquisition.aimed_pool import aim_pool
from models.acquisition.earlier import Earlier, inside_and_found
from models.acquisition.first_round import MIN_BLOCKS, scores_without_model, why_no_model
from models.acquisition.hit_calibration import ForecastHistory
from models.acquisition.pool import PoolScores
from models.acquisition.ranking import RankedCandidates, rank_candidates
from models.acquisition.rules import Pool, RoundRules, check_pool, measured_rows
from models.acquisition.valuing import step_without_model, value_pool
from models.objectives.aim import Aim, aim_at
from models.objectives.scores import Blocks, measure_blocks
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.single_agents import single_agent_responses
from models.screen import (
    BoolArray,
    FloatArray,
    NothingLeft,
    ProgressCallback,
    Screen,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.choice import describe_choice
from models.synergy.evidence import held_out_rows
from models.synergy.fit_health import Probing, describe_health
from models.synergy.inputs import Features, Training
from models.synergy.judging import Judge, Judged, judge_models, module_words
from models.synergy.modules import Module
from models.synergy.registry import (
    AUTO,
    AUTOMATIC,
    ModelPosterior,
    find_model,
    load,
    save,
)
from models.triage.floor import floor_of_fit

__all__ = [
    "MIN_BLOCKS",
    "Aim",
    "Earlier",
    "Fitted",
    "ForecastHistory",
    "Pool",
    "PoolScores",
    "Prepared",
    "RankedCandidates",
    "RoundResult",
    "RoundRules",
    "aim_of",
    "aim_pool",
    "features_of",
    "fit",
    "load_fitted",
    "prepare",
    "run_round",
    "save_fitted",
    "score_pool",
    "select",
    "training_of",
]


@dataclass(frozen=True)
class Prepared:
    """Result of :func:`prepare`: ``curves`` of the single agents and measured ``blocks``."""

    curves: CurveTable
    blocks: Blocks
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """Result of :func:`fit`.

    ``posterior``: ``None`` where no model could be fitted; ``reason`` then says why in words.
    ``evidence``: JSON-able, see :func:`models.synergy.evidence.measure_evidence`.
    """

    posterior: ModelPosterior | None
    evidence: dict[str, Any]
    reason: str
    seconds: float


@dataclass(frozen=True)
class RoundResult:
    """Everything a round has to say.

    ``posterior``: ``None`` in a first round without a model, and ``reason`` says which of the two
    it is and why. ``timings``: seconds per stage. ``raw_hit_probability``: of the ranked
    candidates, ``(k,)``, as the model had stated it: what later rounds learn from. ``step``,
    ``calibration`` and ``outlook``: see :class:`models.acquisition.pool.PoolScores`.
    """

    posterior: ModelPosterior | None
    curves: CurveTable
    blocks: Blocks
    evidence: dict[str, Any]
    ranked: RankedCandidates
    reason: str
    timings: dict[str, float]
    raw_hit_probability: FloatArray
    step: dict[str, Any]
    calibration: dict[str, Any] | None
    outlook: dict[str, Any] | None

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        fitted: Fitted,
        scores: PoolScores,
        ranked: RankedCandidates,
        select_seconds: float,
    ) -> RoundResult:
        """What the stages found, put together."""
        raw = scores.raw_hit_probability
        return cls(
            posterior=fitted.posterior,
            curves=prepared.curves,
            blocks=prepared.blocks,
            evidence=fitted.evidence,
            ranked=ranked,
            reason=fitted.reason,
            timings={
                "prepare": prepared.seconds,
                "fit": fitted.seconds,
                "score_pool": scores.seconds,
                "select": select_seconds,
            },
            raw_hit_probability=ranked.hit_probability if raw is None else raw[ranked.pool_index],
            step=scores.step,
            calibration=scores.calibration,
            outlook=scores.outlook,
        )


def run_round(
    screen: Screen,
    pool: Pool,
    rules: RoundRules,
    seed: int,
    *,
    round_number: int = 1,
    history: ForecastHistory | None = None,
    device: str = "cpu",
    names: Mapping[str, str] | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> RoundResult:
    """The whole round.

    ``round_number`` and ``history``: see :func:`score_pool`. ``names``: what to call compounds and
    cell lines in reasons, by id; ids where not named.
    Raises :class:`ScreenError` for a pool that does not fit the screen and ``Stopped`` within a
    second of ``should_stop()`` answering true.
    """
    check_pool(screen, pool)
    prepared = prepare(screen, rules, on_progress=on_progress, should_stop=should_stop)
    fitted = fit(
        screen,
        prepared,
        rules,
        seed,
        device=device,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    scores = score_pool(
        screen,
        prepared,
        fitted,
        pool,
        rules,
        seed,
        round_number=round_number,
        history=history,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    started = time.perf_counter()
    ranked = select(screen, prepared, fitted, pool, scores, rules, seed, names=names)
    return RoundResult.of(prepared, fitted, scores, ranked, time.perf_counter() - started)


def prepare(
    screen: Screen,
    rules: RoundRules,
    *,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Prepared:
    """Stage 1: fit the single agents and score every measured block."""
    started = time.perf_counter()
    on_progress("curves", 0, 2)
    curves = fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))
    if should_stop():
        raise Stopped
    on_progress("blocks", 1, 2)
    blocks = measure_blocks(screen, rules.score, curves)
    return Prepared(curves, blocks, time.perf_counter() - started)


def fit(
    screen: Screen,
    prepared: Prepared,
    rules: RoundRules,
    seed: int,
    *,
    modules: tuple[Module, ...] = (),
    judged: BoolArray | None = None,
    probe: bool = False,
    device: str = "cpu",
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Fitted:
    """Stage 2: evidence from a held-out fifth, then the posterior on all blocks.

    The fit on four fifths also finds how long to train. With the model "auto" every model of
    ``AUTOMATIC`` is judged on the same blocks, and ``evidence["choice"]`` keeps who won, why, and
    who could not be fitted; it is an error only where none can. No model is fitted for fewer than
    ``MIN_BLOCKS`` blocks or a random round; ``reason`` says so. ``judged`` ``(m,)``: blocks among
    which the held-out fifth is drawn, ``None`` for all: a model that also learns from earlier
    campaigns is judged on what it is for. ``modules``: what other data say of the screen's
    compounds; each joins only where it helps on held-out blocks, and ``evidence["modules"]`` and
    ``reason`` say so (:func:`models.synergy.judging.judge_model`). ``evidence["health"]`` says
    what the fit could have memorised, which of its channels are silent and which measurements
    contradict each other (:func:`models.synergy.fit_health.describe_health`); with ``probe`` one
    more fit, to permuted scores, tells whether it does memorise. ``evidence["floor"]``: whether it
    forecasts hits better than a scorecard does (:func:`models.triage.floor.floor_of_fit`).
    """
    started = time.perf_counter()
    found = len(prepared.blocks)
    if found < MIN_BLOCKS or rules.acquisition == "random":
        return _without_model(found, rules)
    # Held-out blocks say how often scores are hits, not what another objective does.
    threshold = rules.hit_threshold if rules.seeks_score else None
    judge = Judge(seed, rules.draws, device, threshold, judged, on_progress, should_stop)
    names = AUTOMATIC if rules.model == AUTO else (rules.model,)
    training = training_of(screen, prepared, rules.score, modules)
    found_by, failed = judge_models(names, training, judge)
    evidences = {name: one.evidence for name, one in found_by.items()}
    choice = {**describe_choice(evidences), "failed": failed} if rules.model == AUTO else None
    chosen = rules.model if choice is None else str(choice["chosen"])
    between = time.perf_counter()
    probing = Probing(find_model(chosen), device, on_progress, should_stop)
    posterior, health, seconds = _fit_all(probing, found_by[chosen], seed, probe)
    seconds = {"evidence": between - started, **seconds}
    rows = held_out_rows(found_by[chosen].training, seed, judged)
    said = evidences[chosen].report["hit_forecast"]
    evidence = {
        **evidences[chosen].report,
        "seconds": seconds,
        "n_blocks": found,
        "choice": choice,
        "health": health,
        "floor": floor_of_fit(screen, prepared, rows, said, seed, should_stop),
    }
    reason = f"{chosen}, fitted to {found} measured blocks. {_reason(evidence)}".rstrip()
    return Fitted(posterior, evidence, reason, time.perf_counter() - started)


def _fit_all(
    job: Probing, judged: Judged, seed: int, probe: bool
) -> tuple[ModelPosterior, dict[str, Any], dict[str, float]]:
    """The posterior on all blocks, its health, and the seconds that each took."""
    started = time.perf_counter()
    posterior = job.model.fit(
        judged.training,
        seed=seed,
        device=job.device,
        on_progress=job.on_progress,
        should_stop=job.should_stop,
        schedule=judged.evidence.schedule,
    )
    between = time.perf_counter()
    asked = job if probe else None
    report = judged.evidence.report
    health = describe_health(posterior, judged.training, seed, asked, report)
    seconds = {"posterior": between - started, "health": time.perf_counter() - between}
    return posterior, health, seconds


def _without_model(found: int, rules: RoundRules) -> Fitted:
    reason = why_no_model(found, rules)
    evidence = {"n_train": found, "n_held_out": 0, "model": None, "reason": reason}
    return Fitted(None, evidence, reason, 0.0)


def _reason(evidence: Mapping[str, Any]) -> str:
    """How the model was chosen, who could not be fitted, whether a scorecard does better, and what
    plates and modules are worth."""
    choice = evidence["choice"] or {"reason": "", "failed": {}}
    failed = [f"{name} could not be fitted: {why}." for name, why in choice["failed"].items()]
    plates = evidence.get("plates", {}).get("words", "")
    floor = evidence["floor"] or {}
    warned = floor["words"] if floor.get("beats") is False else ""
    said = [choice["reason"], *failed, warned, plates, *module_words(evidence)]
    return " ".join(filter(None, said))


def training_of(
    screen: Screen, prepared: Prepared, score: str, modules: tuple[Module, ...] = ()
) -> Training:
    """What a model of this screen may learn from."""
    features = replace(features_of(screen, prepared.curves), modules=modules)
    return Training.of(prepared.blocks, features, screen.wells, score)


def features_of(screen: Screen, curves: CurveTable) -> Features:
    """The model's inputs; no curve features where no single agent was measured."""
    if not curves.measured.any():
        return Features(screen.compounds, screen.cell_lines)
    responses = single_agent_responses(screen.wells, curves)
    return Features(screen.compounds, screen.cell_lines, curves.summary(), responses)


def save_fitted(fitted: Fitted) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (for safetensors) and JSON-able metadata of a fitted stage."""
    tensors, metadata = ({}, None) if fitted.posterior is None else save(fitted.posterior)
    return tensors, {
        "posterior": metadata,
        "evidence": fitted.evidence,
        "reason": fitted.reason,
        "seconds": fitted.seconds,
    }


def load_fitted(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
) -> Fitted:
    """Inverse of :func:`save_fitted`, the same draws to the bit."""
    saved = metadata["posterior"]
    posterior = None if saved is None else load(tensors, saved, device)
    return Fitted(posterior, metadata["evidence"], metadata["reason"], metadata["seconds"])


def aim_of(screen: Screen, prepared: Prepared, fitted: Fitted, rules: RoundRules) -> Aim:
    """What the rules seek, on draws of the posterior and as measured.

    Raises :class:`ScreenError` for an objective that does not fit the screen.
    """
    return aim_at(rules.objective, screen, prepared.curves, prepared.blocks, fitted.posterior)


def score_pool(
    screen: Screen,
    prepared: Prepared,
    fitted: Fitted,
    pool: Pool,
    rules: RoundRules,
    seed: int,
    *,
    round_number: int = 1,
    history: ForecastHistory | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolScores:
    """Stage 3: stream the pool through the posterior's whole-function draws.

    ``round_number``: 1 for the first round that is chosen. ``history``: what earlier rounds had
    forecast of their batches and what was measured; hit probabilities are mended by it and by the
    held-out blocks. Improvement is over the best usable measured value, as it was measured, noise
    included. Candidates in cell lines that the objective does not compare are left out, and the
    step's reason says so. The result says what was done and why (``step``, ``calibration``,
    ``outlook``).
    Raises :class:`NothingLeft` where every candidate is measured or excluded.
    """
    started = time.perf_counter()
    check_pool(screen, pool)
    aim = aim_of(screen, prepared, fitted, rules)
    pool, left_out = aim_pool(pool, screen.cell_lines, rules)
    usable = ~(pool.excluded | measured_rows(screen, pool))
    known, found = inside_and_found(pool.earlier, aim.measured, prepared.blocks.candidates)
    if not usable.any():
        nothing = "every candidate is measured, in the lab or banned: nothing is left"
        raise NothingLeft(f"{nothing}. {left_out}" if left_out else nothing)
    if aim.posterior is None:
        measured = prepared.blocks.candidates
        summary = replace(
            scores_without_model(known, measured, pool, usable, rules, seed),
            step=step_without_model(rules, fitted.reason),
        )
    else:
        summary = value_pool(
            aim.posterior,
            fitted.evidence,
            known,
            pool.candidates,
            usable,
            rules,
            seed,
            round_number=round_number,
            history=history or ForecastHistory.none(),
            waiting=pool.pinned if pool.pending is None else pool.pinned | pool.pending,
            found=found,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    step = summary.step
    if left_out:
        step = {**step, "reason": f"{step['reason']} {left_out}"}
    return replace(summary, step=step, seconds=time.perf_counter() - started)


def select(
    screen: Screen,
    prepared: Prepared,
    fitted: Fitted,
    pool: Pool,
    scores: PoolScores,
    rules: RoundRules,
    seed: int,
    *,
    names: Mapping[str, str] | None = None,
) -> RankedCandidates:
    """Stage 4: order, batch under the rules, intervals, nearest measurements and reasons."""
    aim = aim_of(screen, prepared, fitted, rules)
    pool, _ = aim_pool(pool, screen.cell_lines, rules)
    return rank_candidates(screen, aim, pool, scores, rules, seed, names=names)
