"""Campaigns replayed on screens whose outcome is known: would the best have been found earlier?

campaign = PastCampaign.of_folder(load_oneil_layout(folder), "bliss_mean", fingerprints)
records = replay(campaign, RoundRules(batch_size=190), rounds=10, initial=190, seed=0)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import top_share_found
from models.evaluation.oneil import ScreenFolder
from models.objectives.scores import measure_blocks
from models.pharmacology.simulate import SimulatedScreen
from models.rounds import Pool, RoundRules, run_round
from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    Screen,
    ScreenError,
    StopCallback,
    never_stop,
)

TOP_SHARE = 0.01


@dataclass(frozen=True)
class PastCampaign:
    """``candidates``: all ``m`` blocks. ``truth``: ``(m,)`` their scores. ``reveal``: the screen
    in which exactly the blocks of the given rows are measured, single agents always."""

    candidates: Candidates
    truth: FloatArray
    reveal: Callable[[IntArray], Screen]

    @classmethod
    def of_folder(
        cls,
        folder: ScreenFolder,
        score: str,
        fingerprints: NDArray[np.uint8] | None = None,
    ) -> PastCampaign:
        """A measured screen; its measured scores are the truth."""
        n = len(folder.compound_names)
        blocks = measure_blocks(folder.screen(None, fingerprints), score)
        keys = folder.blocks.keys(n)
        order = np.argsort(keys, kind="stable")
        row = order[np.searchsorted(keys, blocks.candidates.keys(n), sorter=order)]
        return cls(
            blocks.candidates, blocks.score, lambda rows: folder.screen(row[rows], fingerprints)
        )

    @classmethod
    def of_simulation(
        cls, simulated: SimulatedScreen, score: str, replicates: int, seed: int
    ) -> PastCampaign:
        """Every pair in every cell line of a simulation; its noise-free scores are the truth."""
        first, second = np.triu_indices(len(simulated.compounds), k=1)
        lines = np.arange(len(simulated.cell_lines))
        candidates = Candidates.of(
            np.tile(first, len(lines)), np.tile(second, len(lines)), np.repeat(lines, len(first))
        )
        base = (simulated.single_agents(replicates, seed), simulated.controls(16, seed + 1))

        def reveal(rows: IntArray) -> Screen:
            measured = simulated.measure(candidates.select(np.sort(rows)), replicates, seed + 2)
            return simulated.screen(*base, measured)

        return cls(candidates, simulated.true_score(candidates, score), reveal)


@dataclass(frozen=True)
class RoundRecord:
    """After a round: ``measured`` blocks so far, share of the top found, share of the batch that
    were hits, ``evidence`` of the fit that chose it, and how long the choice took."""

    number: int
    measured: int
    top_found: float
    hit_rate: float
    evidence: dict[str, Any]
    seconds: float
    chosen: IntArray


def replay(
    campaign: PastCampaign,
    rules: RoundRules,
    *,
    rounds: int,
    initial: int,
    seed: int,
    device: str = "cpu",
    should_stop: StopCallback = never_stop,
    on_round: Callable[[RoundRecord], None] = lambda record: None,
) -> list[RoundRecord]:
    """``initial`` random blocks (round 0), then ``rounds`` batches chosen by :func:`run_round`.

    The first blocks depend on ``seed`` alone: arms with other rules start from the same. Stops
    early when nothing is left to measure.
    """
    if not 1 <= initial <= len(campaign.candidates):
        raise ScreenError(f"cannot start from {initial} of {len(campaign.candidates)} blocks")
    measured = np.random.default_rng(seed).permutation(len(campaign.candidates))[:initial]
    records = [_record(campaign, rules, 0, measured, measured, {}, 0.0)]
    on_round(records[0])
    for number in range(1, rounds + 1):
        rest = np.setdiff1d(np.arange(len(campaign.candidates)), measured)
        if not len(rest):
            break
        started = time.perf_counter()
        result = run_round(
            campaign.reveal(measured),
            Pool.of(campaign.candidates.select(rest)),
            rules,
            seed + 1000 * number,
            device=device,
            should_stop=should_stop,
        )
        seconds = time.perf_counter() - started
        chosen = rest[result.ranked.batch]
        measured = np.concatenate([measured, chosen])
        records.append(_record(campaign, rules, number, measured, chosen, result.evidence, seconds))
        on_round(records[-1])
    return records


def _record(
    campaign: PastCampaign,
    rules: RoundRules,
    number: int,
    measured: IntArray,
    chosen: IntArray,
    evidence: dict[str, Any],
    seconds: float,
) -> RoundRecord:
    return RoundRecord(
        number=number,
        measured=len(measured),
        top_found=top_share_found(campaign.truth, measured, TOP_SHARE),
        hit_rate=float(np.mean(campaign.truth[chosen] > rules.hit_threshold)),
        evidence=evidence,
        seconds=seconds,
        chosen=chosen,
    )
