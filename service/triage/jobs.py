"""The job of this room. The API imports this module too, so models are imported inside."""

from __future__ import annotations

from typing import Any

from service.kit.jobs import JobContext, handler
from service.triage.service import TRIAGE


@handler(TRIAGE, queue="train")
def triage(ctx: JobContext) -> dict[str, Any]:
    """A scorecard of everything measured so far, and the points of everything that is not."""
    from service.triage.making import TriageJob

    return TriageJob(ctx).run()
