"""What proves that values are viability or inhibition, percent or fraction.

Proof is a column's name, a format's definition, or arithmetic: a value above 10 is no fraction;
untreated wells near 100 % are no inhibition, near 0 no viability. What is not proved is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from service.assays.files_in.results import Quantity, ScaleEvidence, ScaleUnit, TableRow
from service.assays.tables_in.scale import FRACTION_LIMIT

_MIN_SPREAD = 0.2  # of the largest value: without any effect nothing is proved


def prove_scale(
    rows: Sequence[TableRow],
    quantity: Quantity | None = None,
    unit: ScaleUnit | None = None,
    said: str = "",
) -> ScaleEvidence:
    """The scale from what was ``said`` (a column name, a format) and from the values.

    A word that the untreated wells contradict is withdrawn, with the reason.
    """
    values = [row.value for row in rows if row.value is not None]
    untreated = [row.value for row in rows if not row.components and row.value is not None]
    reasons = [f"{said} says {word}" for word in (quantity, unit) if word and said]
    if not values:
        return ScaleEvidence(quantity, unit, tuple(reasons))
    top = max(abs(value) for value in values)
    if top > FRACTION_LIMIT:
        if unit == "fraction":
            reasons.append(f"withdrawn: {top:g} is no fraction")
            unit = None
        elif unit is None:
            unit = "percent"
            reasons.append(f"{top:g} is too large for a fraction")
    if untreated:
        quantity, unit, more = _from_untreated(values, median(untreated), quantity, unit)
        reasons += more
    return ScaleEvidence(quantity, unit, tuple(reasons))


def _from_untreated(
    values: Sequence[float], control: float, quantity: Quantity | None, unit: ScaleUnit | None
) -> tuple[Quantity | None, ScaleUnit | None, list[str]]:
    """What the median of wells without compound proves."""
    reasons: list[str] = []
    top = max(abs(value) for value in values)
    spread = max(values) - min(values)
    if top == 0 or spread < _MIN_SPREAD * top:
        return quantity, unit, reasons
    found: Quantity | None = None
    if unit == "percent" and 70 <= control <= 130:
        found = "viability"
    elif unit != "percent" and top <= 3 and 0.7 <= control <= 1.3:
        found = "viability"
        if unit is None:
            unit = "fraction"
            reasons.append(f"untreated wells read {control:g}: a fraction, not percent")
    elif abs(control) <= 0.1 * top:
        found = "inhibition"
    if found is None:
        return quantity, unit, reasons
    if quantity is None:
        reasons.append(f"untreated wells read {control:g}, the largest value is {top:g}: {found}")
        return found, unit, reasons
    if quantity != found and quantity != "raw":
        reasons.append(f"withdrawn: untreated wells read {control:g}, which is no {quantity}")
        return None, unit, reasons
    return quantity, unit, reasons
