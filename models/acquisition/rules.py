"""What a campaign asks of a round, and what it may choose from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from models.acquisition.batch import BatchRules
from models.acquisition.earlier import Earlier
from models.acquisition.functions import ACQUISITIONS, LEAST_DRAWS
from models.acquisition.joint import JOINT
from models.acquisition.lab_rules import LabRules
from models.acquisition.schedule import ScheduleRules
from models.objectives.objective import Efficacy, Objective, Pareto, Score, quantities_of
from models.pharmacology.score_rules import score_rule
from models.screen import BoolArray, Candidates, Screen, ScreenError
from models.synergy.registry import AUTO, find_model

AUTO_ACQUISITION = "auto"
"""Instead of a name: the schedule decides round by round."""


HYPERVOLUME, FRONT_PROBABILITY = "expected_hypervolume", "front_probability"
FRONT_ACQUISITIONS = (HYPERVOLUME, FRONT_PROBABILITY)
"""Of several objectives kept apart, see :mod:`models.acquisition.front_values`."""

OFFERED = (*ACQUISITIONS, *JOINT, *FRONT_ACQUISITIONS, AUTO_ACQUISITION)
"""Every name that rules may give as their acquisition."""


@dataclass(frozen=True)
class RoundRules:
    """What the campaign wants from a round. Validated at construction.

    ``score``: a score of :mod:`models.objectives.scores`, which the model learns.
    ``objective``: what is sought, ``None`` for the score itself; scores in it are this score.
    ``hit_threshold``: in the objective's unit, percentage points; of a front, by how much each
    objective must exceed its reference.
    ``batch_size``: candidates per batch. ``max_per_compound``: most candidates of a batch that
    may hold one compound, ``None`` for no cap. ``acquisition``: one of ``OFFERED``: a
    value of candidates, a value of sets, or "auto": then
    :mod:`models.acquisition.schedule` decides each round, by its evidence and by how many of the
    ``rounds_planned`` (``None``: no planned end) are left. A front is chosen by one of
    ``FRONT_ACQUISITIONS``, "auto" (the first of them) or "random". ``kappa``: weight of the
    epistemic standard deviation in ``ucb``. ``xi``: improvement that ``expected_improvement`` and
    ``probability_of_improvement`` do not count, in the score's unit. ``top_k``: how many are the
    best in ``top_k``, ``None`` for the size of the batch. ``draws``: whole functions drawn from
    the posterior. ``ranked``: most rows of the ranked list (never fewer than the batch).
    ``model``: a name in :data:`models.synergy.registry.MODELS`, or "auto" to let evidence choose.
    ``lab``: what the laboratory can do beside that, ``None`` for a plain list.
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
    xi: float = 0.0
    top_k: int | None = None
    lab: LabRules | None = None
    rounds_planned: int | None = None
    objective: Objective | None = None

    def __post_init__(self) -> None:
        score_rule(self.score)
        self._check_objective()
        if self.model != AUTO:
            find_model(self.model)
        if self.acquisition not in OFFERED:
            known = ", ".join(OFFERED)
            raise ScreenError(f"unknown acquisition {self.acquisition!r}; known are {known}")
        if not math.isfinite(self.hit_threshold):
            raise ScreenError(f"the hit threshold is {self.hit_threshold}")
        if not (math.isfinite(self.kappa) and self.kappa >= 0):
            raise ScreenError(f"kappa is {self.kappa}, expected a number that is not negative")
        if not (math.isfinite(self.xi) and self.xi >= 0):
            raise ScreenError(f"xi is {self.xi}, expected a number that is not negative")
        if self.top_k is not None and self.top_k < 1:
            raise ScreenError(f"top_k is {self.top_k}, expected at least 1")
        least = max(LEAST_DRAWS.get(name, 2) for name in self.acquisitions)
        if self.draws < least:
            raise ScreenError(f"{self.draws} draws are too few, at least {least} are needed")
        if self.rounds_planned is not None and self.rounds_planned < 1:
            raise ScreenError(f"{self.rounds_planned} rounds are planned, expected at least 1")
        if self.ranked < 1:
            raise ScreenError("the ranked list needs at least one row")
        self.batch_rules()

    def _check_objective(self) -> None:
        """One model learns one score; a front needs a reference and values of its own."""
        for quantity in () if self.objective is None else quantities_of(self.objective):
            if isinstance(quantity, Score) and quantity.score != self.score:
                raise ScreenError(
                    f"the objective asks for {quantity.score}, the model learns {self.score}: "
                    "use one score for both"
                )
            if isinstance(quantity, Efficacy) and score_rule(self.score).reference == "loewe":
                raise ScreenError(
                    f"inhibition cannot be told from {self.score}: Loewe leaves out dose pairs. "
                    "Use a score over another reference beside efficacy"
                )
        if isinstance(self.objective, Pareto) and self.objective.reference is None:
            raise ScreenError("a front needs a reference point: what lies beyond it is a hit")
        allowed = (*FRONT_ACQUISITIONS, "random", AUTO_ACQUISITION)
        if self.has_front and self.acquisition in OFFERED and self.acquisition not in allowed:
            raise ScreenError(
                f"{self.acquisition} values one number, and a front has several: choose by "
                f"{', '.join(allowed)}"
            )
        if not self.has_front and self.acquisition in FRONT_ACQUISITIONS:
            raise ScreenError(f"{self.acquisition} needs several objectives kept apart (a front)")

    @property
    def has_front(self) -> bool:
        """Whether several objectives are kept apart."""
        return isinstance(self.objective, Pareto)

    @property
    def seeks_score(self) -> bool:
        """Whether the score itself is what is sought."""
        return self.objective is None or isinstance(self.objective, Score)

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """Names of all that a round may use."""
        if self.acquisition != AUTO_ACQUISITION:
            return (self.acquisition,)
        if self.has_front:
            return (HYPERVOLUME,)
        schedule = ScheduleRules()
        return schedule.finder, schedule.explorer

    @property
    def best_sought(self) -> int:
        """How many candidates are the best in ``top_k``."""
        return self.batch_size if self.top_k is None else self.top_k

    def batch_rules(self) -> BatchRules:
        """The part that the choice of the batch obeys."""
        return BatchRules(self.batch_size, self.max_per_compound)

    def lab_rules(self) -> LabRules | None:
        """``lab`` made whole: the cap per compound where it has none, and ``batch_size`` where
        its plates do not say how many blocks they hold."""
        if self.lab is None:
            return None
        cap = self.lab.max_per_compound or self.max_per_compound
        full = self.lab.plates is not None and self.lab.plate_capacity is not None
        size = self.lab.batch_size or (None if full else self.batch_size)
        return replace(self.lab, batch_size=size, max_per_compound=cap)


@dataclass(frozen=True)
class Pool:
    """Everything that could be measured next.

    ``candidates``: ``m`` distinct blocks. ``pinned`` and ``excluded``: ``(m,)`` bool; pinned ones
    go into the batch first, excluded ones (banned, pending) never; both at once is an error.
    ``pending``: those of the excluded whose results are on their way; sets are valued given them.
    Blocks that the screen already measured are left out by the round
    and need not be marked; a pin on one of them is done with.
    ``earlier``: what the screen holds of other campaigns, ``None`` where all is this one's.
    """

    candidates: Candidates
    pinned: BoolArray
    excluded: BoolArray
    pending: BoolArray | None = None
    earlier: Earlier | None = None

    def __post_init__(self) -> None:
        if self.pending is not None:
            if len(self.pending) != len(self.excluded):
                raise ScreenError("pending needs one entry per candidate of the pool")
            if np.any(self.pending & ~self.excluded):
                raise ScreenError("a candidate that is pending must be excluded as well")
        if not len(self.candidates) == len(self.pinned) == len(self.excluded):
            raise ScreenError("pinned and excluded need one entry per candidate of the pool")
        both = np.flatnonzero(self.pinned & self.excluded)
        if len(both):
            raise ScreenError(f"candidate {both[0]} of the pool is both pinned and excluded")

    @classmethod
    def of(cls, candidates: Candidates) -> Pool:
        """A pool with nothing pinned and nothing excluded."""
        pinned, excluded = (np.zeros(len(candidates), dtype=bool) for _ in range(2))
        return cls(candidates, pinned, excluded)


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
    if pool.earlier is not None:
        pool.earlier.check(n, len(screen.cell_lines), len(at))
        if not pool.earlier.is_inside(at).all():
            raise ScreenError("a candidate of the pool is none of this campaign's")


def measured_rows(screen: Screen, pool: Pool) -> BoolArray:
    """``(m,)`` which candidates of the pool the screen already measured, usable or not, but for
    those that are to be measured again after an earlier campaign."""
    pairs = screen.wells.select(screen.wells.n_compounds == 2)
    n = len(screen.compounds)
    measured = Candidates(pairs.compounds[:, :2], pairs.cell_line).keys(n)
    known = np.isin(pool.candidates.keys(n), measured)
    return known if pool.earlier is None else known & ~pool.earlier.again
