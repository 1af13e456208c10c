"""The network of the one-hot peers: perceptrons that know which compounds and which cell line.

After the guides to active learning for synergy (Wang et al. 2025, doi:10.1038/s41598-025-85600-3),
written anew. For compounds a and b in cell line l, with one-hot e:

    h_a = relu(W_2 relu(W_1 [e_a, e_l]))        f = w . relu(W_3 (h_a + h_b))

Five networks, squared error, Adam, batches of 32, weight decay 1e-6, early stopping, as there.
Ours where it serves them better: standardised scores, ten times the learning rate, and each
network stops by a fifth of the blocks of its own (theirs look at the test set), so that together
they see every block. Their weight decay matters: under that of ``plain_networks``, the prior of a
maximum a posteriori, three layers that multiply shrink to exactly 0 with a hundred blocks, before
early stopping looks at them for the first time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bayes.training import NonFiniteLossError, one_thread
from models.screen import (
    Candidates,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.inputs import ScoredBlocks, Training
from models.synergy.training import Schedule, require_rows

NAME = "one_hot_networks"
MEMBERS = 5
FIRST, ENCODED, MERGED = 256, 128, 64
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-6
BATCH_ROWS = 32
EPOCHS, LEAST_EPOCHS, PATIENCE = 200, 10, 20
"""Early stopping never answers before ``LEAST_EPOCHS``: with thirty blocks one epoch is a step."""
MIN_ROWS = 10
ROWS_AT_ONCE = 1 << 14
POLL_STEPS = 50


@dataclass(frozen=True)
class OneHotPosterior:
    """``weights``: see :func:`_scores`, members first. Scores are ``centre + spread f``; ``noise``:
    root mean square error on blocks that a member had not seen, in the score's unit."""

    weights: tuple[Tensor, ...]
    n_compounds: int
    n_cell_lines: int
    centre: float
    spread: float
    noise: float
    schedule: Schedule
    epochs: tuple[int, ...]

    model = NAME
    noise_df = math.inf

    @torch.no_grad()
    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32: draw ``i`` is member ``i mod 5``, whatever the seed.

        Raises :class:`ScreenError` for no draws or candidates outside the tables.
        """
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        _require_known(candidates, self.n_compounds, self.n_cell_lines)
        found = torch.empty((MEMBERS, len(candidates)))
        with one_thread():
            for start in range(0, len(candidates), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                rows = np.arange(len(candidates))[part]
                found[:, part] = _scores(self.weights, _Pairs.of(candidates.select(rows)))
        return (self.centre + self.spread * found)[torch.arange(n) % MEMBERS]

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the prediction."""
        return torch.full((len(candidates),), self.noise)

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """The same: the noise is Gaussian."""
        return self.noise_scale(candidates)

    def diagnostics(self) -> dict[str, Any]:
        """JSON-able: the epoch at which each member was best."""
        return {"kind": "ensemble", "members": MEMBERS, "epochs": list(self.epochs)}


class OneHotNetworks:
    """Fits :class:`OneHotPosterior`; stateless. No model of the registry: for peers alone."""

    name = NAME

    def fit(
        self,
        training: Training,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> OneHotPosterior:
        """Fit to measured blocks on the CPU; their order does not matter.

        Raises :class:`ScreenError` for fewer than 10 blocks, ``Stopped``, and
        :class:`models.bayes.training.NonFiniteLossError`.
        """
        blocks = training.sorted().blocks
        require_rows(len(blocks), MIN_ROWS)
        shape = (len(training.features.compounds), len(training.features.cell_lines))
        _require_known(blocks.candidates, *shape)
        with one_thread():
            trainer = _Trainer(blocks, shape, seed)
            return trainer.run(on_progress, should_stop)


@dataclass(frozen=True)
class _Pairs:
    """Rows as indices, ``(rows,)`` each: compounds and cell line."""

    first: Tensor
    second: Tensor
    line: Tensor

    @classmethod
    def of(cls, at: Candidates) -> _Pairs:
        """The rows of ``at``, in its order."""
        columns = (at.compounds[:, 0], at.compounds[:, 1], at.cell_line)
        return cls(*(torch.as_tensor(np.ascontiguousarray(c)) for c in columns))

    def select(self, rows: Tensor) -> _Pairs:
        """Some rows, by number or mask."""
        return _Pairs(self.first[rows], self.second[rows], self.line[rows])


def _scores(weights: Sequence[Tensor], at: _Pairs) -> Tensor:
    """``(members, rows)``. Tables of compounds and cell lines ``(members, count, 256)``, then
    weights ``(members, in, out)`` and biases ``(members, 1, out)`` of the later layers."""
    compounds, lines, w2, b2, w3, b3, w4, b4 = weights
    line = lines[:, at.line]
    one, other = (
        torch.relu(torch.baddbmm(b2, torch.relu(compounds[:, rows] + line), w2))
        for rows in (at.first, at.second)
    )
    return torch.baddbmm(b4, torch.relu(torch.baddbmm(b3, one + other, w3)), w4)[..., 0]


def _started(shape: tuple[int, int], seed: int) -> list[Tensor]:
    """Weights uniform within 1 / sqrt(inputs), as PyTorch starts linear layers."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(rows: int, width: int, inputs: int) -> Tensor:
        uniform = torch.rand((MEMBERS, rows, width), generator=generator)
        return ((2 * uniform - 1) / math.sqrt(inputs)).requires_grad_()

    found = [drawn(count, FIRST, sum(shape)) for count in shape]
    for inputs, width in ((FIRST, ENCODED), (ENCODED, MERGED), (MERGED, 1)):
        found += [drawn(inputs, width, inputs), drawn(1, width, inputs)]
    return found


class _Trainer:
    """All members at once; each learns from its own four fifths."""

    def __init__(self, blocks: ScoredBlocks, shape: tuple[int, int], seed: int) -> None:
        n = len(blocks)
        self.blocks, self.shape = blocks, shape
        self.random = np.random.default_rng([seed, n])
        self.centre, spread = float(blocks.score.mean()), float(blocks.score.std())
        self.spread = spread if spread > 0 else 1.0
        self.at = _Pairs.of(blocks.candidates)
        scaled = (blocks.score - self.centre) / self.spread
        self.score = torch.tensor(scaled, dtype=torch.float32)
        fold = torch.from_numpy(self.random.permutation(n) % MEMBERS)
        self.held_out = fold == torch.arange(MEMBERS)[:, None]
        self.weights = _started(shape, seed)
        self.optimizer = torch.optim.Adam(
            self.weights, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.best = torch.full((MEMBERS,), math.inf)
        self.best_epoch = torch.zeros(MEMBERS, dtype=torch.int64)
        self.best_weights = [w.detach().clone() for w in self.weights]
        self.steps = 0

    def run(self, on_progress: ProgressCallback, should_stop: StopCallback) -> OneHotPosterior:
        """Train until no member has improved for ``PATIENCE`` epochs."""
        for epoch in range(1, EPOCHS + 1):
            on_progress("training", epoch - 1, EPOCHS)
            self._epoch(should_stop)
            if epoch >= LEAST_EPOCHS:
                self._note(epoch)
                if epoch - int(self.best_epoch.max()) >= PATIENCE:
                    break
        return OneHotPosterior(
            weights=tuple(self.best_weights),
            n_compounds=self.shape[0],
            n_cell_lines=self.shape[1],
            centre=self.centre,
            spread=self.spread,
            noise=self.spread * math.sqrt(float(self.best.mean())),
            schedule=Schedule(self.steps, self.steps),
            epochs=tuple(self.best_epoch.tolist()),
        )

    def _epoch(self, should_stop: StopCallback) -> None:
        order: IntArray = self.random.permutation(len(self.blocks))
        for start in range(0, len(order), BATCH_ROWS):
            if self.steps % POLL_STEPS == 0 and should_stop():
                raise Stopped
            self._step(torch.from_numpy(order[start : start + BATCH_ROWS]))

    def _step(self, rows: Tensor) -> None:
        seen = (~self.held_out[:, rows]).float()
        error = (_scores(self.weights, self.at.select(rows)) - self.score[rows]).square()
        loss = ((seen * error).sum(1) / seen.sum(1).clamp(min=1.0)).sum()
        self.steps += 1
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {self.steps} of training")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    @torch.no_grad()
    def _note(self, epoch: int) -> None:
        """Keep the weights of every member that forecasts its own fifth better than before."""
        error = (_scores(self.weights, self.at) - self.score).square()
        away = (error * self.held_out).sum(1) / self.held_out.sum(1)
        better = away < self.best
        self.best = torch.where(better, away, self.best)
        self.best_epoch[better] = epoch
        for kept, now in zip(self.best_weights, self.weights, strict=True):
            kept[better] = now[better]


def _require_known(at: Candidates, n_compounds: int, n_cell_lines: int) -> None:
    if len(at) and not (
        0 <= at.compounds.min() <= at.compounds.max() < n_compounds
        and 0 <= at.cell_line.min() <= at.cell_line.max() < n_cell_lines
    ):
        raise ScreenError("a candidate points outside the tables that the model was fitted on")
