"""``nextround doctor``: what is here, and what is wrong with it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from service.health import Check, check_all
from service.kit.devices import DeviceError, choose_device
from service.kit.parts import Parts

_PACKAGES = [
    "nextround",
    "torch",
    "rdkit",
    "fastapi",
    "sqlalchemy",
    "alembic",
    "dbos",
    "pydantic",
    "numpy",
    "scipy",
]


def examine(parts: Parts) -> list[Check]:
    """Everything that ``/readyz`` checks, and what only this machine can tell."""
    return [*_versions(), _device(parts), _location(parts), *check_all(parts)]


def _versions() -> list[Check]:
    checks = [
        Check(name="python", ok=sys.version_info >= (3, 11), detail=platform.python_version())
    ]
    for package in _PACKAGES:
        try:
            checks.append(Check(name=package, ok=True, detail=version(package)))
        except PackageNotFoundError:
            checks.append(Check(name=package, ok=False, detail="not installed: pip install ."))
    return checks


def _device(parts: Parts) -> Check:
    try:
        device = choose_device(parts.settings.device)
    except DeviceError as error:
        return Check(name="device", ok=False, detail=str(error))
    return Check(name="device", ok=True, detail=f"{device.name}: {device.reason}")


def _location(parts: Parts) -> Check:
    url = parts.database.engine.url.render_as_string(hide_password=True)
    return Check(name="database url", ok=True, detail=url)
