"""A whole pool through the posterior's draws, block by block: memory stays bounded."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from models.acquisition.functions import (
    ACQUISITIONS,
    AcquisitionContext,
    AcquisitionError,
    random_values,
    require_draws,
    thompson_values,
)
from models.bayes.predictive import Noise, standard_cdf
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.registry import ModelPosterior
from models.synergy.training import one_thread
from models.synergy.worlds import nearby

ELEMENTS_PER_BLOCK = 1 << 20
"""Candidates times draws between two looks at ``should_stop``."""
ELEMENTS_PER_THREAD = 1 << 22
"""The same in a large pool, where the caller's thread looks for it meanwhile."""
ELEMENTS_PER_TILE = 1 << 16
"""Draws reduced at once: they stay in a core's cache."""
SEVERAL_THREADS_FROM = 1 << 24
"""Candidates times draws from which a pool is worth more than one thread."""
MOST_THREADS = 4
POLL_SECONDS = 0.2
TABLE_STEPS = 1 << 13
TABLE_WIDTH = 16.0
"""Found by trial: wider loses accuracy around 0, narrower in the tails of a small ``df``."""
_LAST_ROW = (1 << 32) - 1


@dataclass(frozen=True)
class PoolRequest:
    """How to value a pool. ``top``: candidates that each world of ``thompson`` may name."""

    acquisition: str
    threshold: float
    kappa: float
    draws: int
    seed: int
    top: int


@dataclass(frozen=True)
class PoolScores:
    """One number per candidate of a pool, ``(m,)`` each.

    ``mean``, ``epistemic_sd``, ``observation_sd`` in the score's unit; ``hit_probability`` that a
    measurement exceeds the threshold; ``acquisition`` in the acquisition's own unit. Without a
    posterior the first four are one prior guess for all.
    """

    mean: FloatArray
    epistemic_sd: FloatArray
    observation_sd: FloatArray
    hit_probability: FloatArray
    acquisition: FloatArray
    seconds: float = 0.0


def summarise_pool(
    posterior: ModelPosterior,
    candidates: Candidates,
    usable: BoolArray,
    request: PoolRequest,
    *,
    threads: int | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolScores:
    """Summarise every candidate; ``usable`` ``(m,)`` are those that may compete for a batch.

    ``threads``: how many blocks are worked on at once (each on one core); by default one, for
    large pools as many as there are cores, at most four. The result does not depend on it.
    ``on_progress`` and ``should_stop`` are called from the caller's thread.
    """
    m = len(candidates)
    large = m * request.draws >= SEVERAL_THREADS_FROM
    threads = threads or (_cores() if large else 1)
    # Blocks follow from the pool alone: any number of threads gives the same bits.
    size = max(1, (ELEMENTS_PER_THREAD if large else ELEMENTS_PER_BLOCK) // request.draws)
    order = nearby(candidates, size)
    blocks = [order[start : start + size] for start in range(0, m, size)]
    summary = _Summary(posterior, candidates, usable, request)

    def check(done: int) -> None:
        if should_stop():
            raise Stopped
        on_progress("scoring", min(done * size, m), m)

    with one_thread():
        _work(summary.meet, blocks, threads, check)
    result = summary.result
    if request.acquisition == "thompson":
        return replace(result, acquisition=thompson_values(summary.leaders.order(), m))
    if request.acquisition == "random":
        return replace(result, acquisition=random_values(m, request.seed))
    return result


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MOST_THREADS)


def _work(
    work: Callable[[IntArray], None],
    blocks: list[IntArray],
    threads: int,
    check: Callable[[int], None],
) -> None:
    """Every block, several at a time after the first, which fills the posterior's caches."""
    alone = 1 if threads > 1 else len(blocks)
    for done, block in enumerate(blocks[:alone]):
        check(done)
        work(block)
    if len(blocks) <= alone:
        return
    executor = ThreadPoolExecutor(threads)
    try:
        futures = [executor.submit(work, block) for block in blocks[alone:]]
        for done, future in enumerate(futures, start=alone):
            check(done)
            while not future.done():
                wait([future], POLL_SECONDS)
                check(done)
            future.result()
    finally:
        executor.shutdown(cancel_futures=True)


class _Summary:
    """The summaries of a pool, filled block by block."""

    def __init__(
        self,
        posterior: ModelPosterior,
        candidates: Candidates,
        usable: BoolArray,
        request: PoolRequest,
    ) -> None:
        m = len(candidates)
        self.posterior, self.candidates = posterior, candidates
        self.usable, self.request = usable, request
        self.result = PoolScores(np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m))
        self.leaders = _Leaders(request.draws, request.top)
        self.cdf = StudentTable(posterior.noise_df)

    def meet(self, rows: IntArray) -> None:
        """One block of the pool into the result."""
        block, request, result = self.candidates.select(rows), self.request, self.result
        draws = self.posterior.draws(block, request.draws, request.seed)
        scale = self.posterior.noise_scale(block)
        noise = Noise(scale.numpy().astype(np.float64), self.posterior.noise_df)
        moments = summarise_draws(draws, scale, request.threshold, self.cdf)
        mean, sd, chance = moments.numpy().astype(np.float64)
        result.mean[rows], result.epistemic_sd[rows] = mean, sd
        result.observation_sd[rows], result.hit_probability[rows] = noise.sd(), chance
        if request.acquisition == "thompson":
            kept = np.flatnonzero(self.usable[rows])
            self.leaders.meet(draws[:, torch.as_tensor(kept)], rows[kept])
        elif request.acquisition != "random":
            result.acquisition[rows] = self._values(draws, noise, mean, sd, chance)

    def _values(
        self, draws: Tensor, noise: Noise, mean: FloatArray, sd: FloatArray, chance: FloatArray
    ) -> FloatArray:
        """The acquisition; those that follow from the moments need no second look at the draws."""
        request = self.request
        if request.acquisition == "greedy":
            return mean
        if request.acquisition == "hit_probability":
            return chance
        if request.acquisition == "ucb" and np.isfinite(request.kappa) and request.kappa >= 0:
            return np.asarray(mean + request.kappa * sd)
        context = AcquisitionContext(request.threshold, request.kappa, noise, request.seed)
        return ACQUISITIONS[request.acquisition](require_draws(draws.numpy()), context)


def summarise_draws(draws: Tensor, scale: Tensor, threshold: float, cdf: StudentTable) -> Tensor:
    """``(3, m)``: mean, standard deviation (divisor n - 1) and P(measurement > threshold).

    ``draws`` ``(n, m)``, noise of ``scale`` ``(m,)`` and the law ``cdf``, all on one device.
    Refuses draws that no acquisition may see, as
    :func:`models.acquisition.functions.require_draws` does.
    """
    n, m = draws.shape
    if n < 2:
        raise AcquisitionError(f"{n} draw(s) say nothing about uncertainty; need 2")
    if not bool((scale > 0).all()):
        raise AcquisitionError("the noise of a measurement must be positive")
    result = torch.empty((3, m), dtype=draws.dtype, device=draws.device)
    width = max(1, ELEMENTS_PER_TILE // n) if draws.device.type == "cpu" else m
    for start in range(0, m, width):
        columns = slice(start, start + width)
        tile, (mean, sd, chance) = draws[:, columns], result[:, columns]
        torch.mean(tile, 0, out=mean)
        _require_finite(mean)
        away = tile - mean
        torch.sum(away * away, 0, out=sd)
        torch.add(away, mean - threshold, out=away).div_(scale[columns])
        torch.mean(cdf(away), 0, out=chance)
    _require_finite(result[1])
    result[1].div_(n - 1).sqrt_()
    return result


def _require_finite(moment: Tensor) -> None:
    if not bool(moment.isfinite().all()):
        raise AcquisitionError("draws hold NaN or infinity; no candidate can be ranked by them")


class StudentTable:
    """The distribution function of Student's t for millions of arguments, by linear interpolation.

    z is squeezed into w = z / sqrt(c + z^2), between -1 and 1, and w into ``TABLE_STEPS`` equal
    steps. The error is below 1e-6 for any ``df`` above 2, infinity included.
    """

    def __init__(self, df: float, device: str = "cpu") -> None:
        w = np.linspace(-1.0, 1.0, TABLE_STEPS + 1)[1:-1]
        inner = standard_cdf(w * math.sqrt(TABLE_WIDTH) / np.sqrt(1 - w * w), df)
        value = np.concatenate([[0.0], inner, [1.0, 1.0]])
        self.value = torch.tensor(value[:-1], dtype=torch.float32, device=device)
        self.step = torch.tensor(np.diff(value), dtype=torch.float32, device=device)

    def __call__(self, z: Tensor) -> Tensor:
        """Of any shape, in the memory of ``z``, whose values must be finite."""
        squeezed = z.square().add_(TABLE_WIDTH).rsqrt_().mul_(z)
        at = squeezed.add_(1.0).mul_(TABLE_STEPS / 2)
        low = at.int()
        at -= low.to(at.dtype)
        cell = low.reshape(-1)
        at *= self.step.index_select(0, cell).view(z.shape)
        at += self.value.index_select(0, cell).view(z.shape)
        return at


class _Leaders:
    """The best candidates of each world so far; of equal scores the earlier candidate."""

    def __init__(self, n: int, top: int) -> None:
        self.top = top
        self._keys = torch.empty((n, 0), dtype=torch.int64)
        self._lock = Lock()

    def meet(self, draws: Tensor, rows: IntArray) -> None:
        """Let the candidates ``rows`` ``(k,)`` compete; ``draws`` ``(n, k)`` float32."""
        # Zero added makes of -0 a 0. Bits of floats ascend like integers, negative ones descend.
        bits = (draws.float() + 0.0).view(torch.int32).long()
        rank = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        keys = (rank << 32) | (_LAST_ROW - torch.as_tensor(rows))
        best = torch.topk(keys, min(self.top, keys.shape[1])).values
        with self._lock:
            joined = torch.cat([self._keys, best], dim=1)
            self._keys = torch.topk(joined, min(self.top, joined.shape[1])).values

    def order(self) -> IntArray:
        """``(n, <= top)`` candidates, best first."""
        return np.asarray((_LAST_ROW - (self._keys & _LAST_ROW)).numpy(), dtype=np.int64)
