"""``nextround watch``: a folder, a service and a key, until somebody says stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from service.client.api import Nextround
from service.client.errors import ClientError
from service.client.folder import WatchedFolder, take_all, watch

KEY = "NEXTROUND_KEY"
"""The environment variable of the key: a command line can be read by everybody on the machine."""


@dataclass(frozen=True)
class WatchOptions:
    """What the command line says."""

    folder: Path
    url: str
    campaign: str | None
    settle_s: float
    every_s: float
    once: bool


def run_watch(options: WatchOptions) -> int:
    """Watch; returns the exit code: 1 where ``once`` left a file unstored, 2 for a bad key."""
    key = os.environ.get(KEY)
    if not key:
        return _fail(f"put an API key into the environment variable {KEY}")
    with Nextround(options.url, key) as lab:
        folder = WatchedFolder(
            options.folder, lab, campaign=options.campaign, settle_s=options.settle_s
        )
        try:
            if options.once:
                return 0 if take_all(folder, settle_s=options.settle_s, tell=_tell) else 1
            over = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: over.set())
            watch(folder, every_s=options.every_s, is_over=over.is_set, tell=_tell)
        except ClientError as error:
            return _fail(str(error))
    return 0


def _tell(text: str) -> None:
    print(text, flush=True)


def _fail(text: str) -> int:
    print(f"nextround: {text}", file=sys.stderr)
    return 2
