"""Rules of the labware table and of the stocks: one of each for a workspace, edited as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from service.kit import etag
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.problems import FieldError
from service.kit.unit import Unit
from service.plates.geometry import WellAt, parse_well
from service.plates.labware import (
    DEFAULT_LABWARE,
    Labware,
    Stock,
    stock_from_dict,
    stock_to_dict,
)
from service.plates.naming import compound_directory, compound_names, resolve_compound
from service.plates.problems import PlateError
from service.plates.refusing import faults, refuse, refusing
from service.plates.repository import LabwareRepository, StockRepository
from service.plates.schemas import (
    LabwareIn,
    LabwareOut,
    StockIn,
    StockOut,
    StocksIn,
    StocksOut,
)
from service.plates.tables import LabwareTable, StockTable


class LabTables:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.tables = LabwareRepository(unit.session, unit.principal)
        self.stock_tables = StockRepository(unit.session, unit.principal)

    def labware(self) -> Labware:
        """The workspace's table, or the one that comes with the service."""
        row = self.tables.present()
        return DEFAULT_LABWARE if row is None else Labware.from_dict(row.definition)

    def stocks(self) -> list[Stock]:
        """Everything that lies ready, compounds by id."""
        row = self.stock_tables.present()
        return [] if row is None else [stock_from_dict(plain) for plain in row.stocks]

    def hold_stocks(self) -> None:
        """Until the transaction ends nobody else plans with the stocks, nor changes them."""
        self.stock_tables.hold()

    def stocks_given_at(self) -> datetime | None:
        """When the stocks were last given, if they ever were."""
        row = self.stock_tables.present()
        return None if row is None else row.changed_at

    def describe_labware(self) -> LabwareOut:
        """The table as the outside sees it."""
        row = self.tables.present()
        version = 0 if row is None else row.version
        return LabwareOut.model_validate(
            {**self.labware().to_dict(), "version": version}, strict=False
        )

    def edit_labware(self, body: LabwareIn, if_match: str | None) -> LabwareOut:
        """Put another table in the place of the present one, whose version is asked for."""
        row = self.tables.present()
        etag.check(if_match, 0 if row is None else row.version)
        with refusing("labware"):
            definition = Labware.from_dict(body.model_dump()).to_dict()
        _refuse_orphans(self.stocks(), definition)
        if row is None:
            row = self.tables.add(LabwareTable(id=new_id("lab")))
        row.definition, row.changed_by = definition, self.unit.principal.actor
        row.changed_at = utcnow()
        self.unit.session.flush()
        return self.describe_labware()

    def describe_stocks(self) -> StocksOut:
        """The stocks as the outside sees them."""
        row = self.stock_tables.present()
        listed = [] if row is None else row.stocks
        names = compound_names(self.unit, (plain["compound"] for plain in listed))
        stocks = [
            StockOut(**plain, name=names.get(plain["compound"], plain["compound"]))
            for plain in listed
        ]
        return StocksOut(stocks=stocks, version=0 if row is None else row.version)

    def edit_stocks(self, body: StocksIn, if_match: str | None) -> StocksOut:
        """Put other stocks in the place of the present ones, whose version is asked for."""
        row = self.stock_tables.present()
        etag.check(if_match, 0 if row is None else row.version)
        stocks = self._read_stocks(body.stocks)
        if row is None:
            row = self.stock_tables.add(StockTable(id=new_id("stk")))
        row.stocks, row.changed_by = stocks, self.unit.principal.actor
        row.changed_at = utcnow()
        self.unit.session.flush()
        return self.describe_stocks()

    def _read_stocks(self, listed: list[StockIn]) -> list[dict[str, Any]]:
        directory, labware = compound_directory(self.unit), self.labware()
        errors: list[FieldError] = []
        taken: dict[tuple[str, WellAt], int] = {}
        found: list[dict[str, Any]] = []
        for row, item in enumerate(listed):
            pointer = f"/stocks/{row}"
            compound: str | None = item.compound
            if item.mm > 0:
                compound = resolve_compound(
                    directory, item.compound, f"{pointer}/compound", errors, row
                )
            try:
                stock = _stock(item, compound or item.compound)
                labware.usable_nl(stock)
                _once(stock, row, taken)
            except PlateError as problem:
                names = {} if compound is None else {compound: item.compound}
                wrong = faults(problem, "stock", pointer, names)
                errors += [error.model_copy(update={"row": row}) for error in wrong]
            else:
                found.append(stock_to_dict(stock))
        refuse(errors)
        return found


def _stock(item: StockIn, compound: str) -> Stock:
    well = None if item.well is None else parse_well(item.well)
    return Stock(compound, item.mm, item.volume_nl, item.plate, item.plate_type, well)


def _once(stock: Stock, row: int, taken: dict[tuple[str, WellAt], int]) -> None:
    """Refuse a source well that another stock is said to be in."""
    if stock.plate is None or stock.well is None:
        return
    other = taken.setdefault((stock.plate, stock.well), row)
    if other != row:
        raise PlateError(
            f"{stock.where} is listed twice, here and in entry {other} (counted from 0); keep one"
        )


def _refuse_orphans(stocks: Iterable[Stock], definition: dict[str, Any]) -> None:
    """A source plate type that stocks are in cannot go."""
    kept = {kind["name"] for kind in definition["source_types"]}
    used = sorted({s.plate_type for s in stocks if s.plate_type is not None} - kept)
    if used:
        message = (
            f"There are stocks in plates of the type {used[0]!r}, which the new table lacks. "
            "Keep the type, or PUT the stocks without them first."
        )
        refuse([FieldError(code="labware", message=message, pointer="/source_types")])
