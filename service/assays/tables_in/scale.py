"""Which number means what: viability or inhibition, fraction or percent. Never guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.assays.tables_in.rows import (
    Declaration,
    Problems,
    Quantity,
    RowProblem,
    ScaleUnit,
    TableError,
)

FRACTION_LIMIT = 10.0
"""A fraction beyond this (1,000 % of the control) is taken for a percentage and refused."""

DEAD_CONTROL = 0.05
"""A vehicle control with less viability than this contradicts the declared scale."""

PERCENT_LOOKS_LIKE_FRACTION = (-1.5, 3.0)
MIN_ROWS_TO_DOUBT = 20


@dataclass(frozen=True)
class Scale:
    """How raw values relate to viability."""

    quantity: Quantity
    unit: ScaleUnit

    def viability(self, raw: float) -> float:
        """Fraction of the vehicle control, 1 = untreated."""
        value = raw / 100.0 if self.unit == "percent" else raw
        return 1.0 - value if self.quantity == "inhibition" else value

    def is_plausible(self, raw: float) -> bool:
        """Whether ``raw`` can be meant on this scale: no fraction is a thousand percent."""
        return self.unit == "percent" or abs(raw) <= FRACTION_LIMIT

    def __str__(self) -> str:
        return f"{self.quantity} as {self.unit}"


def resolve_scale(
    column: str, quantity: Quantity | None, unit: ScaleUnit | None, declared: Declaration
) -> Scale:
    """The scale from what the column name says and what was declared; both must agree.

    Raises :class:`TableError` naming every half that is missing or contradicted.
    """
    problems = [
        *_disagreement(column, "quantity", quantity, declared.quantity),
        *_disagreement(column, "unit", unit, declared.unit),
    ]
    quantity, unit = quantity or declared.quantity, unit or declared.unit
    if quantity is None:
        problems.append(_unsaid(column, "quantity", "viability", "inhibition"))
    if unit is None:
        problems.append(_unsaid(column, "unit", "fraction", "percent"))
    if problems or quantity is None or unit is None:
        raise TableError(problems)
    return Scale(quantity, unit)


def _disagreement(
    column: str, half: str, said: str | None, declared: str | None
) -> list[RowProblem]:
    if said is None or declared is None or said == declared:
        return []
    message = (
        f"column '{column}' says {said} but {declared} was declared; "
        "rename the column or correct the declaration"
    )
    return [RowProblem(1, column, declared, f"{half}_contradiction", message)]


def _unsaid(column: str, half: str, first: str, second: str) -> RowProblem:
    message = (
        f"column '{column}' does not say whether it holds {first} or {second}; declare {half}="
        f"'{first}' or '{second}', or rename the column, for example to 'viability_percent'"
    )
    return RowProblem(1, column, None, f"{half}_missing", message)


@dataclass
class ScaleWatch:
    """Refuses values that contradict the declared scale, row by row and over the whole table."""

    scale: Scale
    confirmed: bool
    rows: int = 0
    lowest: float = math.inf
    highest: float = -math.inf

    def viability(
        self, row: int, column: str, raw: float, vehicle: bool, problems: Problems
    ) -> float | None:
        """Viability of one row, or None after noting why the value cannot be meant so."""
        self.rows += 1
        self.lowest, self.highest = min(self.lowest, raw), max(self.highest, raw)
        if not self.scale.is_plausible(raw):
            problems.add(row, column, raw, "looks_like_percent", self._not_a_fraction(raw))
            return None
        viability = self.scale.viability(raw)
        if vehicle and not self.confirmed and abs(viability) < DEAD_CONTROL:
            problems.add(row, column, raw, "vehicle_contradicts_scale", self._dead(raw, viability))
            return None
        return viability

    def finish(self, column: str) -> None:
        """Raise :class:`TableError` if a percent table holds nothing but fractions."""
        low, high = PERCENT_LOOKS_LIKE_FRACTION
        if self.scale.unit != "percent" or self.confirmed or self.rows < MIN_ROWS_TO_DOUBT:
            return
        if low <= self.lowest and self.highest <= high:
            raise TableError.single(
                "looks_like_fraction",
                f"{self.scale} was declared, but all {self.rows:,} values of '{column}' lie "
                f"between {self.lowest:g} and {self.highest:g}, which looks like a fraction; "
                "declare unit='fraction', or confirm_scale if they really are percent",
                column,
            )

    def _not_a_fraction(self, raw: float) -> str:
        return (
            f"{raw:g} looks like percent, but {self.scale} was declared; "
            "declare unit='percent' or correct the value"
        )

    def _dead(self, raw: float, viability: float) -> str:
        return (
            f"this row has no compound, yet {raw:g} read as {self.scale} means only "
            f"{100 * viability:.3g} % of untreated: the declared scale seems wrong (viability for "
            "inhibition, or percent for fraction); correct it, or confirm_scale if the control "
            "really is dead"
        )
