"""Submissions and measurements as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.assays.tables import Submission
from service.kit.schemas import Body, Finite, Name, Out, Reason, Text

Quantity = Literal["viability", "inhibition"]
ScaleUnit = Literal["fraction", "percent"]


class ComponentIn(Body):
    compound: Name = Field(description="A name or id of the campaign's compounds.")
    dose_um: Finite = Field(description="Micromolar; 0 means not in the well.", examples=[0.35])


class MeasurementIn(Body):
    cell_line: Name = Field(examples=["A375"])
    doses: list[ComponentIn] = Field(
        default_factory=list,
        max_length=3,
        description="None: vehicle control. One: single agent. In any order.",
    )
    value: Finite = Field(examples=[0.42])
    plate: Name | None = None
    well: Name | None = Field(None, examples=["B03"])
    replicate: Name | None = Field(None, examples=["1"])
    block: Name | None = Field(
        None, description="Tells the repeated single agents of several dose matrices apart."
    )


class SubmissionIn(Body):
    quantity: Quantity = Field(description="What the values say.")
    unit: ScaleUnit = Field(description="How they say it.")
    measurements: list[MeasurementIn] = Field(min_length=1, max_length=50_000)
    note: Text | None = None


class SubmissionOut(Out):
    id: str
    campaign_id: str
    outcome: Literal["stored", "existing", "checked"] = Field(
        description="`existing`: these very bytes were submitted before; nothing was added. "
        "`checked`: a dry run, nothing was stored."
    )
    media_type: str
    sha256: str
    n_bytes: int
    n_measurements: int
    quantity: str
    unit: str
    ignored_columns: list[str]
    field_map_id: str | None = Field(description="The version of the field map that read it.")
    dataset_fit_id: str | None = Field(
        description="The fit of time courses that its values were derived from."
    )
    note: str | None
    created_by: str
    created_at: datetime


def describe_submission(submission: Submission, outcome: str = "stored") -> SubmissionOut:
    """What the outside sees of a submission."""
    columns = (name for name in SubmissionOut.model_fields if name != "outcome")
    return SubmissionOut(outcome=outcome, **{name: getattr(submission, name) for name in columns})


class CorrectionIn(Body):
    value: Finite | None = Field(None, description="On the scale of the original submission.")
    withdrawn: bool = Field(False, description="True: the well does not count any more.")
    reason: Reason = Field(
        description="Why. It stays in the record.", examples=["Edge of the plate dried"]
    )


class ComponentOut(Out):
    compound: str = Field(description="Compound id.")
    dose_um: float


class MeasurementOut(Out):
    id: str
    submission_id: str
    row: int = Field(description="Line of the file, or index in the JSON list.")
    cell_line: str = Field(description="Cell line id.")
    doses: list[ComponentOut] = Field(description="In ascending order of id.")
    viability: float = Field(description="Fraction of the vehicle control, 1 = untreated.")
    raw_value: float
    plate: str | None
    well: str | None
    replicate: str | None
    block: str | None
    version: int
    corrects: str | None = Field(description="Id of the version that this one corrects.")
    withdrawn: bool
    reason: str | None
    created_by: str
    created_at: datetime


def submission_request_body() -> dict[str, Any]:
    """OpenAPI of the request body, which is JSON or a table by its content type."""
    table = {"schema": {"type": "string"}, "example": _EXAMPLE}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/SubmissionIn"}},
            "text/csv": table,
            "text/tab-separated-values": {"schema": {"type": "string"}},
        },
    }


_EXAMPLE = (
    "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_fraction\n"
    "A375,Imatinib,0.35,Vincristine,0.01,0.42\n"
)
