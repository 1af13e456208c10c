"""What the API offers is what the models and the tables know, word for word."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from models.acquisition.lab_rules import SHAPES, SINGLE_AGENTS
from models.acquisition.rules import OFFERED
from models.pharmacology.score_rules import SCORES
from models.synergy.registry import AUTO, MODELS
from service.assays import schemas as assays
from service.assays.tables_in import Scale
from service.batches.schemas import BatchItemOut, BatchPatch
from service.batches.tables import ITEM_STATUSES
from service.batches.tables import STATUSES as BATCH_STATUSES
from service.campaigns import schemas as campaigns
from service.campaigns.tables import STATUSES as CAMPAIGN_STATUSES
from service.datasets import schemas as datasets
from service.datasets.tables import HOLDS, KINDS
from service.datasets.tables import STATES as DATASET_STATES
from service.kit.auth import scopes
from service.kit.auth.schemas import ScopeName
from service.kit.jobs.schemas import Status as JobStatus
from service.kit.jobs.tables import FINISHED, UNFINISHED
from service.settings import Settings

PAIRS = {
    "scores": (get_args(campaigns.ScoreName), SCORES),
    "acquisitions": (get_args(campaigns.AcquisitionName), OFFERED),
    "block shapes": (get_args(campaigns.BlockShape), SHAPES),
    "single agents": (get_args(campaigns.SingleAgents), SINGLE_AGENTS),
    "models": (get_args(campaigns.ModelName), {AUTO, *MODELS}),
    "campaign statuses": (get_args(campaigns.Status), CAMPAIGN_STATUSES),
    "item statuses": (get_args(BatchItemOut.model_fields["status"].annotation), ITEM_STATUSES),
    "job statuses": (get_args(JobStatus), UNFINISHED + FINISHED),
    "what data sets hold": (get_args(datasets.Holds), HOLDS),
    "kinds of values": (get_args(datasets.ValueKind), KINDS),
    "states of data sets": (get_args(datasets.State), DATASET_STATES),
    "scopes": (get_args(ScopeName), scopes.DESCRIPTIONS),
}


@pytest.mark.parametrize("words", PAIRS)
def test_the_api_offers_what_there_is(words: str) -> None:
    """A score that the API takes and no model knows would fail hours later, in a worker."""
    offered, known = PAIRS[words]
    assert set(offered) == set(known)
    assert len(offered) == len(set(offered))


def test_a_batch_can_be_moved_to_every_status_but_the_first() -> None:
    """`accepted` is where a batch begins; nobody goes back there."""
    annotation: Any = BatchPatch.model_fields["status"].annotation
    offered = {word for part in get_args(annotation) for word in get_args(part)}
    assert offered == set(BATCH_STATUSES) - {"accepted"}


def test_every_scale_that_can_be_declared_can_be_converted() -> None:
    """The door takes a quantity and a unit in any combination."""
    for quantity in get_args(assays.Quantity):
        for unit in get_args(assays.ScaleUnit):
            assert Scale(quantity, unit).viability(0.25) is not None


def test_every_setting_explains_itself() -> None:
    """An operator reads the settings in the documentation, not the code."""
    short = {"host", "port"}
    silent = [n for n, f in Settings.model_fields.items() if not f.description and n not in short]
    assert silent in ([], ["max_upload_rows"])
