"""Data beside the screen: responses to perturbations and time courses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from service.client.calls import Calls, Json
from service.client.http import Upload

_ANY_FILE = "application/octet-stream"


class DatasetCalls(Calls):
    """Methods named after their operations, as all of the client."""

    def upload_dataset(
        self,
        file: Path | bytes,
        *,
        holds: str,
        kind: str,
        name: str | None = None,
        filename: str | None = None,
        treatment_column: str | None = None,
        batch_column: str | None = None,
        joined_by: str | None = None,
    ) -> Json:
        """``holds`` ``responses`` (a table or ``.h5ad``; ``kind`` ``log_ratio`` or ``counts``) or
        ``time_courses`` (``kind`` ``signal``) or ``cell_counts`` (``kind`` ``counts``). A worker
        reads it: wait for its ``job_id``."""
        content = file if isinstance(file, bytes) else file.read_bytes()
        known_as = filename or (None if isinstance(file, bytes) else file.name)
        query = {
            "holds": holds, "kind": kind, "name": name, "filename": known_as,
            "treatment_column": treatment_column, "batch_column": batch_column,
            "joined_by": joined_by,
        }  # fmt: skip
        upload = Upload(content, _ANY_FILE)
        found: Json = self._http.call("upload_dataset", {}, query=query, upload=upload)
        return found

    def list_datasets(self) -> Iterator[Json]:
        return self._http.every("list_datasets")

    def get_dataset(self, dataset_id: str) -> Json:
        return self._get("get_dataset", dataset_id=dataset_id)

    def list_campaign_datasets(self, campaign_id: str) -> Iterator[Json]:
        """Those that a campaign learns from."""
        return self._http.every("list_campaign_datasets", {"campaign_id": campaign_id})

    def attach_dataset(self, campaign_id: str, dataset_id: str) -> Json:
        """Let a campaign learn from it, by its newest fit."""
        body = {"dataset_id": dataset_id}
        return self._post("attach_dataset", body=body, campaign_id=campaign_id)

    def detach_dataset(self, campaign_id: str, dataset_id: str) -> None:
        path = {"campaign_id": campaign_id, "dataset_id": dataset_id}
        self._http.call("detach_dataset", path)

    def fit_dataset(self, dataset_id: str, seed: int | None = None) -> Json:
        """The job that learns from it; its result names the fit."""
        body = {} if seed is None else {"seed": seed}
        return self._post("fit_dataset", body=body, dataset_id=dataset_id)

    def list_dataset_fits(self, dataset_id: str) -> Iterator[Json]:
        return self._http.every("list_dataset_fits", {"dataset_id": dataset_id})

    def get_dataset_fit(self, fit_id: str) -> Json:
        """Its evidence beside the baselines, and its skill."""
        return self._get("get_dataset_fit", fit_id=fit_id)

    def get_dataset_fit_results(self, fit_id: str) -> Json:
        """Tables and curves to read and to plot."""
        return self._get("get_dataset_fit_results", fit_id=fit_id)

    def export_fit_viability(
        self, fit_id: str, *, experiment: str | None = None, cell_line: str | None = None
    ) -> bytes:
        """CSV: viability without plate effects, of a fit to drug pairs watched over time."""
        query = {"experiment": experiment, "cell_line": cell_line}
        return self._http.content("export_fit_viability", {"fit_id": fit_id}, query)

    def submit_fit_viability(
        self,
        fit_id: str,
        campaign_id: str,
        *,
        experiments: Sequence[str] | None = None,
        cell_line: str | None = None,
        despite_doubt: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """The same table as a submission to a campaign; twice is once."""
        said = None if experiments is None else list(experiments)
        body = {
            "campaign_id": campaign_id, "experiments": said, "cell_line": cell_line,
            "despite_doubt": despite_doubt,
        }  # fmt: skip
        query = {"dry_run": dry_run or None}
        return self._post("submit_fit_viability", query=query, body=body, fit_id=fit_id)
