"""Noise of one well: it grows with the signal, and a few wells have simply failed.

    y ~ (1 - share) N(f, s^2 (additive^2 + (proportional f)^2))  +  share t_2(f, FAILED_SD)

with ``s`` the noise of the well's plate over that of a usual one, known beforehand.
The level ``f`` inside the standard deviation is a running average of the fit that stops moving
when the burn-in ends: a fit that could buy a smaller residual by claiming a noisier level would
not be a better fit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray

FAILED_SD = 0.5
"""Scale of a failed well around what it should have shown: anything goes."""

FAILED_DF = 2.0

SHARE_PRIOR = (0.5, 49.5)
"""Beta prior of the share of failed wells: one in a hundred."""

_BINS = 40
_STEPS = 10
_LOG_SD_PRIOR = (np.log(0.04), 1.0)
_START_SD = 0.05
_WALK = 0.12


class WellErrors:
    """State of the noise. ``sd``: ``(2,)`` additive and proportional; ``share``: of failed wells;
    ``level``: ``(n,)`` running average of the fit. ``scale``: ``(n,)`` of the wells' plates."""

    def __init__(
        self,
        n: int,
        rng: np.random.Generator,
        device: torch.device,
        scale: FloatArray | None = None,
    ) -> None:
        self.rng, self.device = rng, device
        self.scale = np.ones(n) if scale is None else scale
        self._squared_scale = torch.as_tensor(self.scale**2, dtype=torch.float64, device=device)
        self.sd = np.array([_START_SD, 0.2 * _START_SD])
        self.share = 0.0
        self.level = torch.full((n,), 0.5, dtype=torch.float64, device=device)
        self.failed = torch.zeros(n, dtype=torch.bool, device=device)
        self.failed_variance = torch.full_like(self.level, FAILED_SD**2)

    def follow(self, level: Tensor, pace: float) -> None:
        """Move the running average by a share ``pace`` of the way."""
        self.level = self.level + pace * (level.clamp(0.0, 2.0) - self.level)

    def variance(self) -> Tensor:
        """``(n,)`` of sound wells."""
        usual = float(self.sd[0]) ** 2 + float(self.sd[1]) ** 2 * self.level.square()
        return usual * self._squared_scale

    def weight(self) -> Tensor:
        """``(n,)`` one over the variance of each well, failed or sound."""
        return 1.0 / torch.where(self.failed, self.failed_variance, self.variance())

    def draw(self, residual: Tensor, *, failing: bool, scales: bool = True) -> None:
        """New indicators and share of failed wells if ``failing`` (else they stay as they are), and
        standard deviations if ``scales``."""
        squares = residual.square()
        if failing:
            self._draw_failed(squares)
        if not scales:
            return
        sound = (~self.failed).cpu().numpy()
        usual = squares.cpu().numpy() / self.scale**2
        self._draw_sd(usual[sound], self.level.cpu().numpy()[sound])

    def _draw_failed(self, squares: Tensor) -> None:
        share = max(self.share, SHARE_PRIOR[0] / sum(SHARE_PRIOR) * 0.1)
        sound, half = self.variance(), 0.5 * (FAILED_DF + 1.0)
        # Of t_2 at its centre over the normal's, both without 1 / sqrt(2 pi).
        centre = np.sqrt(2.0) * math.gamma(half) / math.gamma(0.5 * FAILED_DF)
        centre = centre / (np.sqrt(FAILED_DF) * FAILED_SD)
        log_odds = np.log(share / (1.0 - share) * centre) + 0.5 * torch.log(sound)
        log_odds = log_odds + 0.5 * squares / sound
        log_odds = log_odds - half * torch.log1p(squares / (FAILED_DF * FAILED_SD**2))
        uniform = torch.as_tensor(self.rng.random(len(squares)), device=self.device)
        self.failed = torch.sigmoid(log_odds) > uniform
        gamma = torch.as_tensor(self.rng.standard_gamma(half, len(squares)), device=self.device)
        self.failed_variance = 0.5 * (FAILED_DF * FAILED_SD**2 + squares) / gamma.clamp(min=1e-9)
        count = float(self.failed.sum())
        self.share = float(
            self.rng.beta(SHARE_PRIOR[0] + count, SHARE_PRIOR[1] + len(squares) - count)
        )

    def _draw_sd(self, squares: FloatArray, level: FloatArray) -> None:
        """Random-walk Metropolis on both log standard deviations, with wells binned by level."""
        order = np.argsort(level, kind="stable")
        bins = [rows for rows in np.array_split(order, _BINS) if len(rows)]
        count = np.array([len(rows) for rows in bins], dtype=np.float64)
        total = np.array([squares[rows].sum() for rows in bins])
        height = np.array([np.mean(level[rows] ** 2) for rows in bins])

        def density(log_sd: FloatArray) -> float:
            variance = np.exp(2 * log_sd[0]) + np.exp(2 * log_sd[1]) * height
            fit = (count * np.log(variance) + total / variance).sum()
            away = (log_sd - _LOG_SD_PRIOR[0]) / _LOG_SD_PRIOR[1]
            return float(-0.5 * fit - 0.5 * (away**2).sum())

        here = np.log(self.sd)
        known = density(here)
        for step in range(_STEPS):
            width = _WALK * (0.2 if step % 2 else 1.0)
            there = here + width * self.rng.standard_normal(2)
            proposed = density(there)
            if np.log(self.rng.random()) < proposed - known:
                here, known = there, proposed
        self.sd = np.exp(here)
