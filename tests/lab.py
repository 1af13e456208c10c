"""A lab as the tests drive it: HTTP with a key, and jobs run on the spot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import func, select
from starlette.testclient import TestClient

from service.kit.database import Base
from service.kit.jobs import Job, run_inline
from service.kit.parts import Parts

# The log's default paints every local of every frame of an error, which takes a minute.
structlog.configure(processors=[structlog.processors.KeyValueRenderer()])

PAIR_HEADER = "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_fraction"
"""Columns of the tables that :meth:`Lab.submit` is mostly given."""


@dataclass
class Lab:
    """One workspace through one key."""

    http: TestClient
    parts: Parts
    workspace_id: str
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **more: Any) -> Any:
        """One HTTP request with this lab's key; returns the response."""
        headers = {
            "Authorization": f"Bearer {self.key}",
            **self.headers,
            **more.pop("headers", {}),
        }
        return self.http.request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        return self.request("POST", path, json=json, **more)

    def patch(self, path: str, json: Any, version: int | None, **more: Any) -> Any:
        """PATCH with the ETag of ``version``, or without one."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return self.request("PATCH", path, json=json, headers=headers, **more)

    def delete(self, path: str, **more: Any) -> Any:
        return self.request("DELETE", path, **more)

    def with_key(self, key: str) -> Lab:
        """The same lab through another key."""
        return Lab(self.http, self.parts, self.workspace_id, key)

    def with_scopes(self, *scopes: str) -> Lab:
        """The same lab through a new key that may do less."""
        made = self.ok(self.post("/v1/api-keys", {"name": "narrow", "scopes": list(scopes)}))
        return self.with_key(made["key"])

    @staticmethod
    def ok(response: Any) -> Any:
        """The JSON of a response that must have succeeded."""
        assert response.status_code < 300, response.text
        return response.json()

    @staticmethod
    def refused(response: Any, status: int) -> dict[str, Any]:
        """The problem of a response that must have been refused with ``status``."""
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert problem["status"] == status
        assert problem["instance"] == response.headers["x-request-id"]
        return problem

    def every(self, path: str, **params: Any) -> list[Any]:
        """The items of all pages of a list."""
        items: list[Any] = []
        while True:
            page = self.ok(self.get(path, params=params))
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            params["cursor"] = page["next_cursor"]

    def events(self, action: str | None = None, **params: Any) -> list[Any]:
        """The audit events of the workspace, or those with one action."""
        found = self.every("/v1/audit-events", **params)
        return [event for event in found if action in (None, event["action"])]

    def rows(self) -> dict[str, int]:
        """How many rows every table holds, over all workspaces."""
        with self.parts.database.reading() as session:
            tables = Base.metadata.sorted_tables
            counts = [session.scalar(select(func.count()).select_from(table)) for table in tables]
        return {table.name: int(count or 0) for table, count in zip(tables, counts, strict=True)}

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Nothing that happens inside leaves or removes a row, in any table."""
        before = self.rows()
        yield
        assert self.rows() == before

    def compounds(self, *names: str) -> list[str]:
        """Register compounds without structures; returns their ids."""
        body = {"compounds": [{"name": name} for name in names]}
        items = self.ok(self.post("/v1/compounds", body))["items"]
        return [item["compound"]["id"] for item in items]

    def cell_lines(self, *names: str) -> list[str]:
        """Register cell lines; returns their ids."""
        body = {"cell_lines": [{"name": name} for name in names]}
        return [row["id"] for row in self.ok(self.post("/v1/cell-lines", body))["items"]]

    def campaign(self, **more: Any) -> dict[str, Any]:
        """A campaign over compounds A, B, C and cell lines X, Y, which are registered if new."""
        if not self.get("/v1/compounds").json()["items"]:
            self.compounds("A", "B", "C")
            self.cell_lines("X", "Y")
        body = {
            "name": "Campaign",
            "compounds": ["A", "B", "C"],
            "cell_lines": ["X", "Y"],
            "doses_um": [0.1, 1.0],
            **more,
        }
        campaign: dict[str, Any] = self.ok(self.post("/v1/campaigns", body))
        return campaign

    def submit(self, campaign_id: str, csv: str, **query: Any) -> Any:
        """Submit a CSV table; returns the response."""
        return self.request(
            "POST",
            f"/v1/campaigns/{campaign_id}/submissions",
            content=csv.encode(),
            params=query,
            headers={"Content-Type": "text/csv"},
        )

    def measure(self, campaign_id: str, *lines: str) -> dict[str, Any]:
        """Submit wells, each a line under :data:`PAIR_HEADER`; returns the submission."""
        table = "\n".join([PAIR_HEADER, *lines]) + "\n"
        submission: dict[str, Any] = self.ok(self.submit(campaign_id, table))
        return submission

    def wells(self, campaign_id: str, **params: Any) -> list[Any]:
        """The measurements of a campaign."""
        return self.every(f"/v1/campaigns/{campaign_id}/measurements", **params)

    def result(self, response: Any, name: str) -> dict[str, Any]:
        """Run the job of a 202 response, which must succeed; read what it links to as ``name``."""
        job = self.run(response)
        assert job["status"] == "succeeded", job["problem"]
        made: dict[str, Any] = self.ok(self.get(job["result"][name]))
        return made

    def train(self, campaign_id: str, **body: Any) -> dict[str, Any]:
        """A fitted model."""
        asked = self.post(f"/v1/campaigns/{campaign_id}/models", {"seed": 1, **body})
        return self.result(asked, "model")

    def recommend(self, campaign_id: str, **body: Any) -> dict[str, Any]:
        """A recommendation with its candidates."""
        asked = self.post(f"/v1/campaigns/{campaign_id}/recommendations", {"seed": 1, **body})
        return self.result(asked, "recommendation")

    def accept(self, recommendation: dict[str, Any], **body: Any) -> Any:
        """Accept a recommendation, or some ranks of it; returns the response."""
        path = f"/v1/campaigns/{recommendation['campaign_id']}/batches"
        return self.post(path, {"recommendation_id": recommendation["id"], **body})

    def run(self, response: Any) -> dict[str, Any]:
        """Run the job of a 202 response here and now; returns the job as it ended."""
        job = self.ok(response)
        run_inline(self.parts.database, self.parts.artifacts, self.parts.settings, job["id"])
        ended: dict[str, Any] = self.ok(self.get(f"/v1/jobs/{job['id']}"))
        return ended

    def stored_job(self, job_id: str) -> Job:
        """The job's row."""
        with self.parts.database.reading() as session:
            row = session.get(Job, job_id)
            assert row is not None
            return row


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make all ``calls`` at the same moment, each in a thread; returns their results in order."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        barrier.wait(timeout=10)
        results[place] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a request did not come back"
    return results


def codes(problem: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(code, pointer) of every error of a problem."""
    return [(error["code"], error["pointer"]) for error in problem["errors"]]


def block_of(candidate: dict[str, Any]) -> tuple[str, ...]:
    """What a candidate or batch item is about, by name: compounds in order, then the line."""
    names = sorted(compound["name"] for compound in candidate["compounds"])
    return (*names, candidate["cell_line"]["name"])


def column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """One value of each row."""
    return [row[name] for row in rows]
