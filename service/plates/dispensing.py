"""From the dose that is wanted to the nearest dose that whole drops of a stock can give.

What is dispensed also fills the well: ``v`` nL of a stock of ``S`` uM in ``V`` nL give
``S v / (V + v)``. So 1 uM from 10 mM in 50 uL needs 5.0005 nL, gets 5 nL and is 0.9999 uM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.plates.labware import Destination, Dispenser, Stock
from service.plates.problems import PlateError

_UM_PER_MM = 1000.0


@dataclass(frozen=True)
class SnapRules:
    """How far a real dose may lie from the nominal one, and how the well is shared.

    ``tolerance`` is relative to the nominal dose. Of the room of a well, each of ``compounds``
    may take an equal part, so that every pair of snapped doses fits. ``total_nl`` is what a well
    gets in all where vehicle is filled up to a constant (0: only the dose itself).
    """

    tolerance: float = 0.1
    compounds: int = 2
    total_nl: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise PlateError(f"tolerance is {self.tolerance}, expected a fraction below 1")
        if self.compounds < 1:
            raise PlateError(f"{self.compounds} compounds share a well; expected 1 or more")
        if not (math.isfinite(self.total_nl) and self.total_nl >= 0):
            raise PlateError(f"total_nl is {self.total_nl}, expected 0 or more")


@dataclass(frozen=True)
class Dispense:
    """A dose as it is dispensed."""

    compound: str
    nominal_um: float
    real_um: float
    stock_mm: float
    drops: int
    volume_nl: float

    @property
    def error(self) -> float:
        """How far the real dose lies from the nominal one, as a fraction of that."""
        return abs(self.real_um - self.nominal_um) / self.nominal_um


def snap_dose(
    nominal_um: float,
    stocks: Sequence[Stock],
    destination: Destination,
    dispenser: Dispenser,
    rules: SnapRules = SnapRules(),
) -> Dispense:
    """The nearest dispensable dose, from the stock with the least error.

    Of stocks that are equally near the strongest is taken, which brings the least vehicle.
    Refuses a dose that no stock reaches within the tolerance, and says which stock would.
    """
    compound = _compound_of(stocks)
    if not (math.isfinite(nominal_um) and nominal_um > 0):
        raise PlateError(f"{compound}: a dose of {nominal_um} uM cannot be dispensed")
    levels = sorted({stock.mm for stock in stocks if stock.mm > 0}, reverse=True)
    if not levels:
        raise PlateError(f"{compound} has no stock; add one with its concentration in mM")
    tries = [
        attempt
        for mm in levels
        for attempt in _attempts(compound, nominal_um, mm, destination, dispenser, rules)
    ]
    best = min(tries, key=lambda each: (_coarse(each.error), each.volume_nl), default=None)
    if best is None or best.error > rules.tolerance:
        raise PlateError(
            _unreachable(compound, nominal_um, levels, best, destination, dispenser, rules)
        )
    return best


def snap_doses(
    nominal_um: Sequence[float],
    stocks: Sequence[Stock],
    destination: Destination,
    dispenser: Dispenser,
    rules: SnapRules = SnapRules(),
) -> tuple[Dispense, ...]:
    """Every dose snapped, in the order given.

    Refuses doses that are no longer told apart: two that fall together, or change places.
    """
    snapped = tuple(snap_dose(dose, stocks, destination, dispenser, rules) for dose in nominal_um)
    rising = sorted(snapped, key=lambda each: each.nominal_um)
    for lower, upper in pairwise(rising):
        if upper.real_um <= lower.real_um * (1 + 1e-9):
            raise PlateError(
                f"{lower.compound}: {lower.nominal_um:g} uM and {upper.nominal_um:g} uM fall "
                f"together, as {lower.real_um:.4g} uM and {upper.real_um:.4g} uM. Leave one out, "
                f"or add a weaker stock than {lower.stock_mm:g} mM"
            )
    return snapped


def real_dose(stock_mm: float, volume_nl: float, assay_nl: float, total_nl: float) -> float:
    """The dose in uM of ``volume_nl`` in a well that got ``total_nl`` in all."""
    return stock_mm * _UM_PER_MM * volume_nl / (assay_nl + total_nl)


def _compound_of(stocks: Sequence[Stock]) -> str:
    names = sorted({stock.compound for stock in stocks})
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise PlateError(f"a dose needs the stocks of one compound; these are of {found}")
    return names[0]


def _attempts(
    compound: str,
    nominal_um: float,
    mm: float,
    destination: Destination,
    dispenser: Dispenser,
    rules: SnapRules,
) -> list[Dispense]:
    """The whole drops on either side of the dose, as far as the well has room."""
    ideal = _volume_for(nominal_um, mm, destination, rules)
    most = dispenser.drops(dispenser.whole(destination.room_nl / rules.compounds))
    below = most if ideal is None else math.floor(ideal / dispenser.drop_nl)
    found = []
    for drops in sorted({min(below, most), min(below + 1, most)} - {0}):
        volume = dispenser.volume(drops)
        total = max(volume, rules.total_nl)
        real = real_dose(mm, volume, destination.assay_nl, total)
        found.append(Dispense(compound, nominal_um, real, mm, drops, volume))
    return found


def _volume_for(
    nominal_um: float, mm: float, destination: Destination, rules: SnapRules
) -> float | None:
    """The exact volume for a dose; none where the stock is not stronger than the dose."""
    stock_um = mm * _UM_PER_MM
    if rules.total_nl:
        return nominal_um * (destination.assay_nl + rules.total_nl) / stock_um
    return (
        nominal_um * destination.assay_nl / (stock_um - nominal_um)
        if (stock_um > nominal_um)
        else None
    )


def _coarse(error: float) -> float:
    """Errors that differ only in the dust of floating point are equal."""
    return round(error, 9)


def _unreachable(
    compound: str,
    nominal_um: float,
    levels: Sequence[float],
    best: Dispense | None,
    destination: Destination,
    dispenser: Dispenser,
    rules: SnapRules,
) -> str:
    room = dispenser.whole(destination.room_nl / rules.compounds)
    stocks = " or ".join(f"{mm:g} mM" for mm in levels)
    head = (
        f"{compound}: {nominal_um:g} uM cannot be dispensed from {stocks} into "
        f"{destination.assay_nl:g} nL"
    )
    if room < dispenser.drop_nl:
        return (
            f"{head}: a well has room for {destination.room_nl:g} nL shared by {rules.compounds} "
            f"compounds, less than a drop of {dispenser.drop_nl:g} nL each. Raise the vehicle "
            f"limit ({destination.vehicle_limit:g}) or the largest transfer"
        )
    strongest = _stock_for(nominal_um, dispenser.drop_nl, destination, rules)
    weakest = _stock_for(nominal_um, room, destination, rules)
    if levels[0] < weakest:
        volume = _volume_for(nominal_um, levels[0], destination, rules)
        needs = "a stronger stock" if volume is None else f"{volume:.4g} nL"
        each = f" for each of {rules.compounds} compounds" if rules.compounds > 1 else ""
        why = f"it needs {needs}, and {room:g} nL are allowed{each}"
    else:
        assert best is not None  # noqa: S101 - a well with room for a drop has a nearest
        why = (
            f"the nearest is {best.drops} x {dispenser.drop_nl:g} nL of {best.stock_mm:g} mM, "
            f"{best.real_um:.4g} uM, {_off(best)} (allowed {rules.tolerance:.0%})"
        )
    return (
        f"{head}: {why}. A stock between {_short(weakest)} and {_short(strongest)} mM would do; "
        f"{_short(strongest)} mM gives it in one drop"
    )


def _off(best: Dispense) -> str:
    if best.error < 1:
        return f"{best.error:.0%} off"
    return f"{_short(best.real_um / best.nominal_um)} times as much"


def _short(value: float) -> str:
    """Three digits, without an exponent where people need none."""
    return f"{float(f'{value:.3g}'):g}"


def _stock_for(
    nominal_um: float, volume_nl: float, destination: Destination, rules: SnapRules
) -> float:
    """The stock in mM of which ``volume_nl`` gives the dose exactly."""
    total = max(volume_nl, rules.total_nl)
    return nominal_um * (destination.assay_nl + total) / volume_nl / _UM_PER_MM
