"""What a campaign maximises, as data: validated, JSON-able, free of any model.

    wish = Selectivity(kill=(("A375", 1.0), ("SKMEL30", 1.0)), spare=(("HEKN", 2.0),))
    wish == objective_from_dict(json.loads(json.dumps(dataclasses.asdict(wish))))

Every objective but :class:`Pareto` is one number per candidate, to be maximised, and linear in
quantities of single blocks (:data:`Quantity`). A candidate is a *block* (a pair in one cell line)
or, where cell lines are compared, a *pair* in all of them. All units are percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np

from models.pharmacology.references import SUMMARIES
from models.pharmacology.score_rules import score_rule
from models.screen import FloatArray, ScreenError

BLOCK, PAIR = "block", "pair"
MOST_OBJECTIVES = 4


@dataclass(frozen=True)
class Score:
    """The campaign's score of a block, a key of :data:`models.pharmacology.score_rules.SCORES`."""

    score: str = "bliss_mean"
    kind: str = field(default="score", init=False)

    def __post_init__(self) -> None:
        score_rule(self.score)


@dataclass(frozen=True)
class Efficacy:
    """Inhibition of a block, ``100 * (1 - viability)``: its ``mean`` over the dose matrix or its
    ``max``."""

    summary: str = "mean"
    kind: str = field(default="efficacy", init=False)

    def __post_init__(self) -> None:
        if self.summary not in SUMMARIES:
            raise ScreenError(
                f"unknown summary {self.summary!r} of inhibition; known are {', '.join(SUMMARIES)}"
            )


Quantity: TypeAlias = Score | Efficacy
"""What a model says of one block."""

LineWeights: TypeAlias = tuple[tuple[str, float], ...]
"""Identifiers of cell lines with positive weights; only their ratios matter."""


@dataclass(frozen=True)
class Selectivity:
    """Weighted mean of ``of`` over the lines to ``kill``, minus that over those to ``spare``.

    The candidate is a pair in all these lines. Without spared lines it is the mean over the
    others.
    """

    kill: LineWeights
    spare: LineWeights = ()
    of: Quantity = field(default_factory=Efficacy)
    kind: str = field(default="selectivity", init=False)

    def __post_init__(self) -> None:
        if not self.kill:
            raise ScreenError("selectivity needs at least one cell line to kill")
        names = [name for name, _ in (*self.kill, *self.spare)]
        for name, weight in (*self.kill, *self.spare):
            if not (math.isfinite(weight) and weight > 0):
                raise ScreenError(f"the weight of cell line {name} is {weight}, must be positive")
            if names.count(name) > 1:
                raise ScreenError(f"cell line {name} is named twice among those to kill and spare")
        if not isinstance(self.of, Score | Efficacy):
            raise ScreenError("selectivity compares a score or an efficacy between cell lines")


@dataclass(frozen=True)
class WeightedSum:
    """``sum_k weight_k * objective_k``; a negative weight asks for little of that objective."""

    terms: tuple[tuple[float, Score | Efficacy | Selectivity], ...]
    kind: str = field(default="weighted_sum", init=False)

    def __post_init__(self) -> None:
        if not self.terms:
            raise ScreenError("a weighted sum needs at least one objective")
        for weight, term in self.terms:
            if not isinstance(term, Score | Efficacy | Selectivity):
                raise ScreenError("a weighted sum holds scores, efficacies and selectivities")
            if not (math.isfinite(weight) and weight != 0):
                raise ScreenError(f"the weight of {describe(term)} is {weight}, must not be 0")
        _require_one_unit(tuple(term for _, term in self.terms))


Scalar: TypeAlias = Score | Efficacy | Selectivity | WeightedSum
"""One number per candidate."""
_SCALARS = (Score, Efficacy, Selectivity, WeightedSum)


@dataclass(frozen=True)
class Pareto:
    """Two to four objectives kept apart; ``reference``: values worse than which nothing counts."""

    objectives: tuple[Scalar, ...]
    reference: tuple[float, ...] | None = None
    kind: str = field(default="pareto", init=False)

    def __post_init__(self) -> None:
        count = len(self.objectives)
        if not 2 <= count <= MOST_OBJECTIVES:
            raise ScreenError(f"{count} objectives; a front needs 2 to {MOST_OBJECTIVES}")
        if not all(isinstance(part, _SCALARS) for part in self.objectives):
            raise ScreenError("a front cannot hold another front")
        if len(set(self.objectives)) < count:
            raise ScreenError("an objective of the front is listed twice")
        _require_one_unit(self.objectives)
        if self.reference is not None and (
            len(self.reference) != count or not all(map(math.isfinite, self.reference))
        ):
            raise ScreenError(f"the reference point needs {count} finite values")


Objective: TypeAlias = Scalar | Pareto


def candidate_unit(objective: Objective) -> str:
    """``BLOCK`` or ``PAIR``: what one candidate of this objective is."""
    if isinstance(objective, Selectivity):
        return PAIR
    if isinstance(objective, WeightedSum):
        return candidate_unit(objective.terms[0][1])
    if isinstance(objective, Pareto):
        return candidate_unit(objective.objectives[0])
    return BLOCK


def lines_of(objective: Objective) -> tuple[str, ...]:
    """Identifiers of the cell lines that the objective names, each once, in order."""
    if isinstance(objective, Selectivity):
        found = [name for name, _ in (*objective.kill, *objective.spare)]
    elif isinstance(objective, WeightedSum):
        found = [name for _, term in objective.terms for name in lines_of(term)]
    elif isinstance(objective, Pareto):
        found = [name for part in objective.objectives for name in lines_of(part)]
    else:
        found = []
    return tuple(dict.fromkeys(found))


def line_weights(objective: Scalar, lines: tuple[str, ...]) -> dict[Quantity, FloatArray]:
    """The objective as a sum: weight of each quantity in each cell line.

    ``(len(lines),)`` per quantity for pairs, ``(1,)`` for blocks. The objective of a candidate is
    ``sum_q sum_l weight_ql * q(block of the candidate in line l)``.
    """
    if isinstance(objective, Selectivity):
        weights = np.zeros(len(lines))
        for sign, named in ((1.0, objective.kill), (-1.0, objective.spare)):
            total = sum(weight for _, weight in named)
            for name, weight in named:
                weights[lines.index(name)] += sign * weight / total
        return {objective.of: weights}
    if isinstance(objective, WeightedSum):
        result: dict[Quantity, FloatArray] = {}
        for factor, term in objective.terms:
            for quantity, weights in line_weights(term, lines).items():
                result[quantity] = result.get(quantity, 0.0) + factor * weights
        return result
    return {objective: np.ones(1)}


def quantities_of(objective: Objective) -> tuple[Quantity, ...]:
    """What of single blocks the objective is made of, each once, in order."""
    if isinstance(objective, Score | Efficacy):
        found: list[Quantity] = [objective]
    elif isinstance(objective, Selectivity):
        found = [objective.of]
    else:
        found = [q for part in _inner(objective) for q in quantities_of(part)]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Part:
    """One of the numbers that an objective is made of, to show beside it.

    ``weight``: the objective is the sum of its parts times their weights; ``None`` for the
    objectives of a front, which are kept apart. ``line``: the cell line of a part that is a
    quantity in this one line, else ``None``.
    """

    objective: Scalar
    weight: float | None
    line: str | None = None


def parts_of(objective: Objective) -> tuple[Part, ...]:
    """The parts in the objective's own order; none for a score or an efficacy."""
    if isinstance(objective, Selectivity):
        return tuple(
            Part(
                Selectivity(kill=((name, 1.0),), of=objective.of),
                sign * weight / sum(other for _, other in named),
                name,
            )
            for sign, named in ((1.0, objective.kill), (-1.0, objective.spare))
            for name, weight in named
        )
    if isinstance(objective, WeightedSum):
        return tuple(Part(term, weight) for weight, term in objective.terms)
    if isinstance(objective, Pareto):
        return tuple(Part(part, None) for part in objective.objectives)
    return ()


def _inner(objective: WeightedSum | Pareto) -> tuple[Scalar, ...]:
    if isinstance(objective, Pareto):
        return objective.objectives
    return tuple(term for _, term in objective.terms)


def describe(objective: Objective) -> str:
    """The objective in words."""
    if isinstance(objective, Score):
        return score_rule(objective.score).meaning
    if isinstance(objective, Efficacy):
        return f"{'mean' if objective.summary == 'mean' else 'largest'} inhibition of the block"
    if isinstance(objective, Selectivity):
        kill, spare = (", ".join(name for name, _ in n) for n in (objective.kill, objective.spare))
        return f"{describe(objective.of)} in {kill}" + (f" minus that in {spare}" if spare else "")
    if isinstance(objective, WeightedSum):
        return " + ".join(f"{weight:g} x ({describe(term)})" for weight, term in objective.terms)
    return "the front of: " + "; ".join(describe(part) for part in objective.objectives)


def objective_from_dict(data: Mapping[str, Any]) -> Objective:
    """Inverse of :func:`dataclasses.asdict`, lists for tuples allowed.

    Raises :class:`ScreenError` for an unknown kind, an unknown or missing entry, and whatever the
    objective itself refuses.
    """
    if not isinstance(data, Mapping) or data.get("kind") not in _BUILD:
        raise ScreenError(f"an objective needs a kind, one of {', '.join(_BUILD)}")
    cls, build = _BUILD[data["kind"]]
    unknown = set(data) - {f.name for f in fields(cls)}
    if unknown:
        raise ScreenError(f"{data['kind']} has no entry {', '.join(sorted(unknown))}")
    try:
        made: Objective = build({k: v for k, v in data.items() if k != "kind"})
    except (TypeError, KeyError, AttributeError) as error:
        raise ScreenError(f"{data['kind']} cannot be read: {error}") from error
    except ValueError as error:
        raise error if isinstance(error, ScreenError) else ScreenError(str(error)) from error
    return made


def _selectivity(data: dict[str, Any]) -> Selectivity:
    read: dict[str, Any] = {
        key: tuple((str(name), float(weight)) for name, weight in data[key])
        for key in ("kill", "spare")
        if key in data
    }
    if "of" in data:
        read["of"] = objective_from_dict(data["of"])
    return Selectivity(**read)


def _weighted_sum(data: dict[str, Any]) -> WeightedSum:
    terms: Any = tuple((float(w), objective_from_dict(term)) for w, term in data["terms"])
    return WeightedSum(terms)


def _pareto(data: dict[str, Any]) -> Pareto:
    objectives: Any = tuple(objective_from_dict(part) for part in data["objectives"])
    reference = data.get("reference")
    return Pareto(objectives, None if reference is None else tuple(map(float, reference)))


_BUILD: Mapping[str, tuple[type, Callable[[dict[str, Any]], Objective]]] = {
    "score": (Score, lambda data: Score(**data)),
    "efficacy": (Efficacy, lambda data: Efficacy(**data)),
    "selectivity": (Selectivity, _selectivity),
    "weighted_sum": (WeightedSum, _weighted_sum),
    "pareto": (Pareto, _pareto),
}


def _require_one_unit(parts: tuple[Scalar, ...]) -> None:
    if len({candidate_unit(part) for part in parts}) > 1:
        raise ScreenError(
            "objectives of single blocks and of pairs across cell lines do not mix: name the "
            "lines of the former by a selectivity without spared lines"
        )
