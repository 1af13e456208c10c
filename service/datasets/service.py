"""Rules of data sets: the same bytes declared alike are one; nothing is read in a request."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from service.campaigns.repository import CampaignRepository
from service.compounds.repository import AliasRepository
from service.datasets.repository import (
    CampaignDatasetRepository,
    DatasetFitRepository,
    DatasetRepository,
)
from service.datasets.tables import CampaignDataset, Dataset, DatasetFit
from service.kit.body import ReceivedBody
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import Job, enqueue
from service.kit.jobs.repository import JobRepository
from service.kit.names import NameDirectory
from service.kit.problems import Conflict, FieldError, Invalid, NotFound
from service.kit.unit import Unit

READ_DATASET, FIT_DATASET = "read_dataset", "fit_dataset"


@dataclass(frozen=True)
class Declared:
    """What is said with a file, and decides how it is read."""

    holds: str
    kind: str
    treatment_column: str | None = None
    batch_column: str | None = None
    joined_by: str | None = None

    def digest(self) -> str:
        return hashlib.sha256(dump_json(asdict(self)).encode()).hexdigest()


class DatasetService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.datasets = DatasetRepository(unit.session, unit.principal)
        self.links = CampaignDatasetRepository(unit.session, unit.principal)
        self.fits = DatasetFitRepository(unit.session, unit.principal)
        self.jobs = JobRepository(unit.session, unit.principal)

    def take(
        self, received: ReceivedBody, name: str, filename: str, media_type: str, said: Declared
    ) -> tuple[Dataset, bool]:
        """Keep a file and ask a worker to read it. The same again: the data set that it is."""
        _check(said)
        if received.length == 0:
            raise _invalid("empty", "The file is empty; send its bytes as the body.", None)
        known = self.datasets.same(received.sha256, said.digest())
        if known is not None:
            if known.state == "queued":
                # Nothing happens while a worker has it; a job that was cancelled is replaced.
                known.job_id = self._ask_to_read(known).id
            return known, False
        dataset = Dataset(
            id=new_id("dst"), name=name, holds=said.holds, kind=said.kind, filename=filename,
            media_type=media_type, sha256=received.sha256, declared=said.digest(),
            asked=asdict(said), original=self._keep(received), n_bytes=received.length,
            state="queued", created_by=self.unit.principal.actor,
        )  # fmt: skip
        dataset.job_id = self._ask_to_read(dataset).id
        self.datasets.add(dataset)
        self.session.flush()
        return dataset, True

    def attach(self, campaign_id: str, dataset_id: str) -> CampaignDataset:
        """Let a campaign learn from a data set. Again: nothing changes."""
        campaign = self._open_campaign(campaign_id)
        dataset = self.datasets.get(dataset_id)
        if dataset.state == "refused":
            raise Conflict(f"{dataset.id} could not be read, so nothing is learned from it.")
        known = self.links.link(campaign, dataset.id)
        if known is not None:
            return known
        link = CampaignDataset(
            campaign_id=campaign, dataset_id=dataset.id, created_by=self.unit.principal.actor
        )
        self.links.add(link)
        self.session.flush()
        return link

    def detach(self, campaign_id: str, dataset_id: str) -> None:
        """Let a campaign no longer learn from a data set."""
        link = self.links.link(self._open_campaign(campaign_id), dataset_id)
        if link is None:
            raise NotFound(f"{dataset_id[:60]!r} is not attached to this campaign.")
        self.session.delete(link)
        self.session.flush()

    def fit(self, dataset_id: str, seed: int | None) -> Job:
        """Ask for a fit; while one with this seed is being made, that one."""
        dataset = self.datasets.get(dataset_id)
        if dataset.state != "ready":
            why = dataset.problem or "a worker is reading it; ask again in a moment"
            raise Conflict(f"{dataset.id} cannot be fitted: {why}")
        drawn = secrets.randbelow(2**31) if seed is None else seed
        args = {"dataset_id": dataset.id, "seed": drawn}
        return self._ask(FIT_DATASET, args, f"fit:{dataset.id}:{seed}")

    def results(self, fit: DatasetFit) -> dict[str, Any]:
        """Tables and curves of a fit."""
        found: dict[str, Any] = json.loads(self.unit.parts.artifacts.get(fit.results))
        return found

    def compounds_of(self, datasets: Iterable[Dataset]) -> dict[str, str | None]:
        """The compound behind the name of each perturbation, where there is one."""
        names = {
            each["name"]
            for row in datasets
            for each in (row.summary or {}).get("perturbations", ())
        }
        if not names:
            return {}
        aliases = AliasRepository(self.session, self.unit.principal)
        directory = NameDirectory("compound", aliases.everything())
        return {name: directory.resolve(name) for name in names}

    def require_campaign(self, campaign_id: str) -> None:
        """A 404 where there is no such campaign."""
        CampaignRepository(self.session, self.unit.principal).get(campaign_id)

    def _open_campaign(self, campaign_id: str) -> str:
        campaign = CampaignRepository(self.session, self.unit.principal).get(campaign_id)
        if campaign.status == "closed":
            raise Conflict(f"Campaign {campaign.id} is closed. PATCH its status to open it again.")
        return campaign.id

    def _ask_to_read(self, dataset: Dataset) -> Job:
        return self._ask(READ_DATASET, {"dataset_id": dataset.id}, f"read:{dataset.id}")

    def _ask(self, kind: str, args: dict[str, Any], key: str) -> Job:
        return enqueue(
            self.session,
            workspace_id=self.unit.principal.workspace_id,
            kind=kind,
            args=args,
            created_by=self.unit.principal.actor,
            dedupe_key=key,
        )

    def _keep(self, received: ReceivedBody) -> str:
        artifacts = self.unit.parts.artifacts
        path = artifacts.scratch()
        try:
            received.file.seek(0)
            with path.open("wb") as file:
                shutil.copyfileobj(received.file, file, 1 << 20)
            return artifacts.adopt(path, "bin")
        finally:
            path.unlink(missing_ok=True)


def _check(said: Declared) -> None:
    if (said.holds == "time_courses") != (said.kind == "signal"):
        wanted = "signal" if said.holds == "time_courses" else _NO_SIGNAL[said.holds]
        message = f"Values of {said.holds} are {wanted}, not {said.kind}; say kind={wanted}."
        raise _invalid("contradiction", message, "query/kind")
    if said.holds == "cell_counts" and said.kind != "counts":
        message = f"Values of cell_counts are counts, not {said.kind}; say kind=counts."
        raise _invalid("contradiction", message, "query/kind")


_NO_SIGNAL = {"responses": "log_ratio or counts", "cell_counts": "counts"}


def _invalid(code: str, message: str, pointer: str | None) -> Invalid:
    return Invalid(message, errors=[FieldError(code=code, message=message, pointer=pointer)])
