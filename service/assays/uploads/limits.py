"""Rules of the limits that plates are judged by: one set for a workspace, edited as a whole."""

from __future__ import annotations

from typing import Any

from service.assays.uploads.repository import QualityLimitsRepository
from service.assays.uploads.schemas import QualityLimitsIn, QualityLimitsOut
from service.assays.uploads.tables import QualityLimits
from service.kit import etag
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.problems import FieldError, Invalid
from service.kit.unit import Unit


class LimitsService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.rows = QualityLimitsRepository(unit.session, unit.principal)

    def present(self) -> dict[str, Any]:
        """The limits in force, in full."""
        from service.assays.uploads.judging import check_limits  # scipy, when it is needed

        row = self.rows.present()
        return check_limits({} if row is None else row.definition)

    def describe(self) -> QualityLimitsOut:
        """The limits as the outside sees them."""
        row = self.rows.present()
        version = 0 if row is None else row.version
        return QualityLimitsOut.model_validate({**self.present(), "version": version})

    def edit(self, body: QualityLimitsIn, if_match: str | None) -> QualityLimitsOut:
        """Put other limits in the place of the present ones, whose version is asked for. Plates
        that were judged keep their verdicts."""
        from service.assays.uploads.judging import check_limits

        row = self.rows.present()
        etag.check(if_match, 0 if row is None else row.version)
        try:
            definition = check_limits(body.model_dump(exclude_none=True) | _switched_off(body))
        except ValueError as error:
            message = f"{str(error)[:1].upper()}{str(error)[1:]}."
            raise Invalid(message, errors=[FieldError(code="limits", message=message)]) from None
        if row is None:
            row = self.rows.add(QualityLimits(id=new_id("qcl")))
        row.definition, row.changed_by = definition, self.unit.principal.actor
        row.changed_at = utcnow()
        self.unit.session.flush()
        return self.describe()


def _switched_off(body: QualityLimitsIn) -> dict[str, Any]:
    """Limits in full: null in a limit means that its level is switched off."""
    given = body.model_dump(exclude_none=False)
    return {name: value for name, value in given.items() if isinstance(value, dict)}
