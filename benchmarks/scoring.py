"""How fast a pool is scored: whole functions of a fitted network, reduced as they are made.

    python -m benchmarks.scoring --candidates 1000000 --draws 256
    python -m benchmarks.scoring --generated --candidates 2000000 --draws 64
    python -m benchmarks.scoring --generated --device cuda --candidates 1000000000 --draws 64

Without ``--generated``: the code of a round. ``summarise_pool`` over the posterior of a
``bnn_gaussian`` (mean, sd, hit probability of every candidate), then the best 1,000 with their
quantiles. With it: candidates are made on the device from ranges of compounds and cell lines, box
by box, and only the running best are kept. On CUDA the generated form has not been measured yet;
it is the same code that runs, and is tested, on a CPU at a small size.

Shares: multiplications and additions of the network alone (the functions silu, sinh and Student's t
count nothing) against the rate of a large matrix product in this run; on an accelerator also the
bytes that its tensor operations read and write against a large copy.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from models.acquisition.pool import PoolRequest, StudentTable, summarise_draws, summarise_pool
from models.bayes.predictive import Noise, predictive_quantiles
from models.bayes.training import one_thread
from models.pharmacology.simulate import simulate_screen
from models.screen import Candidates
from models.synergy.bnn import BnnGaussian, BnnPosterior
from models.synergy.inputs import Features, ScoredBlocks, Training
from models.synergy.network import PAIR_HIDDEN, RANK
from models.synergy.training import Schedule
from models.synergy.worlds import Worlds

THRESHOLD = 10.0
TOP = 1000
SEED = 0
MEASURED = 2000
FLOPS = 2 * RANK * PAIR_HIDDEN + 2 * PAIR_HIDDEN + 2 * RANK + PAIR_HIDDEN + RANK + 4
"""Per candidate and draw: mix, head, bilinear, and the sums and products of the two compounds."""
BYTES = 1288
"""Per candidate and draw, read and written by the operations of a tile one by one."""
BOX = {"cpu": 1 << 22, "cuda": 1 << 28}
"""Candidates times draws made at once."""


@dataclass(frozen=True)
class Box:
    """Pairs of a compound in ``first`` and a later one in ``second``, in cell lines ``lines``."""

    first: range
    second: range
    lines: range

    def expand(self, device: str) -> tuple[Tensor, Tensor, Tensor]:
        """First compounds, second compounds and cell lines, ``(m,)`` each."""
        ranges = (self.lines, self.first, self.second)
        axes = (torch.arange(r.start, r.stop, device=device) for r in ranges)
        line, first, second = (g.reshape(-1) for g in torch.meshgrid(*axes, indexing="ij"))
        kept = first < second
        return first[kept], second[kept], line[kept]


@dataclass(frozen=True)
class Best:
    """The best so far: ``chance`` and ``key`` ``(k,)``, ``key`` as :meth:`Candidates.keys`."""

    chance: Tensor
    key: Tensor

    def merged(self, other: Best, k: int) -> Best:
        chance = torch.cat([self.chance, other.chance])
        at = torch.topk(chance, min(k, len(chance))).indices
        return Best(chance[at], torch.cat([self.key, other.key])[at])


def main() -> None:
    """Score and print."""
    options = parse()
    print(describe())
    pairs = options.compounds * (options.compounds - 1) // 2
    lines = math.ceil(options.candidates / pairs)
    posterior = fitted(options.compounds, lines, options.device)
    before = peak_mb()
    rate = matmul_rate(options.device, options.threads)
    cpu = time.process_time()
    if options.generated:
        count, seconds = generated(posterior, options)
    else:
        count, seconds = streamed(posterior, options)
    cpu = time.process_time() - cpu
    rate = max(rate, matmul_rate(options.device, options.threads))
    done = count * options.draws
    print(f"{count:,} candidates ({options.compounds} compounds, {lines} cell lines)", end=" ")
    print(f"x {options.draws} draws: {seconds:.2f} s, {cpu:.2f} CPU-s")
    print(f"  {done / seconds / 1e6:.1f} million evaluations/s, {cpu / done * 1e9:.0f} CPU-ns each")
    print(f"  peak memory {peak_mb():.0f} MB, {before:.0f} MB before")
    print(f"  {FLOPS} operations each: {done * FLOPS / seconds / 1e9:.1f} GFLOP/s,", end=" ")
    print(f"{done * FLOPS / seconds / rate:.1%} of the {rate / 1e9:.0f} of a matrix product")
    if options.device != "cpu":
        moved, copied = done * BYTES / seconds, copy_rate(options.device)
        print(
            f"  {BYTES} bytes each: {moved / copied:.1%} of the {copied / 1e9:.0f} GB/s of a copy"
        )


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=256)
    parser.add_argument("--compounds", type=int, default=250)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def fitted(compounds: int, lines: int, device: str) -> BnnPosterior:
    """A network after a few steps on simulated features and random scores: its size is what
    counts."""
    simulated = simulate_screen(compounds, lines, 1, 0.05, SEED)
    rng = np.random.default_rng(SEED)
    features = Features(
        simulated.compounds, simulated.cell_lines, rng.normal(size=(compounds, lines, 3))
    )
    pair = np.array([rng.choice(compounds, 2, replace=False) for _ in range(MEASURED)])
    at = Candidates.of(pair[:, 0], pair[:, 1], rng.integers(lines, size=MEASURED))
    blocks = ScoredBlocks(at, rng.normal(0, 10, MEASURED), np.full(MEASURED, 3.0))
    training = Training(blocks, features)
    return BnnGaussian().fit(training, seed=SEED, device=device, schedule=Schedule(40, 40))


def streamed(posterior: BnnPosterior, options: argparse.Namespace) -> tuple[int, float]:
    """The code of a round; returns candidates and seconds."""
    pool = whole_pool(posterior, options.candidates)
    usable = np.ones(len(pool), dtype=bool)
    asked = PoolRequest("hit_probability", THRESHOLD, 1.0, options.draws, SEED, TOP)
    started = time.perf_counter()
    scores = summarise_pool(posterior, pool, usable, asked, threads=options.threads)
    middle = time.perf_counter()
    top = pool.select(np.argsort(-scores.acquisition, kind="stable")[:TOP])
    draws = posterior.draws(top, options.draws, SEED).numpy().astype(np.float64)
    scale = posterior.noise_scale(top).numpy().astype(np.float64)
    predictive_quantiles(draws, Noise(scale, posterior.noise_df), (0.05, 0.5, 0.95))
    seconds = time.perf_counter() - started
    print(f"  quantiles of the best {len(top)}: {time.perf_counter() - middle:.2f} s of it")
    return len(pool), seconds


def whole_pool(posterior: BnnPosterior, count: int) -> Candidates:
    """The first ``count`` of all pairs in all cell lines."""
    sizes = posterior.network.sizes
    first, second = np.triu_indices(sizes.n_compounds, k=1)
    row = np.arange(count)
    return Candidates.of(
        first[row % len(first)], second[row % len(first)], (row // len(first)).astype(np.int64)
    )


def generated(posterior: BnnPosterior, options: argparse.Namespace) -> tuple[int, float]:
    """Candidates made on the device; returns how many and seconds."""
    started = time.perf_counter()
    with one_thread():
        _, count = best_of_range(posterior, options.candidates, options.draws, options.device)
    return count, time.perf_counter() - started


def best_of_range(
    posterior: BnnPosterior, count: int, draws: int, device: str, elements: int | None = None
) -> tuple[Best, int]:
    """The ``TOP`` most probable hits among at least ``count`` candidates, and how many these were.

    ``elements``: candidates times draws held at once.
    """
    sizes, scaling = posterior.network.sizes, posterior.scaling
    worlds = Worlds(
        posterior.network,
        posterior.tables,
        posterior.effects,
        draws,
        SEED,
        centre=scaling.centre,
        spread=scaling.spread,
    )
    cdf = StudentTable(posterior.noise_df, device)
    noise = float(posterior.noise_scale(Candidates.of(*(np.array([k]) for k in (0, 1, 0))))[0])
    nothing = torch.empty(0, device=device)
    best, done = Best(nothing, nothing.long()), 0
    for box in boxes(sizes.n_compounds, sizes.n_cell_lines, (elements or BOX[device]) // draws):
        first, second, line = box.expand(device)
        if done >= count or not len(line):
            continue
        scale = torch.full((len(line),), noise, device=device)
        chance = summarise_draws(worlds.at(first, second, line), scale, THRESHOLD, cdf)[2]
        key = (line * sizes.n_compounds + first) * sizes.n_compounds + second
        best, done = best.merged(Best(chance, key), TOP), done + len(line)
    if device == "cuda":
        torch.cuda.synchronize()
    return best, done


def boxes(compounds: int, lines: int, rows: int) -> Iterator[Box]:
    """All pairs in all cell lines, about ``rows`` at a time."""
    depth = min(lines, 32)
    side = max(1, math.isqrt(rows // depth))
    for line in range(0, lines, depth):
        for first in range(0, compounds, side):
            for second in range(first, compounds, side):
                yield Box(
                    range(first, min(first + side, compounds)),
                    range(second, min(second + side, compounds)),
                    range(line, min(line + depth, lines)),
                )


def matmul_rate(device: str, threads: int) -> float:
    """Operations per second of large float32 matrix products, one for each thread at once."""
    size, repeats = (1024, 12) if device == "cpu" else (8192, 20)
    factors = torch.randn(size, size, device=device)

    def work(_: int) -> None:
        out = torch.empty_like(factors)
        for _ in range(repeats):
            torch.mm(factors, factors, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    at_once = threads if device == "cpu" else 1
    with one_thread(), ThreadPoolExecutor(at_once) as executor:
        list(executor.map(work, range(at_once)))
        started = time.perf_counter()
        list(executor.map(work, range(at_once)))
        return 2 * size**3 * repeats * at_once / (time.perf_counter() - started)


def copy_rate(device: str) -> float:
    """Bytes per second that a large copy reads and writes."""
    source = torch.empty(1 << 28, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    torch.cuda.synchronize()
    return 2 * 4 * len(source) * 10 / (time.perf_counter() - started)


def peak_mb() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
