"""A fit of ``hierarchical_bliss``: the ascent, the burn-in, the states that are kept.

Why this chain. Given the rest, each block of unknowns is close to a linear regression, so Newton
proposals are accepted nine times in ten or more and a sweep moves everything; curves of different
cell lines, and pairs, are independent given the rest and go in one batch. Scales, indicators of
failed wells and the shared parts of curves have exact conditionals, which a Laplace or mean-field
fit would have to guess. Costs grow linearly with the wells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.bayes.diagnostics import FEWEST_DRAWS, describe_chains
from models.bayes.training import NonFiniteLossError, one_thread
from models.screen import ProgressCallback, ScreenError, StopCallback, Stopped, Wells
from models.synergy.response.chain import Chain, Ranks, Step
from models.synergy.response.table import DoseScale, WellTable
from models.synergy.response.worlds import Worlds
from models.synergy.training import Schedule

CURVE_CLIMBS, PAIR_CLIMBS, FACTOR_CLIMBS = 5, 3, 6
WATCHED = 200
"""Wells whose fitted viability stands for the state in R-hat and effective sample size."""
BURN_IN, KEPT = 30, 80
MANY_WELLS, BURN_IN_OF_MANY, KEPT_OF_MANY = 100_000, 30, 60
FIRST_SCALES, FIRST_BLOCKS, FIRST_FAILED = 0.3, 0.4, 0.1
"""Shares of the burn-in after which scales are drawn, blocks have own terms and wells may fail.
While the noise is held low, factors are found that a noise blown up by their absence would bury;
and what pairs and factors explain is theirs before blocks may have it."""
_FEWEST_WELLS = 10


@dataclass(frozen=True)
class Sampled:
    """``worlds`` to predict from; ``noise_sd``: additive and proportional, means over the states;
    ``report``: JSON-able convergence; ``schedule``: sweeps in all, and of those the burn-in."""

    worlds: Worlds
    noise_sd: tuple[float, float]
    report: dict[str, Any]
    schedule: Schedule


def plan_for(n_wells: int) -> Schedule:
    """Sweeps (``steps``), of which ``horizon`` are burn-in; fewer for many wells, whose
    posterior is narrow."""
    if n_wells > MANY_WELLS:
        return Schedule(BURN_IN_OF_MANY + KEPT_OF_MANY, BURN_IN_OF_MANY)
    return Schedule(BURN_IN + KEPT, BURN_IN)


def sample_worlds(
    wells: Wells,
    shape: tuple[int, int],
    *,
    seed: int,
    device: torch.device,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
    schedule: Schedule | None = None,
    ranks: Ranks | None = None,
) -> Sampled:
    """Run one chain on all wells; their order makes no difference.

    ``shape``: compounds and cell lines of the screen. Raises :class:`ScreenError` for fewer than
    10 wells or a schedule without kept sweeps, ``Stopped``, and ``NonFiniteLossError``.
    """
    if len(wells) < _FEWEST_WELLS:
        raise ScreenError(f"a response model needs {_FEWEST_WELLS} wells, there are {len(wells)}")
    plan = schedule or plan_for(len(wells))
    if plan.steps - plan.horizon < FEWEST_DRAWS:
        raise ScreenError(f"a schedule must keep {FEWEST_DRAWS} sweeps beyond its burn-in")
    scale = DoseScale.of(wells, shape[0])
    table = WellTable.of(wells, scale, shape[1])
    with one_thread():
        chain = Chain(table, ranks or Ranks(), seed, device)
        states, watched = _run(chain, plan, on_progress, should_stop)
    stacked = {
        name: np.stack([state[name] for state in states], axis=-1).astype(np.float32)
        for name in states[0]
    }
    noise = np.mean([state["noise"] for state in states], axis=0)
    report = {
        "kind": "chain",
        "sweeps": plan.steps,
        "burn_in": plan.horizon,
        "acceptance": {k: round(v, 3) for k, v in chain.field.acceptance.items()},
        "failed_wells": round(float(np.mean(stacked["failed"])), 6),
        "gate_exponent": round(float(np.mean(stacked["gamma"])), 6),
        **describe_chains(watched[None]),
    }
    worlds = Worlds(stacked, table.cells, table.pairs, table.blocks, scale)
    return Sampled(worlds, (float(noise[0]), float(noise[1])), report, plan)


def _run(
    chain: Chain, plan: Schedule, on_progress: ProgressCallback, should_stop: StopCallback
) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Kept states, and the fitted viability of some wells in each, ``(kept, WATCHED)``."""
    states, watched = [], []
    n = len(chain.table)
    some = torch.from_numpy(np.linspace(0, n - 1, min(n, WATCHED)).astype(np.int64))
    for number in range(-CURVE_CLIMBS - PAIR_CLIMBS - FACTOR_CLIMBS, plan.steps):
        if should_stop():
            raise Stopped
        on_progress("training", max(number, 0), plan.steps)
        if number == -FACTOR_CLIMBS:
            chain.place_factors()
        if number < 0:
            with_factors = number >= -FACTOR_CLIMBS
            chain.climb(pairs=number >= -FACTOR_CLIMBS - PAIR_CLIMBS, factors=with_factors)
            continue
        chain.sweep(_step(number, plan.horizon))
        level = chain.field.level
        if not bool(torch.isfinite(level).all()):
            raise NonFiniteLossError(f"a fitted viability is not finite after sweep {number + 1}")
        if number >= plan.horizon:
            states.append(chain.snapshot())
            watched.append(level[some.to(level.device)].cpu().numpy())
    return states, np.stack(watched)


def _step(number: int, burn_in: int) -> Step:
    """Of sweep ``number``: the noise's level follows the fit quickly, then as the mean of the
    second half of the burn-in, then not at all."""
    half = burn_in // 2
    pace = 0.0
    if number < burn_in:
        pace = 0.3 if number < half else 2.0 / (number - half + 2)
    return Step(
        persistence=0.0 if number % 2 == 0 else 0.7,
        pace=pace,
        failing=number >= FIRST_FAILED * burn_in,
        scales=number >= FIRST_SCALES * burn_in,
        blocks=number >= FIRST_BLOCKS * burn_in,
        factors=number < burn_in or number % 2 == 0,
    )
