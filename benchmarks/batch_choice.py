"""How fast a batch of plates is chosen: 36 plates out of a large pool, each given those before.

    python -m benchmarks.batch_choice
    python -m benchmarks.batch_choice --candidates 1000000 --plates 5000 --draws 200

Draws come from a cheap low-rank posterior: score of pair ab in line c is 10 u_c' (v_a * v_b). The
pool is streamed once: mean, spread and hit probability of every candidate. In each cell line the
candidates with the largest share of draws above the threshold, plus spread, are cut into candidate
plates of 24. Then PDBAL, all triples, on the distance between sets of hits among those candidates.
"""

from __future__ import annotations

import argparse
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.machine import describe
from models.acquisition.pdbal import PlateScorer
from models.acquisition.pdbal_plates import SHORTLIST, choose_plates_by_pdbal
from models.acquisition.world_distances import hit_set_distance
from models.bayes.training import one_thread
from models.screen import FloatArray, IntArray

BLOCKS_PER_PLATE = 24
COMPOUNDS = 250
RANK = 8
THRESHOLD = 10.0
NOISE_SD = 8.0
SEED = 0
AT_ONCE = 8
"""Compounds whose pairs are valued at once."""
PAIRS = np.flatnonzero(np.triu(np.ones((COMPOUNDS, COMPOUNDS), dtype=bool), k=1))
"""Pairs of compounds in the square of all ordered ones."""


@dataclass(frozen=True)
class LowRank:
    """Draws of ``lines`` ``(n, c, r)`` and ``compounds`` ``(n, a, r)`` factors."""

    lines: torch.Tensor
    compounds: torch.Tensor

    @classmethod
    def of(cls, draws: int, candidates: int) -> LowRank:
        """Factors about a common mean; as many cell lines as ``candidates`` need."""
        random = torch.Generator().manual_seed(SEED)

        def factors(rows: int) -> torch.Tensor:
            mean = torch.randn(1, rows, RANK, generator=random)
            return mean + 0.5 * torch.randn(draws, rows, RANK, generator=random)

        return cls(factors(-(-candidates // len(PAIRS))), factors(COMPOUNDS))

    def draws(self, line: int, first: slice, second: slice) -> torch.Tensor:
        """``(n, first, second)`` scores of pairs in one cell line."""
        scaled = self.compounds[:, first] * self.lines[:, line, None] * (10.0 / RANK**0.5)
        return torch.bmm(scaled, self.compounds[:, second].transpose(1, 2))


def main() -> None:
    """Choose and print."""
    options = parse()
    print(describe())
    posterior = LowRank.of(options.draws, options.candidates)
    before = peak_mb()
    with one_thread():
        started, cpu = time.perf_counter(), time.process_time()
        lines = range(posterior.lines.shape[1])
        with ThreadPoolExecutor(options.threads) as executor:
            values = list(executor.map(lambda line: value_of(posterior, line), lines))
        draws, plates = candidate_plates(posterior, values, options.plates)
        middle = time.perf_counter()
        distance = hit_set_distance(draws, THRESHOLD)
        scorer = PlateScorer(draws, np.full(draws.shape[1], NOISE_SD**2), distance)
        choice = choose_plates_by_pdbal(
            scorer, plates, options.batch, shortlist=options.shortlist, threads=options.threads
        )
        ended = time.perf_counter()
        cpu = time.process_time() - cpu
    pool = sum(len(value) for value in values)
    print(
        f"{pool:,} candidates x {options.draws} draws -> {len(plates):,} candidate plates", end=""
    )
    print(f" of {BLOCKS_PER_PLATE} -> {len(choice.plates)} plates, {options.threads} threads")
    print(f"  {'values of the pool':<28}{middle - started:8.2f} s")
    print(f"  {'plates by PDBAL':<28}{ended - middle:8.2f} s")
    print(f"  {'together':<28}{ended - started:8.2f} s, {cpu:.2f} CPU-s")
    print(f"  {'peak memory':<28}{peak_mb():8.0f} MB, {before:.0f} MB before")
    print(f"  log score after the first {choice.log_score[0]:.1f}, last {choice.log_score[-1]:.1f}")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--plates", type=int, default=5000)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--shortlist", type=int, default=SHORTLIST)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def value_of(posterior: LowRank, line: int) -> FloatArray:
    """``(pairs,)`` hit probability plus spread in percent, one cell line."""
    value = torch.zeros((COMPOUNDS, COMPOUNDS))
    for start in range(0, COMPOUNDS, AT_ONCE):
        first, second = slice(start, start + AT_ONCE), slice(start, None)
        draws = posterior.draws(line, first, second)
        spread = (draws - draws.mean(0)).square_().mean(0).sqrt_()
        value[first, second] = (draws > THRESHOLD).float().mean(0) + 0.01 * spread
    return value.double().numpy().ravel()[PAIRS]


def candidate_plates(
    posterior: LowRank, values: list[FloatArray], count: int
) -> tuple[FloatArray, IntArray]:
    """Draws of the best candidates of each line, and ``(count, 24)`` columns of them: plates of
    one line each."""
    each = -(-count // len(values))
    best = [np.argsort(-value, kind="stable")[: each * BLOCKS_PER_PLATE] for value in values]
    draws = torch.cat(
        [
            posterior.draws(line, slice(None), slice(None)).flatten(1)[:, PAIRS[rows]]
            for line, rows in enumerate(best)
        ],
        dim=1,
    )
    plates = np.arange(draws.shape[1]).reshape(-1, BLOCKS_PER_PLATE)[:count]
    return draws.numpy(), plates


def peak_mb() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
