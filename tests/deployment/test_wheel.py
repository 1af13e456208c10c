"""The wheel holds everything that the program needs: nothing is read from the working tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOK = """
import service, migrations.run
from starlette.testclient import TestClient
from service.app import create_app
from service.kit.parts import Parts
from service.settings import Settings
from service.setup import prepare

parts = Parts.of(Settings())
key = prepare(parts)
with TestClient(create_app(parts=parts)) as http:
    assert http.get("/docs").status_code == 200
    headers = {"Authorization": f"Bearer {key}"}
    assert http.get("/v1/workspace", headers=headers).json()["name"] == "My lab"
print(service.__file__, migrations.run.__file__)
"""


@pytest.mark.slow
def test_the_wheel_is_complete(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = _copy_of_the_sources(tmp_path / "source")
    done = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("nextround-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "scripts/"))]
    looked = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "NEXTROUND_DATA_DIR": "data"},
        capture_output=True,
        text=True,
    )
    assert looked.returncode == 0, looked.stderr
    assert looked.stdout.split()[-1].startswith(str(tmp_path / "site"))


def _copy_of_the_sources(folder: Path) -> Path:
    """Without what a build in the working tree would leave behind."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("service", "models", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
