"""Measured blocks as SynergyFinder reads them: whole ones, from the wells that count now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.assays.repository import MeasurementRepository
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.problems import Conflict, FieldError
from service.kit.unit import Unit
from service.plates.exports.synergyfinder import FinishedBlock, Reading, synergyfinder_csv
from service.plates.problems import PlateError
from service.plates.refusing import sentence

_Single = tuple[str, str]
_Pair = tuple[str, str, str]
_PERCENT = 100.0


@dataclass
class _Wells:
    """A campaign's wells: pairs, single agents and vehicle, (doses in uM, viability) each."""

    pairs: dict[_Pair, list[tuple[float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    singles: dict[_Single, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    vehicle: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, rows: Iterable[Any]) -> _Wells:
        """From plain tuples: line, three compounds, three doses, viability."""
        wells = cls()
        for line, a, b, c, dose_a, dose_b, _, viability in rows:
            if c is not None:
                continue
            if b is not None:
                wells.pairs[a, b, line].append((dose_a, dose_b, viability))
            elif a is not None:
                wells.singles[a, line].append((dose_a, viability))
            else:
                wells.vehicle[line].append(viability)
        return wells

    def readings(self, pair: _Pair) -> tuple[Reading, ...]:
        """The wells of a block and, at its doses, those of its compounds alone.

        Viability is the fraction of the vehicle control, so that no dose at all is 100 % where no
        vehicle well was submitted.
        """
        a, b, line = pair
        both = [(_same(x), _same(y), value) for x, y, value in self.pairs[pair]]
        rows, columns = {x for x, _, _ in both}, {y for _, y, _ in both}
        alone = [
            *((_same(x), 0.0, value) for x, value in self.singles[a, line] if _same(x) in rows),
            *((0.0, _same(y), value) for y, value in self.singles[b, line] if _same(y) in columns),
            *((0.0, 0.0, value) for value in self.vehicle[line] or [1.0]),
        ]
        return tuple(Reading(x, y, value * _PERCENT) for x, y, value in [*both, *alone])


def synergyfinder_table(unit: Unit, campaign: Campaign, *, leave_out: bool) -> str:
    """The long table of a campaign's blocks. Those that lack wells are refused or left out."""
    campaigns = CampaignService(unit)
    compounds = {row[0]: row[1] for row in campaigns.compounds.members(campaign.id)}
    lines = dict(campaigns.cell_lines.members(campaign.id))
    rows = MeasurementRepository(unit.session, unit.principal).wells(campaign.id)
    wells = _Wells.of(rows)
    found: list[FinishedBlock] = []
    errors: list[FieldError] = []
    for pair in sorted(wells.pairs):
        a, b, line = pair
        called = f"{compounds[a]} + {compounds[b]} in {lines[line]}"
        try:
            found.append(
                FinishedBlock(called, compounds[a], compounds[b], lines[line], wells.readings(pair))
            )
        except PlateError as problem:
            message = sentence(str(problem), {})
            errors.append(FieldError(code="incomplete", message=message))
    _require(found, errors, leave_out)
    return synergyfinder_csv(found)


def _require(found: Sequence[FinishedBlock], errors: Sequence[FieldError], leave_out: bool) -> None:
    if not found and not errors:
        raise Conflict("No pair was measured in this campaign yet.")
    if errors and not (leave_out and found):
        fix = "Ask for ?incomplete=leave_out to go without" if found else "No block is complete"
        raise Conflict(
            f"{len(errors)} of {len(errors) + len(found)} measured blocks lack wells that "
            f"SynergyFinder needs. {fix}. {errors[0].message}",
            errors=errors,
        )


def _same(dose: float) -> float:
    """Doses that differ in the dust of a conversion are one dose."""
    return float(f"{dose:.6g}")
