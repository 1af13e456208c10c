"""What belongs to a campaign, table by table, and what does not, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.assays.field_maps.tables import FieldMap
from service.assays.tables import Measurement, Submission
from service.assays.uploads.tables import PlateReading, PlateResult, Upload, WellFlag
from service.batches.tables import Batch, BatchItem, Recommendation
from service.campaigns.tables import (
    Campaign,
    CampaignCellLine,
    CampaignCompound,
    CampaignPair,
    CampaignSource,
    CandidateMark,
)
from service.cell_lines.tables import CellLine, CellLineFeatures
from service.compounds.tables import Compound, CompoundAlias, Substance
from service.datasets.tables import CampaignDataset, Dataset, DatasetFit
from service.kit.auth.tables import WorkspaceOwned
from service.learning.tables import FittedModel, Prediction, ReplayedCampaign
from service.plates.tables import CampaignDispensing, Plate, PlateLayout, TransferReport
from service.surfaces.tables import SurfaceFit
from service.triage.tables import TriageCard

COMPOUNDS, CELL_LINES = "cmp", "cel"


@dataclass(frozen=True)
class Part:
    """One table of an archive and how its rows are found.

    By ``column``, which is the campaign's id, or the id of a row of ``of``, or, for what the
    workspace owns, one of the ids with this prefix that the rest of the archive names.
    """

    entity: type[WorkspaceOwned]
    column: str = "campaign_id"
    of: tuple[type[WorkspaceOwned], str] | None = None
    named: str | None = None
    originals: tuple[str, ...] = ()
    """Columns that name a file which somebody sent: byte for byte."""
    documents: tuple[str, ...] = ()
    """Columns that name a JSON file of ours, in which ids stand."""
    indexes: tuple[str, ...] = ()
    """Columns that name a document that names more of them."""
    derived: tuple[str, ...] = ()
    """Columns that name a file which is made anew from a document."""
    heavy: tuple[str, ...] = ()
    """Columns whose files come along only with the weights."""
    order: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.entity.__tablename__)  # type: ignore[attr-defined]

    @property
    def table(self) -> Any:
        return self.entity.__table__  # type: ignore[attr-defined]

    @property
    def files(self) -> tuple[str, ...]:
        """Every column that names a file."""
        return (*self.originals, *self.documents, *self.indexes, *self.derived, *self.heavy)


PARTS: tuple[Part, ...] = (
    Part(Campaign, "id"),
    Part(CampaignCompound),
    Part(CampaignCellLine),
    Part(CampaignPair),
    Part(CampaignSource),
    Part(CandidateMark),
    Part(CampaignDispensing),
    Part(FieldMap, "id", of=(Submission, "field_map_id")),
    Part(Submission, originals=("original",)),
    # A correction refers to what it corrects.
    Part(Measurement, order=("version", "id")),
    Part(
        FittedModel,
        documents=("metadata_artifact", "blocks"),
        heavy=("snapshot", "weights"),
    ),
    Part(Prediction),
    Part(
        SurfaceFit,
        documents=("metadata_artifact",),
        indexes=("surfaces",),
        heavy=("snapshot", "weights"),
    ),
    Part(TriageCard, documents=("card", "scores"), heavy=("snapshot",)),
    Part(ReplayedCampaign),
    Part(Recommendation, documents=("candidates",), derived=("table_artifact",)),
    Part(Batch),
    Part(BatchItem),
    Part(PlateLayout, documents=("plan",)),
    Part(Plate),
    Part(TransferReport, "layout_id", of=(PlateLayout, "id"), originals=("original",)),
    Part(Upload, originals=("original",), documents=("parsed",)),
    Part(PlateReading, "plate_id", of=(Plate, "id")),
    Part(PlateResult),
    Part(WellFlag),
    Part(CampaignDataset),
    Part(Dataset, "id", of=(CampaignDataset, "dataset_id"), originals=("original", "content")),
    Part(
        DatasetFit,
        "dataset_id",
        of=(CampaignDataset, "dataset_id"),
        documents=("features", "results", "metadata_artifact"),
        heavy=("weights",),
    ),
    Part(Compound, "id", named=COMPOUNDS),
    Part(CompoundAlias, "compound_id", named=COMPOUNDS),
    Part(Substance, "compound_id", named=COMPOUNDS),
    Part(CellLine, "id", named=CELL_LINES),
    Part(CellLineFeatures, "cell_line_id", named=CELL_LINES),
)
"""In this order they are written: what others name comes last."""

BY_NAME = {part.name: part for part in PARTS}

WITH_ARRAYS = frozenset({"snapshot", "content"})
"""Columns whose file is a description that names a file of ``arrays``."""

ADDED = frozenset(
    {"campaign_source", "campaign_dataset", "dataset", "dataset_fit", "surface_fit", "triage_card"}
)
"""Tables that archives from before them lack: nothing is in them."""

LEFT_OUT = {
    "workspace": "an archive is brought into whatever workspace imports it",
    "api_key": "secrets and who may do what are the installation's",
    "audit_event": "its events of the campaign are in audit.ndjson, which is kept as a file",
    "archive": "an archive does not contain archives",
    "idempotent_answer": "copies of answers, forgotten after a day",
    "job": "work that ended; what it made is in the tables above",
    "job_event": "progress of jobs",
    "job_step": "steps of unfinished jobs",
    "worker_lease": "who works where, now",
    "outbox_event": "tells other systems of changes; they were told, or it is too late",
    "webhook": "addresses and secrets of other systems",
    "webhook_delivery": "letters to those",
    "labware_table": "the laboratory's; what a layout used stands in its settings",
    "stock_table": "what lies ready in a laboratory now; what a layout used is in its settings",
    "quality_limits": "the laboratory's; what a plate was judged by stands in its result",
}
"""Tables that no archive holds, and why."""
