"""What a campaign looks for, as data: its score, or what is made of scores and inhibitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat, model_validator

from service.kit.schemas import Body, Finite, Name

LineWeight = Annotated[FiniteFloat, Field(gt=0, le=1e6)]


class ScoreGoal(Body):
    """The campaign's score of a block."""

    kind: Literal["score"]


class EfficacyGoal(Body):
    """How much a block inhibits, 100 x (1 - viability), in percentage points."""

    kind: Literal["efficacy"]
    summary: Literal["mean", "max"] = Field(
        "mean", description="Over the block's dose pairs: the mean, or the largest."
    )


def _either(**kinds: type[BaseModel]) -> BeforeValidator:
    """Reads the one that `kind` names, so that errors point to a place in what was sent."""

    def read(value: object) -> object:
        if isinstance(value, tuple(kinds.values())):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"must be an object with `kind`, one of {', '.join(kinds)}")
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"`kind` must be one of {', '.join(kinds)}")
        return kinds[kind].model_validate(value)

    return BeforeValidator(read, json_schema_input_type=_tagged(*kinds.values()))


def _tagged(*kinds: type[BaseModel]) -> Any:
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return Annotated[union, Field(discriminator="kind")]


Quantity = Annotated[
    ScoreGoal | EfficacyGoal,
    _either(score=ScoreGoal, efficacy=EfficacyGoal),
]


class WeightedLine(Body):
    cell_line: Name = Field(description="Of the campaign, by name or id.")
    weight: LineWeight = Field(1.0, description="Only the ratios of weights matter.")


def _as_line(value: object) -> object:
    """A plain name stands for a cell line that counts once."""
    if isinstance(value, str):
        return {"cell_line": value}
    if isinstance(value, dict | WeightedLine):
        return value
    raise ValueError("must be a name, or an object with `cell_line` and `weight`")


ChosenLine = Annotated[
    WeightedLine,
    BeforeValidator(_as_line, json_schema_input_type=Name | WeightedLine),
]


class SelectivityGoal(Body):
    """Kill these cell lines, spare those: the weighted mean of a quantity over the former, minus
    that over the latter. It belongs to a pair, and each of its blocks carries it."""

    kind: Literal["selectivity"]
    kill: list[ChosenLine] = Field(min_length=1, max_length=200, examples=[["A375"]])
    spare: list[ChosenLine] = Field(
        default_factory=list, max_length=200, description="None: the mean over the others."
    )
    of: Quantity = Field(default_factory=lambda: EfficacyGoal(kind="efficacy"))


Term = Annotated[
    ScoreGoal | EfficacyGoal | SelectivityGoal,
    _either(score=ScoreGoal, efficacy=EfficacyGoal, selectivity=SelectivityGoal),
]


class WeightedTerm(Body):
    objective: Term
    weight: Finite = Field(description="Not 0; a negative one asks for little of it.")

    @model_validator(mode="after")
    def _counts(self) -> WeightedTerm:
        if self.weight == 0:
            raise ValueError("weight is 0, so the objective would not count; leave it out")
        return self


class WeightedSumGoal(Body):
    """The sum of objectives, each times its weight."""

    kind: Literal["weighted_sum"]
    terms: list[WeightedTerm] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _fit(self) -> WeightedSumGoal:
        _require_one_unit([term.objective for term in self.terms])
        return self


Scalar = Annotated[
    ScoreGoal | EfficacyGoal | SelectivityGoal | WeightedSumGoal,
    _either(
        score=ScoreGoal,
        efficacy=EfficacyGoal,
        selectivity=SelectivityGoal,
        weighted_sum=WeightedSumGoal,
    ),
]


class FrontObjective(Body):
    objective: Scalar
    reference: Finite = Field(
        description="What does not exceed this counts for nothing, percentage points."
    )


class ParetoGoal(Body):
    """Two to four objectives kept apart: candidates that no other beats in all of them. A block
    is a hit where every objective exceeds its reference (by the hit threshold, 0 unless given)."""

    kind: Literal["pareto"]
    objectives: list[FrontObjective] = Field(min_length=2, max_length=4)

    @model_validator(mode="after")
    def _fit(self) -> ParetoGoal:
        parts = [entry.objective for entry in self.objectives]
        _require_one_unit(parts)
        if any(part in parts[:place] for place, part in enumerate(parts)):
            raise ValueError("an objective of the front is listed twice; keep one")
        return self


Goal = Annotated[
    ScoreGoal | EfficacyGoal | SelectivityGoal | WeightedSumGoal | ParetoGoal,
    _either(
        score=ScoreGoal,
        efficacy=EfficacyGoal,
        selectivity=SelectivityGoal,
        weighted_sum=WeightedSumGoal,
        pareto=ParetoGoal,
    ),
]
AnyGoal = ScoreGoal | EfficacyGoal | SelectivityGoal | WeightedSumGoal | ParetoGoal


def selectivities(goal: AnyGoal, pointer: str) -> Iterator[tuple[SelectivityGoal, str]]:
    """Every selectivity in a goal, with the JSON pointer of its place."""
    if isinstance(goal, SelectivityGoal):
        yield goal, pointer
    inner: Sequence[WeightedTerm | FrontObjective] = ()
    if isinstance(goal, WeightedSumGoal):
        inner, pointer = goal.terms, f"{pointer}/terms"
    elif isinstance(goal, ParetoGoal):
        inner, pointer = goal.objectives, f"{pointer}/objectives"
    for row, part in enumerate(inner):
        yield from selectivities(part.objective, f"{pointer}/{row}/objective")


def has_efficacy(goal: AnyGoal) -> bool:
    """Whether inhibition is a part of the goal."""
    if isinstance(goal, SelectivityGoal):
        return isinstance(goal.of, EfficacyGoal)
    if isinstance(goal, WeightedSumGoal):
        return any(has_efficacy(term.objective) for term in goal.terms)
    if isinstance(goal, ParetoGoal):
        return any(has_efficacy(entry.objective) for entry in goal.objectives)
    return isinstance(goal, EfficacyGoal)


def _compares_lines(goal: AnyGoal) -> bool:
    if isinstance(goal, WeightedSumGoal):
        return _compares_lines(goal.terms[0].objective)
    return isinstance(goal, SelectivityGoal)


def _require_one_unit(parts: list[Any]) -> None:
    if len({_compares_lines(part) for part in parts}) > 1:
        raise ValueError(
            "objectives of single blocks and objectives that compare cell lines do not mix; name "
            "the lines of the former by a selectivity with `kill` alone"
        )
