"""What a campaign found, and what chance would have found: the arithmetic of the summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import hypergeom

from service.demo.labs import Block

TOP_SHARE = 0.01
"""The best blocks of the library, as a share of all."""


@dataclass(frozen=True)
class Truth:
    """Every block with its score; what the campaign should find."""

    scores: Mapping[Block, float]
    hits: frozenset[Block]
    top: frozenset[Block]


@dataclass(frozen=True)
class Chance:
    """What the same number of blocks, drawn at random, would have found.

    ``expected`` and the 90 % interval ``low`` to ``high`` of a hypergeometric count.
    """

    expected: float
    low: int
    high: int


@dataclass(frozen=True)
class Found:
    """How many of ``n_left`` sought blocks some measured blocks held, beside chance."""

    n_found: int
    n_left: int
    chance: Chance

    @property
    def share(self) -> float:
        """Found of what there was to find; 0 where there was nothing."""
        return self.n_found / self.n_left if self.n_left else 0.0

    @property
    def times_chance(self) -> float | None:
        """Found per expected at random; ``None`` where chance expects nothing."""
        return self.n_found / self.chance.expected if self.chance.expected else None


@dataclass(frozen=True)
class RoundTally:
    """One round, or all of them: how much was measured and what it held."""

    n_blocks: int
    hits: Found
    top: Found


@dataclass(frozen=True)
class Tally:
    """The campaign: its rounds, each against what was left before it, and all together."""

    n_initial: int
    initial_hits: int
    initial_top: int
    n_pool: int
    """Blocks that could be measured when the first round began."""
    rounds: tuple[RoundTally, ...]
    total: RoundTally


def know(scores: Mapping[Block, float], hit_threshold: float) -> Truth:
    """The hits, and the best :data:`TOP_SHARE` (at least one; equal scores by name)."""
    order = sorted(scores, key=lambda block: (-scores[block], block))
    n_top = max(1, math.ceil(TOP_SHARE * len(order)))
    hits = frozenset(block for block in order if scores[block] > hit_threshold)
    return Truth(scores, hits, frozenset(order[:n_top]))


def by_chance(pool: int, sought: int, drawn: int) -> Chance:
    """Drawing ``drawn`` of ``pool`` blocks without looking, ``sought`` of which count."""
    if pool == 0:
        return Chance(0.0, 0, 0)
    low, high = (int(hypergeom.ppf(share, pool, sought, drawn)) for share in (0.05, 0.95))
    return Chance(drawn * sought / pool, low, high)


def tally(truth: Truth, initial: Sequence[Block], rounds: Sequence[Sequence[Block]]) -> Tally:
    """Count what the rounds found; the ``initial`` blocks were random and count for nobody."""
    known = set(initial)
    counted = []
    for blocks in rounds:
        counted.append(_count(truth, known, blocks))
        known |= set(blocks)
    everything = [block for blocks in rounds for block in blocks]
    return Tally(
        n_initial=len(initial),
        initial_hits=len(truth.hits & set(initial)),
        initial_top=len(truth.top & set(initial)),
        n_pool=len(truth.scores) - len(set(initial)),
        rounds=tuple(counted),
        total=_count(truth, set(initial), everything),
    )


def _count(truth: Truth, known: set[Block], blocks: Sequence[Block]) -> RoundTally:
    pool, drawn = len(truth.scores) - len(known), set(blocks)
    found = []
    for sought in (truth.hits, truth.top):
        left = sought - known
        found.append(Found(len(left & drawn), len(left), by_chance(pool, len(left), len(drawn))))
    return RoundTally(len(drawn), *found)
