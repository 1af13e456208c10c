"""A workspace that has been through a round already, so that the fuzzer meets real rows.

What a worker would have learned is written down by hand: the contract of the API must not wait
for a training, and must not depend on what a model believes.
"""

from __future__ import annotations

from typing import Any

import httpx2

from service.archive.tables import Archive
from service.batches.documents import NUMBERS, parquet_of
from service.batches.tables import Recommendation
from service.datasets.tables import DatasetFit
from service.kit.artifacts import ArtifactStore
from service.kit.auth.tables import ApiKey
from service.kit.database import Database, dump_json, utcnow
from service.kit.ids import new_id
from service.kit.jobs import Job
from service.learning.tables import FittedModel, Prediction, ReplayedCampaign
from tests.contract.learned_seeds import Named, surface_fit, triage_card, written_card
from tests.contract.live import LiveServer

COMPOUNDS = ("Imatinib", "Vincristine", "Lapatinib", "Vorinostat")
CELL_LINES = ("A375", "MCF7")
GOAL = {"kind": "selectivity", "kill": ["A375"], "spare": ["MCF7"]}
Known = dict[str, list[str]]
"""Parameter name -> values that lead to rows."""


class Seeder:
    """Fills the first workspace of a live server, over HTTP wherever HTTP can do it."""

    def __init__(self, server: LiveServer) -> None:
        self.http = httpx2.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {server.keys_shown[0]}"}
        )
        self.database = Database(f"sqlite:///{server.database}")
        self.artifacts = ArtifactStore(str(server.folder / "data" / "artifacts"))

    def run(self) -> Known:
        """Seed everything; returns what is known afterwards."""
        compounds = self._post("/v1/compounds", {"compounds": [{"name": n} for n in COMPOUNDS]})
        lines = [{"name": name, "features": {"TP53": 0.5}} for name in CELL_LINES]
        cell_lines = self._post("/v1/cell-lines", {"cell_lines": lines})["items"]
        names = {
            "compound_id": [item["compound"]["id"] for item in compounds["items"]],
            "cell_line_id": [item["id"] for item in cell_lines],
        }
        campaigns = [self._campaign(n) for n in ("Open", "Reshaped")]
        known = {**names, "campaign_id": campaigns[:1], "spare_campaign_id": campaigns[1:]}
        known |= self._assays(campaigns[0]) | self._learned(campaigns[0], names)
        known |= self._accepted(campaigns[0], known["recommendation_id"][0])
        known |= self._on_plates(known["batch_id"][0])
        known |= self._files(campaigns[0], known["plate_id"][0])
        known["rank"] = ["1", "2", "4", "7"]
        known["key_id"] = [self._key(), self._key()]
        known |= self._integrations()
        known["spare_job_id"] = [
            self._post(f"/v1/campaigns/{campaigns[0]}/recommendations", {})["id"] for _ in range(9)
        ]
        self.database.dispose()
        self.http.close()
        return known

    def _campaign(self, name: str) -> str:
        body = {
            "name": name,
            "compounds": list(COMPOUNDS),
            "cell_lines": list(CELL_LINES),
            "doses_um": [0.1, 1.0],
            "objective": {"goal": GOAL} if name == "Reshaped" else {},
        }
        return str(self._post("/v1/campaigns", body)["id"])

    def _assays(self, campaign_id: str) -> Known:
        path = f"/v1/campaigns/{campaign_id}"
        wells = [
            {"cell_line": line, "doses": _doses(dose), "value": value, "plate": "P1"}
            for line in CELL_LINES
            for dose, value in (([0.1], 0.9), ([1.0], 0.4), ([0.1, 1.0], 0.3), ([], 1.0))
        ]
        table = {"quantity": "viability", "unit": "fraction", "measurements": wells}
        submission = self._post(f"{path}/submissions", table)
        measurements = self.http.get(f"{path}/measurements").json()["items"]
        pairs = [["Imatinib", "Vorinostat"], ["Lapatinib", "Vorinostat"]]
        marks = self._post(
            f"{path}/marks", {"marks": [{"mark": "pin", "compounds": pair} for pair in pairs]}
        )
        return {
            "submission_id": [submission["id"]],
            "measurement_id": [row["id"] for row in measurements],
            "mark_id": [row["id"] for row in marks["items"]],
        }

    def _learned(self, campaign_id: str, names: Known) -> Known:
        with self.database.reading() as session:
            workspace = session.query(ApiKey.workspace_id).limit(1).scalar()
        owned = {"workspace_id": workspace, "campaign_id": campaign_id}
        jobs = [_finished_job(owned, status) for status in ("succeeded", "failed")]
        model = _model(owned, jobs[0].id, self._put_json(_blocks(names)))
        ranked = [_candidate(row, names) for row in range(6)]
        recommendation = _recommendation(owned, jobs[0].id, model.id, self._put_json(ranked))
        recommendation.table_artifact = self.artifacts.put(parquet_of(ranked), "parquet")
        prediction = _prediction(owned, jobs[1].id, model.id)
        replay = replayed_campaign(owned, jobs[0].id)
        archive = _archive(owned, jobs[0].id, self.artifacts.put(b"PK", "zip"))
        dataset_id = self._dataset()
        fit = dataset_fit(workspace, dataset_id, jobs[0].id, self._put_json({"readouts": []}))
        pair, line = _named(names)
        card = triage_card(owned, jobs[0].id, *map(self._put_json, written_card(pair, line)))
        surfaces = surface_fit(owned, jobs[0].id, self.artifacts, pair, line)
        more = (fit, card, surfaces)
        with self.database.writing() as session:
            for row in (*jobs, model, recommendation, prediction, replay, archive, *more):
                session.add(row)
                session.flush()
        return {
            "job_id": [job.id for job in jobs],
            "model_id": [model.id],
            "recommendation_id": [recommendation.id],
            "prediction_id": [prediction.id],
            "replay_id": [replay.id],
            "archive_id": [archive.id],
            "dataset_id": [dataset_id],
            "fit_id": [fit.id],
            "card_id": [card.id],
            "surface_fit_id": [surfaces.id],
        }

    def _dataset(self) -> str:
        table = b"treatment,ERK\nDMSO,0\nImatinib 1 uM,-1\n"
        asked = {"holds": "responses", "kind": "log_ratio"}
        response = self.http.post("/v1/datasets", content=table, params=asked)
        response.raise_for_status()
        return str(response.json()["id"])

    def _accepted(self, campaign_id: str, recommendation_id: str) -> Known:
        path = f"/v1/campaigns/{campaign_id}/batches"
        body = {"recommendation_id": recommendation_id}
        batches = [self._post(path, {**body, "ranks": ranks}) for ranks in ([1, 2], [3])]
        return {
            "batch_id": [batch["id"] for batch in batches],
            "item_id": [item["id"] for batch in batches for item in batch["items"]],
        }

    def _on_plates(self, batch_id: str) -> Known:
        names = [(name, mm) for name in COMPOUNDS for mm in (10.0, 0.5)] + [("DMSO", 0.0)]
        stocks = [
            {
                "compound": name,
                "mm": mm,
                "volume_nl": 60_000.0,
                "plate": "SRC1",
                "plate_type": "384PP_DMSO2",
                "well": f"A{place}",
            }
            for place, (name, mm) in enumerate(names, start=1)
        ]
        path = f"/v1/batches/{batch_id}"
        stored = self.http.put("/v1/stocks", json={"stocks": stocks}, headers={"If-Match": "*"})
        assert stored.status_code == 200, stored.text
        size = {"destination": "384-well 50 uL", "dispenser": "Echo 650"}
        plates = self._post(f"{path}/plates", size)["plates"]
        rows = self.http.get(f"{path}/picklist").text.splitlines()
        header = f"{rows[0]},Actual Volume,Transfer Status"
        done = [f"{row},{row.rpartition(',')[2]}," for row in rows[1:]]
        report = "\n".join(["Run ID,1", "", "[DETAILS]", header, *done, ""])
        sent = self.http.post(
            f"{path}/transfer-reports", content=report, headers={"Content-Type": "text/csv"}
        )
        assert sent.status_code == 201, sent.text
        return {
            "plate_id": [plate["id"] for plate in plates],
            "report_id": [sent.json()["report"]["id"]],
        }

    def _files(self, campaign_id: str, plate_id: str) -> Known:
        columns = "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_fraction"
        sent = [
            self.http.post(f"/v1/campaigns/{campaign_id}/files", content=content.encode())
            for content in (f"{columns}\nA375,Imatinib,3,,,0.5\n", f"{columns}\nA375,No,3,,,0.5\n")
        ]
        assert [answer.status_code for answer in sent] == [201, 201], sent[0].text
        flags = {"wells": ["B3", "B4"], "reason": "Bubble in the well"}
        flagged = self._post(f"/v1/plates/{plate_id}/flags", flags)
        return {
            "upload_id": [answer.json()["id"] for answer in sent],
            "flag_id": [flag["id"] for flag in flagged],
        }

    def _integrations(self) -> Known:
        mapped = self._post("/v1/field-maps", {"name": "Map", "ready": "openbis"})
        hook = {"url": "https://lims.example.org/", "types": ["batch.accepted"]}
        webhooks = [self._post("/v1/webhooks", hook)["id"] for _ in range(2)]
        self._post(f"/v1/webhooks/{webhooks[0]}/ping", None)
        events = self.http.get("/v1/events").json()["items"]
        return {
            "field_map_id": [mapped["id"]],
            "webhook_id": webhooks,
            "event_id": [event["id"] for event in events],
        }

    def _key(self) -> str:
        return str(self._post("/v1/api-keys", {"name": "spare", "scopes": ["read"]})["id"])

    def _put_json(self, value: Any) -> str:
        return self.artifacts.put(dump_json(value).encode(), "json")

    def _post(self, path: str, body: dict[str, Any] | None) -> Any:
        response = self.http.post(path, json=body)
        assert response.status_code < 300, response.text
        return response.json()


def _doses(amounts: list[float]) -> list[dict[str, Any]]:
    return [{"compound": n, "dose_um": d} for n, d in zip(COMPOUNDS, amounts, strict=False)]


def _finished_job(owned: dict[str, str], status: str) -> Job:
    identifier, now = new_id("job"), utcnow()
    return Job(
        **owned,
        id=identifier,
        kind="recommend",
        queue="train",
        status=status,
        attempt=1,
        max_attempts=3,
        args={},
        priority=0,
        ticket=f"{identifier}.1",
        created_at=now,
        finished_at=now,
        version=1,
    )


def _archive(owned: dict[str, str], job_id: str, artifact: str) -> Archive:
    return Archive(
        **owned,
        id=new_id("arc"),
        kind="export",
        job_id=job_id,
        weights=False,
        artifact=artifact,
        n_bytes=2,
        manifest={"content_sha256": "0" * 64, "rows": {"campaign": 1}},
        created_by="written by hand",
    )


def _model(owned: dict[str, str], job_id: str, blocks: str) -> FittedModel:
    return FittedModel(
        **owned,
        id=new_id("mdl"),
        job_id=job_id,
        name="bnn_gaussian",
        score="bliss_mean",
        n_wells=8,
        n_blocks=2,
        snapshot=blocks,
        weights=blocks,
        metadata_artifact=blocks,
        blocks=blocks,
        evidence={"rmse": 1.0},
        excluded=[],
        seed=1,
        device="cpu",
        device_reason="written by hand",
        versions={},
    )


def _recommendation(
    owned: dict[str, str], job_id: str, model_id: str, candidates: str
) -> Recommendation:
    return Recommendation(
        **owned,
        id=new_id("rec"),
        job_id=job_id,
        model_id=model_id,
        round=1,
        rules={"max_per_compound": None},
        seed=1,
        n_pool=12,
        n_ranked=6,
        n_batch=3,
        reason="written by hand",
        timings={},
        candidates=candidates,
        objective={
            "kind": "efficacy",
            "description": "mean inhibition of the block",
            "compares_lines": False,
            "parts": [],
            "reference": None,
            "hit_threshold": 10.0,
            "known": 2,
            "partly_measured": 0,
            "best": 5.0,
            "batch_on_front": None,
        },
    )


def _prediction(owned: dict[str, str], job_id: str, model_id: str) -> Prediction:
    numbers = dict.fromkeys(("mean", "sd", "q05", "q50", "q95", "epistemic_sd"), 0.5)
    item = {"cell_line": "A375", "doses": [], "quantity": "score", "hit_probability": 0.5}
    return Prediction(
        **owned,
        id=new_id("prd"),
        job_id=job_id,
        model_id=model_id,
        n_items=1,
        items=[{**item, **numbers, "observation_sd": 0.5}],
    )


def replayed_campaign(owned: dict[str, str], job_id: str) -> ReplayedCampaign:
    """A replay of one round as a worker would have stored it."""
    share = {"mean": 0.5, "low": None, "high": None}
    summary = {
        "measured": [10.0],
        "measured_share": [0.25],
        "curves": {key: [share] for key in ("hits", "top_1", "top_5")},
        "area": {"hits": share},
        "calibration": {},
        "seconds": {},
    }
    definition = {"model": "plain_gp", "acquisition": "greedy"}
    entry = {"definition": definition, "summary": summary, "against": {}}
    return ReplayedCampaign(
        **owned,
        id=new_id("rpl"),
        job_id=job_id,
        asked={},
        n_blocks=40,
        snapshot="written by hand",
        report={"strategies": {"plain_gp+greedy": entry}, "failed": {}},
    )


def _blocks(names: Known) -> list[dict[str, Any]]:
    return [
        {
            "compounds": names["compound_id"][:2],
            "compound_names": COMPOUNDS[:2],
            "cell_line": line,
            "cell_line_name": name,
            "score": 5.0,
            "standard_error": 1.0,
            "n_wells": 1,
            "is_hit": False,
        }
        for line, name in zip(names["cell_line_id"], CELL_LINES, strict=True)
    ]


def _candidate(row: int, names: Known) -> dict[str, Any]:
    pair = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (2, 3)][row]
    line = 0 if row < 5 else 1
    return {
        "rank": row + 1,
        "in_batch": row < 3,
        "batch_position": row + 1 if row < 3 else None,
        "compounds": [
            {"id": names["compound_id"][i], "name": COMPOUNDS[i], "doses_um": [0.1, 1.0]}
            for i in pair
        ],
        "cell_line": {"id": names["cell_line_id"][line], "name": CELL_LINES[line]},
        **dict.fromkeys(NUMBERS, 0.5),
        "probability_of_improvement": 0.5,
        "expected_improvement": None,
        "objective": {
            "parts": [{"mean": 1.0, "sd": 0.5}],
            "front_probability": None,
            "on_front": row < 3,
        },
        "nearest_measured": None,
        "reason": "written by hand",
    }


def dataset_fit(workspace: str, dataset_id: str, job_id: str, results: str) -> DatasetFit:
    """What a worker may have learned from a data set."""
    return DatasetFit(
        id=new_id("dsf"),
        workspace_id=workspace,
        dataset_id=dataset_id,
        job_id=job_id,
        model="additive",
        skill=0.0,
        report={"models": []},
        features=results,
        results=results,
        weights=results,
        metadata_artifact=results,
        seed=1,
        device="cpu",
        versions={"nextround": "0"},
    )


def _named(names: Known) -> tuple[list[Named], Named]:
    ids = zip(names["compound_id"], COMPOUNDS[:2], strict=False)
    line = {"id": names["cell_line_id"][0], "name": CELL_LINES[0]}
    return [{"id": i, "name": name} for i, name in ids], line
