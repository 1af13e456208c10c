"""Data sets and what was learned from them, as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.datasets.tables import Dataset
from service.kit.schemas import Body, IdText, Name, Out

Holds = Literal["responses", "time_courses", "cell_counts"]
ValueKind = Literal["log_ratio", "counts", "signal"]
State = Literal["queued", "ready", "refused"]


class PerturbationOut(Out):
    name: str = Field(description="As the file writes it.")
    unit: Literal["uM", "own", "level"] = Field(
        description="`own`: the file's numbers have no unit; `level`: it gives no doses."
    )
    compound_id: str | None = Field(description="The compound of that name, if one is registered.")


class DatasetOut(Out):
    id: str
    name: str
    holds: Holds
    kind: ValueKind = Field(description="`log_ratio`, `counts`, or the `signal` of an instrument.")
    filename: str
    media_type: str
    sha256: str
    n_bytes: int
    state: State = Field(description="`queued`: a worker reads it.")
    job_id: str
    problem: str | None = Field(description="Where it was refused: place, reason and fix.")
    perturbations: list[PerturbationOut]
    summary: dict[str, Any] | None = Field(
        description="Numbers of rows, controls, singles and pairs; names; what was left aside."
    )
    created_by: str
    created_at: datetime


class AttachIn(Body):
    dataset_id: IdText = Field(examples=["dst_01k5x0y9n3v8q2m4t6r7w9a1bc"])


class AttachedOut(Out):
    campaign_id: str
    dataset_id: str
    created_by: str
    created_at: datetime


class FitIn(Body):
    seed: int | None = Field(None, ge=0, lt=2**31, examples=[7])


class ViabilityIn(Body):
    campaign_id: IdText = Field(examples=["cam_01k5x0y9n3v8q2m4t6r7w9a1bc"])
    experiments: list[Name] | None = Field(
        None,
        min_length=1,
        max_length=1_000,
        description="Names in the results of the fit; all of them if left out.",
        examples=[["PC9 / LCL161 + OSI-906"]],
    )
    cell_line: Name | None = Field(
        None, description="Of data sets that name none.", examples=[None]
    )
    despite_doubt: bool = Field(
        False, description="Also take experiments whose fit says that it must not be trusted."
    )


class FitOut(Out):
    id: str
    dataset_id: str
    job_id: str
    model: str = Field(description="What was chosen by held-out evidence.")
    skill: float = Field(
        description="Share of what the best baseline leaves unexplained that the model explains "
        "on data held out; 0 where it adds nothing, and then it has no say in recommendations."
    )
    report: dict[str, Any] = Field(description="Held-out evidence of every model and baseline.")
    seed: int
    device: str
    versions: dict[str, Any]
    created_at: datetime


def describe_dataset(row: Dataset, compounds: dict[str, str | None]) -> DatasetOut:
    """A data set, with the compounds that its perturbations are."""
    summary = dict(row.summary) if row.summary is not None else None
    found = summary.pop("perturbations") if summary is not None else []
    plain = {name: getattr(row, name) for name in _PLAIN}
    perturbations = [
        PerturbationOut(**each, compound_id=compounds.get(each["name"])) for each in found
    ]
    return DatasetOut(**plain, perturbations=perturbations, summary=summary)


_PLAIN = tuple(name for name in DatasetOut.model_fields if name not in ("perturbations", "summary"))


class ReadoutInteraction(Out):
    name: str
    interaction: float = Field(description="Response of the pair minus the sum of its parts.")
    sd: float


class MechanismOut(Out):
    """What a data set says of a pair of compounds."""

    dataset_id: str
    fit_id: str
    skill: float = Field(description="Of the fit; 0: it has no say in the ranking.")
    words: str
    measured: bool = Field(description="Whether the pair itself is in the data set.")
    strength: float = Field(description="Root mean square of the interaction over readouts.")
    interaction: list[ReadoutInteraction] = Field(description="Clearest first.")
    supported: bool = Field(description="Whether the network has a path between their targets.")
    mediators: list[dict[str, Any]] = Field(description="Genes that both reach.")
    edges: list[dict[str, Any]] = Field(
        description="What the interaction of the network rests on; `drop` without the edge."
    )
