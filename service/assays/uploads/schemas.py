"""Uploads, what was found in them, flags and quality of plates as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from service.assays.schemas import Quantity, ScaleUnit
from service.kit.schemas import Body, Finite, IdText, Name, Out, Reason
from service.plates.schemas import WellName, WellRole

RuleName = Literal["controls-median/1", "plate-effect/1", "growth-rate/1"]
UploadState = Literal["queued", "parsed", "committed", "refused"]
VerdictName = Literal["pass", "warn", "fail"]
DEFAULT_RULE: RuleName = "controls-median/1"


class TimeZeroIn(Body):
    """The plate that was read when the drugs were added; growth rates need it."""

    barcode: Name = Field(description="Its barcode; it may be the plate itself, read earlier.")
    label: Name | None = Field(None, description="Which read of it.")
    upload_id: IdText | None = Field(
        None,
        description="The file that it is in; null: this file.",
        examples=["upl_01k8c3v6s0e9x7q2m4n5p6r7st"],
    )


class PlateChoiceIn(Body):
    """What holds for one plate of the file only."""

    index: int = Field(ge=0, le=10_000, description="The plate, as the preview numbers them.")
    barcode: Name | None = None
    label: Name | None = Field(None, description="The read that counts.")
    skip: bool = Field(False, description="Leave this plate out for good.")
    time_zero: TimeZeroIn | None = None
    accept_flags: bool | list[WellName] | None = Field(
        None, description="Flag the proposed wells: all, none, or these."
    )


class AskedIn(Body):
    """How a file is read and what may be committed. What is left out stays as said before."""

    barcode: Name | None = Field(None, description="The plate, where the file has one only.")
    label: Name | None = Field(
        None, description="Which read counts, where a plate was read several times."
    )
    rule: RuleName = Field(DEFAULT_RULE, description="How readings become viability.")
    time_zero: TimeZeroIn | None = None
    accept_failed: bool = Field(False, description="Take plates that quality control fails.")
    accept_flags: bool = Field(False, description="Flag every well that is proposed.")
    replace_earlier: bool = Field(
        False, description="Take the place of an earlier read of the same plate."
    )
    accept_mixed_scales: bool = Field(
        False, description="Take growth rates beside viabilities of other plates, or vice versa."
    )
    plates: list[PlateChoiceIn] = Field(default_factory=list, max_length=2000)
    quantity: Quantity | None = Field(None, description="Of a table whose scale is not proved.")
    unit: ScaleUnit | None = Field(None, description="Of a table whose scale is not proved.")
    cell_line: Name | None = Field(None, description="Of a table that names none.")
    repeats: Literal["refuse", "replicates"] = Field(
        "refuse", description="Equal rows of a table: refuse them, or number them as replicates."
    )
    confirm_scale: bool = Field(False, description="Accept a scale that looks unlikely.")


class NoteOut(Out):
    code: str
    message: str
    blocking: bool = Field(description="Nothing is committed while this stands.")
    row: int | None = Field(None, description="Line of the file.")


class ReadOut(Out):
    label: str
    kind: str | None = None
    unit: str | None
    time_h: float | None = None
    derived: bool = Field(False, description="Computed by the instrument.")
    n_read: int = Field(description="Wells with a number.")


class UnreadWellOut(Out):
    well: str
    flag: str = Field(description="The instrument's own words.")


class PreviewWellOut(Out):
    well: str
    role: WellRole
    reading: float | None
    viability: float | None = Field(description="Under the rule; nothing is clipped.")
    line: int = Field(description="Line of the file.")


class ProposedFlagOut(Out):
    well: str
    kind: str
    words: str
    viability: float | None
    expected: float | None
    rule: str


class QualityGroupOut(Out):
    """Of the wells of one cell line; a plate mostly has one."""

    cell_line: str | None
    verdict: VerdictName
    reasons: list[str]
    findings: list[dict[str, Any]]
    metrics: dict[str, Any]
    levels: dict[str, Any] | None = Field(description="Where the controls lie, in reader units.")
    noise: dict[str, Any] | None = Field(description="Of one well, as the controls show it.")
    error: str | None = Field(description="Why the rule gives no values.")
    level_sd: float | None = None
    zero_sd: float | None = None
    vehicle_sd: float | None = None
    positive_sd: float | None = None
    well_noise: list[float] | None = Field(
        default=None,
        description="Scatter of one well at value 1 and the degrees of freedom that it rests on: "
        "what models weigh the plate by.",
    )
    shared_sd: float | None = Field(
        default=None,
        description="Relative error at value 1 that all treated wells share: of the control level "
        "and of the plate effect.",
    )
    notes: list[str] = Field(default_factory=list)


class PlateLookOut(Out):
    index: int
    names: list[str] = Field(description="What the file calls it.")
    barcode: str | None
    barcode_from: Literal["request", "file", "file name"] | None
    plate_id: str | None
    skip: bool = False
    reads: list[ReadOut]
    label: str | None = Field(description="The read that counts.")
    unit: str | None
    n_read: int
    n_counted: int = Field(description="Wells that become measurements.")
    missing_wells: list[str]
    outside_wells: list[str]
    unread_wells: list[UnreadWellOut]
    rule: str
    scale: str | None = None
    verdict: VerdictName | None
    reasons: list[str]
    groups: list[QualityGroupOut]
    proposed_flags: list[ProposedFlagOut]
    first_wells: list[PreviewWellOut]
    problems: list[NoteOut]


class LayoutLookOut(Out):
    """A plate that the file tells us of, with what is on it."""

    barcode: str
    format: int
    cell_line: str | None = Field(description="As the file says it.")
    roles: dict[str, int]
    known: bool = Field(description="There is a plate with this barcode and this very map.")


class TableLookOut(Out):
    n_rows: int
    n_without_value: int
    quantity: str | None
    unit: str | None
    reasons: list[str] = Field(description="What proves the scale.")
    must_ask: list[str] = Field(description="What has to be declared: `quantity`, `unit`.")
    dose_unit: str | None
    labels: list[str] = Field(description="Channels and time points.")
    label: str | None
    ignored_columns: list[str]
    first_rows: list[dict[str, Any]]


class Preview(Out):
    """What was found in a file; nothing of it counts yet."""

    kind: Literal["reader", "table", "layout"] | None = None
    instrument: str | None = None
    notes: list[str] = Field(default_factory=list)
    layouts: list[LayoutLookOut] = Field(default_factory=list)
    plates: list[PlateLookOut] = Field(default_factory=list)
    table: TableLookOut | None = None
    problems: list[NoteOut] = Field(default_factory=list)

    @property
    def open(self) -> list[NoteOut]:
        """What stands in the way of a commit."""
        of_plates = [note for plate in self.plates if not plate.skip for note in plate.problems]
        return [note for note in (*self.problems, *of_plates) if note.blocking]


class UploadOut(Out):
    id: str
    campaign_id: str
    outcome: Literal["stored", "existing", "checked"] = Field(
        "existing",
        description="`existing`: these very bytes came before. `checked`: a dry run.",
    )
    state: UploadState = Field(
        description="`queued`: a worker reads it. `parsed`: read, not committed. `refused`: could "
        "not be read; only the original is kept."
    )
    file_name: str
    media_type: str
    sha256: str
    n_bytes: int
    format: str | None
    why: str | None = Field(description="Why it was taken for that format.")
    preview: Preview
    open: list[str] = Field(description="What stands in the way of a commit, in words.")
    job_id: str | None
    submission_id: str | None
    created_by: str
    created_at: datetime
    committed_by: str | None
    committed_at: datetime | None


class UploadSummaryOut(Out):
    id: str
    campaign_id: str
    state: UploadState
    file_name: str
    sha256: str
    n_bytes: int
    format: str | None
    submission_id: str | None
    created_by: str
    created_at: datetime


class FlagsIn(Body):
    wells: list[WellName] | None = Field(
        None, min_length=1, max_length=1536, description="Null: the whole plate."
    )
    reason: Reason = Field(examples=["Edge of the plate dried"])


class LiftIn(Body):
    reason: Reason = Field(examples=["It was another plate"])


class FlagOut(Out):
    id: str
    plate_id: str
    well: str | None = Field(description="Null: the whole plate.")
    reason: str
    rule: str | None = Field(description="The rule that proposed it.")
    created_by: str
    created_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None
    lift_reason: str | None


class NormaliseIn(Body):
    rule: RuleName
    label: Name | None = Field(None, description="Another read of the plate; null: the same.")
    time_zero: TimeZeroIn | None = None


class PlateResultOut(Out):
    id: str
    upload_id: str
    submission_id: str
    label: str
    rule: str
    scale: str
    verdict: VerdictName
    reasons: list[str]
    groups: list[QualityGroupOut]
    n_counted: int
    reason: str = Field(description="Why it was worked out.")
    created_by: str
    created_at: datetime


class ReadSummaryOut(Out):
    upload_id: str
    label: str
    unit: str | None
    n_wells: int
    n_read: int
    lowest: float | None
    highest: float | None


class PlateQualityOut(Out):
    plate_id: str
    barcode: str
    results: list[PlateResultOut] = Field(description="Oldest first; the last one counts.")
    flags: list[FlagOut] = Field(description="Lifted ones included.")
    reads: list[ReadSummaryOut]


LimitNumber = Annotated[Finite, Field(ge=-1e6, le=1e6)]


class LimitIn(Body):
    warn: LimitNumber | None = Field(description="Null: never.")
    fail: LimitNumber | None = Field(description="Null: never.")


class QualityLimitsIn(Body):
    """What is left out gets the default of the house."""

    robust_z_prime: LimitIn | None = Field(None, examples=[{"warn": 0.5, "fail": 0.0}])
    robust_ssmd: LimitIn | None = None
    signal_to_background: LimitIn | None = None
    robust_cv_vehicle: LimitIn | None = None
    edge: LimitIn | None = None
    trend: LimitIn | None = None
    replicate_sd: LimitIn | None = None
    drift: LimitIn | None = None
    missing: LimitIn | None = None
    outliers: LimitIn | None = None
    vehicle_wells: LimitIn | None = None
    p_value: Annotated[Finite, Field(gt=0, lt=1)] | None = None


class QualityLimitsOut(QualityLimitsIn):
    version: int = Field(description="0: the defaults.")


def file_request_body() -> dict[str, Any]:
    """OpenAPI of a file: any bytes; what they are is found out from them."""
    return {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/octet-stream", "text/csv", "text/plain")
        },
    }
