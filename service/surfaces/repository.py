"""SQL of surface fits."""

from __future__ import annotations

from sqlalchemy import Select

from service.kit.repository import Repository
from service.surfaces.tables import SurfaceFit


class SurfaceFitRepository(Repository[SurfaceFit]):
    entity = SurfaceFit
    noun = "surface fit"

    def newest(self, campaign_id: str) -> SurfaceFit | None:
        """The last one that was made; ``None`` before the first."""
        order = SurfaceFit.created_at.desc(), SurfaceFit.id.desc()
        return self.session.scalars(self.of_campaign(campaign_id).order_by(*order)).first()

    def of_campaign(self, campaign_id: str) -> Select[SurfaceFit]:
        return self.readable().where(SurfaceFit.campaign_id == campaign_id)
