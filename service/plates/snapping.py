"""Doses of a campaign as its dispenser can make them: snapped before anything is scored.

The real doses become the doses of the campaign, so that what is scored is what can be made; the
nominal ones are kept beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.database import utcnow
from service.kit.names import NameDirectory
from service.kit.problems import FieldError
from service.kit.unit import Unit
from service.plates.dispensing import Dispense, SnapRules, snap_dose, snap_doses
from service.plates.lab_tables import LabTables
from service.plates.labware import Destination, Dispenser, Labware, Stock
from service.plates.naming import resolve_compound
from service.plates.problems import PlateError
from service.plates.refusing import faults, refuse, refusing
from service.plates.repository import CampaignDoseRepository, DispensingRepository
from service.plates.schemas import (
    DispensingIn,
    DispensingOut,
    SnappedCompoundOut,
    SnappedDoseOut,
)
from service.plates.tables import CampaignDispensing


@dataclass(frozen=True)
class Snapper:
    """A dispenser, a plate and stocks: what any dose becomes there."""

    dispenser: Dispenser
    destination: Destination
    rules: SnapRules
    stocks: Mapping[str, Sequence[Stock]]
    names: Mapping[str, str]

    @classmethod
    def of(
        cls,
        labware: Labware,
        asked: DispensingIn,
        stocks: Mapping[str, Sequence[Stock]],
        names: Mapping[str, str],
    ) -> Self:
        """What ``asked`` names, from the labware table; refused where the table has no such."""
        with refusing("dispenser", "/dispenser"):
            dispenser = labware.dispenser(asked.dispenser)
        with refusing("destination", "/destination"):
            destination = labware.destination(asked.destination)
        total = 0.0
        if asked.fraction is not None:
            total = dispenser.whole(destination.volume_for(asked.fraction))
        rules = SnapRules(asked.tolerance, asked.compounds_per_well, total)
        return cls(dispenser, destination, rules, stocks, names)

    def one(self, compound: str, dose_um: float, compounds: int | None = None) -> Dispense:
        """A dose; ``compounds`` share its well, as many as the rules say if not given."""
        rules = self.rules if compounds is None else replace(self.rules, compounds=compounds)
        return snap_dose(dose_um, self._of(compound), self.destination, self.dispenser, rules)

    def all(
        self,
        compound: str,
        doses_um: Sequence[float],
        errors: list[FieldError],
        pointer: str | None,
    ) -> tuple[Dispense, ...]:
        """Every dose of a compound; ``errors`` gets one for each dose that cannot be made."""
        try:
            stocks = self._of(compound)
            return snap_doses(doses_um, stocks, self.destination, self.dispenser, self.rules)
        except PlateError as problem:
            errors += self._each(compound, doses_um, pointer) or faults(
                problem, "dose", pointer, self.names
            )
            return ()

    def _each(
        self, compound: str, doses_um: Sequence[float], pointer: str | None
    ) -> list[FieldError]:
        """What is wrong with each dose by itself; nothing where the compound has no stock."""
        found: list[FieldError] = []
        for dose in doses_um if self.stocks.get(compound) else ():
            try:
                self.one(compound, dose)
            except PlateError as problem:
                found += faults(problem, "dose", pointer, self.names)
        return found

    def _of(self, compound: str) -> Sequence[Stock]:
        stocks = self.stocks.get(compound, ())
        if not stocks:
            where = "cassettes" if self.dispenser.cassettes else "a source plate"
            raise PlateError(
                f"{compound} has no stock in {where} for {self.dispenser.name}. Add one with "
                "PUT /v1/stocks"
            )
        return stocks


def usable_stocks(stocks: Sequence[Stock], dispenser: Dispenser) -> dict[str, list[Stock]]:
    """The stocks that a dispenser can reach, by compound; vehicle is not among them."""
    found: dict[str, list[Stock]] = {}
    for stock in stocks:
        if stock.mm > 0 and (stock.well is None) == dispenser.cassettes:
            found.setdefault(stock.compound, []).append(stock)
    return found


class SnappingService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.campaigns = CampaignService(unit)
        self.tables = LabTables(unit)
        self.dispensing = DispensingRepository(unit.session, unit.principal)
        self.doses = CampaignDoseRepository(unit.session, unit.principal)

    def snap(self, campaign: Campaign, asked: DispensingIn) -> None:
        """Make every dose of the campaign one that can be dispensed, or say which cannot."""
        self.campaigns.require_not_closed(campaign)
        members = self.campaigns.compounds.members(campaign.id)
        row = self.dispensing.of_campaign(campaign.id)
        nominal = nominal_doses(row)
        asked = self._with_ids(campaign, asked)
        names = {identifier: name for identifier, name, _ in members}
        snapper = Snapper.of(self.tables.labware(), asked, self._stocks(asked, list(names)), names)
        errors: list[FieldError] = []
        snapped = {
            identifier: snapper.all(
                identifier, [nominal.get((identifier, dose), dose) for dose in doses], errors, None
            )
            for identifier, _, doses in members
        }
        refuse(errors)
        if row is None:
            row = self.dispensing.add(CampaignDispensing(campaign_id=campaign.id))
        row.settings, row.doses = asked.model_dump(), _documents(snapped)
        row.changed_by, row.changed_at = self.unit.principal.actor, utcnow()
        self._store(campaign, snapped)

    def describe(self, campaign: Campaign) -> DispensingOut:
        """By what the doses were snapped, and what each of them was before."""
        row = self.dispensing.of_campaign(campaign.id)
        members = self.campaigns.compounds.members(campaign.id)
        doses = {} if row is None else row.doses
        return DispensingOut(
            campaign_id=campaign.id,
            settings=None if row is None else DispensingIn.model_validate(row.settings),
            compounds=[
                SnappedCompoundOut(
                    compound=identifier,
                    name=name,
                    doses=[SnappedDoseOut.model_validate(each) for each in doses[identifier]],
                )
                for identifier, name, _ in members
                if identifier in doses
            ],
            not_snapped=[member[0] for member in members if row and member[0] not in doses],
        )

    def _with_ids(self, campaign: Campaign, asked: DispensingIn) -> DispensingIn:
        if not isinstance(asked.stock_mm, dict):
            return asked
        directory, _ = self.campaigns.member_directories(campaign)
        return asked.model_copy(update={"stock_mm": _by_id(asked.stock_mm, directory)})

    def _stocks(self, asked: DispensingIn, members: list[str]) -> Mapping[str, Sequence[Stock]]:
        """The stocks that were named, or those of the workspace."""
        given = asked.stock_mm
        if given is None:
            with refusing("dispenser", "/dispenser"):
                dispenser = self.tables.labware().dispenser(asked.dispenser)
            return usable_stocks(self.tables.stocks(), dispenser)
        levels = given if isinstance(given, dict) else dict.fromkeys(members, given)
        return {
            compound: [
                Stock(compound, mm, 0.0) for mm in (some if isinstance(some, list) else [some])
            ]
            for compound, some in levels.items()
        }

    def _store(self, campaign: Campaign, snapped: Mapping[str, Sequence[Dispense]]) -> None:
        for row in self.doses.of_campaign(campaign.id):
            doses = sorted(each.real_um for each in snapped[row.compound_id])
            if doses != row.doses_um:
                row.doses_um = doses
        campaign.updated_at = utcnow()
        self.unit.session.flush()


def nominal_doses(row: CampaignDispensing | None) -> dict[tuple[str, float], float]:
    """(compound, real dose) -> the dose that was wanted."""
    if row is None:
        return {}
    return {
        (compound, each["real_um"]): each["nominal_um"]
        for compound, doses in row.doses.items()
        for each in doses
    }


def _documents(snapped: Mapping[str, Sequence[Dispense]]) -> dict[str, list[dict[str, Any]]]:
    return {
        compound: [
            {
                "nominal_um": each.nominal_um,
                "real_um": each.real_um,
                "stock_mm": each.stock_mm,
                "volume_nl": each.volume_nl,
            }
            for each in doses
        ]
        for compound, doses in snapped.items()
    }


def _by_id(given: Mapping[str, Any], directory: NameDirectory) -> dict[str, Any]:
    errors: list[FieldError] = []
    found: dict[str, Any] = {}
    for name, levels in given.items():
        pointer = f"/stock_mm/{name.replace('~', '~0').replace('/', '~1')}"
        identifier = resolve_compound(directory, name, pointer, errors, None)
        if identifier in found:
            message = f"The stock of {name!r} is given twice, under two names; keep one."
            errors.append(FieldError(code="repeated", message=message, pointer=pointer))
        elif identifier is not None:
            found[identifier] = levels
    refuse(errors)
    return found
