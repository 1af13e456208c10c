"""Compounds as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.kit.schemas import Body, Name, Out, Text


def _distinct(symbols: list[str]) -> list[str]:
    if len(set(symbols)) != len(symbols):
        raise ValueError("name each gene once")
    return sorted(symbols)


Targets = Annotated[
    list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]],
    Field(
        min_length=1,
        max_length=50,
        description="Gene symbols of what it acts on, as your data of expression write them.",
        examples=[["MAP2K1", "MAP2K2"]],
    ),
    AfterValidator(_distinct),
]


class CompoundIn(Body):
    name: Name = Field(examples=["Imatinib"])
    smiles: Text | None = Field(
        None,
        description="The form you hold, salt included; null for a compound without a structure.",
        examples=["Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"],
    )
    aliases: list[Name] = Field(
        default_factory=list, max_length=50, description="Other names of the same compound."
    )
    targets: Targets | None = None


class CompoundsIn(Body):
    compounds: list[CompoundIn] = Field(min_length=1, max_length=1000)


class CompoundPatch(Body):
    name: Name | None = Field(None, description="A new preferred name; the old one stays an alias.")
    smiles: Text | None = Field(
        None, description="The structure, for a compound that was registered without one."
    )
    add_aliases: list[Name] = Field(default_factory=list, max_length=50)
    targets: Targets | None = Field(None, description="Replaces all that were named before.")


class SubstanceOut(Out):
    id: str
    name: str
    smiles: str
    inchikey: str
    molecular_weight: float
    parent_count: int = Field(description="Parents in one formula unit (2 in a hemi-salt).")
    is_salt: bool
    note: str = Field(description="What was taken away to find the parent, or why nothing was.")


class CompoundOut(Out):
    id: str
    name: str
    aliases: list[str]
    inchikey: str | None = Field(description="Identity: InChIKey of the desalted parent.")
    smiles: str | None = Field(description="Canonical SMILES of the parent.")
    formula: str | None
    molecular_weight: float | None = Field(description="Of the parent, g/mol.")
    targets: list[str] | None
    substances: list[SubstanceOut] = Field(description="The forms it was registered in.")
    version: int
    created_at: datetime


class RegisteredOut(Out):
    outcome: Literal["created", "existing"] = Field(
        description="`existing`: the structure was known; the name became an alias of it."
    )
    compound: CompoundOut


class CompoundsRegisteredOut(Out):
    created: int
    existing: int
    items: list[RegisteredOut] = Field(description="In the order of the request.")
