"""Hyperparameters of ``gp_pairs``: stochastic maximum of the marginal likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.bayes.training import NonFiniteLossError
from models.screen import IntArray, ProgressCallback, StopCallback, Stopped
from models.synergy.gaussian_process.kernel import Kernel, Rows, Tables
from models.synergy.gaussian_process.solving import cholesky

SUBSET = 640
PAIRS_AT_ONCE = 30
LINES_AT_ONCE = 2
LEARNING_RATE = 0.08
FACTOR_PRIOR_SD = 0.5
WEIGHT_PRIOR_SD = 2.0
"""Standard deviation of the logarithm of a weight around its start."""
JITTER = 1e-4
JUDGED = 3
"""Random subsets whose evidence is reported."""


@dataclass(frozen=True)
class Standardised:
    """Usable blocks: rows, standardised scores and known variances, ``(m,)`` each."""

    rows: Rows
    target: Tensor
    known: Tensor

    def select(self, index: IntArray) -> Standardised:
        """The blocks at ``index``."""
        at = torch.as_tensor(index, device=self.target.device)
        return Standardised(self.rows.select(at), self.target[at], self.known[at])


@dataclass(frozen=True)
class Learned:
    """The kernel and the variance of the noise, ``extra_variance + known_factor * known``.
    ``log_evidence``: of random subsets, nats a block."""

    kernel: Kernel
    extra_variance: float
    known_factor: float
    log_evidence: float

    def noise_variance(self, known: Tensor) -> Tensor:
        """Variances of the blocks' noise, standardised."""
        return self.extra_variance + self.known_factor * known

    def numbers(self) -> dict[str, float]:
        """All but the kernel, JSON-able."""
        names = ("extra_variance", "known_factor", "log_evidence")
        return {name: getattr(self, name) for name in names}


class _Noise(nn.Module):
    """Noise as it is learned: logarithms of an extra variance and of a factor on the known ones."""

    def __init__(self) -> None:
        super().__init__()
        self.log_extra = nn.Parameter(torch.tensor(math.log(0.05)))
        self.log_known = nn.Parameter(torch.tensor(math.log(0.8)))

    def variance(self, known: Tensor) -> Tensor:
        """Variances of noise, standardised, of the shape of ``known``; never quite 0."""
        return torch.exp(self.log_extra) + torch.exp(self.log_known) * known + JITTER


def learn(
    tables: Tables,
    data: Standardised,
    steps: int,
    seed: int,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> Learned:
    """Learn kernel and noise from standardised blocks. Deterministic under ``seed``.

    Raises :class:`NonFiniteLossError` and ``Stopped``.
    """
    kernel = Kernel(tables, torch.Generator().manual_seed(seed)).to(tables.lines.device)
    noise = _Noise().to(tables.lines.device)
    start = {name: value.detach().clone() for name, value in kernel.named_parameters()}
    optimizer = torch.optim.Adam([*kernel.parameters(), *noise.parameters()], LEARNING_RATE)
    subsets = _Subsets(data, np.random.default_rng([seed, len(data.target)]))
    for step in range(steps):
        if should_stop():
            raise Stopped
        on_progress("training", step, steps)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1.0 - 0.9 * step / steps)
        part = data.select(subsets.next(step))
        loss = _negative_log_evidence(kernel, noise, tables, part) / len(part.target)
        loss = loss + _penalty(kernel, start) / len(data.target)
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {step + 1} of training")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    kernel.requires_grad_(False)
    measured = torch.zeros(tables.n_cell_lines, dtype=torch.bool, device=tables.lines.device)
    measured[data.rows.line] = True
    kernel.forget_unmeasured(measured)
    return _judged(kernel, noise, tables, data, subsets)


def _penalty(kernel: Kernel, start: dict[str, Tensor]) -> Tensor:
    """Minus the log prior of the hyperparameters: few blocks cannot move them far."""
    total = torch.zeros((), device=kernel.line_factors.device)
    for name, value in kernel.named_parameters():
        if name == "line_factors":
            total = total + 0.5 * (value / FACTOR_PRIOR_SD).square().sum()
        else:
            total = total + 0.5 * ((value - start[name]) / WEIGHT_PRIOR_SD).square().sum()
    return total


def _factor(kernel: Kernel, noise: _Noise, tables: Tables, part: Standardised) -> Tensor:
    covariance = kernel(part.rows, part.rows, tables)
    return cholesky(covariance + torch.diag(noise.variance(part.known)))


def _negative_log_evidence(
    kernel: Kernel, noise: _Noise, tables: Tables, part: Standardised
) -> Tensor:
    """Rasmussen & Williams (2006), eq. 5.8; a scalar, nats."""
    factor = _factor(kernel, noise, tables, part)
    weight = torch.cholesky_solve(part.target[:, None], factor)[:, 0]
    constant = 0.5 * len(part.target) * math.log(2 * math.pi)
    return 0.5 * part.target @ weight + torch.log(factor.diagonal()).sum() + constant


@torch.no_grad()
def _judged(
    kernel: Kernel, noise: _Noise, tables: Tables, data: Standardised, subsets: _Subsets
) -> Learned:
    parts = [data.select(subsets.random()) for _ in range(JUDGED)]
    losses = [_negative_log_evidence(kernel, noise, tables, p).item() / SUBSET for p in parts]
    return Learned(
        kernel,
        extra_variance=math.exp(noise.log_extra.item()) + JITTER,
        known_factor=math.exp(noise.log_known.item()),
        log_evidence=-float(np.mean(losses)) * SUBSET / len(parts[0].target),
    )


class _Subsets:
    """Which blocks each step sees."""

    def __init__(self, data: Standardised, rng: np.random.Generator) -> None:
        self._rng = rng
        self._n = len(data.target)
        rows = data.rows
        self._pair = (rows.a * 10**6 + rows.b).cpu().numpy()
        self._line = rows.line.cpu().numpy()
        self._pairs, self._lines = np.unique(self._pair), np.unique(self._line)

    def next(self, step: int) -> IntArray:
        """Random blocks, some pairs in all lines, some lines with all pairs: in turn."""
        if self._n <= SUBSET or step % 3 == 0:
            return self.random()
        if step % 3 == 1:
            chosen = self._rng.permutation(self._pairs)[:PAIRS_AT_ONCE]
            return self._some(np.isin(self._pair, chosen))
        chosen = self._rng.permutation(self._lines)[:LINES_AT_ONCE]
        return self._some(np.isin(self._line, chosen))

    def random(self) -> IntArray:
        """Random blocks, all where there are few."""
        return np.sort(self._rng.permutation(self._n)[:SUBSET])

    def _some(self, mask: Any) -> IntArray:
        return np.sort(self._rng.permutation(np.flatnonzero(mask))[:SUBSET])
