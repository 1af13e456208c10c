"""Rules of cell lines: a name leads to one line; features replace, never merge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.chemistry.names import fold_name
from service.cell_lines.repository import CellLineFeaturesRepository, CellLineRepository
from service.cell_lines.schemas import CellLineIn, CellLinePatch
from service.cell_lines.tables import CellLine, CellLineFeatures
from service.kit import etag
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.problems import FieldError, Invalid, NotFound
from service.kit.unit import Unit


@dataclass(frozen=True)
class Registered:
    """One line of a registration: the cell line, and whether it is new."""

    line: CellLine
    created: bool


class CellLineService:
    def __init__(self, unit: Unit) -> None:
        self.session = unit.session
        self.lines = CellLineRepository(unit.session, unit.principal)
        self.features = CellLineFeaturesRepository(unit.session, unit.principal)

    def register(self, items: Sequence[CellLineIn]) -> list[Registered]:
        """Register all of ``items`` or none. A known name is that line: what it lacks is added,
        what contradicts it is refused."""
        known = self.lines.by_folded({fold_name(item.name) for item in items})
        features = self.features.of_lines([line.id for line in known.values()])
        errors = [*_repeated(items), *_contradictions(items, known, features)]
        if errors:
            raise Invalid(
                f"Nothing was registered. Row {errors[0].row}: {errors[0].message}", errors=errors
            )
        registered = []
        for item in items:
            line = known.get(fold_name(item.name))
            registered.append(Registered(line or self._create(item), line is None))
        self.session.flush()  # features point at their line by id alone
        for one, item in zip(registered, items, strict=True):
            self._add_what_is_missing(one, item)
        self.session.flush()
        return registered

    def _create(self, item: CellLineIn) -> CellLine:
        return self.lines.add(
            CellLine(
                id=new_id("cel"),
                name=item.name,
                folded=fold_name(item.name),
                cellosaurus_id=item.cellosaurus_id,
                tissue=item.tissue,
                n_features=len(item.features or {}),
            )
        )

    def _add_what_is_missing(self, registered: Registered, item: CellLineIn) -> None:
        line = registered.line
        line.cellosaurus_id = line.cellosaurus_id or item.cellosaurus_id
        line.tissue = line.tissue or item.tissue
        if item.features and (registered.created or not line.n_features):
            line.n_features = len(item.features)
            self._store(line, item.features)

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
        digest = _digest(values)
        row = self.features.of_line(line.id)
        if row is None:
            row = CellLineFeatures(cell_line_id=line.id, sha256=digest, values=values)
            self.features.add(row)
        else:
            row.sha256, row.values = digest, values


def _repeated(items: Sequence[CellLineIn]) -> list[FieldError]:
    first: dict[str, int] = {}
    errors = []
    for row, item in enumerate(items):
        before = first.setdefault(fold_name(item.name), row)
        if before != row:
            message = f"{item.name!r} is listed twice, in rows {before} and {row}; keep one."
            errors.append(_error("repeated_name", message, row, "name"))
    return errors


def _contradictions(
    items: Sequence[CellLineIn],
    known: Mapping[str, CellLine],
    features: Mapping[str, Mapping[str, float]],
) -> list[FieldError]:
    """Where an item says of a known line what is not so."""
    errors = []
    for row, item in enumerate(items):
        line = known.get(fold_name(item.name))
        if line is None:
            continue
        for name in ("cellosaurus_id", "tissue"):
            here, there = getattr(item, name), getattr(line, name)
            if here is not None and there is not None and here != there:
                message = (
                    f"{item.name!r} is registered ({line.id}) with {name} {there!r}, not {here!r}. "
                    "PATCH it to change that, or leave the field out."
                )
                errors.append(_error("contradiction", message, row, name))
        stored = features.get(line.id)
        if item.features and stored is not None and _digest(stored) != _digest(item.features):
            message = (
                f"{item.name!r} is registered ({line.id}) with other features. "
                "PATCH it to replace them, or leave the field out."
            )
            errors.append(_error("contradiction", message, row, "features"))
    return errors


def _error(code: str, message: str, row: int, column: str) -> FieldError:
    return FieldError(
        code=code, message=message, pointer=f"/cell_lines/{row}/{column}", row=row, column=column
    )


def _digest(values: Mapping[str, float]) -> str:
    return hashlib.sha256(dump_json(sorted(values.items())).encode()).hexdigest()
