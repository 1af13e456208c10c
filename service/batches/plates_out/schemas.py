"""Layouts of batches, what a dispenser reported of them, as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.campaigns.schemas import MAX_BLOCK_WELLS, BlockShape, SingleAgents
from service.kit.problems import FieldError
from service.kit.schemas import Body, IdText, Name, Out, Reason
from service.plates.schemas import (
    ControlIn,
    DispensingIn,
    Format,
    PlateStatus,
    Share,
    WellRole,
)

Wells = Annotated[int, Field(ge=0, le=1536)]


class LayoutIn(Body):
    """How plates are filled. Controls stay out of the outer columns and shift from plate to
    plate."""

    edge: Literal["use", "buffer"] = Field("use", description="The outer ring of wells.")
    order: Literal["random", "row_blocks"] = Field(
        "random", description="Wells anywhere on the plate, or block by block (for tips)."
    )
    vehicle: Wells | None = Field(
        None, description="Vehicle controls a plate; null: 16 of 384, scaled.", examples=[16]
    )
    positive: Wells | None = Field(
        None,
        description="Positive controls a plate; null: 8 of 384, scaled, or none where no positive "
        "control is named. A number without a positive control: wells that are filled by hand.",
        examples=[8],
    )
    blank: Wells = Field(0, description="Wells without cells.", examples=[4])
    reference: Wells = Field(2, description="Wells of the reference pair, where there is one.")
    single_agents: SingleAgents | None = Field(
        None,
        description="Null: as the campaign's limits say; where they leave them `elsewhere`, on "
        "each plate.",
    )
    single_replicates: int = Field(1, ge=1, le=100)
    replicates_apart: bool = Field(True, description="Replicates lie on different plates.")
    one_line_per_plate: bool | None = Field(
        None, description="Null: unless the batch put several cell lines on a plate."
    )
    max_plates: int | None = Field(None, ge=1, le=9999)


class PlatesIn(Body):
    """What is not said is as the campaign's doses were snapped."""

    format: Format | None = Field(None, description="Wells; must be those of the destination.")
    destination: Name | None = Field(
        None, description="Of the labware table.", examples=["384-well 50 uL"]
    )
    dispenser: Name | None = Field(None, description="Of the labware table.", examples=["Echo 650"])
    tolerance: Share | None = Field(None, examples=[0.1])
    fraction: Share | None = Field(
        None, description="Vehicle in every well with cells; null: as the fullest well has."
    )
    vehicle: Name = Field("DMSO", description="As the stocks call it.")
    block_shape: BlockShape | None = Field(
        None,
        description="Null: as the campaign's limits say; where they leave it at `single` and "
        "compounds have several doses, the matrix of them.",
    )
    block_wells: int | None = Field(
        None,
        ge=1,
        le=MAX_BLOCK_WELLS,
        description="Of an informed block. Null: as the campaign's limits say.",
    )
    surface_fit_id: IdText | None = Field(
        None, description="Which surfaces inform blocks. Null: the newest of the campaign."
    )
    replicates: int | None = Field(
        None, ge=1, le=20, description="Null: as the campaign's limits say."
    )
    positive_control: ControlIn | None = None
    reference_pair: Annotated[list[ControlIn], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Repeated on every plate to see drift."
    )
    layout: LayoutIn = Field(default_factory=LayoutIn)
    seed: int | None = Field(None, ge=0, lt=2**31, description="Null: a fresh one.")
    barcode_prefix: Annotated[str, Field(pattern=r"^[0-9A-Z]{1,35}$", examples=["SCR7"])] | None = (
        Field(
            None,
            description="Barcodes are this, four digits and a check character; null: a new one.",
        )
    )

    @model_validator(mode="after")
    def _different(self) -> PlatesIn:
        pair = self.reference_pair
        if pair is not None and pair[0].compound == pair[1].compound:
            raise ValueError("the reference pair needs two different compounds")
        return self


class IssuedPlateOut(Out):
    id: str | None = Field(description="Null in a dry run.")
    number: int
    barcode: str | None = Field(description="Null in a dry run.")
    replicate: int | None
    status: PlateStatus | None = Field(description="Null in a dry run.")
    cell_lines: list[str]
    n_wells: int = Field(description="Wells that are not empty.")
    n_excluded: int = Field(description="Wells whose readings must not be used.")
    roles: dict[WellRole, int] = Field(description="Wells of each role.")


class StockNeedOut(Out):
    compound: str
    name: str
    stock_mm: float
    needed_nl: float
    usable_nl: float = Field(
        description="What its source wells or cassettes can give, less what other plates hold."
    )
    planned_nl: float = Field(
        default=0.0,
        description="What other plates hold of it: issued ones, and those made since the stocks "
        "were last given.",
    )
    transfers: int = Field(description="Wells that get some of it.")


class TransferReportOut(Out):
    id: str
    file_name: str | None
    sha256: str
    n_bytes: int
    run: str
    n_transfers: int
    n_failed: int
    created_by: str
    created_at: datetime


class LayoutOut(Out):
    """A batch on plates."""

    id: str | None = Field(description="Null in a dry run.")
    batch_id: str
    status: Literal["issued", "cancelled"] | None = Field(description="Null in a dry run.")
    barcode_prefix: str | None
    seed: int
    format: int
    destination: str
    dispenser: str
    block_shape: BlockShape
    block_wells: int | None = Field(description="Of an informed block, at most.")
    surface_fit_id: str | None = Field(description="What informed the blocks, if anything did.")
    replicates: int
    settings: DispensingIn
    plates: list[IssuedPlateOut]
    stocks: list[StockNeedOut]
    conflicts: list[FieldError] = Field(description="Why it cannot be done; only in a dry run.")
    reports: list[TransferReportOut]


class CancellationIn(Body):
    reason: Reason = Field(examples=["The wrong assay plates were ordered."])


class ChangedDoseOut(Out):
    compound: str
    nominal_um: float
    real_um: float


class ChangedWellOut(Out):
    plate_id: str
    barcode: str
    well: str
    excluded: str | None = Field(description="Why its reading must not be used, if it must not.")
    text: str = Field(description="What differs from the plan; empty where nothing does any more.")
    doses: list[ChangedDoseOut]


class AppliedReportOut(Out):
    outcome: Literal["stored", "existing"]
    report: TransferReportOut
    changed: list[ChangedWellOut] = Field(description="Wells that this report changed.")
    n_excluded: int = Field(description="Wells of the batch that must not be used now.")
