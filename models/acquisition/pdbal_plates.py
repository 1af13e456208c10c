"""A batch of plates one by one, each given those before it, out of thousands.

The exact score of one plate costs n^3 (:class:`models.acquisition.pdbal.PlateScorer`). So in
every step a sample of triples of worlds names a short list and the exact score, all triples,
decides within it. The triples are drawn as they count given what was chosen and one average
plate more, and what an average plate weighs is taken out again (importance sampling).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.acquisition.draws import AcquisitionError
from models.acquisition.pdbal import (
    Plates,
    PlateScorer,
    parts,
    side_by_side,
    squared_distances,
)
from models.bayes.training import one_thread
from models.screen import BoolArray, FloatArray, IntArray, StopCallback, Stopped, never_stop

SHORTLIST = 72
TRIPLES = 384
"""Drawn in every step. By trial the best of 600 plates then was the first of the short list in
most of 24 steps and at worst the 35th."""
TERMS_AT_ONCE = 16
WORLDS_SAMPLED = 200
"""Most worlds of which triples are drawn, of which 200 have 1.3 million."""
AT_ONCE = 256
"""Plates of one matrix product."""

Feasible = Callable[[list[int]], BoolArray]
"""Which plates may follow those chosen, ``(len(plates),)``."""


@dataclass(frozen=True)
class PlateChoice:
    """``plates`` ``(k,)`` in order; ``log_score`` ``(k,)`` exact log s after each."""

    plates: IntArray
    log_score: FloatArray


def choose_plates_by_pdbal(
    scorer: PlateScorer,
    plates: Plates,
    size: int,
    *,
    feasible: Feasible | None = None,
    shortlist: int = SHORTLIST,
    seed: int = 0,
    threads: int = 1,
    should_stop: StopCallback = never_stop,
) -> PlateChoice:
    """At most ``size`` plates: each that of the lowest s given those before. Adds to ``scorer``.

    No plate is chosen twice; ``feasible`` may rule out more, and ends the choice where it leaves
    none. With no more than ``shortlist`` plates left every one is scored exactly. The greedy
    choice has no guarantee: s is not submodular. Plates should be of one size. ``threads``, each
    on one core, change nothing but the time. Raises ``Stopped`` soon after ``should_stop()``.
    """
    if size < 1 or shortlist < 1:
        raise AcquisitionError("the batch and the short list need at least one plate")
    left = np.ones(len(plates), dtype=bool)
    chosen: list[int] = []
    scores: list[float] = []
    with one_thread():
        sample = _Triples(scorer, plates) if len(plates) > shortlist else None
        while len(chosen) < size:
            if should_stop():
                raise Stopped
            rows = np.flatnonzero(left if feasible is None else left & feasible(chosen))
            if not len(rows):
                break
            if sample is not None and len(rows) > shortlist:
                random = np.random.default_rng([seed, len(chosen)])
                guess = sample.guess(random, threads)[rows]
                rows = np.sort(rows[np.argsort(guess, kind="stable")[:shortlist]])
            exact = scorer.score([plates[int(row)] for row in rows], threads=threads)
            best = int(rows[np.argmin(exact)])
            scorer.add(plates[best])
            left[best] = False
            chosen.append(best)
            scores.append(float(exact.min()))
    return PlateChoice(np.array(chosen, dtype=np.int64), np.array(scores))


class _Triples:
    """Every triple of the first worlds, and what each plate says about a sample of them."""

    def __init__(self, scorer: PlateScorer, plates: Plates) -> None:
        rows, _ = scorer.padded(plates)
        n = min(scorer.white.shape[1], WORLDS_SAMPLED)
        self.scorer, self.n = scorer, n
        # Worlds, wells, plates: sums over wells run along plates.
        self.white = torch.empty((n, rows.shape[1], len(rows)), dtype=torch.float32)
        self.average = torch.zeros((n, n), dtype=torch.float64)
        for part in parts(len(rows), AT_ONCE):
            white = scorer.white[rows[part]][..., :n]
            self.white[..., part] = white.permute(2, 1, 0).float()
            self.average += squared_distances(white).sum(0) / len(rows)
        self.square = self.white.square().sum(1)
        self.worlds = torch.combinations(torch.arange(n), 3).T.contiguous()
        self.weight = self._of_pairs(scorer.distance[:n, :n])

    def _of_pairs(self, matrix: Tensor) -> Tensor:
        """Sums of a symmetric ``(n, n)`` over the three pairs of each triple."""
        flat = matrix.reshape(-1)
        a, b, c = self.worlds
        return flat[a * self.n + b].add_(flat[a * self.n + c]).add_(flat[b * self.n + c])

    def guess(self, random: np.random.Generator, threads: int = 1) -> FloatArray:
        """``(plates,)`` log s up to a constant, of a sample of the triples."""
        base, n = self.scorer.base, self.n
        logit = self._of_pairs(base[:n, :n] + self.average).div_(-6.0).add_(self.weight.log())
        mass = logit.sub_(logit.max()).exp_().cumsum(0)
        ticks = (torch.arange(TRIPLES) + random.random()) * (float(mass[-1]) / TRIPLES)
        drawn = torch.searchsorted(mass, ticks).clamp_(max=len(mass) - 1)
        at, times = torch.unique(drawn, return_counts=True)
        terms = torch.empty((len(at), self.white.shape[2]))
        triples = self.worlds[:, at].T.tolist()

        def work(part: slice) -> None:
            """Fill ``terms`` for some triples."""
            for term, triple in zip(terms[part], triples[part], strict=True):
                self._less_than_average(triple, term)

        side_by_side(work, parts(len(at), TERMS_AT_ONCE), threads)
        terms.div_(6.0).add_(times.float().log()[:, None])
        return np.asarray(torch.logsumexp(terms, 0).double().numpy())

    def _less_than_average(self, triple: list[int], out: Tensor) -> None:
        """``(plates,)`` of the average plate less of each: sums of squares over three pairs."""
        a, b, c = triple
        total = (self.white[a] + self.white[b]).add_(self.white[c])
        square = self.square[a] + self.square[b] + self.square[c]
        torch.sub(total.square_().sum(0), square, alpha=3.0, out=out)
        out += float(self.average[a, b] + self.average[a, c] + self.average[b, c])
