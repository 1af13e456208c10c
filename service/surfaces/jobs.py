"""The job of this room. The API imports this module too, so models are imported inside."""

from __future__ import annotations

from typing import Any

from service.kit.jobs import JobContext, handler
from service.surfaces.service import FIT_SURFACES, SAMPLE_SURFACE


@handler(FIT_SURFACES, queue="train")
def fit_surfaces(ctx: JobContext) -> dict[str, Any]:
    """Surface models beside baselines on all blocks; the best-judged one says every surface."""
    from service.surfaces.making import SurfaceJob

    return SurfaceJob(ctx).run()


@handler(SAMPLE_SURFACE, queue="train")
def sample_surface(ctx: JobContext) -> dict[str, Any]:
    """Synthetic replicates of one block given its wells; nothing is stored as measured."""
    from service.surfaces.sampling import SampleJob

    return SampleJob(ctx).run()
