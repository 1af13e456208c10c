"""Surfaces as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.kit.schemas import Body, Name, Out

Grid = list[list[float]]


class SurfacesIn(Body):
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Of weights, folds and masks. Null: one is drawn; stored with the fit.",
        examples=[7],
    )


class SurfaceSamplesIn(Body):
    """One block of which some wells were measured."""

    compounds: list[Name] = Field(
        min_length=2,
        max_length=2,
        description="By name or id.",
        examples=[["Imatinib", "Dasatinib"]],
    )
    cell_line: Name = Field(description="By name or id.", examples=["A2058"])
    draws: int = Field(
        50, ge=1, le=100, description="Samples of each well of the block.", examples=[20]
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="Null: one is drawn; stored with the job.", examples=[7]
    )


class SurfaceFitOut(Out):
    id: str
    campaign_id: str
    job_id: str
    served: str = Field(description="The model whose surfaces are given: the best-judged one.")
    n_blocks: int = Field(description="Measured blocks that it learned from.")
    n_surfaces: int = Field(description="Blocks with a surface, measured or not.")
    report: dict[str, Any] = Field(
        description="`evidence`: by pattern of measured wells and by model, `rmse`, `elpd` (log "
        "density, nats a well), `coverage_50` and `coverage_90` on held-out pairs, and `words` why "
        "this model is served; `fit`: how the operator was fitted and calibrated; `left_out`."
    )
    seed: int
    device: str
    versions: dict[str, str]
    created_at: datetime


class SurfaceNamed(Out):
    id: str
    name: str


class NextWell(Out):
    row: int = Field(description="Position in the first compound's doses, from 0.")
    column: int = Field(description="Position in the second compound's doses, from 0.")
    doses_um: list[float]
    taken: float = Field(
        description="Share of the surface's variance that it takes off, given those before it."
    )
    sd_left: float = Field(description="Root mean square sd of the surface after it.")


class SurfaceBlock(Out):
    compounds: list[SurfaceNamed]
    cell_line: SurfaceNamed
    doses_um: list[list[float]] = Field(description="Of the first and of the second compound.")
    margins: list[list[float]] = Field(description="Single agents at these doses.")
    margins_measured: list[bool] = Field(
        description="False: no single agent was measured in this line; what is usual for it."
    )
    bliss: Grid = Field(description="Product of the margins: rows are the first compound's doses.")
    mean: Grid
    low_50: Grid = Field(description="A measured well lies between with 50 %.")
    high_50: Grid
    low_90: Grid
    high_90: Grid
    measured: list[list[float | None]] = Field(description="Mean of the wells; null: none.")
    n_wells: list[list[int]]
    next_wells: list[NextWell] = Field(
        description="Wells not measured yet, the one that teaches most of the surface first."
    )


class SurfaceBlocksOut(Out):
    surface_fit_id: str
    served: str
    items: list[SurfaceBlock]


class TemplateOut(Out):
    surface_fit_id: str
    served: str
    block_shape: str
    compounds: list[SurfaceNamed]
    cell_line: SurfaceNamed
    wells: list[NextWell] = Field(
        description="Wells of the template not measured yet, the one that teaches most first."
    )
