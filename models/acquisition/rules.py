"""What a campaign asks of a round, and what it may choose from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.acquisition.batch import BatchRules
from models.acquisition.functions import ACQUISITIONS
from models.pharmacology.score_rules import score_rule
from models.screen import BoolArray, Candidates, Screen, ScreenError
from models.synergy.registry import AUTO, find_model

MIN_DRAWS = 2


@dataclass(frozen=True)
class RoundRules:
    """What the campaign wants from a round. Validated at construction.

    ``score``: a score of :mod:`models.objectives.scores`. ``hit_threshold``: in the score's unit.
    ``batch_size``: candidates per batch. ``max_per_compound``: most candidates of a batch that
    may hold one compound, ``None`` for no cap. ``acquisition``: one of
    :data:`models.acquisition.functions.ACQUISITIONS`. ``kappa``: weight of the epistemic standard
    deviation in ``ucb``. ``draws``: whole functions drawn from the posterior. ``ranked``: most
    rows of the ranked list (never fewer than the batch). ``model``: a name in
    :data:`models.synergy.registry.MODELS`, or "auto" to let evidence choose.
    """

    score: str = "bliss_mean"
    hit_threshold: float = 10.0
    batch_size: int = 96
    max_per_compound: int | None = None
    acquisition: str = "hit_probability"
    kappa: float = 1.0
    draws: int = 128
    ranked: int = 1000
    model: str = "bnn_gaussian"

    def __post_init__(self) -> None:
        score_rule(self.score)
        if self.model != AUTO:
            find_model(self.model)
        if self.acquisition not in ACQUISITIONS:
            known = ", ".join(ACQUISITIONS)
            raise ScreenError(f"unknown acquisition {self.acquisition!r}; known are {known}")
        if not math.isfinite(self.hit_threshold):
            raise ScreenError(f"the hit threshold is {self.hit_threshold}")
        if not (math.isfinite(self.kappa) and self.kappa >= 0):
            raise ScreenError(f"kappa is {self.kappa}, expected a number that is not negative")
        if self.draws < MIN_DRAWS:
            raise ScreenError(f"{self.draws} draws are too few, at least {MIN_DRAWS} are needed")
        if self.ranked < 1:
            raise ScreenError("the ranked list needs at least one row")
        self.batch_rules()

    def batch_rules(self) -> BatchRules:
        """The part that the choice of the batch obeys."""
        return BatchRules(self.batch_size, self.max_per_compound)


@dataclass(frozen=True)
class Pool:
    """Everything that could be measured next.

    ``candidates``: ``m`` distinct blocks. ``pinned`` and ``excluded``: ``(m,)`` bool; pinned ones
    go into the batch first, excluded ones (banned, pending) never; both at once is an error.
    Blocks that the screen already measured are left out by the round
    and need not be marked; a pin on one of them is done with.
    """

    candidates: Candidates
    pinned: BoolArray
    excluded: BoolArray

    def __post_init__(self) -> None:
        if not len(self.candidates) == len(self.pinned) == len(self.excluded):
            raise ScreenError("pinned and excluded need one entry per candidate of the pool")
        both = np.flatnonzero(self.pinned & self.excluded)
        if len(both):
            raise ScreenError(f"candidate {both[0]} of the pool is both pinned and excluded")

    @classmethod
    def of(cls, candidates: Candidates) -> Pool:
        """A pool with nothing pinned and nothing excluded."""
        nothing = np.zeros(len(candidates), dtype=bool)
        return cls(candidates, nothing, nothing)


def check_pool(screen: Screen, pool: Pool) -> None:
    """Raise :class:`ScreenError` for a pool that does not fit the screen."""
    at, n = pool.candidates, len(screen.compounds)
    if not len(at):
        raise ScreenError("the pool is empty: nothing can be measured next")
    if at.compounds.min() < 0 or at.compounds.max() >= n:
        raise ScreenError("a candidate of the pool names a compound that the screen lacks")
    if at.cell_line.min() < 0 or at.cell_line.max() >= len(screen.cell_lines):
        raise ScreenError("a candidate of the pool names a cell line that the screen lacks")
    if len(np.unique(at.keys(n))) != len(at):
        raise ScreenError("the pool lists a candidate twice")


def measured_rows(screen: Screen, pool: Pool) -> BoolArray:
    """``(m,)`` which candidates of the pool the screen already measured, usable or not."""
    pairs = screen.wells.select(screen.wells.n_compounds == 2)
    n = len(screen.compounds)
    measured = Candidates(pairs.compounds[:, :2], pairs.cell_line).keys(n)
    return np.isin(pool.candidates.keys(n), measured)
