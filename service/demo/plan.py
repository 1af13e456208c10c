"""What is played, and where: the options of the demo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.demo.labs import Block, DemoError

_INITIAL_SHARE = 0.01


@dataclass(frozen=True)
class Plan:
    """How much is played, and the seed of everything that is random."""

    rounds: int = 3
    batch: int = 96
    seed: int = 4

    @property
    def max_per_compound(self) -> int:
        """Most blocks of a batch with one compound: a third, so that no batch is a single bet."""
        return max(2, self.batch // 3)

    def n_initial(self, n_blocks: int) -> int:
        """Random blocks to begin with: two batches, or one block in a hundred if that is more.

        With fewer a model has seldom seen a hit to learn from. Never above a quarter of all.
        """
        wanted = max(2 * self.batch, math.ceil(_INITIAL_SHARE * n_blocks))
        return min(wanted, n_blocks // 4)

    def choose_initial(self, blocks: Sequence[Block]) -> list[Block]:
        """That many of ``blocks``, drawn by the seed."""
        n = self.n_initial(len(blocks))
        rows = np.random.default_rng(self.seed).choice(len(blocks), n, replace=False)
        return [blocks[row] for row in rows]

    def check(self, n_blocks: int) -> None:
        """Raise :class:`DemoError` where the lab has too few blocks for the plan."""
        needed = self.n_initial(n_blocks) + self.rounds * self.batch
        if needed > n_blocks:
            raise DemoError(
                f"{self.rounds} rounds of {self.batch} blocks and the "
                f"{self.n_initial(n_blocks)} to begin with are {needed:,} blocks; "
                f"this lab has {n_blocks:,}. Ask for fewer with --rounds or --batch."
            )


@dataclass(frozen=True)
class DemoOptions:
    """What was asked for on the command line.

    ``data``: a screen to play back; ``None`` for the simulated lab. ``data_dir``: the service's
    folder; ``None`` for a temporary one. ``keep``: leave that folder; ``None`` leaves it exactly
    when it was given.
    """

    data: Path | None = None
    plan: Plan = field(default_factory=Plan)
    port: int = 0
    data_dir: Path | None = None
    keep: bool | None = None

    @property
    def keeps(self) -> bool:
        """Whether the folder is there afterwards."""
        return self.data_dir is not None if self.keep is None else self.keep
