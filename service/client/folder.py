"""A watched folder: what comes into ``inbox/`` is submitted, then moved to ``archive/`` or
``errors/``.

All state is in the folder, and the order of the steps makes every crash harmless: a file is moved
only after the service has stored it, and storing the same bytes again changes nothing. A file is
read once its size and time have stayed the same for a while, and moved only if it is still what
was read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.client.api import Nextround
from service.client.errors import Refused, Unreachable
from service.client.folder_rules import (
    FolderError,
    FolderRules,
    SettingsError,
    find_campaign,
    is_finished_name,
    read_rules,
)
from service.client.folder_sending import (
    HEAD,
    OpenQuestions,
    Sent,
    is_transfer_report,
    send,
    send_report,
)

SETTLE_S = 5.0
MAX_BYTES = 64 * 2**20
_LONGEST_PAUSE_S = 300.0
Signature = tuple[int, int]
# What the service says of the file, not of the moment or of the key.
_FAULT_OF_THE_FILE = frozenset({400, 404, 409, 413, 415, 422})


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    file: str
    verdict: str
    """``stored``, ``existing``, ``refused`` or ``waiting``."""
    detail: str


class WatchedFolder:
    """One folder and the service behind it. Several may watch it: nothing is stored twice."""

    def __init__(
        self,
        root: Path,
        lab: Nextround,
        *,
        campaign: str | None = None,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inbox, self.archive, self.errors = (
            root / name for name in ("inbox", "archive", "errors")
        )
        self._lab = lab
        self._default = FolderRules(campaign=campaign)
        self._settle_s = settle_s
        self._clock = clock
        self._seen: dict[Path, tuple[Signature, float]] = {}
        for folder in (self.inbox, self.archive, self.errors):
            folder.mkdir(parents=True, exist_ok=True)

    def look(self) -> list[Outcome]:
        """Take every file that is finished. Raises :class:`Unreachable` and, where the key is not
        good, :class:`Refused`: such files stay where they are."""
        found = list(self._files())
        self._seen = {path: self._seen[path] for path, _ in found if path in self._seen}
        settled = []
        for path, place in found:
            signature = _signature(path)
            if signature is not None and self._is_settled(path, signature):
                settled.append((path, place, signature))
        # What was dispensed is known before what was read: doses and failed wells follow it.
        settled.sort(key=lambda one: not is_transfer_report(_read(one[0], HEAD) or b""))
        return [self._take(*one) for one in settled]

    def _files(self) -> Iterator[tuple[Path, str]]:
        """(file, folder below the inbox) of everything that may be read, in order of name."""
        for entry in sorted(self.inbox.iterdir()):
            if entry.is_symlink() or not is_finished_name(entry.name):
                continue
            if entry.is_file():
                yield entry, ""
            elif entry.is_dir():
                for path in sorted(entry.iterdir()):
                    if path.is_file() and not path.is_symlink() and is_finished_name(path.name):
                        yield path, entry.name

    def _is_settled(self, path: Path, signature: Signature) -> bool:
        """Whether it has been the same for a while, by our clock: a share has one of its own."""
        before, since = self._seen.get(path, (None, 0.0))
        if before != signature:
            self._seen[path] = (signature, self._clock())
            return self._settle_s <= 0
        return self._clock() - since >= self._settle_s

    def _take(self, path: Path, place: str, signature: Signature) -> Outcome:
        content = _read(path)
        if content is None or _signature(path) != signature:
            return Outcome(path.name, "waiting", "it changed while it was read")
        try:
            if len(content) > MAX_BYTES:
                raise FolderError(f"the file is larger than {MAX_BYTES / 2**20:.0f} MiB; split it")
            sent = self._send(path.name, place, content)
        except SettingsError as error:
            return Outcome(path.name, "waiting", str(error))
        except OpenQuestions as error:
            return self._refuse(path, place, signature, content, error.problem)
        except FolderError as error:
            problem = {"title": "The folder cannot take this file", "detail": str(error)}
            return self._refuse(path, place, signature, content, problem)
        except Refused as refused:
            if refused.status not in _FAULT_OF_THE_FILE:
                raise
            return self._refuse(path, place, signature, content, refused.problem)
        if sent.verdict == "waiting":
            return Outcome(path.name, sent.verdict, sent.detail)
        return self._keep(path, place, signature, content, sent)

    def _send(self, name: str, place: str, content: bytes) -> Sent:
        if is_transfer_report(content):  # its plates say whose it is
            return send_report(self._lab, name, content)
        rules = self._rules(place)
        campaign_id = find_campaign(rules.campaign_of(name), self._lab.list_campaigns())
        return send(self._lab, campaign_id, name, content, rules)

    def _rules(self, place: str) -> FolderRules:
        rules = read_rules(self.inbox, self._default)
        return read_rules(self.inbox / place, rules, name=place) if place else rules

    def _keep(
        self, path: Path, place: str, signature: Signature, content: bytes, sent: Sent
    ) -> Outcome:
        target = _free(self.archive / place / path.name, content)
        digest = hashlib.sha256(content).hexdigest()
        receipt = {"file": path.name, "sha256": digest, **sent.receipt}
        _write(target.with_name(f"{target.name}.receipt.json"), _as_json(receipt))
        return self._move(path, target, signature, content, sent.verdict, sent.detail)

    def _refuse(
        self,
        path: Path,
        place: str,
        signature: Signature,
        content: bytes,
        problem: Mapping[str, Any],
    ) -> Outcome:
        target = _free(self.errors / place / path.name, content)
        report = {"file": path.name, "at": datetime.now(UTC).isoformat(), **problem}
        _write(target.with_name(f"{target.name}.error.json"), _as_json(report))
        _write(target.with_name(f"{target.name}.error.txt"), _as_text(path.name, problem))
        detail = str(problem.get("detail", ""))
        return self._move(path, target, signature, content, "refused", detail)

    def _move(
        self,
        path: Path,
        target: Path,
        signature: Signature,
        content: bytes,
        verdict: str,
        detail: str,
    ) -> Outcome:
        """Out of the inbox, unless somebody has put a newer file there under the same name."""
        self._seen.pop(path, None)
        newer = Outcome(path.name, "waiting", f"{verdict}, but a newer file has its name by now")
        if _signature(path) != signature:
            return newer
        try:
            _rename(path, target)
            moved = _read(target)
        except FileNotFoundError:
            return Outcome(path.name, verdict, detail)  # another watcher was faster
        if moved == content:
            return Outcome(path.name, verdict, detail)
        if moved is not None:
            _rename(target, path.with_name(_marked(path, moved)) if path.exists() else path)
        return newer


def watch(
    folder: WatchedFolder,
    *,
    every_s: float,
    is_over: Callable[[], bool],
    tell: Callable[[str], None],
) -> None:
    """Look again and again. A service that is away is waited for, ever more patiently."""
    pause_s, said = every_s, set[str]()
    while not is_over():
        try:
            now = {f"{one.file}: {one.verdict} ({one.detail})" for one in folder.look()}
            pause_s = every_s
        except (Unreachable, Refused, OSError) as error:
            if isinstance(error, Refused) and error.status in (401, 403):
                raise
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            now = {f"Files wait: {error}"}
        for text in sorted(now - said):
            tell(text)
        said = now
        wake_at = time.monotonic() + pause_s
        while not is_over() and time.monotonic() < wake_at:
            time.sleep(min(0.2, every_s))


def take_all(folder: WatchedFolder, *, settle_s: float, tell: Callable[[str], None]) -> bool:
    """Take what is there now and has stopped growing; whether all of it was stored."""
    folder.look()
    time.sleep(settle_s)
    outcomes = folder.look()
    for one in outcomes:
        tell(f"{one.file}: {one.verdict} ({one.detail})")
    return all(one.verdict in ("stored", "existing") for one in outcomes)


def _rename(source: Path, target: Path) -> None:
    """At once: there is no moment with half a file, or none."""
    os.replace(source, target)


def _signature(path: Path) -> Signature | None:
    """What tells one state of a file from another."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(path: Path, most: int | None = None) -> bytes | None:
    """The content, one byte more than what is taken at most; nothing where it is held or gone."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1 if most is None else most)
    except (FileNotFoundError, PermissionError):
        return None


def _free(target: Path, content: bytes) -> Path:
    """``target``, or a name beside it where other bytes have that name already."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or _read(target) == content:
        return target
    return target.with_name(_marked(target, content))


def _marked(path: Path, content: bytes) -> str:
    """A name beside that of ``path`` which says what is in the file."""
    return f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"


def _write(path: Path, text: str) -> None:
    """A reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    _rename(temporary, path)


def _as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _as_text(name: str, problem: Mapping[str, Any]) -> str:
    """For the person who looks into the folder."""
    lines = [f"{name} was not taken in.", "", str(problem.get("detail", "")), ""]
    for error in problem.get("errors") or []:
        place = "" if error.get("row") is None else f"line {error['row']}"
        if error.get("plate"):
            place = f"plate {error['plate']}"
        if error.get("column"):
            place += f"{', ' if place else ''}column {error['column']}"
        lines.append(f"- {place + ': ' if place else ''}{error['message']}")
    missing = int(problem.get("error_count") or 0) - len(problem.get("errors") or [])
    if missing > 0:
        lines.append(f"- and {missing} more")
    settle = "Settle what is open, or mend" if "upload" in problem else "Mend"
    return "\n".join([*lines, "", f"{settle} the file and put it into inbox/ again.", ""])
