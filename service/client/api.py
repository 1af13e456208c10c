"""The API as methods. Each is named after its operation; answers are the JSON of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from service.client.calls import Json
from service.client.datasets import DatasetCalls
from service.client.errors import JobNotSucceeded
from service.client.http import Http, Upload
from service.client.plates import PlateCalls
from service.client.surfaces import SurfaceCalls
from service.client.triage import TriageCalls

FINISHED = ("succeeded", "failed", "cancelled")
_LONGEST_WAIT_S = 30
CONTENT_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".json": "application/json",
}


class Nextround(PlateCalls, DatasetCalls, SurfaceCalls, TriageCalls):
    """One key's view of one service; use it in a ``with`` block.

    Raises :class:`Refused` with the service's problem, :class:`Unreachable` after some attempts.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 120.0,
        pause_s: float = 0.5,
        transport: httpx2.BaseTransport | None = None,
        trust_env: bool = False,
    ) -> None:
        """``trust_env``: use the proxy that the environment names."""
        self._http = Http(
            url,
            key,
            timeout_s=timeout_s,
            pause_s=pause_s,
            transport=transport,
            trust_env=trust_env,
        )

    def __enter__(self) -> Nextround:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    # Who and what there is.

    def get_workspace(self) -> Json:
        """The workspace of the key."""
        return self._get("get_workspace")

    def register_compounds(self, compounds: Sequence[Mapping[str, Any]]) -> Json:
        """All or none; each has ``name`` and mostly ``smiles``."""
        return self._post("register_compounds", body={"compounds": list(compounds)})

    def list_compounds(self, name: str | None = None) -> Iterator[Json]:
        return self._http.every("list_compounds", query={"name": name})

    def get_compound(self, compound_id: str) -> Json:
        return self._get("get_compound", compound_id=compound_id)

    def register_cell_lines(self, cell_lines: Sequence[Mapping[str, Any]]) -> Json:
        """All or none; each has ``name``, and ``features`` where you have them."""
        return self._post("register_cell_lines", body={"cell_lines": list(cell_lines)})

    def list_cell_lines(self) -> Iterator[Json]:
        return self._http.every("list_cell_lines")

    def get_cell_line(self, cell_line_id: str) -> Json:
        return self._get("get_cell_line", cell_line_id=cell_line_id)

    def create_campaign(self, campaign: Mapping[str, Any]) -> Json:
        """``name``, ``compounds``, ``cell_lines``, ``doses_um`` and what else it has."""
        return self._post("create_campaign", body=dict(campaign))

    def list_campaigns(self) -> Iterator[Json]:
        return self._http.every("list_campaigns")

    def get_campaign(self, campaign_id: str) -> Json:
        return self._get("get_campaign", campaign_id=campaign_id)

    def change_campaign(self, campaign_id: str, change: Mapping[str, Any], version: int) -> Json:
        """Change the ``version`` that you read; another one is a :class:`Refused` with 412."""
        return self._change("change_campaign", change, version, campaign_id=campaign_id)

    def get_campaign_data(self, campaign_id: str) -> Json:
        """Where the measurements lie that it learns from: its own, and ``learn_from``."""
        return self._get("get_campaign_data", campaign_id=campaign_id)

    # Measurements in.

    def submit_measurements(
        self,
        campaign_id: str,
        measurements: Sequence[Mapping[str, Any]],
        *,
        quantity: str,
        unit: str,
        note: str | None = None,
        dry_run: bool = False,
    ) -> Json:
        """Wells as JSON; ``quantity`` and ``unit`` say what the values mean."""
        body: Json = {"quantity": quantity, "unit": unit, "measurements": list(measurements)}
        if note is not None:
            body["note"] = note
        query = {"dry_run": dry_run or None}
        return self._post("submit_measurements", query=query, body=body, campaign_id=campaign_id)

    def submit_file(
        self,
        campaign_id: str,
        file: Path | bytes,
        *,
        content_type: str | None = None,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        field_map: str | None = None,
        quantity: str | None = None,
        unit: str | None = None,
        dose_unit: str | None = None,
        decimal: str | None = None,
        cell_line: str | None = None,
        confirm_scale: bool = False,
        repeats: str | None = None,
        note: str | None = None,
    ) -> Json:
        """A table as it is; the query says what its header does not. The same bytes twice are
        stored once: ``outcome`` is then ``existing``."""
        content = file if isinstance(file, bytes) else file.read_bytes()
        if content_type is None:
            suffix = "" if isinstance(file, bytes) else file.suffix.lower()
            content_type = CONTENT_TYPES.get(suffix, "text/csv")
        query = {
            "dry_run": dry_run or None,
            "field_map": field_map,
            "quantity": quantity,
            "unit": unit,
            "dose_unit": dose_unit,
            "decimal": decimal,
            "cell_line": cell_line,
            "confirm_scale": confirm_scale or None,
            "repeats": repeats,
            "note": note,
        }
        found: Json = self._http.call(
            "submit_measurements",
            {"campaign_id": campaign_id},
            query=query,
            upload=Upload(content, content_type),
            idempotency_key=idempotency_key,
        )
        return found

    def list_submissions(self, campaign_id: str) -> Iterator[Json]:
        return self._http.every("list_submissions", {"campaign_id": campaign_id})

    def get_submission(self, submission_id: str) -> Json:
        return self._get("get_submission", submission_id=submission_id)

    def list_measurements(self, campaign_id: str, versions: str = "current") -> Iterator[Json]:
        path, query = {"campaign_id": campaign_id}, {"versions": versions}
        return self._http.every("list_measurements", path, query)

    def export_measurements(self, campaign_id: str) -> bytes:
        """All current wells as CSV."""
        return self._http.content("export_measurements", {"campaign_id": campaign_id})

    def correct_measurement(self, measurement_id: str, correction: Mapping[str, Any]) -> Json:
        """``value`` or ``withdrawn: true``, and a ``reason``."""
        return self._post(
            "correct_measurement", body=dict(correction), measurement_id=measurement_id
        )

    def save_field_map(
        self,
        name: str,
        definition: Mapping[str, Any] | None = None,
        *,
        ready: str | None = None,
    ) -> Json:
        """Name the columns of another system's tables, or copy a ready map."""
        body = {"name": name, "definition": definition, "ready": ready}
        given = {key: value for key, value in body.items() if value is not None}
        return self._post("save_field_map", body=given)

    def list_field_maps(self, name: str | None = None) -> Iterator[Json]:
        return self._http.every("list_field_maps", query={"name": name})

    # Models, recommendations, batches.

    def train_model(self, campaign_id: str, body: Mapping[str, Any] | None = None) -> Json:
        """The job that trains; see :meth:`wait`."""
        return self._post("train_model", body=dict(body or {}), campaign_id=campaign_id)

    def get_model(self, model_id: str) -> Json:
        return self._get("get_model", model_id=model_id)

    def list_contradictions(self, model_id: str) -> Json:
        """What to measure again, and why."""
        return self._get("list_contradictions", model_id=model_id)

    def predict(self, campaign_id: str, items: Sequence[Mapping[str, Any]]) -> Json:
        """The job that predicts."""
        return self._post("predict", body={"items": list(items)}, campaign_id=campaign_id)

    def get_prediction(self, prediction_id: str) -> Json:
        return self._get("get_prediction", prediction_id=prediction_id)

    def request_recommendation(
        self, campaign_id: str, body: Mapping[str, Any] | None = None
    ) -> Json:
        """The job that learns from everything measured and ranks what to measure next."""
        return self._post("request_recommendation", body=dict(body or {}), campaign_id=campaign_id)

    def list_recommendations(self, campaign_id: str) -> Iterator[Json]:
        return self._http.every("list_recommendations", {"campaign_id": campaign_id})

    def get_recommendation(self, recommendation_id: str) -> Json:
        return self._get("get_recommendation", recommendation_id=recommendation_id)

    def recommendation_file(self, recommendation_id: str, format: str = "csv") -> bytes:
        """The ranked list as ``csv`` or ``parquet``."""
        path = {"recommendation_id": recommendation_id}
        return self._http.content("get_recommendation", path, {"format": format})

    def try_batch(self, recommendation_id: str, choice: Mapping[str, Any]) -> Json:
        """What a choice would find, cost and break. Nothing is written."""
        return self._post("try_batch", body=dict(choice), recommendation_id=recommendation_id)

    def accept_batch(
        self, campaign_id: str, recommendation_id: str, ranks: Sequence[int] | None = None
    ) -> Json:
        """Take a recommended batch, or these ranks of it, into the lab."""
        body: Json = {"recommendation_id": recommendation_id}
        if ranks is not None:
            body["ranks"] = list(ranks)
        return self._post("accept_batch", body=body, campaign_id=campaign_id)

    def list_batches(self, campaign_id: str) -> Iterator[Json]:
        return self._http.every("list_batches", {"campaign_id": campaign_id})

    def get_batch(self, batch_id: str) -> Json:
        return self._get("get_batch", batch_id=batch_id)

    def batch_file(self, batch_id: str) -> bytes:
        """The batch as CSV."""
        return self._http.content("get_batch", {"batch_id": batch_id}, {"format": "csv"})

    def change_batch(self, batch_id: str, change: Mapping[str, Any], version: int) -> Json:
        """``status``: running, done or cancelled; ``note``."""
        return self._change("change_batch", change, version, batch_id=batch_id)

    # Jobs.

    def list_jobs(self, campaign_id: str | None = None) -> Iterator[Json]:
        return self._http.every("list_jobs", query={"campaign_id": campaign_id})

    def get_job(self, job_id: str, wait_s: int = 0) -> Json:
        """A job; with ``wait_s`` (up to 60) the answer comes when it ends, or after that time."""
        return self._get("get_job", query={"wait": wait_s or None}, job_id=job_id)

    def cancel_job(self, job_id: str) -> Json:
        found: Json = self._http.call("cancel_job", {"job_id": job_id})
        return found

    def wait(
        self,
        job: Mapping[str, Any],
        *,
        timeout_s: float = 24 * 3600.0,
        on_progress: Callable[[Json], None] | None = None,
    ) -> Json:
        """The job once it has succeeded. Raises :class:`JobNotSucceeded` where it does not."""
        give_up_at = time.monotonic() + timeout_s
        while True:
            left = give_up_at - time.monotonic()
            now = self.get_job(str(job["id"]), wait_s=int(max(0, min(_LONGEST_WAIT_S, left))))
            if on_progress is not None:
                on_progress(now)
            if now["status"] == "succeeded":
                return now
            if now["status"] in FINISHED or left <= 1.0:
                raise JobNotSucceeded(now)

    def result(self, job: Mapping[str, Any], name: str) -> Json:
        """What a finished job links to as ``name``, such as ``recommendation``."""
        found: Json = self._http.link(str(job["result"][name]))
        return found

    # Events and webhooks.

    def list_events(self, type: str | None = None) -> Iterator[Json]:
        """What happened, oldest first."""
        return self._http.every("list_events", query={"type": type})

    def create_webhook(self, url: str, types: Sequence[str]) -> Json:
        """The subscription; its ``secret`` is shown this once."""
        return self._post("create_webhook", body={"url": url, "types": list(types)})

    def list_webhooks(self) -> Iterator[Json]:
        return self._http.every("list_webhooks")

    def get_webhook(self, webhook_id: str) -> Json:
        return self._get("get_webhook", webhook_id=webhook_id)

    def change_webhook(self, webhook_id: str, change: Mapping[str, Any], version: int) -> Json:
        return self._change("change_webhook", change, version, webhook_id=webhook_id)

    def rotate_webhook_secret(self, webhook_id: str, keep_old_hours: int = 24) -> Json:
        body = {"keep_old_hours": keep_old_hours}
        return self._post("rotate_webhook_secret", body=body, webhook_id=webhook_id)

    def ping_webhook(self, webhook_id: str) -> Json:
        """The delivery of a test event; see :meth:`list_webhook_deliveries`."""
        return self._post("ping_webhook", webhook_id=webhook_id)

    def replay_events(self, webhook_id: str, what: Mapping[str, Any]) -> Json:
        """``event_id``, or ``since`` and ``until``."""
        return self._post("replay_events", body=dict(what), webhook_id=webhook_id)

    def list_webhook_deliveries(self, webhook_id: str) -> Iterator[Json]:
        return self._http.every("list_webhook_deliveries", {"webhook_id": webhook_id})
