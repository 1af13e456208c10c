"""The strict base of every request body, and the field types that both databases can store."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from models.chemistry.names import fold_name

MAX_FOLDED = 600
"""Longest name once it is folded: a ligature may unfold to a whole sentence."""


class Body(BaseModel):
    """A request body: nothing is coerced, nothing unknown is let through."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Out(BaseModel):
    """A response body, read from rows."""

    model_config = ConfigDict(from_attributes=True, allow_inf_nan=False)


def _printable(text: str) -> str:
    # NUL breaks PostgreSQL, lone surrogates break UTF-8, other controls break CSV and people.
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
            raise ValueError("remove control characters and unpaired surrogates")
    return text


def _trimmed(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise ValueError("must not be blank")
    if "\n" in stripped or "\t" in stripped:
        raise ValueError("must be one line without tabs")
    # The tables refuse these too: a name that nobody can type could never be measured.
    hidden = next((c for c in stripped if _is_hidden(c)), None)
    if hidden is not None:
        raise ValueError(f"remove the invisible character U+{ord(hidden):04X}")
    if len(fold_name(stripped)) > MAX_FOLDED:
        raise ValueError("is too long once its ligatures are spelled out; shorten it")
    return stripped


def _said(text: str) -> str:
    stripped = text.strip()
    if len(stripped) < 3:
        raise ValueError("must say why, in three characters at least")
    return stripped


def _is_hidden(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) != "Zs"


Name = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["Vincristine"]),
    AfterValidator(_printable),
    AfterValidator(_trimmed),
]
Text = Annotated[str, Field(max_length=4000), AfterValidator(_printable)]
Reason = Annotated[
    str, Field(min_length=3, max_length=4000), AfterValidator(_printable), AfterValidator(_said)
]
Finite = Annotated[FiniteFloat, Field(ge=-1e12, le=1e12)]
Dose = Annotated[
    FiniteFloat,
    Field(ge=1e-12, le=1e6, description="Micromolar, of the free form.", examples=[0.35]),
]
IdText = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]{3}_[0-9a-z]{26}$")]
