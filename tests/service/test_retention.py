"""Retention forgets what nothing refers to, and nothing else."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from sqlalchemy import update

from service.kit.database import utcnow
from service.kit.idempotency.tables import IdempotentAnswer
from service.kit.jobs import enqueue
from service.retention import tidy
from tests.lab import Lab

CSV = "cell_line,compound_1,dose_1_um,viability_fraction\nX,A,1,0.5\n"


def _age(lab: Lab, seconds: float) -> None:
    for path in lab.parts.artifacts.root.glob("??/*"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_artifacts_without_a_reference_go_and_the_others_stay(lab: Lab) -> None:
    campaign = lab.campaign()
    submission = lab.ok(lab.submit(campaign["id"], CSV))
    orphan = lab.parts.artifacts.put(b"[1]", "json")
    _age(lab, 100)
    assert tidy(lab.parts, unreferenced_s=50)[1] == 1
    assert not lab.parts.artifacts.exists(orphan)
    original = lab.get(f"/v1/submissions/{submission['id']}/original")
    assert original.content.decode() == CSV


def test_young_artifacts_stay(lab: Lab) -> None:
    young = lab.parts.artifacts.put(b"[2]", "json")
    assert tidy(lab.parts)[1] == 0
    assert lab.parts.artifacts.exists(young)


def test_what_an_unfinished_job_was_given_stays(lab: Lab) -> None:
    question = lab.parts.artifacts.put(b"[3]", "json")
    with lab.parts.database.writing() as session:
        enqueue(session, workspace_id=lab.workspace_id, kind="predict", args={"question": question})
    _age(lab, 100)
    assert tidy(lab.parts, unreferenced_s=50)[1] == 0
    assert lab.parts.artifacts.exists(question)


def test_old_idempotent_answers_go(lab: Lab) -> None:
    body = {"compounds": [{"name": "A"}]}
    lab.ok(lab.post("/v1/compounds", body, headers={"Idempotency-Key": "k"}))
    assert tidy(lab.parts)[0] == 0
    with lab.parts.database.writing() as session:
        session.execute(update(IdempotentAnswer).values(created_at=utcnow() - timedelta(days=2)))
    assert tidy(lab.parts)[0] == 1
