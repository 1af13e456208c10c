"""One round in a peer's way: the four stages of the service, with what the peer does apart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.acquisition.pool import PoolScores
from models.acquisition.rules import measured_rows
from models.evaluation.peer_networks import MIN_ROWS, OneHotNetworks
from models.evaluation.peer_plates import choose_whole_plates
from models.evaluation.peer_rules import blinded, explores, halves
from models.evaluation.peer_tensor import fit_anchored
from models.evaluation.strategies import Strategy
from models.rounds import (
    MIN_BLOCKS,
    Fitted,
    Pool,
    Prepared,
    RoundResult,
    RoundRules,
    fit,
    prepare,
    score_pool,
    select,
    training_of,
)
from models.screen import IntArray, Screen


@dataclass(frozen=True)
class PeerRound:
    """``plates``: ``(q, size)`` rows of the pool, the plates that nothing is measured of.
    ``past``: ``round_number`` and ``history``; ``watch``: ``on_progress`` and ``should_stop``, as
    :func:`models.rounds.run_round` takes them."""

    strategy: Strategy
    screen: Screen
    pool: Pool
    rules: RoundRules
    seed: int
    plates: IntArray
    past: Mapping[str, Any]
    watch: Mapping[str, Any]
    device: str = "cpu"

    def run(self) -> RoundResult:
        """Takes and raises what :func:`models.rounds.run_round` does."""
        rules, seed, pool = self.rules, self.seed, self.pool
        prepared = prepare(self.screen, rules, **self.watch)
        screen, seen = blinded(self.screen, prepared, self.strategy.inputs)
        fitted = self._fit(screen, seen)
        scores = score_pool(screen, seen, fitted, pool, rules, seed, **self.past, **self.watch)
        started = time.perf_counter()
        rows = self._chosen(fitted, scores)
        if len(rows):
            pinned = np.zeros(len(pool.candidates), bool)
            pinned[rows] = True
            pool = replace(pool, pinned=pinned)
        ranked = select(screen, seen, fitted, pool, scores, rules, seed)
        seconds = time.perf_counter() - started
        return RoundResult.of(prepared, fitted, scores, ranked, seconds)

    def _fit(self, screen: Screen, prepared: Prepared) -> Fitted:
        """The posterior; a way of the peer's own has no evidence, which no peer looks at."""
        found = len(prepared.blocks)
        own = {"one_hot": MIN_ROWS, "anchored_tensor": MIN_BLOCKS}.get(self.strategy.fits)
        if own is None or found < own:
            return fit(screen, prepared, self.rules, self.seed, device=self.device, **self.watch)
        started = time.perf_counter()
        training = training_of(screen, prepared, self.rules.score)
        posterior = (
            OneHotNetworks().fit(training, seed=self.seed, **self.watch)
            if self.strategy.fits == "one_hot"
            else fit_anchored(training, prepared.curves, seed=self.seed, **self.watch)
        )
        reason = f"{posterior.model}, fitted to {found} measured blocks."
        evidence = {
            "n_train": found,
            "n_held_out": 0,
            "n_blocks": found,
            "model": None,
            "reason": "this strategy is not judged on held-out blocks",
            "convergence": posterior.diagnostics(),
        }
        return Fitted(posterior, evidence, reason, time.perf_counter() - started)

    def _chosen(self, fitted: Fitted, scores: PoolScores) -> IntArray:
        """Rows of the pool that the peer names; none where it leaves the choice to the values."""
        rules, pool = self.rules, self.pool
        if self.strategy.chooser == "halves":
            usable = ~(pool.excluded | measured_rows(self.screen, pool))
            return halves(scores, usable, rules.batch_size)
        explored = explores(int(self.past["round_number"]), rules.rounds_planned)
        if self.strategy.chooser != "pdbal_plates" or fitted.posterior is None or not explored:
            return np.empty(0, np.int64)
        return choose_whole_plates(
            fitted.posterior,
            pool.candidates,
            self.plates,
            rules.batch_size,
            draws=rules.draws,
            seed=self.seed,
            should_stop=self.watch["should_stop"],
        )
