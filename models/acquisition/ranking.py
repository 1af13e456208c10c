"""From values to a ranked list: batch, intervals, nearest measurements and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.acquisition.batch import fill_batch
from models.acquisition.earlier import inside_and_found
from models.acquisition.first_round import order_without_model
from models.acquisition.front_values import front_improvement
from models.acquisition.plates import PlateBatch, choose_plates
from models.acquisition.pool import PoolScores
from models.acquisition.reasons import (
    Forecast,
    Wording,
    compound_similarity,
    nearest_measured,
)
from models.acquisition.rules import Pool, RoundRules, measured_rows
from models.bayes.predictive import Noise, predictive_quantiles
from models.objectives.aim import Aim
from models.objectives.evaluating import summarise_objective
from models.objectives.posterior import FrontPosterior
from models.screen import BoolArray, Candidates, FloatArray, IntArray, Screen
from models.synergy.registry import ModelPosterior

INTERVAL = (0.05, 0.5, 0.95)
BEYOND = " beyond the reference point"


@dataclass(frozen=True)
class RankedCandidates:
    """The top of the pool in acquisition order, batch members included; ``k`` rows.

    ``pool_index``: row in the pool. ``mean``, ``sd``, ``q05``, ``q50``, ``q95``: of the
    *measured* objective (epistemic and observation noise together), of a front its margin;
    ``epistemic_sd`` and ``observation_sd`` are its two parts. ``hit_probability``: P(measured
    objective > threshold).
    ``acquisition``: value the order follows. ``nearest``: row of ``blocks`` measured nearest to
    the candidate, -1 for none. ``reason``: one sentence. ``in_batch``; ``batch_position``: 0 for
    the first of the batch, -1 outside of it. Rows in batch come first, in batch order. ``plate``:
    number of the plate, -1 outside of the batch and without plates. ``shortfall``: why the batch
    holds fewer than asked for, in words, empty where it does not. ``solution``: how plates were
    found and how far from the best they can be, ``None`` without laboratory rules.

    ``probability_of_improvement`` and ``expected_improvement`` over the best measured value, of
    the noise-free objective (of a front: chance and size of the volume that a candidate adds to
    the measured one); ``None`` without a model or anything measured. ``part_mean`` and
    ``part_sd`` ``(p, k)``: of each part of the objective, noise-free. ``front_probability`` and
    ``on_mean_front``: of a front, ``None`` else.
    """

    pool_index: IntArray
    mean: FloatArray
    sd: FloatArray
    q05: FloatArray
    q50: FloatArray
    q95: FloatArray
    hit_probability: FloatArray
    epistemic_sd: FloatArray
    observation_sd: FloatArray
    acquisition: FloatArray
    nearest: IntArray
    reason: tuple[str, ...]
    in_batch: BoolArray
    batch_position: IntArray
    plate: IntArray
    shortfall: str = ""
    solution: PlateBatch | None = None
    probability_of_improvement: FloatArray | None = None
    expected_improvement: FloatArray | None = None
    part_mean: FloatArray | None = None
    part_sd: FloatArray | None = None
    front_probability: FloatArray | None = None
    on_mean_front: BoolArray | None = None

    @property
    def batch(self) -> IntArray:
        """Pool rows of the batch, first choice first."""
        return self.pool_index[self.in_batch]


def rank_candidates(
    screen: Screen,
    aim: Aim,
    pool: Pool,
    scores: PoolScores,
    rules: RoundRules,
    seed: int,
    *,
    names: Mapping[str, str] | None = None,
) -> RankedCandidates:
    """Order, batch under the rules, intervals, nearest measurements and reasons.

    ``aim``: what is sought, on draws and as measured; ``scores`` were made from its posterior.
    """
    blocks, posterior = aim.blocks, aim.posterior
    measured = measured_rows(screen, pool)
    excluded = pool.excluded | measured
    pinned = pool.pinned & ~measured
    batch, plates, shortfall = _choose(pool.candidates, scores.acquisition, rules, pinned, excluded)
    rows = _ranked_rows(batch, scores.acquisition, excluded, rules.ranked)
    at = pool.candidates.select(rows)
    low, middle, high = _intervals(posterior, at, scores, rows, rules, seed)
    nearest = nearest_measured(at, blocks.candidates, compound_similarity(screen.compounds))
    forecast = Forecast(
        hit_probability=scores.hit_probability[rows],
        mean=scores.mean[rows],
        low=low,
        high=high,
        pinned=pinned[rows],
        modelled=posterior is not None,
        of=BEYOND if rules.has_front else "",
    )
    words = Wording(screen, blocks.candidates, aim.measured.by_block(), names)
    position = np.full(len(rows), -1, dtype=np.int64)
    position[: len(batch)] = np.arange(len(batch))
    plate = np.full(len(rows), -1, dtype=np.int64)
    if plates is not None:
        plate[: len(batch)] = plates.plate
    return RankedCandidates(
        pool_index=rows,
        mean=scores.mean[rows],
        sd=np.hypot(scores.epistemic_sd[rows], scores.observation_sd[rows]),
        q05=low,
        q50=middle,
        q95=high,
        hit_probability=scores.hit_probability[rows],
        epistemic_sd=scores.epistemic_sd[rows],
        observation_sd=scores.observation_sd[rows],
        acquisition=scores.acquisition[rows],
        nearest=nearest,
        reason=words.reasons(at, nearest, forecast, order_without_model(rules)),
        in_batch=position >= 0,
        batch_position=position,
        plate=plate,
        shortfall=shortfall,
        solution=plates,
        **_beside(aim, pool, at, rules, seed),
        front_probability=_at(scores.front_probability, rows),
        on_mean_front=_at(scores.on_mean_front, rows),
    )


def _beside(
    aim: Aim, pool: Pool, at: Candidates, rules: RoundRules, seed: int
) -> dict[str, FloatArray | None]:
    """Improvement over the best that is known, and the parts of the objective."""
    known, _ = inside_and_found(pool.earlier, aim.measured, aim.blocks.candidates)
    posterior, best = aim.posterior, known.best
    if posterior is None or not len(at):
        return {}
    chance = size = None
    if best is not None and isinstance(posterior, FrontPosterior):
        chance, size = front_improvement(posterior.each(at, rules.draws, seed), known)
    elif best is not None:
        drawn = posterior.draws(at, rules.draws, seed).cpu().numpy().astype(np.float64)
        said = summarise_objective(drawn, incumbent=best)
        chance, size = said.probability_of_improvement, said.expected_improvement
    parts = [
        part.draws(at, rules.draws, seed).cpu().numpy().astype(np.float64)
        for part in aim.part_posteriors
    ]
    return {
        "probability_of_improvement": chance,
        "expected_improvement": size,
        "part_mean": np.array([part.mean(axis=0) for part in parts]) if parts else None,
        "part_sd": np.array([part.std(axis=0, ddof=1) for part in parts]) if parts else None,
    }


def _at(values: Any, rows: IntArray) -> Any:
    return None if values is None else values[rows]


def _choose(
    candidates: Candidates,
    values: FloatArray,
    rules: RoundRules,
    pinned: BoolArray,
    excluded: BoolArray,
) -> tuple[IntArray, PlateBatch | None, str]:
    """Rows of the batch, the plates where a laboratory has rules, and why it is short if it is."""
    lab = rules.lab_rules()
    if lab is None:
        plain = fill_batch(
            candidates, values, rules.batch_rules(), pinned=pinned, excluded=excluded
        )
        return plain.rows, None, plain.shortfall
    plates = choose_plates(candidates, values, lab, pinned=pinned, excluded=excluded)
    return plates.rows, plates, plates.shortfall


def _ranked_rows(
    batch: IntArray, acquisition: FloatArray, excluded: BoolArray, ranked: int
) -> IntArray:
    """The batch, then the best of the rest."""
    rest = ~excluded
    rest[batch] = False
    order = np.argsort(-acquisition, kind="stable")
    others = order[rest[order]][: max(0, ranked - len(batch))]
    return np.concatenate([batch, others]).astype(np.int64)


def _intervals(
    posterior: ModelPosterior | None,
    at: Candidates,
    scores: PoolScores,
    rows: IntArray,
    rules: RoundRules,
    seed: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """5 %, 50 % and 95 % quantiles of a measurement, ``(len(at),)`` each."""
    if posterior is None or not len(at):
        sd = np.hypot(scores.epistemic_sd[rows], scores.observation_sd[rows])
        draws, noise = scores.mean[None, rows], Noise(sd)
    else:
        draws = posterior.draws(at, rules.draws, seed).numpy().astype(np.float64)
        scale = posterior.noise_scale(at).numpy().astype(np.float64)
        noise = Noise(scale, posterior.noise_df)
    low, middle, high = predictive_quantiles(draws, noise, INTERVAL)
    return low, middle, high
