"""Labware, stocks, snapped doses and plates as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, field_validator

from service.kit.schemas import Body, Dose, Name, Out

Format = Literal[96, 384, 1536]
PlateOrigin = Literal["issued", "submitted"]
PlateStatus = Literal["issued", "measured", "cancelled"]
WellRole = Literal["sample", "single", "vehicle", "positive", "blank", "reference_pair", "empty"]

Volume = Annotated[FiniteFloat, Field(gt=0, le=1e9, description="In nL.", examples=[2.5])]
VolumeOrNone = Annotated[FiniteFloat, Field(ge=0, le=1e9, description="In nL.", examples=[15000])]
Share = Annotated[FiniteFloat, Field(gt=0, lt=1)]
Millimolar = Annotated[
    FiniteFloat, Field(ge=0, le=1e5, description="In mM; 0 for vehicle.", examples=[10.0])
]
StockMillimolar = Annotated[FiniteFloat, Field(gt=0, le=1e5, examples=[10.0])]
WellName = Annotated[str, Field(pattern=r"^[A-Za-z]{1,2}[0-9]{1,3}$", examples=["A1"])]


class DispenserRow(Body):
    name: Name = Field(examples=["Echo 650"])
    drop_nl: Volume = Field(description="The smallest volume; all others are whole drops, in nL.")
    max_transfer_nl: Volume = Field(description="Most in one transfer, in nL.")
    cassettes: bool = Field(
        False, description="Takes stocks from cassettes (D300), not from wells of source plates."
    )


class SourceTypeRow(Body):
    name: Name = Field(
        description="What the dispenser calls plate and fluid class.", examples=["384PP_DMSO2"]
    )
    wells: int = Field(ge=1, le=6144, examples=[384])
    well_volume_nl: Volume = Field(description="Most that a well works with, in nL.")
    dead_volume_nl: VolumeOrNone = Field(description="What stays behind, in nL.")


class DestinationRow(Body):
    name: Name = Field(
        description="The assay plate; pick lists give this as the destination plate type.",
        examples=["384-well 50 uL"],
    )
    wells: Format
    assay_nl: Volume = Field(description="In a well before anything is dispensed, in nL.")
    max_total_nl: Volume = Field(description="Most that may be dispensed into a well, in nL.")
    vehicle_limit: Share = Field(
        0.005, description="Largest fraction of the filled well that may be vehicle."
    )


class LabwareIn(Body):
    dispensers: list[DispenserRow] = Field(min_length=1, max_length=200)
    source_types: list[SourceTypeRow] = Field(max_length=200)
    destinations: list[DestinationRow] = Field(min_length=1, max_length=200)


class LabwareOut(LabwareIn):
    version: int = Field(description="0: the table that comes with the service.")


class StockIn(Body):
    compound: Name = Field(
        description="A registered name or id; where `mm` is 0, the name of the vehicle.",
        examples=["Imatinib"],
    )
    mm: Millimolar
    volume_nl: VolumeOrNone
    plate: Name | None = Field(None, description="Barcode of the source plate.", examples=["SRC1"])
    plate_type: Name | None = Field(
        None, description="Of the labware table.", examples=["384PP_DMSO2"]
    )
    well: WellName | None = None


class StocksIn(Body):
    """An intermediate dilution plate is more stocks of less mM."""

    stocks: list[StockIn] = Field(max_length=20_000, description="One source well each.")


class StockOut(Out):
    compound: str = Field(description="The compound's id, or the name of the vehicle.")
    name: str
    mm: float
    volume_nl: float
    plate: str | None
    plate_type: str | None
    well: str | None


class StocksOut(Out):
    stocks: list[StockOut]
    version: int = Field(description="0: none was ever given.")


class DispensingIn(Body):
    """By what doses are made."""

    destination: Name = Field(description="Of the labware table.", examples=["384-well 50 uL"])
    dispenser: Name = Field(description="Of the labware table.", examples=["Echo 650"])
    tolerance: Share = Field(
        0.1, description="How far a real dose may lie from the nominal one, relative to that."
    )
    compounds_per_well: int = Field(
        2, ge=1, le=4, description="How many compounds share the room of a well."
    )
    fraction: Share | None = Field(
        None,
        description="Vehicle in every well, as a fraction; null: as much as the fullest well has.",
    )
    stock_mm: StockMillimolar | dict[Name, StockMillimolar | list[StockMillimolar]] | None = Field(
        None,
        description="One concentration for all, or one or more by compound; null: the stocks of "
        "the workspace.",
    )

    @field_validator("stock_mm")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if isinstance(value, dict) and not all(value.values()):
            raise ValueError("give each compound a concentration at least, or leave it out")
        return value


class SnappedDoseOut(Out):
    nominal_um: float
    real_um: float
    stock_mm: float
    volume_nl: float


class SnappedCompoundOut(Out):
    compound: str
    name: str
    doses: list[SnappedDoseOut]


class DispensingOut(Out):
    campaign_id: str
    settings: DispensingIn | None = Field(description="Null: the doses were never snapped.")
    compounds: list[SnappedCompoundOut]
    not_snapped: list[str] = Field(description="Compounds that were added since, by id.")


class PlateSummaryOut(Out):
    id: str
    campaign_id: str
    batch_id: str | None
    layout_id: str | None
    number: int
    replicate: int | None
    barcode: str
    format: Format
    origin: PlateOrigin
    status: PlateStatus
    cell_lines: list[str]
    n_wells: int = Field(description="Wells that are not empty.")
    n_excluded: int = Field(description="Wells whose readings must not be used.")
    version: int
    created_by: str
    created_at: datetime
    changed_at: datetime


class ContentOut(Out):
    compound: str
    nominal_um: float
    real_um: float
    stock_mm: float = Field(description="0 where nobody said.")
    volume_nl: float = Field(description="0 where nobody said.")


class WellOut(Out):
    well: str = Field(description="Such as `B3`.")
    role: WellRole
    cell_line: str | None
    block: str | None = Field(description="The batch item, on plates that we issued.")
    replicate: int | None
    vehicle_nl: float
    excluded: str | None = Field(description="Why its reading must not be used.")
    contents: list[ContentOut]


class PlateOut(PlateSummaryOut):
    wells: list[WellOut] = Field(description="All that are not empty, row by row.")


class SubmittedPlatesOut(Out):
    created: int
    existing: int
    plates: list[PlateSummaryOut]


class ControlIn(Body):
    compound: Name
    dose_um: Dose
