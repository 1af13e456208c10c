"""SQL of cell lines."""

from __future__ import annotations

from collections.abc import Iterable

from service.cell_lines.tables import CellLine, CellLineFeatures
from service.kit.repository import Repository, in_chunks


class CellLineRepository(Repository[CellLine]):
    entity = CellLine
    noun = "cell line"

    def by_folded(self, folded: Iterable[str]) -> dict[str, CellLine]:
        found: dict[str, CellLine] = {}
        for chunk in in_chunks(folded):
            statement = self.readable().where(CellLine.folded.in_(chunk))
            found.update((row.folded, row) for row in self.session.scalars(statement))
        return found

    def everything(self) -> list[tuple[str, str, str]]:
        """(folded, as written, id) of every cell line in the workspace."""
        statement = self.columns(CellLine.folded, CellLine.name, CellLine.id)
        return [(row[0], row[1], row[2]) for row in self.session.execute(statement)]


class CellLineFeaturesRepository(Repository[CellLineFeatures]):
    entity = CellLineFeatures
    noun = "feature vector"

    def of_line(self, cell_line_id: str) -> CellLineFeatures | None:
        return self.session.scalar(
            self.readable().where(CellLineFeatures.cell_line_id == cell_line_id)
        )

    def of_lines(self, identifiers: Iterable[str]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for chunk in in_chunks(identifiers):
            statement = self.readable().where(CellLineFeatures.cell_line_id.in_(chunk))
            found.update((row.cell_line_id, row.values) for row in self.session.scalars(statement))
        return found
