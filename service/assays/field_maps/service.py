"""Rules of field maps: a name leads to its newest version, an id to exactly one."""

from __future__ import annotations

from models.chemistry.names import fold_name
from service.assays.field_maps.repository import FieldMapRepository
from service.assays.field_maps.rules import HeaderMap, faults, merged, ready_maps
from service.assays.field_maps.schemas import FieldMapDefinition, FieldMapIn
from service.assays.field_maps.tables import FieldMap
from service.assays.tables_in import Declaration, TableError
from service.kit.ids import new_id
from service.kit.problems import FieldError, Invalid, NotFound
from service.kit.unit import Unit


class FieldMapService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.maps = FieldMapRepository(unit.session, unit.principal)

    def save(self, body: FieldMapIn) -> tuple[FieldMap, bool]:
        """The map under this name as it shall be now; whether that is a new version."""
        definition = _definition(body).model_dump()
        found = faults(definition)
        if found:
            base = "" if body.ready else "/definition"
            errors = [
                FieldError(code=code, message=message, pointer=f"{base}{pointer}")
                for code, pointer, message in found
            ]
            raise Invalid(f"The map cannot be used. {errors[0].message}", errors=errors)
        folded = fold_name(body.name)
        latest = self.maps.latest(folded)
        if latest is not None and latest.definition == definition:
            return latest, False
        row = FieldMap(
            id=new_id("fmp"),
            name=body.name,
            folded=folded,
            version=1 if latest is None else latest.version + 1,
            definition=definition,
            created_by=self.unit.principal.actor,
        )
        self.maps.add(row)
        self.unit.session.flush()
        return row, True

    def find(self, reference: str) -> FieldMap:
        """The newest version of a name, or the version with this id."""
        row = self.maps.find(reference) or self.maps.latest(fold_name(reference))
        if row is None:
            raise NotFound(
                f"There is no field map {reference[:60]!r} in this workspace. "
                f"POST /v1/field-maps makes one."
            )
        return row

    def apply(
        self, reference: str | None, declared: Declaration
    ) -> tuple[Declaration, FieldMap | None, HeaderMap | None]:
        """What is declared with the map, its row, and how it reads a header."""
        if reference is None:
            return declared, None, None
        row = self.find(reference)
        try:
            declared = merged(row.name, row.definition, declared)
        except TableError as error:
            (problem,) = error.problems
            pointer = f"query/{problem.column}"
            errors = [FieldError(code=problem.code, message=problem.message, pointer=pointer)]
            raise Invalid(problem.message, errors=errors) from None
        return declared, row, HeaderMap.of(row.name, row.definition)


def _definition(body: FieldMapIn) -> FieldMapDefinition:
    if (body.ready is None) == (body.definition is None):
        message = "Give either a definition, or the name of a ready map."
        raise Invalid(message, errors=[_error("/definition", message)])
    if body.definition is not None:
        return body.definition
    known = ready_maps()
    if body.ready not in known:
        message = f"There is no such ready map. There are: {', '.join(known)}."
        raise Invalid(message, errors=[_error("/ready", message)])
    return FieldMapDefinition.model_validate(known[body.ready])


def _error(pointer: str, message: str) -> FieldError:
    return FieldError(code="field_map", message=message, pointer=pointer)
