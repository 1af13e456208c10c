"""Where a worker computes, and why there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from typing import Any

_PROBE_S = 120.0
_CUDA = re.compile(r"cuda(?::(\d{1,3}))?")


class DeviceError(ValueError):
    """The device that was asked for cannot be used; the message says why."""


@dataclass(frozen=True)
class Device:
    """``name`` is what torch takes; ``key`` is the card itself, however it is numbered here."""

    name: str
    reason: str
    key: str | None = None


def choose_device(requested: str) -> Device:
    """``auto`` (a graphics card if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Never crashes on a driver that is missing, old or broken: ``auto`` then means the CPU and the
    reason says why. A card that was asked for by number and cannot be used is a DeviceError.
    """
    wanted = requested.strip().lower()
    if wanted == "cpu":
        return Device("cpu", "the CPU was asked for")
    match = _CUDA.fullmatch(wanted)
    if wanted != "auto" and match is None:
        raise DeviceError(f"{requested!r} is not a device; use auto, cpu or cuda:N (N = 0, 1, ...)")
    index = int(match[1] or 0) if match else 0
    obstacle = _obstacle(index)
    if obstacle is None:
        return _card(index, "asked for" if match else "the first card that works")
    if match:
        raise DeviceError(
            f"cuda:{index} cannot be used: {obstacle}. Use --device cpu, or auto to let "
            f"the worker choose."
        )
    return Device("cpu", f"no graphics card can be used: {obstacle}")


def probe_device(requested: str) -> Device:
    """:func:`choose_device` in a process of its own.

    A worker that waits for jobs then holds neither PyTorch nor a context on the card (200 MB
    and more), and a driver that crashes the process which asks it takes nobody along.
    """
    if requested.strip().lower() == "cpu":
        return choose_device(requested)
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "service.kit.devices", requested],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PROBE_S,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        why = _first_line(done.stderr[-300:] or f"it ended with exit code {done.returncode}")
        raise DeviceError(f"the device could not be examined: {why}") from None
    if "error" in answer:
        raise DeviceError(answer["error"])
    return Device(**answer)


def _obstacle(index: int) -> str | None:
    """Why the card cannot be used, or None if a small computation on it works."""
    try:
        import torch
    except Exception as error:
        return f"PyTorch cannot be imported ({_first_line(error)})"
    if torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is built for the CPU only"
    try:
        return _try_card(torch, index)
    except Exception as error:
        return _first_line(error)


def _try_card(torch: Any, index: int) -> str | None:
    with warnings.catch_warnings(record=True) as caught:
        # An old driver is announced as a warning, which is the best explanation there is.
        warnings.simplefilter("always")
        available = bool(torch.cuda.is_available())
    if not available:
        return _first_line(caught[-1].message) if caught else "there is no card or no driver"
    count = int(torch.cuda.device_count())
    if index >= count:
        return f"there are only {count} cards (cuda:0 to cuda:{count - 1})"
    # A card that is too new or too old for this build is listed and fails at the first kernel.
    torch.ones(2, device=f"cuda:{index}").sum().item()
    return None


def _card(index: int, why: str) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(index)
    gib = properties.total_memory / 2**30
    key = str(getattr(properties, "uuid", "")) or f"cuda:{index}"
    return Device(f"cuda:{index}", f"{why}: {properties.name}, {gib:.0f} GiB", key)


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _main(requested: str) -> None:
    try:
        answer = asdict(choose_device(requested))
    except DeviceError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main(sys.argv[1])
