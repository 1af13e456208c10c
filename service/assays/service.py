"""Rules of submissions: a table is stored whole or not at all, exactly once, as it came."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.assays.repository import MeasurementRepository, SubmissionRepository
from service.assays.schemas import CorrectionIn
from service.assays.tables import Measurement, Submission
from service.assays.tables_in import Chunk, RowProblem, Scale, TableError, WellRow
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.audit.recorder import give_reason, record
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.names import NameDirectory
from service.kit.problems import MAX_ERRORS, Conflict, FieldError, Invalid
from service.kit.unit import Unit

MAX_DOSES = 3
MAX_LABEL = 200


@dataclass(frozen=True)
class Table:
    """A table that can be read twice: once to check all of it, once to store it."""

    media_type: str
    content: Callable[[], bytes]
    sha256: str
    n_bytes: int
    read: Callable[[], Iterator[Chunk]]
    scale: Callable[[], Scale]
    ignored_columns: Callable[[], list[str]]
    suffix: str
    note: str | None = None
    base: str | None = None
    """JSON pointer of the list that the rows come from, if they do."""


@dataclass
class _Findings:
    """What the first reading found."""

    n_rows: int = 0
    errors: list[FieldError] = field(default_factory=list)
    n_errors: int = 0

    def add(self, error: FieldError) -> None:
        self.n_errors += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)


class SubmissionService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.campaigns = CampaignService(unit)
        self.submissions = SubmissionRepository(unit.session, unit.principal)
        self.measurements = MeasurementRepository(unit.session, unit.principal)

    def submit(self, campaign_id: str, table: Table, *, dry_run: bool) -> tuple[Submission, str]:
        """Check all of ``table``, then store all of it. Returns the submission and the outcome."""
        # Checked first and on a connection of its own: SQLite has one write lock for everybody,
        # and reading a long table must not hold it.
        with self.unit.parts.database.reading() as session:
            known, n_rows = SubmissionService(replace(self.unit, session=session)).check(
                campaign_id, table
            )
        campaign = self.campaigns.campaigns.get(campaign_id)
        known = known or self._known(campaign, table)
        if known is not None:
            return known, "existing"
        submission = self._describe(campaign, table, n_rows)
        if dry_run:
            return submission, "checked"
        self.campaigns.require_not_closed(campaign)
        submission.original = self.unit.parts.artifacts.put(table.content(), table.suffix)
        self.submissions.add(submission)
        self.session.flush()
        self._store(submission, table, *self.campaigns.member_directories(campaign))
        return submission, "stored"

    def check(self, campaign_id: str, table: Table) -> tuple[Submission | None, int]:
        """An earlier submission of the same bytes, or how many good rows there are.

        Raises with every problem of the table where it has any.
        """
        campaign = self.campaigns.campaigns.get(campaign_id)
        self.campaigns.require_not_closed(campaign)
        known = self._known(campaign, table)
        if known is not None:
            return known, 0
        findings = _check(table, *self.campaigns.member_directories(campaign))
        if findings.n_errors:
            raise _refusal(findings)
        return None, findings.n_rows

    def correct(self, measurement: Measurement, change: CorrectionIn) -> Measurement:
        """A new version of a well. The former one stays, for ever, as it was."""
        if (change.value is None) != change.withdrawn:
            raise _bad_correction("Give either a new value, or withdrawn: true.")
        scale = self._scale_of(measurement)
        if change.value is not None and not scale.is_plausible(change.value):
            raise _bad_correction(
                f"The original submission holds {scale}; {change.value:g} looks like percent."
            )
        self.campaigns.require_not_closed(self.campaigns.campaigns.get(measurement.campaign_id))
        later = self.measurements.successor(measurement.id)
        if later is not None:
            raise Conflict(
                f"{measurement.id} was corrected before; correct its present version, {later.id}."
            )
        give_reason(self.session, change.reason)
        successor = _next_version(measurement, scale, change)
        successor.created_by = self.unit.principal.actor
        self.measurements.add(successor)
        self.session.flush()
        record(
            self.session,
            "measurement.corrected",
            "measurement",
            measurement.id,
            old={"viability": measurement.viability},
            new={
                "id": successor.id,
                "viability": successor.viability,
                "withdrawn": change.withdrawn,
            },
        )
        return successor

    def _known(self, campaign: Campaign, table: Table) -> Submission | None:
        """An earlier submission of the same bytes, which must have been declared the same."""
        known = self.submissions.with_content(campaign.id, table.sha256)
        if known is None:
            return None
        before, now = Scale(known.quantity, known.unit), _scale_of(table)  # type: ignore[arg-type]
        if now != before:
            raise Conflict(
                f"These bytes were submitted before, as {known.id}, and read as {before}; now they "
                f"are declared as {now}. Withdraw the wells of {known.id} if that was wrong, and "
                f"submit the table with its scale in the header."
            )
        return known

    def _scale_of(self, measurement: Measurement) -> Scale:
        submission = self.submissions.get(measurement.submission_id)
        return Scale(submission.quantity, submission.unit)  # type: ignore[arg-type]

    def _describe(self, campaign: Campaign, table: Table, n_rows: int) -> Submission:
        scale = table.scale()
        return Submission(
            id=new_id("smn"),
            campaign_id=campaign.id,
            media_type=table.media_type,
            original="",
            sha256=table.sha256,
            n_bytes=table.n_bytes,
            n_measurements=n_rows,
            quantity=scale.quantity,
            unit=scale.unit,
            ignored_columns=table.ignored_columns(),
            note=table.note,
            created_by=self.unit.principal.actor,
            created_at=utcnow(),
        )

    def _store(
        self, submission: Submission, table: Table, compounds: NameDirectory, lines: NameDirectory
    ) -> None:
        shared = {
            "campaign_id": submission.campaign_id,
            "submission_id": submission.id,
            "created_by": submission.created_by,
            "created_at": submission.created_at,
            "version": 1,
            "withdrawn": False,
        }
        for chunk in table.read():
            rows = [{**shared, **_as_row(row, compounds, lines)} for row in chunk.rows]
            if rows:
                self.measurements.insert(rows)


def _scale_of(table: Table) -> Scale:
    try:
        return table.scale()
    except TableError as error:
        findings = _Findings()
        for problem in error.problems:
            findings.add(_as_error(problem))
        raise _refusal(findings) from None


def _check(table: Table, compounds: NameDirectory, lines: NameDirectory) -> _Findings:
    findings = _Findings()
    try:
        for chunk in table.read():
            findings.n_rows += len(chunk.rows)
            for problem in chunk.problems:
                findings.add(_as_error(problem))
            findings.n_errors += chunk.problem_count - len(chunk.problems)
            for row in chunk.rows:
                for error in (*_wrong_names(row, compounds, lines), *_long_labels(row)):
                    findings.add(_placed(table, error))
    except TableError as error:
        for problem in error.problems:
            findings.add(_as_error(problem))
    if not findings.n_rows and not findings.n_errors:
        message = "The table has no rows. Nothing was stored."
        findings.add(FieldError(code="empty", message=message))
    return findings


def _wrong_names(
    row: WellRow, compounds: NameDirectory, lines: NameDirectory
) -> Iterator[FieldError]:
    if lines.resolve(row.cell_line) is None:
        message = lines.unknown(row.cell_line, "Correct the name, or add the line to the campaign.")
        yield _row_error(row, "unknown_cell_line", "cell_line", message)
    ids = []
    for name, _ in row.components:
        identifier = compounds.resolve(name)
        if identifier is None:
            fix = "Correct the name, or add the compound to the campaign."
            yield _row_error(row, "unknown_compound", "compound", compounds.unknown(name, fix))
        ids.append(identifier)
    if len(set(ids)) < len(ids) and None not in ids:
        names = " and ".join(repr(name) for name, _ in row.components)
        message = f"{names} are names of one compound; a combination needs different ones."
        yield _row_error(row, "same_compound", "compound", message)


def _long_labels(row: WellRow) -> Iterator[FieldError]:
    for column in ("plate", "well", "replicate", "block"):
        length = len(getattr(row, column) or "")
        if length > MAX_LABEL:
            message = f"The {column} has {length} characters; shorten it to {MAX_LABEL}."
            yield _row_error(row, "field_too_long", column, message)


def _row_error(row: WellRow, code: str, column: str, message: str) -> FieldError:
    return FieldError(code=code, message=f"Row {row.row}: {message}", row=row.row, column=column)


def _placed(table: Table, error: FieldError) -> FieldError:
    """``error`` with a pointer, where the table is a list in a JSON body."""
    if table.base is None:
        return error
    step = "doses" if error.column == "compound" else error.column
    return error.model_copy(update={"pointer": f"{table.base}/{error.row}/{step}", "column": None})


def _as_error(problem: RowProblem) -> FieldError:
    place = problem.column or ""
    pointer, column = (place, None) if place.startswith("/") else (None, problem.column)
    return FieldError(
        code=problem.code, message=problem.message, row=problem.row, pointer=pointer, column=column
    )


def _refusal(findings: _Findings) -> Invalid:
    more = f" ({findings.n_errors - 1} more problems)" if findings.n_errors > 1 else ""
    return Invalid(
        f"Nothing was stored. {findings.errors[0].message}{more}",
        errors=findings.errors,
        error_count=findings.n_errors,
    )


def _bad_correction(message: str) -> Invalid:
    return Invalid(
        message, errors=[FieldError(code="correction", message=message, pointer="/value")]
    )


def _as_row(row: WellRow, compounds: NameDirectory, lines: NameDirectory) -> dict[str, Any]:
    treatment = sorted((str(compounds.resolve(name)), dose) for name, dose in row.components)
    return {
        "id": new_id("mea"),
        "row": row.row,
        "cell_line_id": lines.resolve(row.cell_line),
        **_spread(treatment),
        "raw_value": row.raw_value,
        "viability": row.viability,
        "plate": row.plate,
        "well": row.well,
        "replicate": row.replicate,
        "block": row.block,
    }


def _spread(treatment: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """One treatment as the six columns that hold it."""
    columns: dict[str, Any] = {}
    for letter, component in itertools.zip_longest("abc", treatment):
        compound, dose = component or (None, None)
        columns[f"compound_{letter}_id"], columns[f"dose_{letter}_um"] = compound, dose
    return columns


def _next_version(former: Measurement, scale: Scale, change: CorrectionIn) -> Measurement:
    raw = former.raw_value if change.value is None else change.value
    copied = {
        column: getattr(former, column)
        for column in [
            "campaign_id",
            "submission_id",
            "row",
            "cell_line_id",
            "plate",
            "well",
            "replicate",
            "block",
            "compound_a_id",
            "dose_a_um",
            "compound_b_id",
            "dose_b_um",
            "compound_c_id",
            "dose_c_um",
        ]
    }
    return Measurement(
        **copied,
        id=new_id("mea"),
        raw_value=raw,
        viability=scale.viability(raw),
        version=former.version + 1,
        corrects_id=former.id,
        withdrawn=change.withdrawn,
        reason=change.reason,
    )
