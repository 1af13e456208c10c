"""Rules of submissions: a table is stored whole or not at all, exactly once, as it came."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.assays.checking import long_labels, wrong_names
from service.assays.repository import MeasurementRepository, SubmissionRepository
from service.assays.schemas import CorrectionIn
from service.assays.spool import RowSpool
from service.assays.tables import Measurement, Submission
from service.assays.tables_in import Chunk, RowProblem, Scale, TableError, WellRow
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.audit.recorder import give_reason, record
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.names import NameDirectory
from service.kit.outbox import emit
from service.kit.problems import MAX_ERRORS, Conflict, FieldError, Invalid
from service.kit.unit import Unit

MAX_DOSES = 3
_COPIED = (
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
)
RAW = "raw"
"""Quantity of submissions whose raw values are readings of plates; see :mod:`.uploads`."""


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
    explain: Callable[[FieldError], FieldError] = lambda error: error
    """Names the column of a row's problem as its owner does."""
    field_map_id: str | None = None
    dataset_fit_id: str | None = None
    """The fit of time courses that its values were derived from."""


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
        with RowSpool() as spool:
            known, n_rows = self.look(campaign_id, table, spool)
            campaign = self.campaigns.campaigns.get(campaign_id)
            known = known or self._known(campaign, table)
            if known is not None:
                return known, "existing"
            if dry_run:
                return self._describe(campaign, table, n_rows), "checked"
            return self.keep(campaign_id, table, spool, n_rows)

    def known(self, campaign_id: str, table: Table) -> Submission | None:
        """An earlier submission of the same bytes to a campaign that still takes them."""
        campaign = self.campaigns.campaigns.get(campaign_id)
        self.campaigns.require_not_closed(campaign)
        return self._known(campaign, table)

    def look(
        self,
        campaign_id: str,
        table: Table,
        spool: RowSpool,
        on_rows: Callable[[int], None] = lambda n_rows: None,
    ) -> tuple[Submission | None, int]:
        """:meth:`check` on a connection of its own: SQLite has one write lock for everybody, and
        reading a long table must not hold it. ``on_rows`` is told how many rows were read."""
        with self.unit.parts.database.reading() as session:
            service = SubmissionService(replace(self.unit, session=session))
            return service.check(campaign_id, table, spool, on_rows)

    def keep(
        self, campaign_id: str, table: Table, spool: RowSpool, n_rows: int
    ) -> tuple[Submission, str]:
        """Store what :meth:`look` found good."""
        campaign = self.campaigns.campaigns.get(campaign_id)
        known = self._known(campaign, table)
        if known is not None:
            return known, "existing"
        self.campaigns.require_not_closed(campaign)
        submission = self._describe(campaign, table, n_rows)
        submission.original = self.unit.parts.artifacts.put(table.content(), table.suffix)
        self.submissions.add(submission)
        self.session.flush()
        self._store(submission, spool)
        emit(self.session, "submission.stored", submission, n_measurements=n_rows)
        return submission, "stored"

    def check(
        self,
        campaign_id: str,
        table: Table,
        spool: RowSpool | None = None,
        on_rows: Callable[[int], None] = lambda n_rows: None,
    ) -> tuple[Submission | None, int]:
        """An earlier submission of the same bytes, or how many good rows there are, which then
        are in ``spool``.

        Raises with every problem of the table where it has any.
        """
        known = self.known(campaign_id, table)
        if known is not None:
            return known, 0
        campaign = self.campaigns.campaigns.get(campaign_id)
        findings = _check(table, spool, on_rows, *self.campaigns.member_directories(campaign))
        if findings.n_errors:
            raise _refusal(findings)
        return None, findings.n_rows

    def correct(self, measurement: Measurement, change: CorrectionIn) -> Measurement:
        """A new version of a well. The former one stays, for ever, as it was."""
        self._refuse_plate_well(measurement)
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
        emit(self.session, "measurement.corrected", successor, corrects=measurement.id)
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

    def revise(
        self, submission: Submission, plate: str, wells: Sequence[WellRow], reason: str
    ) -> dict[str, int]:
        """Make ``wells`` what counts of one plate of ``submission``, each under its name; names
        are ids. What differs gets a new version, what is not among them is withdrawn."""
        former = self.measurements.latest_of_plate(submission.id, plate)
        rows = {well.well: _as_columns(well) for well in wells}
        made: list[dict[str, Any]] = []
        counts = {"restored": 0, "withdrawn": 0, "changed": 0}
        for name in sorted({*former, *rows}, key=str):
            old, new = former.get(name), rows.get(name)
            what = _difference(old, new)
            if what is None:
                continue
            counts[what] += 1
            columns = new if new is not None else _columns_of(old)
            version = 1 if old is None else old.version + 1
            corrects = None if old is None else old.id
            withdrawn = what == "withdrawn"
            made.append({**columns, "version": version, "corrects_id": corrects,
                         "withdrawn": withdrawn})  # fmt: skip
        if made:
            shared = {**self._shared(submission), "reason": reason}
            shared |= {"created_by": self.unit.principal.actor, "created_at": utcnow()}
            self.measurements.insert([{**shared, **row, "id": new_id("mea")} for row in made])
            give_reason(self.session, reason)
            new = {"plate": plate, **counts}
            record(self.session, "submission.revised", "submission", submission.id, new=new)
        return counts

    def _refuse_plate_well(self, measurement: Measurement) -> None:
        """Wells of plates follow from readings, a rule and flags, and from nothing else."""
        if self.submissions.get(measurement.submission_id).quantity == RAW:
            raise _bad_correction(
                "This well was derived from a plate's reading. Flag it with POST "
                "/v1/plates/{plate_id}/flags, or normalise the plate by another rule."
            )

    def _known(self, campaign: Campaign, table: Table) -> Submission | None:
        """An earlier submission of the same bytes, which must have been declared the same."""
        known = self.submissions.with_content(campaign.id, table.sha256)
        if known is None:
            return None
        before, now = Scale(known.quantity, known.unit), scale_of(table)  # type: ignore[arg-type]
        if known.field_map_id != table.field_map_id:
            raise Conflict(
                f"These bytes were submitted before, as {known.id}, with "
                f"{_map_named(known.field_map_id)}; now with {_map_named(table.field_map_id)}."
            )
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
            field_map_id=table.field_map_id,
            dataset_fit_id=table.dataset_fit_id,
            note=table.note,
            created_by=self.unit.principal.actor,
            created_at=utcnow(),
        )

    def _store(self, submission: Submission, spool: RowSpool) -> None:
        shared = {
            **self._shared(submission),
            "created_by": submission.created_by,
            "created_at": submission.created_at,
            "version": 1,
            "withdrawn": False,
        }
        for rows in spool.chunks():
            self.measurements.insert(
                [{**shared, "id": new_id("mea"), **_as_columns(row)} for row in rows]
            )

    @staticmethod
    def _shared(submission: Submission) -> dict[str, Any]:
        return {"campaign_id": submission.campaign_id, "submission_id": submission.id}


def _map_named(identifier: str | None) -> str:
    return f"field map {identifier}" if identifier else "no field map"


def scale_of(table: Table) -> Scale:
    """The scale of ``table``, or a problem with its header."""
    try:
        return table.scale()
    except TableError as error:
        findings = _Findings()
        for problem in error.problems:
            findings.add(_as_error(problem))
        raise _refusal(findings) from None


def _check(
    table: Table,
    spool: RowSpool | None,
    on_rows: Callable[[int], None],
    compounds: NameDirectory,
    lines: NameDirectory,
) -> _Findings:
    findings = _Findings()
    try:
        for chunk in table.read():
            findings.n_rows += len(chunk.rows)
            for problem in chunk.problems:
                findings.add(_as_error(problem))
            findings.n_errors += chunk.problem_count - len(chunk.problems)
            for row in chunk.rows:
                for error in (*wrong_names(row, compounds, lines), *long_labels(row)):
                    findings.add(_placed(table, error))
            if spool is not None and chunk.rows and not findings.n_errors:
                spool.add([_with_ids(row, compounds, lines) for row in chunk.rows])
            on_rows(findings.n_rows)
    except TableError as error:
        for problem in error.problems:
            findings.add(_as_error(problem))
    if not findings.n_rows and not findings.n_errors:
        message = "The table has no rows. Nothing was stored."
        findings.add(FieldError(code="empty", message=message))
    return findings


def _placed(table: Table, error: FieldError) -> FieldError:
    """``error`` with a pointer, where the table is a list in a JSON body."""
    if table.base is None:
        return table.explain(error)
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


def _with_ids(row: WellRow, compounds: NameDirectory, lines: NameDirectory) -> WellRow:
    components = sorted((str(compounds.resolve(name)), dose) for name, dose in row.components)
    line = str(lines.resolve(row.cell_line))
    return replace(row, cell_line=line, components=tuple(components))


def _as_columns(row: WellRow) -> dict[str, Any]:
    """A row whose names are ids, as columns."""
    return {
        "row": row.row,
        "cell_line_id": row.cell_line,
        **_spread(sorted(row.components)),
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


def _columns_of(row: Measurement | None) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*_COPIED, "raw_value", "viability")}


def _difference(old: Measurement | None, new: dict[str, Any] | None) -> str | None:
    """What has to be done so that ``new`` counts where ``old`` is the latest version."""
    if old is None:
        return "restored"
    if new is None:
        return None if old.withdrawn else "withdrawn"
    if old.withdrawn:
        return "restored"
    return None if _columns_of(old) == new else "changed"


def _next_version(former: Measurement, scale: Scale, change: CorrectionIn) -> Measurement:
    raw = former.raw_value if change.value is None else change.value
    copied = {
        column: getattr(former, column) for column in ("campaign_id", "submission_id", *_COPIED)
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
