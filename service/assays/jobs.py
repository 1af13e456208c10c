"""The job of this room. The API imports this module too."""

from __future__ import annotations

from typing import Any

from service.assays import later
from service.kit.jobs import JobContext, handler


@handler(later.SUBMIT, queue="cpu")
def submit(ctx: JobContext) -> dict[str, Any]:
    """Check all of a long table, then store all of it."""
    return later.store(ctx)
