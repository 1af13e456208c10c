"""The job of this room. The API imports this module too, so torch is imported inside."""

from __future__ import annotations

from typing import Any

from service.kit.jobs import JobContext, handler

RECOMMEND = "recommend"


@handler(RECOMMEND, queue="train")
def recommend(ctx: JobContext) -> dict[str, Any]:
    """Learn from everything measured, rank everything measurable, choose the next batch."""
    from service.batches.recommending import RecommendJob

    return RecommendJob(ctx).run()
