"""Dockerfile, compose file and lock: what can be known about them without building anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock import render
from service.cli import app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: item for name, item in SERVICES.items() if name != "postgres"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = re.findall(r"^([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", LOCK, re.M)
VERSIONS = {name: version for name, version, _ in PINNED}


def test_compose_has_every_part() -> None:
    assert set(SERVICES) == {"postgres", "migrate", "api", "worker", "worker-gpu"}
    assert set(COMPOSE["volumes"]) == {"postgres", "artifacts"}
    for name, service in OURS.items():
        assert "artifacts:/artifacts" in service["volumes"], name
        assert service["environment"]["NEXTROUND_ARTIFACTS_URL"] == "file:///artifacts"
        assert "healthcheck" in service or name == "api", "only the API answers /livez"


def test_compose_starts_without_a_graphics_card() -> None:
    for name, service in SERVICES.items():
        assert ("deploy" in service) == ("profiles" in service) == (name == "worker-gpu")
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert SERVICES["worker"]["build"]["args"]["TORCH_INDEX"] == "${TORCH_INDEX:-}"
    assert SERVICES["worker-gpu"]["build"]["args"]["TORCH_INDEX"] == "${TORCH_GPU_INDEX:-}"


def test_compose_migrates_once_before_anything_else() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("api", "worker", "worker-gpu"):
        condition = SERVICES[name]["depends_on"]["migrate"]["condition"]
        assert condition == "service_completed_successfully"


def test_compose_holds_no_secret() -> None:
    assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?.*\}", _password(SERVICES["postgres"]))
    for service in OURS.values():
        assert ":${POSTGRES_PASSWORD:?" in service["environment"]["NEXTROUND_DATABASE_URL"]


def test_compose_runs_commands_that_exist() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for service in OURS.values():
        name, *arguments = service["command"]
        commands[name].make_context(name, list(arguments))  # raises for an unknown option


def test_every_setting_in_the_files_is_one_of_ours() -> None:
    text = DOCKERFILE + "".join(str(service["environment"]) for service in OURS.values())
    used = {name.lower() for name in re.findall(r"NEXTROUND_([A-Z_]+)", text)}
    assert used
    assert used <= set(Settings.model_fields)


def test_compose_is_valid_for_docker() -> None:
    if shutil.which("docker") is None:
        pytest.skip("there is no docker client here")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("this docker client has no compose plugin")
    done = subprocess.run(
        ["docker", "compose", "--profile", "gpu", "config", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "POSTGRES_PASSWORD": "test"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_image_runs_as_nobody_special_and_can_be_watched() -> None:
    _, final = DOCKERFILE.rsplit("FROM python:${PYTHON}-slim", 1)
    assert DOCKERFILE.count("FROM python:${PYTHON}-slim") == 2
    assert re.search(r"^USER nextround$", final, re.M)
    assert re.search(r"^HEALTHCHECK .*\n.*/livez", final, re.M)
    assert 'ENTRYPOINT ["nextround"]' in final


def test_the_image_takes_torch_first_and_from_its_own_index() -> None:
    torch = DOCKERFILE.index('--index-url "$TORCH_INDEX"')
    assert DOCKERFILE.index("ARG TORCH_INDEX") < torch < DOCKERFILE.index("--require-hashes")


def test_the_image_is_built_from_files_that_are_there() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    lines = re.findall(r"^COPY ([^-].*)$", DOCKERFILE, re.M)
    copied = [name for line in lines for name in line.split()[:-1]]
    assert set(copied) == set(allowed)
    for name in copied:
        assert (ROOT / name).exists(), name


def test_the_lock_is_all_pins_and_hashes() -> None:
    assert LOCK.count("==") == len(PINNED) > 40
    assert [name for name, _, _ in PINNED] == sorted(VERSIONS)
    assert [name for name, _, hashes in PINNED if not hashes] == ["torch"]


def test_the_lock_names_no_build_and_no_host() -> None:
    """A lock made beside a CPU wheel would ask for torch==2.13.0+cpu, which no index has."""
    entries = LOCK.split("\n", 1)[1]
    assert "+" not in LOCK
    assert not re.search(r"://|/|@|\bindex\b|find-links", entries)
    made = render({"torch": "2.13.0", "numpy": "2.0"}, {"numpy": {"b", "a"}}).split("\n", 1)[1]
    expected = "numpy==2.0 \\\n    --hash=sha256:a \\\n    --hash=sha256:b\ntorch==2.13.0\n"
    assert made == expected


def test_the_lock_is_not_older_than_the_project() -> None:
    """What pyproject.toml asks for, and what that needs in turn, is in the lock and satisfied."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name.startswith(("nvidia-", "cuda-", "triton")):
            continue  # comes with the build of torch that needs it
        assert name in VERSIONS, f"{name} is missing: python scripts/lock.py"
        assert VERSIONS[name] in requirement.specifier, f"{name}: python scripts/lock.py"
        if name not in seen:
            seen.add(name)
            wanted += _needs(name, requirement.extras)


def _needs(name: str, extras: set[str]) -> list[Requirement]:
    try:
        locked = version(name).partition("+")[0] == VERSIONS[name]
    except PackageNotFoundError:  # for another system
        return []
    if not locked:
        return []  # another version may need other things
    found = [Requirement(text) for text in requires(name) or []]
    environments = [{"extra": extra} for extra in (extras or {""})]
    return [
        item
        for item in found
        if item.marker is None or any(item.marker.evaluate(env) for env in environments)
    ]


def _password(service: dict[str, Any]) -> str:
    return str(service["environment"]["POSTGRES_PASSWORD"])
