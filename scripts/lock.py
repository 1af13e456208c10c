"""Write requirements.lock: every run-time dependency, pinned, with the hashes of its files.

    python scripts/lock.py

pip resolves what pyproject.toml asks for, held to the versions that are installed beside this
script: the lock says what the tests ran with. Then it is asked for the same versions on the
interpreters and machines below, so that the lock holds the hash of every file that a deployment
may download. Only wheels are taken.

torch has no hash. Which build of it is right depends on the machine (CPU, CUDA, ROCm), each
build is another file, and a build may carry a local label such as ``+cpu`` that exists on no
public index. The lock says the public version; what only one build needs (``nvidia-...``) is left
to that build. Install torch first, from the index that has the right build, then the rest:

    pip install torch==VERSION --index-url INDEX
    grep -v '^torch==' requirements.lock > rest.txt
    pip install --require-hashes --no-deps -r rest.txt
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = ("2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5")
PLATFORMS = {
    "Linux, x86-64": [*(f"manylinux_{g}_x86_64" for g in GLIBC), "manylinux2014_x86_64"],
    "Linux, 64-bit Arm": [*(f"manylinux_{g}_aarch64" for g in GLIBC), "manylinux2014_aarch64"],
}
WITHOUT_HASH = ("torch",)
BUILD_OF_TORCH = ("nvidia-", "cuda-", "triton", "pytorch-triton")
HEADER = (
    "# Made by scripts/lock.py, which says how to install from it. torch has no hash: see there.\n"
)

Pins = dict[str, str]
Hashes = dict[str, set[str]]


def main() -> None:
    """Resolve here, collect hashes everywhere, write the lock."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(_installed()))
        constraints.flush()
        found = _report(wanted, "--constraint", constraints.name)
    pins = {name: item["metadata"]["version"].partition("+")[0] for name, item in found.items()}
    hashes: Hashes = {name: set() for name in pins if name not in WITHOUT_HASH}
    _collect(hashes, found)
    for python in PYTHONS:
        for machine, tags in PLATFORMS.items():
            print(f"Python {python} on {machine}", file=sys.stderr)
            exact = [f"{name}=={pins[name]}" for name in hashes]
            _collect(hashes, _report(exact, *_target(python, tags)))
    LOCK.write_text(render(pins, hashes))


def _installed() -> list[str]:
    """What is installed here, without local labels."""
    return [
        f"{package.name}=={package.version.partition('+')[0]}"
        for package in distributions()
        if package.name != "nextround"
    ]


def render(pins: Pins, hashes: Hashes) -> str:
    """The lock as text: one requirement per line, its hashes below it."""
    lines = [HEADER]
    for name in sorted(pins):
        parts = [f"{name}=={pins[name]}"]
        parts += [f"--hash=sha256:{digest}" for digest in sorted(hashes.get(name, ()))]
        lines.append(" \\\n    ".join(parts) + "\n")
    return "".join(lines)


def _target(python: str, tags: list[str]) -> list[str]:
    with tempfile.TemporaryDirectory() as nowhere:
        options = ["--no-deps", "--python-version", python, "--target", nowhere]
    return [*options, *(word for tag in tags for word in ("--platform", tag))]


def _report(requirements: list[str], *options: str) -> dict[str, Any]:
    """What pip would install, by normalised name."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--only-binary=:all:", "--report", "-", *options, *requirements]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    items = {_normal(item["metadata"]["name"]): item for item in json.loads(done.stdout)["install"]}
    return {name: items[name] for name in items if not name.startswith(BUILD_OF_TORCH)}


def _collect(hashes: Hashes, found: dict[str, Any]) -> None:
    for name, item in found.items():
        if name in hashes:
            hashes[name].add(item["download_info"]["archive_info"]["hashes"]["sha256"])


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    main()
