"""Field maps as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.assays.schemas import Quantity, ScaleUnit
from service.kit.schemas import Body, Name, Out, Text


class FieldMapColumn(Body):
    column: Name = Field(
        description="Their name. Case, outer blanks and the two micro signs do not matter.",
        examples=["Compound A"],
    )
    field: Name = Field(
        description="The column of ours that it is read as.", examples=["compound_1"]
    )
    required: bool = Field(True, description="Refuse a table without it.")


class FieldMapDefinition(Body):
    """Which columns are read as what, and what the table does not say itself."""

    columns: list[FieldMapColumn] = Field(min_length=1, max_length=60)
    cell_line: Name | None = Field(None, description="For tables without that column.")
    quantity: Quantity | None = Field(
        None, description="What the values say, if the column of ours does not; else the uploader."
    )
    unit: ScaleUnit | None = Field(None, description="How they say it, likewise.")
    dose_unit: Name | None = Field(None, description="Such as uM, for columns like dose_1.")
    decimal: Literal[".", ","] | None = None
    repeats: Literal["refuse", "replicates"] = "refuse"
    description: Text | None = None


class FieldMapIn(Body):
    """A map of one's own, or one that comes with the service."""

    name: Name = Field(examples=["CDD protocol 12"])
    ready: Name | None = Field(
        None,
        description="Copy this ready map (see `/v1/ready-field-maps`).",
        examples=["benchling"],
    )
    definition: FieldMapDefinition | None = None


class FieldMapOut(Out):
    id: str
    name: str
    version: int = Field(description="Counts the definitions under this name.")
    definition: FieldMapDefinition
    created_by: str
    created_at: datetime


class ReadyFieldMapOut(Out):
    name: str
    definition: FieldMapDefinition


class ReadyFieldMapsOut(Out):
    items: list[ReadyFieldMapOut]
