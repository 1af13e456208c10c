"""A campaign out of an archive: everything is checked first, then stored in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.archive.content import BY_NAME, CELL_LINES, COMPOUNDS, PARTS, Part
from service.archive.files import FileKeeper
from service.archive.ids_taken import any_taken
from service.archive.matching import (
    Matches,
    match_cell_lines,
    match_compounds,
    match_datasets,
    match_field_maps,
)
from service.archive.reading import ArchiveReader
from service.archive.renaming import Renamer, in_order
from service.archive.repository import BROUGHT_IN, ArchiveRepository, ContentRepository
from service.archive.rows import ArchiveError
from service.archive.spool import Spool
from service.archive.work import unit_of
from service.kit.audit.recorder import record
from service.kit.database import Base
from service.kit.jobs import JobContext, JobFailed, problem_dict

_SHOWN = 20
_NUMEROUS = ("measurement", "plate_reading")
"""Tables whose ids are not asked for one by one: their rows never come without the others."""


@dataclass(frozen=True)
class Plan:
    """What an archive is to become here."""

    renamer: Renamer
    existing: frozenset[str]
    """Ids of here that rows of the archive turned out to be."""
    versions: dict[str, int] = field(default_factory=dict)
    """New version of a field map, where its number is taken by another one."""
    sources_left_out: tuple[str, ...] = ()
    """Campaigns that it learned from, by the ids of there, and that are not here."""


@dataclass(frozen=True)
class Checked:
    """An archive in which nothing is wrong, and its rows as they will be stored."""

    archive_id: str
    reader: ArchiveReader
    plan: Plan
    spool: Spool
    history: str


def bring_in(ctx: JobContext) -> dict[str, Any]:
    """Import the archive that the job names; the campaign exists whole or not at all."""
    archive_id = str(ctx.args["archive_id"])
    try:
        with ctx.artifacts.locate(ctx.args["artifact"]).open("rb") as file:
            reader = ArchiveReader.open(file, ctx.settings.max_archive_unpacked_bytes)
            reader.verify(lambda done, total: _report(ctx, "checking files", done, total))
            with ctx.database.reading() as session:
                plan = make_plan(reader, session, unit_of(ctx, session).principal, ctx.job_id)
            with Spool() as spool:
                history = _check_rows(ctx, reader, plan, spool)
                # Nobody else can write meanwhile, this job's progress included.
                ctx.progress("storing rows", 0, sum(reader.manifest["rows"].values()))
                made = Checked(archive_id, reader, plan, spool, history)
                return ctx.transaction("import", lambda session: _store(ctx, session, made))
    except ArchiveError as error:
        title = "The archive cannot be imported"
        words = f"Nothing was imported: {error}."
        raise JobFailed(problem_dict("invalid", title, words, 422)) from None
    except IntegrityError:
        title = "The archive contradicts itself, or what is here"
        words = (
            "Nothing was imported: a row of the archive breaks a rule of the database, refers to "
            "what is not in the archive, or is here already. If somebody registered the same "
            "compounds at this moment, ask again."
        )
        raise JobFailed(problem_dict("conflict", title, words, 409)) from None


def make_plan(reader: ArchiveReader, session: Session, principal: Any, salt: str) -> Plan:
    """Match the archive with the workspace; raises with everything that contradicts."""
    here = ContentRepository(session, principal)
    tables = {
        name: list(reader.rows(BY_NAME[name]))
        for name in (
            "compound", "compound_alias", "cell_line", "field_map", "plate", "dataset",
            "dataset_fit",
        )
    }  # fmt: skip
    features = [
        {name: row[name] for name in ("cell_line_id", "sha256")}
        for row in reader.rows(BY_NAME["cell_line_features"])
    ]
    compounds = match_compounds(tables["compound"], tables["compound_alias"], here)
    lines = match_cell_lines(tables["cell_line"], features, here)
    maps, versions = match_field_maps(tables["field_map"], here.field_maps())
    datasets = match_datasets(tables["dataset"], tables["dataset_fit"], here)
    taken = here.barcodes()
    wrong = [*compounds.contradictions, *lines.contradictions]
    wrong += [
        f"There is a plate {row['barcode']!r} here already, and no barcode is used twice"
        for row in tables["plate"]
        if row["barcode"] in taken
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ArchiveError("; ".join(wrong[:_SHOWN]) + more)
    sources = {row["source_id"] for row in reader.rows(BY_NAME["campaign_source"])}
    here_too = {one: one for one in here.campaigns(sources)}
    known = {**_joined(compounds, lines, maps, datasets), **here_too}
    fresh = salt if _is_taken(reader, session, known) else None
    renamer = Renamer(known, fresh)
    numbers = {renamer.one(old): version for old, version in versions.items()}
    left_out = tuple(sorted(sources - here_too.keys()))
    return Plan(renamer, frozenset(known.values()), numbers, left_out)


def _joined(*matches: Matches) -> dict[str, str]:
    return {old: new for found in matches for old, new in found.known.items()}


def _is_taken(reader: ArchiveReader, session: Session, known: dict[str, str]) -> bool:
    for part in PARTS:
        if "id" not in part.table.c or part.name in _NUMEROUS:
            continue
        ids = (row["id"] for row in reader.rows(part))
        if any_taken(session, part, (name for name in ids if name not in known)):
            return True
    return False


def _check_rows(ctx: JobContext, reader: ArchiveReader, plan: Plan, spool: Spool) -> str:
    """Read every row and keep every file: what follows can only fail in the database. Returns
    the name of the audit trail that came along."""
    done, total = 0, sum(reader.manifest["rows"].values())
    keeper = FileKeeper(reader, ctx.artifacts, plan.renamer)

    def checked(part: Part) -> Iterator[dict[str, Any]]:
        nonlocal done
        for row in _rows_of(part, reader, plan):
            keeper.keep(part, row)
            yield {**row, **keeper.kept(part, row)} if part.files else row
            done += 1
            if done % 500 == 0:
                _report(ctx, "checking rows", done, total)

    for part in PARTS:
        spool.write(part, checked(part))
    return keeper.history()


def _store(ctx: JobContext, session: Session, made: Checked) -> dict[str, Any]:
    unit = unit_of(ctx, session)
    here, plan, reader = ContentRepository(session, unit.principal), made.plan, made.reader
    known = {"compound_alias": set(here.aliases()), "substance": here.forms()}
    for table in Base.metadata.sorted_tables:
        part = BY_NAME.get(table.name)
        if part is None:
            continue
        for chunk in made.spool.chunks(part):
            fresh = [row for row in chunk if not _is_here(part, row, plan, known)]
            if fresh:
                here.insert(part, fresh)
            ctx.raise_if_stopped()
    campaign_id = plan.renamer.one(reader.campaign_id)
    archive = ArchiveRepository(session, unit.principal).get(made.archive_id)
    archive.campaign_id, archive.history = campaign_id, made.history
    told = {
        "archive": archive.id,
        "sha256": ctx.args["artifact"].partition(".")[0],
        "content_sha256": reader.manifest["content_sha256"],
        "rows": reader.manifest["rows"],
        "was": reader.campaign_id,
        "sources_left_out": list(plan.sources_left_out),
    }
    record(session, BROUGHT_IN, "campaign", campaign_id, new=told)
    return {
        "archive": f"/v1/archives/{archive.id}",
        "campaign": f"/v1/campaigns/{campaign_id}",
        "ids": "kept" if plan.renamer.changes_nothing else "renamed",
        **_note(plan),
    }


def _rows_of(part: Part, reader: ArchiveReader, plan: Plan) -> Iterator[dict[str, Any]]:
    campaign_id = plan.renamer.one(reader.campaign_id)
    belongs = "id" if part.name == "campaign" else "campaign_id"
    for row in reader.rows(part, plan.renamer.text):
        if row.get(belongs, campaign_id) != campaign_id:
            raise ArchiveError(f"a row of {part.name} belongs to another campaign")
        if part.name == "field_map":
            row["version"] = plan.versions.get(row["id"], row["version"])
        if part.name == "campaign_source" and row["source_id"] not in plan.existing:
            continue  # its result says so
        yield in_order(row)


def _note(plan: Plan) -> dict[str, Any]:
    """What an import says of campaigns that are not here."""
    if not plan.sources_left_out:
        return {}
    note = (
        "The campaign learned from others that are not in this workspace, and no longer does. "
        "Import those, then PATCH learn_from with their ids of here."
    )
    return {"learn_from_left_out": list(plan.sources_left_out), "note": note}


def _is_here(part: Part, row: dict[str, Any], plan: Plan, known: dict[str, Any]) -> bool:
    if part.name == "compound_alias":
        return row["folded"] in known["compound_alias"]
    if part.name == "substance":
        return (row["compound_id"], row["inchikey"]) in known["substance"]
    if part.named in (COMPOUNDS, CELL_LINES) or part.name == "field_map":
        return row[part.column] in plan.existing
    if part.name in ("dataset", "dataset_fit"):
        return row["id"] in plan.existing
    return False


def _report(ctx: JobContext, stage: str, done: int, total: int) -> None:
    ctx.progress(stage, done, total)
    ctx.raise_if_stopped()
