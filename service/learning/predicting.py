"""Answers of a fitted model: scores of pairs, viabilities of treatments. Workers only."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models import rounds
from models.bayes.predictive import Noise, predictive_quantiles, probability_below
from models.objectives.treatments import excess_profile, predict_viability, respond
from models.rounds import Fitted, Prepared, RoundRules
from models.screen import ABSENT, Candidates
from models.synergy.registry import ModelPosterior
from models.synergy.response.treatments import ResponsePosterior
from service.campaigns.service import CampaignService
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.kit.unit import Unit
from service.learning.fitting import load_fit, unit_of
from service.learning.repository import FittedModelRepository
from service.learning.snapshots import Snapshot, load_snapshot
from service.learning.tables import FittedModel

N_DRAWS = 512
_QUANTILES = (0.05, 0.5, 0.95)

Floats = NDArray[np.float64]


def answer(ctx: JobContext) -> tuple[FittedModel, list[dict[str, Any]]]:
    """The model that was asked, and one answer per question, in their order."""
    with ctx.database.reading() as session:
        unit = unit_of(ctx, session)
        model = FittedModelRepository(session, unit.principal).get(ctx.args["model_id"])
        names = _names_now(unit, model.campaign_id)
    questions: list[dict[str, Any]] = json.loads(ctx.artifacts.get(ctx.args["question"]))
    snapshot = load_snapshot(model.snapshot, ctx.artifacts)
    _require_known(questions, snapshot, names)
    fitted = load_fit(model.weights, model.metadata_artifact, ctx.artifacts, ctx.device)
    rules = RoundRules(score=model.score, model=model.name)
    prepared = rounds.prepare(
        snapshot.screen, rules, on_progress=ctx.progress, should_stop=ctx.should_stop
    )
    ctx.raise_if_stopped()
    return model, _answers(questions, snapshot, prepared, fitted, model.seed, ctx)


def _answers(
    questions: list[dict[str, Any]],
    snapshot: Snapshot,
    prepared: Prepared,
    fitted: Fitted,
    seed: int,
    ctx: JobContext,
) -> list[dict[str, Any]]:
    compounds, cell_line, doses = _arrays(questions, snapshot)
    is_score = np.array([question["doses_um"][0] is None for question in questions])
    draws = _score_draws(fitted, compounds, cell_line, seed)
    answers = [_named(question, snapshot) for question in questions]
    if is_score.any():
        asked = Candidates(compounds[is_score], cell_line[is_score])
        noise = Noise(_numpy(_posterior(fitted).noise_scale(asked)), _posterior(fitted).noise_df)
        numbers = _summaries(draws[:, is_score], noise, ctx.args["hit_threshold"])
        _fill(answers, is_score, "score", numbers)
    treatments = ~is_score
    if treatments.any():
        at = (compounds[treatments], cell_line[treatments], doses[treatments])
        posterior = _posterior(fitted)
        if isinstance(posterior, ResponsePosterior):
            viability, well_sd = respond(posterior, *at, N_DRAWS, seed)
        else:
            profile = excess_profile(prepared.blocks)
            through = (prepared.curves, profile, *at, draws[:, treatments], seed)
            viability, well_sd = predict_viability(*through)
        _fill(answers, treatments, "viability", _summaries(viability, Noise(well_sd), None))
    return answers


def _posterior(fitted: Fitted) -> ModelPosterior:
    if fitted.posterior is None:  # such a fit is never stored as a model
        raise JobFailed(problem_dict("no-posterior", "This model has no posterior", fitted.reason))
    return fitted.posterior


def _score_draws(
    fitted: Fitted, compounds: NDArray[np.int64], cell_line: NDArray[np.int64], seed: int
) -> Floats:
    """``(N_DRAWS, m)`` draws of the pairs; zeros for single agents, which have no score.

    A pair that is asked for twice is drawn once, so that both answers are the same to the bit.
    """
    draws = np.zeros((N_DRAWS, len(cell_line)))
    pairs = (compounds != ABSENT).all(axis=1)
    if pairs.any():
        every = Candidates(compounds[pairs], cell_line[pairs])
        keys = every.keys(int(compounds.max()) + 1)
        _, first, where = np.unique(keys, return_index=True, return_inverse=True)
        distinct = _posterior(fitted).draws(every.select(first), N_DRAWS, seed)
        draws[:, pairs] = _numpy(distinct)[:, where]
    return draws


def _summaries(draws: Floats, noise: Noise, threshold: float | None) -> list[dict[str, Any]]:
    """Mean, parts of the uncertainty and quantiles of a measurement, per question."""
    quantiles = predictive_quantiles(draws, noise, _QUANTILES)
    epistemic, observation = draws.std(axis=0, ddof=1), noise.sd()
    hits = None if threshold is None else 1.0 - probability_below(draws, threshold, noise)
    return [
        {
            "mean": float(draws[:, i].mean()),
            "sd": float(np.hypot(epistemic[i], observation[i])),
            "q05": float(quantiles[0, i]),
            "q50": float(quantiles[1, i]),
            "q95": float(quantiles[2, i]),
            "epistemic_sd": float(epistemic[i]),
            "observation_sd": float(observation[i]),
            "hit_probability": None if hits is None else float(hits[i]),
        }
        for i in range(draws.shape[1])
    ]


def _fill(
    answers: list[dict[str, Any]],
    rows: NDArray[np.bool_],
    quantity: str,
    numbers: list[dict[str, Any]],
) -> None:
    for row, values in zip(np.flatnonzero(rows), numbers, strict=True):
        answers[row].update(quantity=quantity, **values)


def _numpy(tensor: Tensor) -> Floats:
    return np.asarray(tensor.cpu().numpy(), dtype=np.float64)


def _arrays(
    questions: list[dict[str, Any]], snapshot: Snapshot
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    compound_rows = {name: row for row, name in enumerate(snapshot.screen.compounds.ids)}
    line_rows = {name: row for row, name in enumerate(snapshot.screen.cell_lines.ids)}
    compounds = np.full((len(questions), 2), ABSENT, dtype=np.int64)
    doses = np.zeros((len(questions), 2))
    for row, question in enumerate(questions):
        for place, name in enumerate(question["compounds"]):
            compounds[row, place] = compound_rows[name]
            doses[row, place] = question["doses_um"][place] or 0.0
    lines = np.array([line_rows[question["cell_line"]] for question in questions], dtype=np.int64)
    return compounds, lines, doses


def _named(question: dict[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    doses = [
        {"compound": snapshot.names[name], "compound_id": name, "dose_um": dose}
        for name, dose in zip(question["compounds"], question["doses_um"], strict=True)
    ]
    return {"cell_line": snapshot.names[question["cell_line"]], "doses": doses}


def _names_now(unit: Unit, campaign_id: str) -> dict[str, str]:
    """What the campaign's compounds and cell lines are called, those that joined it late too."""
    campaigns = CampaignService(unit)
    compounds = {row[0]: row[1] for row in campaigns.compounds.members(campaign_id)}
    return {**compounds, **dict(campaigns.cell_lines.members(campaign_id))}


def _require_known(
    questions: list[dict[str, Any]], snapshot: Snapshot, names: dict[str, str]
) -> None:
    known = {*snapshot.screen.compounds.ids, *snapshot.screen.cell_lines.ids}
    asked = {name for q in questions for name in [q["cell_line"], *q["compounds"]]}
    new = sorted(names[identifier] for identifier in asked - known)
    if new:
        detail = (
            f"{', '.join(new[:5])} joined the campaign after this model was fitted. "
            f"Train again, then ask again."
        )
        raise JobFailed(problem_dict("model-too-old", "The model does not know it", detail, 409))
