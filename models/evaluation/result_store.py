"""Finished results on disk, one file each, found again by everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.screen import ScreenError

Spec = Mapping[str, Any]


class ResultStore:
    """A folder of results. A result is reused only where its whole specification is the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, spec: Spec) -> dict[str, Any] | None:
        """The result that was stored for ``spec``, if any.

        Raises :class:`ScreenError` for a file that is broken, naming it.
        """
        path = self._path(spec)
        if not path.exists():
            return None
        try:
            stored = json.loads(path.read_text())
            found, result = stored["spec"], stored["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise ScreenError(f"{path} is no result ({error}); delete it to fit again") from error
        if found != json.loads(json.dumps(spec)):
            raise ScreenError(f"{path} holds a result of something else; delete it to fit again")
        return dict(result)

    def put(self, spec: Spec, result: Mapping[str, Any]) -> None:
        """Store a result: whole or, if this process dies, not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(spec)
        text = json.dumps({"spec": spec, "result": result}, indent=1, allow_nan=False)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(text)
        partial.replace(path)

    def _path(self, spec: Spec) -> Path:
        key = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{spec['model']}-{spec['split']}-{spec['fold']}-{key}.json"
