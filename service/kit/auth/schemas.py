"""API keys and workspaces as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, Strict

from service.kit.schemas import Body, Name, Out

ScopeName = Literal[
    "read",
    "compounds:write",
    "cell-lines:write",
    "campaigns:write",
    "measurements:write",
    "models:run",
    "batches:write",
    "admin",
]


class ApiKeyIn(Body):
    name: Name = Field(examples=["LIMS"])
    scopes: list[ScopeName] = Field(
        min_length=1, max_length=8, examples=[["read", "measurements:write"]]
    )
    expires_at: Annotated[datetime, Strict(False)] | None = Field(
        None, description="With a time zone; null for never.", examples=["2030-01-01T00:00:00Z"]
    )


class ApiKeyOut(Out):
    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewApiKeyOut(ApiKeyOut):
    key: str | None = Field(
        description="The key itself. Shown this once: we keep only its hash, so a replay of the "
        "request answers null."
    )


class WorkspaceOut(Out):
    id: str
    name: str
    created_at: datetime
