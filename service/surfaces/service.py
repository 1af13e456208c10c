"""Asking for surfaces, and reading them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.campaigns.tables import Campaign
from service.kit.jobs import Job
from service.kit.names import is_called
from service.kit.problems import Conflict, FieldError, Invalid, NotFound
from service.kit.unit import Unit
from service.learning.service import LearningService, draw_seed, request_job, rules_of
from service.learning.sources import count_measured_blocks
from service.surfaces.repository import SurfaceFitRepository
from service.surfaces.schemas import SurfaceSamplesIn
from service.surfaces.tables import SurfaceFit

FIT_SURFACES, SAMPLE_SURFACE = "fit_surfaces", "sample_surface"
FEWEST_BLOCKS = 12
"""Measured pairs in cell lines: with fewer no surface model is fitted."""
Rows = list[dict[str, Any]]


class SurfaceService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.campaigns = LearningService(unit).campaigns
        self.fits = SurfaceFitRepository(unit.session, unit.principal)

    def fit(self, campaign: Campaign, seed: int | None) -> Job:
        """Ask for surfaces learned from everything measured so far."""
        self._require_measured(campaign)
        args = {"rules": rules_of(campaign), "seed": draw_seed(seed)}
        return request_job(self.unit, FIT_SURFACES, campaign, args)

    def sample(self, campaign: Campaign, body: SurfaceSamplesIn) -> Job:
        """Ask for synthetic replicates of one block, given what was measured of it."""
        compounds, lines = self.campaigns.member_directories(campaign)
        asked = [
            (compounds, body.compounds[0], "/compounds/0"),
            (compounds, body.compounds[1], "/compounds/1"),
            (lines, body.cell_line, "/cell_line"),
        ]
        found = [directory.resolve(said) for directory, said, _ in asked]
        fix = "It must be in the campaign."
        errors = [
            FieldError(code="unknown", message=directory.unknown(said, fix), pointer=pointer)
            for (directory, said, pointer), known in zip(asked, found, strict=True)
            if known is None
        ]
        if not errors and found[0] == found[1]:
            message = "A block has two compounds; these are one."
            errors = [FieldError(code="compounds", message=message, pointer="/compounds/1")]
        if errors:
            raise Invalid(errors[0].message, errors=errors)
        self._require_measured(campaign)
        args = {
            "rules": rules_of(campaign), "seed": draw_seed(body.seed), "draws": body.draws,
            "compounds": found[:2], "cell_line": found[2],
        }  # fmt: skip
        return request_job(self.unit, SAMPLE_SURFACE, campaign, args)

    def _require_measured(self, campaign: Campaign) -> None:
        self.campaigns.require_not_closed(campaign)
        measured = count_measured_blocks(self.unit, campaign)
        if measured < FEWEST_BLOCKS:
            raise Conflict(
                f"{measured} pairs in cell lines are measured, surfaces need {FEWEST_BLOCKS} to "
                f"learn from. Measure a few blocks and their single agents first."
            )

    def blocks(
        self, fit: SurfaceFit, compounds: Sequence[str | None], cell_line: str, limit: int
    ) -> Rows:
        """At most ``limit`` blocks of a cell line with all of these compounds, by name or id."""
        rows = self._of_line(fit, cell_line)
        wanted = [one.casefold() for one in compounds if one is not None]
        kept = (
            row
            for row in rows
            if all(any(is_called(each, one) for each in row["compounds"]) for one in wanted)
        )
        return [row for row, _ in zip(kept, range(limit), strict=False)]

    def template(
        self,
        fit: SurfaceFit,
        compounds: tuple[str, str],
        cell_line: str,
        shape: str | None,
        count: int,
    ) -> dict[str, Any]:
        """The wells of a block template that are not measured yet, by their value."""
        found = self.blocks(fit, compounds, cell_line, 1)
        if compounds[0].casefold() == compounds[1].casefold():
            message = "A block has two compounds; these are one."
            wrong = FieldError(code="compounds", message=message, pointer="query/partner")
            raise Invalid(message, errors=[wrong])
        if not found:
            raise NotFound(
                f"{fit.id} has no surface of {compounds[0][:60]!r} with {compounds[1][:60]!r} in "
                f"{cell_line[:60]!r}."
            )
        campaign = self.campaigns.campaigns.get(fit.campaign_id)
        shape = shape or str((campaign.lab or {}).get("block_shape") or "matrix")
        block = found[0]
        wells = block["next_diagonal"] if shape == "diagonal" else block["next_wells"]
        return {
            "surface_fit_id": fit.id,
            "served": fit.served,
            "block_shape": shape,
            "compounds": block["compounds"],
            "cell_line": block["cell_line"],
            "wells": wells[: 1 if shape == "single" else count],
        }

    def _of_line(self, fit: SurfaceFit, cell_line: str) -> Rows:
        artifacts = self.unit.parts.artifacts
        index: Rows = json.loads(artifacts.get(fit.surfaces))
        for line in index:
            if is_called(line, cell_line.casefold()):
                rows: Rows = json.loads(artifacts.get(line["blocks"]))
                return rows
        raise NotFound(f"{fit.id} has no surfaces in {cell_line[:60]!r}.")
