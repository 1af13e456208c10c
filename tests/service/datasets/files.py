"""Small files of responses and time courses, sent and read."""

from __future__ import annotations

from typing import Any

from service.kit.jobs import run_inline
from tests.lab import Lab

RESPONSES = """condition,treatment,batch,ERK,AKT
c,DMSO,p1,0,0.1
m,MEKi 1.5 uM,p1,-0.8,0.2
h,HDACi 6 uM,p1,-0.2,0.3
m+h,HDACi 6 uM + MEKi 1.5 uM,p2,-1.1,0.4
"""
COURSES = """well,plate,cell_line,treatment,time_h,OD,YFP
A1,p1,PC9,DMSO,0,0.10,5
A1,p1,PC9,DMSO,3,0.20,6
A2,p1,PC9,Osimertinib 1 uM,3,0.11,
A2,p1,PC9,Osimertinib 1 uM,0,0.10,5
"""


def send(lab: Lab, content: str | bytes, **asked: str) -> Any:
    """Upload a file; returns the data set before a worker has read it."""
    params = {"holds": "responses", "kind": "log_ratio", **asked}
    return lab.ok(lab.post("/v1/datasets", content=content, params=params))


def read(lab: Lab, dataset: Any, *, fails: bool = False) -> Any:
    """Let a worker read it; returns the data set as it then is."""
    run_inline(lab.parts.database, lab.parts.artifacts, lab.parts.settings, dataset["job_id"])
    job = lab.ok(lab.get(f"/v1/jobs/{dataset['job_id']}"))
    assert job["status"] == ("failed" if fails else "succeeded"), job
    return lab.ok(lab.get(f"/v1/datasets/{dataset['id']}"))
