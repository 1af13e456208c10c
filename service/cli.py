"""The command line: ``nextround serve``, ``worker``, ``doctor``, ``keys``, ``migrate`` and more."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from service.screen_commands import add_commands
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
keys = typer.Typer(no_args_is_help=True, help="API keys, made by whoever can reach the database.")
app.add_typer(keys, name="keys")
add_commands(app)

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded database and the artifacts.")
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="postgresql://... for a shared database; default: embedded.")
]
ArtifactsUrl = Annotated[
    str | None, typer.Option(help="file:// URL or folder that all machines share.")
]


def _settings(**given: Any) -> Settings:
    """Options win over the environment, which wins over the defaults."""
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _log_to_stderr(level: int = logging.INFO) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    artifacts_url: ArtifactsUrl = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:N.")] = None,
    worker: Annotated[bool, typer.Option(help="Start and watch a worker of our own.")] = True,
) -> None:
    """Run the HTTP service and, unless told otherwise, a worker beside it."""
    import uvicorn

    from service.app import create_app
    from service.assays.uploads.warming import warm_up
    from service.kit.bounded_http import BoundedHttp
    from service.kit.jobs.supervisor import Supervisor
    from service.kit.parts import Parts
    from service.setup import prepare

    _log_to_stderr()
    settings = _settings(
        host=host,
        port=port,
        data_dir=data_dir,
        database_url=database_url,
        artifacts_url=artifacts_url,
        device=device,
    )
    parts = Parts.of(settings)
    first_key = prepare(parts)
    if first_key is not None:
        print(f"\nThe first key of your workspace, shown this once:\n\n    {first_key}\n")
    print(
        f"Nextround listens on http://{settings.host}:{settings.port} (API guide: /docs)",
        flush=True,
    )
    # uvicorn raises the signal again once it is done; by default that would end us before the
    # worker is told.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    supervisor = Supervisor.of_worker(env=_environment(settings)) if worker else None
    if supervisor is not None:
        supervisor.start()
    api = create_app(settings, parts)
    warm_up()
    try:
        uvicorn.run(
            api,
            host=settings.host,
            port=settings.port,
            http=BoundedHttp,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    finally:
        if supervisor is not None:
            supervisor.stop()


@app.command()
def worker(
    name: Annotated[str | None, typer.Option(help="Stable name; default: host:device.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:N.")] = None,
    queue: Annotated[
        list[str] | None, typer.Option(help="Only these queues; may be repeated.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    artifacts_url: ArtifactsUrl = None,
) -> None:
    """Train, score and predict until stopped. Any machine that reaches the database can join."""
    # Before PyTorch is imported. The tensors are small: on a busy machine two threads that wait for
    # each other took three times as long as one. An operator who sets it keeps what he set.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from service.integrations.dispatcher import Dispatcher
    from service.kit.jobs.worker import run_worker
    from service.kit.parts import Parts
    from service.retention import Janitor

    _register_jobs()
    _log_to_stderr()
    settings = _settings(data_dir=data_dir, database_url=database_url, artifacts_url=artifacts_url)
    parts = Parts.of(settings)
    Janitor(parts).start()
    if queue is None or "io" in queue:
        Dispatcher(parts).start()
    raise typer.Exit(run_worker(settings, device=device, name=name, queues=queue))


@app.command()
def migrate(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Bring the database up to this version and make the first workspace if there is none."""
    from service.kit.parts import Parts
    from service.setup import prepare

    first_key = prepare(Parts.of(_settings(data_dir=data_dir, database_url=database_url)))
    print("The database is up to date.")
    if first_key is not None:
        print(f"The first key of your workspace, shown this once:\n\n    {first_key}")


@app.command()
def doctor(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    artifacts_url: ArtifactsUrl = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:N.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Look at versions, device, database, migrations, workers and disk; exit 1 if one is wrong."""
    from service.doctor import examine
    from service.kit.parts import Parts

    settings = _settings(
        data_dir=data_dir, database_url=database_url, artifacts_url=artifacts_url, device=device
    )
    checks = examine(Parts.of(settings))
    if as_json:
        print(json.dumps([check.model_dump() for check in checks], indent=2))
    else:
        for check in checks:
            print(f"{'ok   ' if check.ok else 'WRONG'} {check.name:13} {check.detail}")
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of a measured screen to play back; default: a simulated lab."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds to play.")] = 3,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Blocks a round.")] = 96,
    seed: Annotated[
        int, typer.Option(min=0, max=10**9, help="Of the lab and of every random choice.")
    ] = 4,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of the service; 0: any.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(help="The service's folder; default: a temporary one.")
    ] = None,
    keep: Annotated[
        bool | None,
        typer.Option("--keep/--no-keep", help="Keep the folder; default: if it was given."),
    ] = None,
) -> None:
    """Play a whole campaign against a service of its own, and compare it with chance."""
    from service.demo.plan import DemoOptions, Plan
    from service.demo.run import run_demo

    plan = Plan(rounds=rounds, batch=batch, seed=seed)
    raise typer.Exit(run_demo(DemoOptions(data, plan, port, data_dir, keep)))


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of a measured screen.")],
    model: Annotated[str, typer.Option(help="A model, several with commas between, or all.")],
    json_out: Annotated[
        Path, typer.Option("--json", help="The report; folds are kept beside it and reused.")
    ],
    split: Annotated[
        str, typer.Option(help="random, pair, compound, both-compounds or cell-line.")
    ] = "pair",
    folds: Annotated[int, typer.Option(min=2, max=1000, help="Folds of the split.")] = 5,
    seed: Annotated[int, typer.Option(min=0, max=10**6, help="Of folds and fits.")] = 0,
    score: Annotated[
        str, typer.Option(help="A score such as bliss_mean, hsa_max, zip_mean; or viability.")
    ] = "bliss_mean",
    train_limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many training blocks, at random.")
    ] = None,
    only_folds: Annotated[str | None, typer.Option(help="Some of the folds, such as 0,1.")] = None,
    shuffled_features: Annotated[
        bool, typer.Option("--shuffled-features", help="Control: features of other compounds.")
    ] = False,
    permuted_labels: Annotated[
        bool, typer.Option("--permuted-labels", help="Control: scores of other blocks.")
    ] = False,
    draws: Annotated[int, typer.Option(min=1, max=100_000, help="Of each posterior.")] = 256,
    device: Annotated[str, typer.Option(help="cpu or cuda:N.")] = "cpu",
) -> None:
    """Compare models on a measured screen: folds, baselines, calibration, paired tests."""
    from service.learning.evaluating import EvaluateOptions, evaluate_screen

    study: dict[str, Any] = {
        "split": split,
        "folds": folds,
        "seed": seed,
        "score": score,
        "train_limit": train_limit,
        "draws": draws,
        "shuffled_features": shuffled_features,
        "permuted_labels": permuted_labels,
    }
    options = EvaluateOptions(data, model, study, only_folds, json_out, device)
    raise typer.Exit(evaluate_screen(options))


@app.command()
def replay(
    data: Annotated[Path, typer.Option(help="Folder of a measured screen.")],
    json_out: Annotated[
        Path, typer.Option("--json", help="The report; rounds are kept beside it and reused.")
    ],
    model: Annotated[str | None, typer.Option(help="One, or a,b,c; default: auto.")] = None,
    acquisition: Annotated[str | None, typer.Option(help="Default: hit_probability.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="Peers: recover, batchie, one_hot_greedy, one_hot_halves, random."),
    ] = None,
    score: Annotated[
        str, typer.Option(help="A score such as bliss_mean, hsa_max, zip_mean.")
    ] = "bliss_mean",
    threshold: Annotated[
        str, typer.Option(help="A hit: a score to exceed, or the best share, such as 5%.")
    ] = "10",
    batch: Annotated[str, typer.Option(help="Blocks a round, or a share: 190, 0.01, 1%.")] = "1%",
    init: Annotated[str, typer.Option(help="Random blocks at the start, the same way.")] = "1%",
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds after the start.")] = 9,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Campaigns of each strategy.")] = 5,
    lines: Annotated[
        str | None, typer.Option(help="Each cell line a campaign: so many, names, or all.")
    ] = None,
    plates: Annotated[
        str | None, typer.Option(help="Blocks x compounds x lines on each: 24x12x1; or free.")
    ] = None,
    kappa: Annotated[float, typer.Option(min=0, help="Of ucb.")] = 1.0,
    plot: Annotated[Path | None, typer.Option(help="A picture of the curves (PNG).")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes; default: one a core.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda:N.")] = "cpu",
) -> None:
    """Replay whole campaigns on a measured screen: what would each strategy have found?"""
    # Before PyTorch is imported, as for a worker: several processes share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from service.learning.replaying import ReplayOptions, replay_screen

    options = ReplayOptions(
        data=data,
        score=score,
        models=model,
        acquisitions=acquisition,
        strategies=strategy,
        batch=batch,
        initial=init,
        rounds=rounds,
        seeds=seeds,
        json_out=json_out,
        plot_out=plot,
        lines=lines,
        plates=plates,
        threshold=threshold,
        kappa=kappa,
        jobs=jobs,
        device=device,
    )
    raise typer.Exit(replay_screen(options))


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Gets inbox/, archive/ and errors/.")],
    url: Annotated[
        str, typer.Option(envvar="NEXTROUND_URL", help="Of the service.")
    ] = "http://127.0.0.1:8000",
    campaign: Annotated[
        str | None, typer.Option(help="For files that nothing else places.")
    ] = None,
    settle: Annotated[float, typer.Option(min=0, help="Seconds a file must stay as it is.")] = 5.0,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Take what is there, then end.")] = False,
) -> None:
    """Submit what is put into a folder. NEXTROUND_KEY is a key with read, measurements:write and,
    for transfer reports, batches:write."""
    from service.client.watching import WatchOptions, run_watch

    raise typer.Exit(run_watch(WatchOptions(folder, url, campaign, settle, every, once)))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="May be repeated; default: admin.")
    ] = None,
    workspace: Annotated[str | None, typer.Option(help="Name or id, if there are several.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and print it, and nothing else, to standard output."""
    from service.kit.auth.scopes import DESCRIPTIONS
    from service.kit.parts import Parts
    from service.setup import add_key

    granted = scope or ["admin"]
    unknown = [item for item in granted if item not in DESCRIPTIONS]
    if unknown:
        _fail(f"there is no scope {unknown[0]!r}; the scopes are {', '.join(DESCRIPTIONS)}")
    parts = Parts.of(_settings(data_dir=data_dir, database_url=database_url))
    try:
        print(add_key(parts, workspace, name, granted))
    except LookupError as error:
        _fail(str(error))


@app.command("new-workspace")
def new_workspace(
    name: Annotated[str, typer.Argument(help="The lab's name.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make another workspace and print its first key."""
    from service.kit.parts import Parts
    from service.setup import add_workspace

    print(add_workspace(Parts.of(_settings(data_dir=data_dir, database_url=database_url)), name))


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    import tempfile

    from service.app import create_app
    from service.kit.artifacts import ArtifactStore
    from service.kit.database import Database
    from service.kit.parts import Parts

    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Settings(), Database("sqlite://"), ArtifactStore(folder))
        print(json.dumps(create_app(parts=parts).openapi(), indent=2))


def _register_jobs() -> None:
    """Import every module that says how a kind of job runs."""
    import service.archive.jobs
    import service.assays.jobs
    import service.assays.uploads.jobs
    import service.batches.jobs
    import service.datasets.jobs
    import service.learning.jobs
    import service.surfaces.jobs
    import service.triage.jobs  # noqa: F401


def _environment(settings: Settings) -> dict[str, str]:
    """The environment of a worker that has the same settings as this process."""
    given = {
        "NEXTROUND_DATABASE_URL": settings.resolved_database_url,
        "NEXTROUND_ARTIFACTS_URL": settings.resolved_artifacts_url,
        "NEXTROUND_DATA_DIR": str(settings.data_dir.absolute()),
        "NEXTROUND_DEVICE": settings.device,
    }
    return {**os.environ, **given}


def _fail(message: str) -> None:
    print(f"nextround: {message}", file=sys.stderr)
    raise typer.Exit(2)


def _explain(error: Exception) -> str | None:
    """What an operator can mend, in words; nothing for what is a fault of ours."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from migrations.run import NewerDatabase

    if isinstance(error, NewerDatabase):
        return str(error)
    if isinstance(error, OperationalError | ProgrammingError):
        first_line = str(error.orig).splitlines()[0]
        if re.search(r'no such table|relation ".*" does not exist', first_line):
            return f"{first_line}: run `nextround migrate` first"
        if isinstance(error, OperationalError):
            return f"the database does not answer: {first_line}"
    return None


def main() -> None:
    """Entry point."""
    try:
        app()
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        print(f"nextround: {message}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
