"""A campaign in which everything has happened once, and ways to carry it elsewhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from service.archive.exporting import content_sha256
from service.archive.packing import digest_of
from tests.lab import Lab
from tests.service.assays import files_bench
from tests.service.batches.plates_bench import give_stocks, lay_out, model_echo, report, text
from tests.service.learning.bench import COMPOUNDS, LINES, short_training, start_campaign

SMILES = {"A": "CC(=O)Oc1ccccc1C(=O)O", "B": "CCO"}


def small_world(lab: Lab) -> dict[str, Any]:
    """A campaign with structures, features, marks, pairs, repeats and corrections."""
    named = [{"name": name, "smiles": SMILES.get(name)} for name in COMPOUNDS]
    lab.ok(lab.post("/v1/compounds", {"compounds": named}))
    lines = [{"name": name, "features": {"TP53": 0.1 + i}} for i, name in enumerate(LINES)]
    lab.ok(lab.post("/v1/cell-lines", {"cell_lines": lines}))
    campaign = start_campaign(lab)
    path = f"/v1/campaigns/{campaign['id']}"
    marks = [{"mark": "pin", "compounds": ["D", "E"]}, {"mark": "ban", "compounds": ["C", "E"]}]
    lab.ok(lab.post(f"{path}/marks", {"marks": marks}))
    lab.ok(lab.post("/v1/field-maps", {"name": "Theirs", "ready": "openbis"}))
    wells = lab.wells(campaign["id"])
    for well, change in ((wells[0], {"value": 0.75}), (wells[1], {"withdrawn": True})):
        body = {**change, "reason": "the edge dried"}
        lab.ok(lab.post(f"/v1/measurements/{well['id']}/corrections", body))
    return campaign


def full_world(lab: Lab) -> dict[str, Any]:
    """The same, with a plate that was read, and after a round: a model, predictions, a batch on
    plates, a dispenser's report."""
    campaign = small_world(lab)
    _read_a_plate(lab, campaign)
    with short_training():
        recommendation = lab.recommend(campaign["id"])
        question = {"items": [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}]}]}
        lab.result(lab.post(f"/v1/campaigns/{campaign['id']}/predictions", question), "prediction")
    batch = lab.ok(lab.accept(recommendation))
    give_stocks(lab)
    lab.ok(lay_out(lab, batch))
    picked = text(lab, f"/v1/batches/{batch['id']}/picklist")
    lab.ok(report(lab, batch, model_echo(picked, seed=1)))
    return campaign


def _read_a_plate(lab: Lab, campaign: dict[str, Any]) -> None:
    """Of the readings some are flagged and one flag is lifted."""
    wells = files_bench.plate_wells()
    plate = files_bench.give_plate(lab, campaign, files_bench.map_csv("READ-1", wells))
    readings = files_bench.section("READ-1", files_bench.read_plate(wells))
    upload = lab.ok(files_bench.send(lab, campaign, files_bench.envision(readings)))
    assert lab.ok(files_bench.commit(lab, upload))["state"] == "committed"
    path = f"/v1/plates/{plate['id']}/flags"
    names = [wells[0].name, wells[1].name]
    first, _ = lab.ok(lab.post(path, {"wells": names, "reason": "a bubble"}))
    lab.ok(lab.post(f"/v1/flags/{first['id']}/lift", {"reason": "it was none"}))


def export(lab: Lab, campaign_id: str, **body: Any) -> bytes:
    """The archive of a campaign."""
    asked = lab.ok(lab.post(f"/v1/campaigns/{campaign_id}/archives", body))
    made = finish(lab, asked)
    assert made["status"] == "succeeded", made["problem"]
    response = lab.get(f"/v1/archives/{made['id']}/content")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    return bytes(response.content)


def send(lab: Lab, content: bytes) -> Any:
    """Upload an archive; returns the response."""
    headers = {"Content-Type": "application/zip"}
    return lab.request("POST", "/v1/archives", content=content, headers=headers)


def bring_in(lab: Lab, content: bytes) -> dict[str, Any]:
    """Import an archive; returns it as its job left it."""
    return finish(lab, lab.ok(send(lab, content)))


def finish(lab: Lab, archive: dict[str, Any]) -> dict[str, Any]:
    """Run the job of an archive; returns the archive afterwards."""
    lab.run(lab.get(f"/v1/jobs/{archive['job_id']}"))
    found: dict[str, Any] = lab.ok(lab.get(f"/v1/archives/{archive['id']}"))
    return found


def parts_of(content: bytes) -> dict[str, bytes]:
    """Every file of an archive but what says who made it and when."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(found["manifest.json"])
    del manifest["made"]
    return {**found, "manifest.json": json.dumps(manifest).encode()}


def rows_of(content: bytes, table: str) -> list[dict[str, Any]]:
    """The rows of one table of an archive."""
    lines = parts_of(content)[f"tables/{table}.ndjson"].splitlines()
    return [json.loads(line) for line in lines]


def tampered(content: bytes, change: Callable[[dict[str, bytes]], None], *, honest: bool) -> bytes:
    """The archive with other files in it; ``honest`` makes the manifest agree with them."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if honest:
        manifest = json.loads(files["manifest.json"])
        for name, content in files.items():
            if name != "manifest.json":
                digest, length = digest_of(io.BytesIO(content))
                manifest["files"][name] = {"sha256": digest, "bytes": length}
        manifest["content_sha256"] = content_sha256(manifest["files"])
        files["manifest.json"] = json.dumps(manifest).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()
