"""What a campaign may still hope for: hits left in the pool, on the next plate, and advice.

outlook = Outlook(rules, int(usable.sum()), calibration)
scores = summarise_pool(posterior, candidates, usable, request, watch=outlook.watch)
outlook.describe(posterior, candidates, usable, scores, seed, found=31, evidence=evidence)
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.acquisition.hit_calibration import HitCalibration
from models.acquisition.hit_counts import LEVEL, HitCounter, HitForecast
from models.acquisition.pool import PoolScores, StudentTable, Watch
from models.acquisition.rules import RoundRules
from models.acquisition.stopping import StopRules, stop_advice
from models.bayes.predictive import Noise
from models.screen import BoolArray, Candidates, FloatArray, IntArray
from models.synergy.registry import ModelPosterior

MOST_COUNTED = 200_000
"""Candidates of a pool whose hits are counted in every world."""


class Outlook:
    """Counts the hits of a pool while it is valued.

    ``usable``: how many candidates will be met. ``calibration``: mends their hit probabilities.
    """

    def __init__(self, rules: RoundRules, usable: int, calibration: HitCalibration | None) -> None:
        self.rules, self.usable, self.calibration = rules, usable, calibration
        self._parts: dict[int, HitCounter] = {}
        self._cdf: StudentTable | None = None
        self._lock = Lock()

    @property
    def watch(self) -> Watch | None:
        """For :func:`models.acquisition.pool.summarise_pool`; ``None`` for too large a pool."""
        return self._meet if self.usable <= MOST_COUNTED else None

    def describe(
        self,
        posterior: ModelPosterior,
        candidates: Candidates,
        usable: BoolArray,
        scores: PoolScores,
        seed: int,
        found: int,
        evidence: Mapping[str, Any],
    ) -> dict[str, Any]:
        """JSON-able.

        ``found``: hits measured so far. ``usable``: candidates, ``expected_left`` the sum of their
        hit probabilities. ``plate_size``: blocks of the next plate, that of a batch where the
        laboratory has no plates. ``left`` and ``next_plate``: ``expected`` hits with an interval
        (``low``, ``high``, ``level``) in which candidates err together; the plate takes the
        likeliest, whatever the acquisition. ``advice``, ``reason``, ``numbers``: see
        :func:`models.acquisition.stopping.stop_advice`. In a pool of more than ``MOST_COUNTED``
        the hits are not counted: ``left``, ``advice`` and ``numbers`` are ``None``, ``reason``
        says so.
        """
        chance, plate = scores.hit_probability, plate_size(self.rules)
        rows = np.flatnonzero(usable)
        best = rows[np.argsort(-chance[rows], kind="stable")[:plate]]
        following = self._next_plate(posterior, candidates.select(best), seed)
        known = {
            "found": found,
            "usable": len(rows),
            "expected_left": float(chance[rows].sum()),
            "plate_size": plate,
            "next_plate": following.as_dict(),
        }
        if self.watch is None:
            reason = (
                f"The pool has {len(rows):,} candidates; hits are counted, and advice is given, up "
                f"to {MOST_COUNTED:,}."
            )
            return {**known, "left": None, "advice": None, "reason": reason, "numbers": None}
        left = self._left()
        advice = stop_advice(
            left, following, found, StopRules(), evidence=evidence, calibration=self.calibration
        )
        return {
            **known,
            "left": left.as_dict(),
            "advice": advice.advice,
            "reason": advice.reason,
            "numbers": advice.numbers,
        }

    def _meet(self, rows: IntArray, draws: Tensor, noise: Noise) -> None:
        counter, scale = self._counter(), torch.as_tensor(noise.scale, dtype=draws.dtype)
        with self._lock:
            if self._cdf is None:
                self._cdf = StudentTable(noise.df)
        counter.meet_chances(_doubles(self._cdf((draws - self.rules.hit_threshold) / scale)))
        with self._lock:
            self._parts[int(rows[0])] = counter

    def _left(self) -> HitForecast:
        """Blocks are joined in the order of their rows, so that threads change no bit."""
        whole = self._counter()
        for first in sorted(self._parts):
            whole.absorb(self._parts[first])
        return whole.measured()

    def _next_plate(self, posterior: ModelPosterior, at: Candidates, seed: int) -> HitForecast:
        counter = self._counter()
        noise = Noise(_doubles(posterior.noise_scale(at)), posterior.noise_df)
        draws = _doubles(posterior.draws(at, self.rules.draws, seed))
        counter.meet(draws, self.rules.hit_threshold, noise)
        return counter.measured()

    def _counter(self) -> HitCounter:
        return HitCounter(self.rules.draws, LEVEL, self.calibration)


def plate_size(rules: RoundRules) -> int:
    """Blocks of the next plate: of one plate where the laboratory has plates, else of a batch."""
    capacity = None if rules.lab is None else rules.lab.plate_capacity
    return rules.batch_size if capacity is None else capacity


def _doubles(values: Tensor) -> FloatArray:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)
