"""``nextround`` commands as an operator runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def command(*arguments: str) -> list[str]:
    """The command line of ``nextround ARGUMENTS``, in this very interpreter."""
    return [sys.executable, "-m", "service.cli", *arguments]


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """This environment, with ``folder`` for the data and nothing of the caller's own settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("NEXTROUND_")}
    env |= {"PYTHONPATH": str(ROOT), "NEXTROUND_DATA_DIR": str(folder), "NEXTROUND_DEVICE": "cpu"}
    return env | {f"NEXTROUND_{name.upper()}": str(value) for name, value in settings.items()}


def nextround(
    folder: Path, *arguments: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run ``nextround ARGUMENTS`` to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
