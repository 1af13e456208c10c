"""Durable jobs: asked for in the caller's transaction, run by workers, resumed after a crash.

    @handler("train", queue="train")                      # in a module the API also imports,
    def train(ctx: JobContext) -> dict[str, Any]:         # so torch is imported inside
        screen = ctx.step("screen", lambda: save_screen(ctx))        # never repeated once done
        for epoch in range(100):
            ctx.raise_if_stopped()
            ctx.progress("training", epoch, 100)
        return ctx.transaction("save", lambda session: save_posterior(session, ...))

    job = enqueue(session, workspace_id=..., kind="train", args={...})

Only ``engine.py`` knows the job engine (DBOS). Nothing here imports torch.
"""

from service.kit.jobs.context import JobContext
from service.kit.jobs.engine import JobClient, migrate_engine
from service.kit.jobs.errors import (
    BadJobArguments,
    EngineNotReady,
    JobAlreadyFinished,
    JobFailed,
    JobStopped,
    LeaseHeld,
    UnknownJobKind,
    problem_dict,
)
from service.kit.jobs.execution import run_inline
from service.kit.jobs.operations import (
    QueueDepth,
    cancel,
    enqueue,
    events_after,
    get_job,
    live_workers,
    queue_depths,
)
from service.kit.jobs.registry import QUEUES, handler, registered_kinds
from service.kit.jobs.supervisor import Supervisor
from service.kit.jobs.tables import FINISHED, Job, JobEvent, JobStep, WorkerLease
from service.kit.jobs.worker import JobEngine, run_worker

__all__ = [
    "FINISHED",
    "QUEUES",
    "BadJobArguments",
    "EngineNotReady",
    "Job",
    "JobAlreadyFinished",
    "JobClient",
    "JobContext",
    "JobEngine",
    "JobEvent",
    "JobFailed",
    "JobStep",
    "JobStopped",
    "LeaseHeld",
    "QueueDepth",
    "Supervisor",
    "UnknownJobKind",
    "WorkerLease",
    "cancel",
    "enqueue",
    "events_after",
    "get_job",
    "handler",
    "live_workers",
    "migrate_engine",
    "problem_dict",
    "queue_depths",
    "registered_kinds",
    "run_inline",
    "run_worker",
]
