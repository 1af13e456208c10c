"""SQL of field maps."""

from __future__ import annotations

from sqlalchemy import Select

from service.assays.field_maps.tables import FieldMap
from service.kit.repository import Repository


class FieldMapRepository(Repository[FieldMap]):
    entity = FieldMap
    noun = "field map"

    def named(self, folded: str) -> Select[FieldMap]:
        """All versions of one map."""
        return self.readable().where(FieldMap.folded == folded)

    def latest(self, folded: str) -> FieldMap | None:
        """The present version of a map."""
        statement = self.named(folded).order_by(FieldMap.version.desc()).limit(1)
        return self.session.scalar(statement)
