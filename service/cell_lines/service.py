"""Rules of cell lines: a name leads to one line; features replace, never merge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from models.chemistry.names import fold_name
from service.cell_lines.repository import CellLineFeaturesRepository, CellLineRepository
from service.cell_lines.schemas import CellLineIn, CellLinePatch
from service.cell_lines.tables import CellLine, CellLineFeatures
from service.kit import etag
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.problems import FieldError, Invalid, NotFound
from service.kit.unit import Unit


class CellLineService:
    def __init__(self, unit: Unit) -> None:
        self.session = unit.session
        self.lines = CellLineRepository(unit.session, unit.principal)
        self.features = CellLineFeaturesRepository(unit.session, unit.principal)

    def register(self, items: Sequence[CellLineIn]) -> list[CellLine]:
        """Register all of ``items`` or none."""
        known = self.lines.by_folded({fold_name(item.name) for item in items})
        errors = _repeated(items, known)
        if errors:
            raise Invalid(
                f"Nothing was registered. Row {errors[0].row}: {errors[0].message}", errors=errors
            )
        lines = [
            self.lines.add(
                CellLine(
                    id=new_id("cel"),
                    name=item.name,
                    folded=fold_name(item.name),
                    cellosaurus_id=item.cellosaurus_id,
                    tissue=item.tissue,
                    n_features=len(item.features or {}),
                )
            )
            for item in items
        ]
        self.session.flush()
        for line, item in zip(lines, items, strict=True):
            if item.features:
                self._store(line, item.features)
        self.session.flush()
        return lines

    def patch(self, line: CellLine, change: CellLinePatch) -> CellLine:
        """Change what is said of a line; features replace the former ones as a whole."""
        if "cellosaurus_id" in change.model_fields_set:
            line.cellosaurus_id = change.cellosaurus_id
        if "tissue" in change.model_fields_set:
            line.tissue = change.tissue
        if change.features is not None:
            line.n_features = len(change.features)
            etag.touch(line)  # there may be as many as before
            self._store(line, change.features)
        self.session.flush()
        return line

    def features_of(self, line: CellLine) -> CellLineFeatures:
        """The features of a line, or a 404 that says how to add them."""
        row = self.features.of_line(line.id)
        if row is None:
            raise NotFound(f"{line.name} has no features. PATCH it with `features` to add them.")
        return row

    def _store(self, line: CellLine, values: dict[str, float]) -> None:
        digest = hashlib.sha256(dump_json(sorted(values.items())).encode()).hexdigest()
        row = self.features.of_line(line.id)
        if row is None:
            row = CellLineFeatures(cell_line_id=line.id, sha256=digest, values=values)
            self.features.add(row)
        else:
            row.sha256, row.values = digest, values


def _repeated(items: Sequence[CellLineIn], known: dict[str, CellLine]) -> list[FieldError]:
    first: dict[str, int] = {}
    errors = []
    for row, item in enumerate(items):
        folded = fold_name(item.name)
        message = None
        if folded in known:
            message = f"{item.name!r} is registered already ({known[folded].id}); PATCH it instead."
        elif folded in first:
            message = f"{item.name!r} is listed twice, in rows {first[folded]} and {row}; keep one."
        if message:
            errors.append(
                FieldError(
                    code="repeated_name",
                    message=message,
                    pointer=f"/cell_lines/{row}/name",
                    row=row,
                    column="name",
                )
            )
        first.setdefault(folded, row)
    return errors
