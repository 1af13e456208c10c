"""Large results outside the database: files named by their content, written atomically."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlparse

_CACHED_BYTES = 16 * 2**20
_NAME = re.compile(r"[0-9a-f]{64}\.[a-z]+")
_SUFFIXES = frozenset({"bin", "csv", "json", "ndjson", "parquet", "safetensors", "zip"})


class ArtifactError(RuntimeError):
    """An artifact that cannot be stored or found, with the reason."""


def names_in(text: str) -> list[str]:
    """The names of artifacts that stand in ``text``."""
    return _NAME.findall(text)


class ArtifactStore:
    """Content-addressed files under one folder, local or on a volume that workers share.

    The name of an artifact is ``<sha256>.<suffix>``. Writing the same content twice is harmless,
    so a job step that is repeated after a crash changes nothing.
    """

    def __init__(self, url: str) -> None:
        self.root = _folder_of(url)
        self.root.mkdir(parents=True, exist_ok=True)
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, content: bytes, suffix: str) -> str:
        """Store ``content`` and return its name. A reader never sees half a file."""
        if suffix not in _SUFFIXES:
            raise ArtifactError(f"artifacts are {sorted(_SUFFIXES)}, not {suffix!r}")
        name = f"{hashlib.sha256(content).hexdigest()}.{suffix}"
        target = self._path(name)
        if target.exists():
            os.utime(target)  # retention counts from the last use
            return name
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(target, content)
        return name

    def scratch(self) -> Path:
        """A new empty file beside the artifacts, for :meth:`adopt` or to be deleted."""
        handle, temporary = tempfile.mkstemp(dir=self.root, prefix=".writing-")
        os.close(handle)
        return Path(temporary)

    def adopt(self, path: Path, suffix: str) -> str:
        """Make a :meth:`scratch` file that is complete an artifact, and return its name."""
        if suffix not in _SUFFIXES:
            raise ArtifactError(f"artifacts are {sorted(_SUFFIXES)}, not {suffix!r}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        target = self._path(f"{digest}.{suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        return target.name

    def locate(self, name: str) -> Path:
        """Where ``name`` is on disk, for what is too long to hold in memory."""
        path = self._path(name)
        if not path.exists():
            raise ArtifactError(f"artifact {name} is missing from {self.root}")
        return path

    def get(self, name: str) -> bytes:
        """The content of ``name``, checked against its hash when it is read from disk."""
        with self._lock:
            if name in self._recent:
                self._recent.move_to_end(name)
                return self._recent[name]
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            raise ArtifactError(f"artifact {name} is missing from {self.root}") from None
        if hashlib.sha256(content).hexdigest() != name.split(".", 1)[0]:
            raise ArtifactError(f"artifact {name} does not match its hash: the file is damaged")
        self._keep(name, content)
        return content

    def _keep(self, name: str, content: bytes) -> None:
        """Remember what was read last: content never changes under its name."""
        if len(content) > _CACHED_BYTES // 4:
            return
        with self._lock:
            self._recent[name] = content
            while sum(map(len, self._recent.values())) > _CACHED_BYTES:
                self._recent.popitem(last=False)

    def exists(self, name: str) -> bool:
        """Whether ``name`` is here."""
        return self._path(name).exists()

    def sweep(self, keep: Iterable[str], older_than_s: float) -> int:
        """Delete what is not in ``keep`` and not younger than ``older_than_s``; return how many."""
        kept, limit, deleted = set(keep), time.time() - older_than_s, 0
        for path in self.root.glob("??/*"):
            if path.name not in kept and path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
                with self._lock:
                    self._recent.pop(path.name, None)
                deleted += 1
        return deleted

    def _path(self, name: str) -> Path:
        digest, _, suffix = name.partition(".")
        if (
            len(digest) != 64
            or not set(digest) <= set("0123456789abcdef")
            or suffix not in _SUFFIXES
        ):
            raise ArtifactError(f"{name!r} is not the name of an artifact")
        return self.root / digest[:2] / name


def _folder_of(url: str) -> Path:
    parsed = urlparse(url)
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
        return Path(unquote(parsed.path))
    if parsed.scheme == "":
        return Path(url)
    raise ArtifactError(
        f"artifacts live under a file:// URL or a folder (a shared volume for several machines), "
        f"not {parsed.scheme}://"
    )


def _write_atomically(target: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
