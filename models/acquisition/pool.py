"""A whole pool through the posterior's draws, block by block: memory stays bounded."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.acquisition.draws import AcquisitionError, require_number
from models.acquisition.functions import (
    ACQUISITIONS,
    LEAST_DRAWS,
    AcquisitionContext,
    random_values,
    thompson_values,
)
from models.acquisition.improvement import require_k, top_k_values
from models.acquisition.world_distances import common_hits, distance_of_hits
from models.bayes.predictive import Noise, standard_cdf
from models.bayes.training import one_thread
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
NAMED = ("thompson", "top_k")
"""Acquisitions that follow from the best candidates of each world."""
WHOLE = (*NAMED, "random")
"""Acquisitions that are not found block by block."""
OF_HITS = ("hit_information", "pdbal")
"""Acquisitions that need the hits of the whole pool first: a pass of their own."""
SLOW = ("entropy", "bald", "pdbal")
"""Acquisitions that take longer than the draws: smaller blocks, so that a stop is soon heeded."""
PDBAL_WORLDS = 64
"""Most worlds whose triples ``pdbal`` looks at for single candidates: its cost is their cube."""
POLL_SECONDS = 0.2
TABLE_STEPS = 1 << 13
TABLE_WIDTH = 16.0
"""Found by trial: wider loses accuracy around 0, narrower in the tails of a small ``df``."""
_LAST_ROW = (1 << 32) - 1


@dataclass(frozen=True)
class PoolRequest:
    """How to value a pool.

    ``acquisition``: in :data:`models.acquisition.functions.ACQUISITIONS`; ``threshold``,
    ``kappa``, ``seed``, ``incumbent``, ``xi`` and ``top_k`` as in its context. ``draws``: worlds.
    ``top``: candidates that each world of ``thompson`` may name. ``explorer``: a second
    acquisition, valued in the same pass, or ``None``.
    """

    acquisition: str
    threshold: float
    kappa: float
    draws: int
    seed: int
    top: int
    incumbent: float | None = None
    xi: float = 0.0
    top_k: int = 1
    explorer: str | None = None

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """All that are valued: one, or two."""
        return tuple(dict.fromkeys(a for a in (self.acquisition, self.explorer) if a is not None))

    def named(self, acquisition: str) -> int:
        """Candidates that each world names."""
        return self.top if acquisition == "thompson" else self.top_k


@dataclass(frozen=True)
class PoolScores:
    """One number per candidate of a pool, ``(m,)`` each.

    ``mean``, ``epistemic_sd``, ``observation_sd`` in the objective's unit; ``hit_probability`` that
    a measurement exceeds the threshold; ``acquisition`` in the acquisition's own unit. Without a
    posterior the first four are one prior guess for all.

    ``exploring``: value of the request's explorer, ``None`` without one. A round adds what it
    made of these (:func:`models.acquisition.valuing.value_pool`): ``raw_hit_probability`` as the
    model had stated it, where ``hit_probability`` was mended; and, JSON-able, the ``step`` of the
    schedule (``acquisition``, ``explorer``, ``explore_share``, ``phase``, ``reason``), the
    ``calibration`` of hit probabilities and the ``outlook`` (hits left, next plate, stop advice).
    Of a front, ``None`` else: ``front_probability`` and ``on_mean_front``, see
    :class:`models.acquisition.front_values.FrontValues`.
    """

    mean: FloatArray
    epistemic_sd: FloatArray
    observation_sd: FloatArray
    hit_probability: FloatArray
    acquisition: FloatArray
    seconds: float = 0.0
    exploring: FloatArray | None = None
    raw_hit_probability: FloatArray | None = None
    step: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    outlook: dict[str, Any] | None = None
    front_probability: FloatArray | None = None
    on_mean_front: BoolArray | None = None


Watch = Callable[[IntArray, Tensor, Noise], None]
"""Sees the draws of a pool on their way: usable rows ``(b,)``, draws ``(n, b)``, noise."""


def summarise_pool(
    posterior: ModelPosterior,
    candidates: Candidates,
    usable: BoolArray,
    request: PoolRequest,
    *,
    watch: Watch | None = None,
    threads: int | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolScores:
    """Summarise every candidate; ``usable`` ``(m,)`` are those that may compete for a batch.

    ``watch``: meets every block once, in any order and from any thread. ``threads``: how many
    blocks are worked on at once (each on one core); by default one, for large pools as many as
    there are cores, at most four. The result does not depend on it. ``on_progress`` and
    ``should_stop`` are called from the caller's thread.
    """
    m = len(candidates)
    large = m * request.draws >= SEVERAL_THREADS_FROM
    threads = threads or (_cores() if large else 1)
    # Blocks follow from the pool alone: any number of threads gives the same bits.
    elements = ELEMENTS_PER_THREAD if large and watch is None else ELEMENTS_PER_BLOCK
    if set(SLOW) & set(request.acquisitions):
        elements = ELEMENTS_PER_BLOCK // 4
    size = max(1, elements // request.draws)
    order = nearby(candidates, size)
    blocks = [order[start : start + size] for start in range(0, m, size)]
    summary = _Summary(posterior, candidates, usable, request, watch)
    two = set(OF_HITS) & set(request.acquisitions)
    passes = [summary.count, summary.meet] if two else [summary.meet]

    with one_thread():
        for number, work in enumerate(passes):

            def check(done: int, before: int = number * m) -> None:
                """Say how far this pass is, from the caller's thread; raise ``Stopped`` when
                asked to."""
                if should_stop():
                    raise Stopped
                on_progress("scoring", before + min(done * size, m), len(passes) * m)

            _work(work, blocks, threads, check)
    return summary.finished()


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
        watch: Watch | None = None,
    ) -> None:
        m, names = len(candidates), request.acquisitions
        least = max(LEAST_DRAWS[name] for name in names)
        if request.draws < least:
            raise AcquisitionError(
                f"{request.draws} draw(s) say nothing about uncertainty; need {least}"
            )
        self.posterior, self.candidates = posterior, candidates
        self.usable, self.request, self.watch = usable, request, watch
        self.result = PoolScores(np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m))
        self.values = {name: np.zeros(m) for name in names}
        self.leaders = {
            name: _Leaders(request.draws, require_k(request.named(name)))
            for name in names
            if name in NAMED
        }
        self.cdf = StudentTable(posterior.noise_df)
        self.hits = _Hits(request)

    def count(self, rows: IntArray) -> None:
        """One block of the pool, for what must be known of all hits before the result."""
        kept = self.candidates.select(rows[self.usable[rows]])
        if len(kept):
            self.hits.meet(self.posterior.draws(kept, self.request.draws, self.request.seed))

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
        if self.leaders or self.watch is not None:
            kept = np.flatnonzero(self.usable[rows])
            competing = draws[:, torch.as_tensor(kept)]
            for leaders in self.leaders.values():
                leaders.meet(competing, rows[kept])
            if self.watch is not None and len(kept):
                self.watch(rows[kept], competing, noise.select(kept))
        for name, values in self.values.items():
            if name not in WHOLE:
                values[rows] = self._values(name, draws, noise, mean, sd, chance)

    def _values(
        self,
        acquisition: str,
        draws: Tensor,
        noise: Noise,
        mean: FloatArray,
        sd: FloatArray,
        chance: FloatArray,
    ) -> FloatArray:
        """An acquisition; those that follow from the moments need no second look at the draws."""
        request = self.request
        if acquisition == "greedy":
            return mean
        if acquisition == "hit_probability":
            return chance
        if acquisition == "ucb":
            return np.asarray(mean + require_number("kappa", request.kappa, least=0.0) * sd)
        context = AcquisitionContext(
            threshold=request.threshold,
            noise=noise,
            incumbent=request.incumbent,
            xi=request.xi,
        )
        if acquisition == "hit_information":
            context = replace(context, hits=self.hits.number.astype(np.float64))
        if acquisition == "pdbal":
            draws = draws[:PDBAL_WORLDS]
            context = replace(context, distance=self.hits.distance())
        return ACQUISITIONS[acquisition](draws.numpy(), context)

    def finished(self) -> PoolScores:
        """The result, with what only the whole pool can say."""
        explorer = self.request.explorer
        return replace(
            self.result,
            acquisition=self._whole(self.request.acquisition),
            exploring=None if explorer is None else self._whole(explorer),
        )

    def _whole(self, acquisition: str) -> FloatArray:
        """Values of an acquisition for all candidates."""
        m = len(self.candidates)
        if acquisition == "thompson":
            return thompson_values(self.leaders[acquisition].order(), m)
        if acquisition == "top_k":
            return top_k_values(self.leaders[acquisition].order(), m)
        if acquisition == "random":
            return random_values(m, self.request.seed)
        return self.values[acquisition]


class _Hits:
    """Hits of each world among the usable candidates: whole numbers, so that their order does
    not matter."""

    def __init__(self, request: PoolRequest) -> None:
        self.threshold = require_number("the hit threshold", request.threshold)
        worlds = min(request.draws, PDBAL_WORLDS)
        self.number = np.zeros(request.draws, dtype=np.int64)
        self._common = np.zeros((worlds, worlds), dtype=np.int64)
        self._candidates = 0
        self._lock = Lock()

    def meet(self, draws: Tensor) -> None:
        """Count in ``draws`` ``(n, k)``."""
        _require_finite(draws)
        hits = (draws > self.threshold).numpy()
        common = common_hits(hits[:PDBAL_WORLDS])
        with self._lock:
            self.number += hits.sum(axis=1)
            self._common += common
            self._candidates += hits.shape[1]

    def distance(self) -> FloatArray:
        """Share of candidates that are a hit in one of two worlds only, of the first worlds."""
        return distance_of_hits(self._common, self._candidates)


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
