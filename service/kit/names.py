"""People say names; rows have ids. One directory resolves both and suggests what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.chemistry.names import fold_name, nearest_names
from service.kit.csv_out import plain


class NameDirectory:
    """Names and ids of one noun in one workspace."""

    def __init__(self, noun: str, rows: Sequence[tuple[str, str, str]]) -> None:
        """``rows``: (folded name, name as written, id)."""
        self.noun = noun
        self._by_folded = {folded: identifier for folded, _, identifier in rows}
        self._texts = {folded: text for folded, text, _ in rows}
        self._ids = {identifier for _, _, identifier in rows}
        self._cache: dict[str, str | None] = {}

    def resolve(self, reference: str) -> str | None:
        """The id behind a name or an id, or nothing."""
        if reference not in self._cache:
            known = reference if reference in self._ids else self._named(reference)
            self._cache[reference] = known
        return self._cache[reference]

    def _named(self, reference: str) -> str | None:
        found = self._by_folded.get(fold_name(reference))
        # A name that begins like a formula comes back from our own CSV with an apostrophe.
        return found or self._by_folded.get(fold_name(plain(reference)))

    def unknown(self, reference: str, fix: str) -> str:
        """The message for a reference that leads nowhere."""
        nearest = nearest_names(reference, self._texts.values())
        hint = f" Did you mean {', '.join(map(repr, nearest))}?" if nearest else ""
        return f"There is no {self.noun} {shorten(reference)!r} in this workspace.{hint} {fix}"


def shorten(text: str, limit: int = 60) -> str:
    """``text``, cut where an error message would drown in it."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_called(named: Mapping[str, str], folded: str) -> bool:
    """Whether a row with ``id`` and ``name`` is the one that a case-folded text means."""
    return folded in (named["id"].casefold(), named["name"].casefold())


def duplicates(values: Iterable[str]) -> set[str]:
    """The values that occur more than once."""
    seen: set[str] = set()
    twice: set[str] = set()
    for value in values:
        (twice if value in seen else seen).add(value)
    return twice
