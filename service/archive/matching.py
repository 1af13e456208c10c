"""Which compounds, cell lines, maps and data sets of an archive are rows of the workspace already.

A compound is the same where its structure is (InChIKey), or, where it has none, its name; a cell
line where its name is. What is here is never changed: where the archive says something else of
it, the archive is refused, because a model would learn something else from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.archive.repository import ContentRepository

Rows = list[dict[str, Any]]


@dataclass
class Matches:
    """Ids of the archive to ids of the workspace, and what contradicts."""

    known: dict[str, str] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)


def match_compounds(compounds: Rows, aliases: Rows, here: ContentRepository) -> Matches:
    """The compounds of an archive that are here."""
    found = Matches()
    rows, names = here.compounds(), here.aliases()
    by_key = {key: identifier for identifier, (_, key, _) in rows.items() if key is not None}
    folded: dict[str, set[str]] = {}
    for alias in aliases:
        folded.setdefault(alias["compound_id"], set()).add(alias["folded"])
    for row in compounds:
        named = {names[name] for name in folded.get(row["id"], ()) if name in names}
        same = by_key.get(row["inchikey"]) if row["inchikey"] is not None else None
        target = same or min(named, default=None)
        if target is None:
            continue
        found.known[row["id"]] = target
        found.contradictions += _compound_contradictions(row, target, named, rows)
    found.contradictions += _merged(found.known, {row["id"]: row["name"] for row in compounds})
    return found


def _compound_contradictions(
    row: Mapping[str, Any],
    target: str,
    named: Iterable[str],
    rows: Mapping[str, tuple[str, str | None, bytes | None]],
) -> Iterable[str]:
    name, key, fingerprint = rows[target]
    for other in sorted(set(named) - {target}):
        yield (
            f"Compound {row['name']!r} is {name!r} here by its structure, but one of its names "
            f"leads to {rows[other][0]!r}"
        )
    if key != row["inchikey"]:
        yield (
            f"Compound {row['name']!r} has the structure {row['inchikey'] or '(none)'} in the "
            f"archive and {key or '(none)'} here"
        )
    elif fingerprint != row["fingerprint"]:
        yield f"Compound {row['name']!r} has another fingerprint here, so models would differ"


def match_cell_lines(lines: Rows, features: Rows, here: ContentRepository) -> Matches:
    """The cell lines of an archive that are here."""
    found = Matches()
    rows, hashes = here.cell_lines(), here.features()
    brought = {row["cell_line_id"]: row["sha256"] for row in features}
    for row in lines:
        known = rows.get(row["folded"])
        if known is None:
            continue
        identifier, name, cellosaurus = known
        found.known[row["id"]] = identifier
        if cellosaurus != row["cellosaurus_id"]:
            found.contradictions.append(
                f"Cell line {name!r} is {row['cellosaurus_id'] or '(none)'} of Cellosaurus in the "
                f"archive and {cellosaurus or '(none)'} here"
            )
        if hashes.get(identifier) != brought.get(row["id"]):
            found.contradictions.append(f"Cell line {name!r} has other features here")
    return found


def _merged(known: Mapping[str, str], names: Mapping[str, str]) -> Iterable[str]:
    """Two compounds of the archive that are one here."""
    seen: dict[str, str] = {}
    for old, new in known.items():
        if new in seen:
            yield f"Compounds {names[seen[new]]!r} and {names[old]!r} are one and the same here"
        seen[new] = old


def match_field_maps(brought: Rows, here: Rows) -> tuple[Matches, dict[str, int]]:
    """The field maps of an archive that are here, word for word; the others get the next version
    of their name where their own is taken."""
    found, versions = Matches(), dict[str, int]()
    newest: dict[str, int] = {}
    for row in here:
        newest[row["folded"]] = max(newest.get(row["folded"], 0), row["version"])
    taken = {(row["folded"], row["version"]) for row in here}
    for row in brought:
        same = [
            other["id"]
            for other in here
            if other["folded"] == row["folded"] and other["definition"] == row["definition"]
        ]
        if same:
            found.known[row["id"]] = same[0]
        elif (row["folded"], row["version"]) in taken:
            newest[row["folded"]] += 1
            versions[row["id"]] = newest[row["folded"]]
    return found, versions


def match_datasets(brought: Rows, fits: Rows, here: ContentRepository) -> Matches:
    """The data sets of an archive that are here: the same bytes, declared alike; and what was
    learned of them, which is the same where it was made in the same moment with the same seed."""
    found = Matches()
    known, learned = here.datasets(), here.dataset_fits()
    for row in brought:
        same = known.get((row["sha256"], row["declared"]))
        if same is not None:
            found.known[row["id"]] = same
    for row in fits:
        dataset = found.known.get(row["dataset_id"])
        fit = learned.get((dataset, row["seed"], row["created_at"]))
        if fit is not None:
            found.known[row["id"]] = fit
    return found
