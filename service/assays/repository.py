"""SQL of submissions and measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, exists, func, insert
from sqlalchemy.orm import aliased

from service.assays.tables import Measurement, Submission
from service.kit.repository import Repository

_Later = aliased(Measurement)
COMPOUND_COLUMNS = (
    Measurement.compound_a_id,
    Measurement.compound_b_id,
    Measurement.compound_c_id,
)
DOSE_COLUMNS = (Measurement.dose_a_um, Measurement.dose_b_um, Measurement.dose_c_um)


class SubmissionRepository(Repository[Submission]):
    entity = Submission
    noun = "submission"

    def with_content(self, campaign_id: str, sha256: str) -> Submission | None:
        return self.session.scalar(
            self.readable().where(
                Submission.campaign_id == campaign_id, Submission.sha256 == sha256
            )
        )

    def of_campaign(self, campaign_id: str) -> Select[Submission]:
        return self.readable().where(Submission.campaign_id == campaign_id)


class MeasurementRepository(Repository[Measurement]):
    entity = Measurement
    noun = "measurement"

    def insert(self, rows: list[dict[str, Any]]) -> None:
        """Many rows at once, into the principal's workspace."""
        owner = self.principal.workspace_id
        # The table, not the class: nothing is to be tracked, and it takes half the time.
        table = Measurement.metadata.tables["measurement"]
        self.session.execute(insert(table), [{**row, "workspace_id": owner} for row in rows])

    def successor(self, measurement_id: str) -> Measurement | None:
        return self.session.scalar(self.readable().where(Measurement.corrects_id == measurement_id))

    def latest_of_plate(self, submission_id: str, plate: str) -> dict[str | None, Measurement]:
        """The latest version of every well of a plate in a submission, by name of the well."""
        statement = self.readable().where(
            Measurement.submission_id == submission_id, Measurement.plate == plate
        )
        return {
            row.well: row for row in self.session.scalars(statement.order_by(Measurement.version))
        }

    def of_campaign(self, campaign_id: str, *, current: bool) -> Select[Measurement]:
        statement = self.readable().where(Measurement.campaign_id == campaign_id)
        return statement.where(*_is_current()) if current else statement

    def stream(self, campaign_id: str) -> Iterator[Measurement]:
        """Every current well, oldest first, without holding all of them in memory."""
        statement = self.of_campaign(campaign_id, current=True).order_by(Measurement.id)
        yield from self.session.scalars(statement.execution_options(yield_per=1000))

    def wells(self, campaign_id: str) -> list[Any]:
        """Every current well as a plain tuple: line, three compounds, three doses, viability.

        Ordered by content as well as by time, so that a screen does not depend on chance.
        """
        return self._wells([campaign_id])

    def wells_of(self, campaign_ids: Sequence[str]) -> list[Any]:
        """As :meth:`wells` of several campaigns, followed by the submission, the name of the plate
        and the campaign: in the order of time over all of them, as if they were one."""
        more = (Measurement.submission_id, Measurement.plate, Measurement.campaign_id)
        return self._wells(campaign_ids, *more)

    def _wells(self, campaign_ids: Sequence[str], *more: Any) -> list[Any]:
        columns = (Measurement.cell_line_id, *COMPOUND_COLUMNS, *DOSE_COLUMNS)
        statement = (
            self.columns(*columns, Measurement.viability, *more)
            .where(Measurement.campaign_id.in_(campaign_ids), *_is_current())
            .order_by(Measurement.id)
        )
        return list(self.session.execute(statement))

    def count_wells(self, campaign_ids: Sequence[str]) -> dict[str, int]:
        """Current wells of each campaign that has any."""
        statement = (
            self.columns(Measurement.campaign_id, func.count())
            .where(Measurement.campaign_id.in_(campaign_ids), *_is_current())
            .group_by(Measurement.campaign_id)
        )
        return {row[0]: row[1] for row in self.session.execute(statement)}

    def of_fits(self, campaign_id: str, fit_ids: Select[str]) -> set[tuple[str, str | None]]:
        """(submission, block) of the current wells that were derived from one of these fits."""
        statement = (
            self.columns(Measurement.submission_id, Measurement.block)
            .join(Submission, Submission.id == Measurement.submission_id)
            .where(
                Measurement.campaign_id == campaign_id,
                Submission.dataset_fit_id.in_(fit_ids),
                *_is_current(),
            )
            .distinct()
        )
        return {(row[0], row[1]) for row in self.session.execute(statement)}

    def measured_blocks(self, campaign_id: str) -> list[tuple[str, str, str, int]]:
        """(compound a, compound b, cell line, wells) of the pairs that have current wells."""
        a, b = Measurement.compound_a_id, Measurement.compound_b_id
        line = Measurement.cell_line_id
        statement = (
            self.columns(a, b, line, func.count())
            .where(
                Measurement.campaign_id == campaign_id,
                b.is_not(None),
                Measurement.compound_c_id.is_(None),
                *_is_current(),
            )
            .group_by(a, b, line)
        )
        return [(row[0], row[1], row[2], row[3]) for row in self.session.execute(statement)]

    def blocks_of_submission(self, submission_id: str) -> set[tuple[str, str, str]]:
        """The pair blocks that a submission added wells to."""
        a, b = Measurement.compound_a_id, Measurement.compound_b_id
        statement = (
            self.columns(a, b, Measurement.cell_line_id)
            .where(
                Measurement.submission_id == submission_id,
                b.is_not(None),
                Measurement.compound_c_id.is_(None),
            )
            .distinct()
        )
        return {(row[0], row[1], row[2]) for row in self.session.execute(statement)}


def _is_current() -> tuple[Any, ...]:
    """Not withdrawn, and no later version corrects it."""
    return (
        Measurement.withdrawn.is_(False),
        ~exists().where(_Later.corrects_id == Measurement.id),
    )
