"""Cell lines as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from service.kit.schemas import Body, Finite, Name, Out

FeatureValues = Annotated[
    dict[Name, Finite],
    Field(
        max_length=50_000,
        description="Named numbers, such as expression by gene. Lines of one campaign should "
        "carry the same names; a model uses those that all of them share.",
        examples=[{"TP53": 0.4, "EGFR": -1.2}],
    ),
]


class CellLineIn(Body):
    name: Name = Field(examples=["A375"])
    cellosaurus_id: Annotated[str, Field(pattern=r"^CVCL_[A-Z0-9]{4}$")] | None = Field(
        None, examples=["CVCL_0132"]
    )
    tissue: Name | None = None
    features: FeatureValues | None = None


class CellLinesIn(Body):
    cell_lines: list[CellLineIn] = Field(min_length=1, max_length=1000)


class CellLinePatch(Body):
    cellosaurus_id: Annotated[str, Field(pattern=r"^CVCL_[A-Z0-9]{4}$")] | None = None
    tissue: Name | None = None
    features: FeatureValues | None = Field(None, description="Replaces all features.")


class CellLineOut(Out):
    id: str
    name: str
    cellosaurus_id: str | None
    tissue: str | None
    n_features: int
    version: int
    created_at: datetime


class CellLinesRegisteredOut(Out):
    created: int
    existing: int = Field(description="Known by name; what they lacked was added.")
    items: list[CellLineOut] = Field(description="In the order of the request.")


class CellLineFeaturesOut(Out):
    cell_line_id: str
    sha256: str
    features: dict[str, float]
