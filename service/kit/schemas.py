"""The strict base of every request body, and the field types that both databases can store."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat


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
    return stripped


Name = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["Vincristine"]),
    AfterValidator(_printable),
    AfterValidator(_trimmed),
]
Text = Annotated[str, Field(max_length=4000), AfterValidator(_printable)]
Finite = Annotated[FiniteFloat, Field(ge=-1e12, le=1e12)]
Dose = Annotated[
    FiniteFloat, Field(gt=0, le=1e6, description="Micromolar, of the free form.", examples=[0.35])
]
IdText = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]{3}_[0-9a-z]{26}$")]
