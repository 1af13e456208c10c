"""Cell lines of a goal: said with names, kept with ids. Which acquisitions go with which goal."""

from __future__ import annotations

from typing import Any

from service.campaigns.goals import AnyGoal, SelectivityGoal, selectivities
from service.campaigns.schemas import Learning
from service.kit.names import NameDirectory
from service.kit.problems import FieldError

FRONT_ACQUISITIONS = ("expected_hypervolume", "front_probability")
_EITHER = ("random", "auto")
_FIX = "Add it to the campaign first."


def goal_of(
    goal: AnyGoal | None, lines: NameDirectory, errors: list[FieldError]
) -> dict[str, Any] | None:
    """The goal as it is kept, with ids; nothing for the score itself.

    What is wrong with the names is added to ``errors``.
    """
    if goal is None:
        return None
    kept = goal.model_copy(deep=True)
    for part, pointer in selectivities(kept, "/objective/goal"):
        _resolve(part, pointer, lines, errors)
    return kept.model_dump()


def check_acquisition(
    acquisition: str, goal: dict[str, Any] | None, pointer: str
) -> FieldError | None:
    """What is wrong with choosing by this acquisition for this goal, if anything."""
    front = goal is not None and goal["kind"] == "pareto"
    if acquisition in _EITHER or front == (acquisition in FRONT_ACQUISITIONS):
        return None
    if front:
        names = ", ".join((*FRONT_ACQUISITIONS, *_EITHER))
        message = (
            f"{acquisition} values one number, and this goal keeps several apart; choose by one "
            f"of {names}."
        )
    else:
        message = f"{acquisition} needs a goal of the kind pareto; this campaign has one objective."
    return FieldError(code="acquisition", message=message, pointer=pointer)


def acquisition_of(learning: Learning, goal: dict[str, Any] | None) -> str:
    """What candidates are ranked by: what was said, or what suits the goal."""
    said = "acquisition" in learning.model_fields_set
    if not said and goal is not None and goal["kind"] == "pareto":
        return FRONT_ACQUISITIONS[0]
    return learning.acquisition


def _resolve(
    part: SelectivityGoal, pointer: str, lines: NameDirectory, errors: list[FieldError]
) -> None:
    seen: set[str] = set()
    for side, listed in (("kill", part.kill), ("spare", part.spare)):
        for row, line in enumerate(listed):
            place = f"{pointer}/{side}/{row}"
            identifier = lines.resolve(line.cell_line)
            if identifier is None:
                message = lines.unknown(line.cell_line, _FIX)
                errors.append(_error("unknown_cell_line", message, place, row))
            elif identifier in seen:
                message = f"{line.cell_line!r} is named twice among the lines to kill and spare."
                errors.append(_error("repeated", message, place, row))
            else:
                seen.add(identifier)
                line.cell_line = identifier


def _error(code: str, message: str, pointer: str, row: int) -> FieldError:
    return FieldError(code=code, message=message, pointer=pointer, row=row)
