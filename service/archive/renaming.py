"""New ids for what an archive brings along, where its own are taken or mean something else here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_ID = re.compile(r"\b[a-z]{3}_[0-9a-hjkmnp-tv-z]{26}\b")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_KEPT = 14  # of 26 characters: the time and the count in it, by which ids are sorted
_PEOPLE = ("key_", "wsp_")


class Renamer:
    """Replaces ids wherever they stand in a text.

    ``known`` says which compounds and cell lines are rows here already. With ``salt`` every other
    id gets a new one that follows from the two, and that sorts as the old one did: what depends
    on the order of ids, such as the rows of a screen, stays as it was. Keys and workspaces are
    who did something elsewhere, and keep their names.
    """

    def __init__(self, known: Mapping[str, str], salt: str | None) -> None:
        self._known = dict(known)
        self._salt = salt
        self.one = lru_cache(maxsize=50_000)(self._one)

    @property
    def changes_nothing(self) -> bool:
        """Whether every id stays as it is."""
        return self._salt is None and all(old == new for old, new in self._known.items())

    def text(self, text: str) -> str:
        """``text`` with the ids of here."""
        return text if self.changes_nothing else _ID.sub(self._replace, text)

    def content(self, content: bytes) -> bytes:
        """The same for a document in UTF-8."""
        return self.text(content.decode()).encode()

    def _one(self, identifier: str) -> str:
        """The id of here for one id."""
        known = self._known.get(identifier)
        if known is not None:
            return known
        if self._salt is None or identifier.startswith(_PEOPLE):
            return identifier
        prefix, _, digits = identifier.partition("_")
        digest = hashlib.blake2b(f"{self._salt}/{identifier}".encode(), digest_size=8).digest()
        value = int.from_bytes(digest)
        fresh = "".join(_ALPHABET[(value >> (5 * place)) & 31] for place in range(26 - _KEPT))
        return f"{prefix}_{digits[:_KEPT]}{fresh}"

    def _replace(self, match: re.Match[str]) -> str:
        return self.one(match[0])


def ids_in(text: str, prefix: str) -> set[str]:
    """The ids of one noun that ``text`` names."""
    return {found for found in _ID.findall(text) if found.startswith(f"{prefix}_")}


def in_order(row: dict[str, Any]) -> dict[str, Any]:
    """``row`` with its compounds in ascending order again, their doses beside them."""
    letters = [x for x in "abc" if row.get(f"compound_{x}_id") is not None]
    ids = [row[f"compound_{letter}_id"] for letter in letters]
    if ids == sorted(ids):
        return row
    names = [
        pattern
        for pattern in ("compound_{}_id", "dose_{}_um", "doses_{}_um")
        if pattern.format("a") in row
    ]
    ranked = sorted(letters, key=lambda letter: str(row[f"compound_{letter}_id"]))
    moved = {
        pattern.format(to): row[pattern.format(came)]
        for to, came in zip(letters, ranked, strict=True)
        for pattern in names
    }
    return {**row, **moved}
