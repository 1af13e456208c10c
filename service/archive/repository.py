"""SQL of archives: the rows of a campaign in every table, out and in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, collate, func, insert, or_
from sqlalchemy.orm import Session

from service.archive.content import PARTS, Part
from service.archive.rows import OWNER, columns_of
from service.archive.tables import Archive
from service.assays.field_maps.tables import FieldMap
from service.campaigns.tables import Campaign, CampaignCellLine, CampaignCompound
from service.cell_lines.tables import CellLine, CellLineFeatures
from service.compounds.tables import Compound, CompoundAlias, Substance
from service.datasets.tables import Dataset, DatasetFit
from service.kit.audit.tables import AuditEvent
from service.kit.auth.principal import Principal, readable_columns
from service.kit.database import Identifier
from service.kit.jobs import Job
from service.kit.repository import Repository, in_chunks
from service.plates.tables import Plate

BROUGHT_IN = "campaign.imported"
_AT_ONCE = 2_000


class ArchiveRepository(Repository[Archive]):
    entity = Archive
    noun = "archive"

    def of_campaign(self, campaign_id: str) -> Select[Archive]:
        return self.readable().where(Archive.campaign_id == campaign_id)

    def of_job(self, job_id: str) -> Archive | None:
        return self.session.scalar(self.readable().where(Archive.job_id == job_id))

    def imports_of(self, artifact: str) -> list[Archive]:
        """Imports of these very bytes, newest first."""
        statement = self.readable().where(Archive.kind == "import", Archive.artifact == artifact)
        return list(self.session.scalars(statement.order_by(Archive.id.desc())))

    def history_of(self, campaign_id: str) -> str | None:
        """The audit trail that came with a campaign, if it was imported."""
        statement = self.columns(Archive.history).where(
            Archive.kind == "import", Archive.campaign_id == campaign_id
        )
        found: str | None = self.session.scalar(statement)
        return found


class ContentRepository:
    """The rows of one campaign, as one principal sees them."""

    def __init__(self, session: Session, principal: Principal) -> None:
        self.session = session
        self.principal = principal

    def count(self, part: Part, campaign_id: str) -> int:
        """How many rows of ``part`` belong to the campaign."""
        statement = self._columns(part, func.count()).where(self._belongs(part, campaign_id))
        return int(self.session.scalar(statement) or 0)

    def rows(self, part: Part, campaign_id: str) -> Iterator[Sequence[Any]]:
        """The rows of ``part`` in their stable order, not all in memory at once."""
        statement = self._columns(part, *columns_of(part.table))
        yield from self._stream(part, statement.where(self._belongs(part, campaign_id)))

    def named_rows(self, part: Part, ids: Iterable[str]) -> Iterator[Sequence[Any]]:
        """The rows of what the workspace owns, of these ids."""
        statement = self._columns(part, *columns_of(part.table))
        column = part.table.c[part.column]
        for chunk in in_chunks(sorted(ids)):
            yield from self._stream(part, statement.where(column.in_(chunk)), column)

    def members(self, campaign_id: str) -> set[str]:
        """The ids of its compounds and cell lines."""
        found: set[str] = set()
        for entity, column in (
            (CampaignCompound, CampaignCompound.compound_id),
            (CampaignCellLine, CampaignCellLine.cell_line_id),
        ):
            statement = readable_columns(entity, self.principal, column)
            found |= set(self.session.scalars(statement.where(entity.campaign_id == campaign_id)))
        return found

    def events(self, campaign_id: str, named: Iterable[str]) -> Iterator[Sequence[Any]]:
        """The audit events of everything that is exported, oldest first."""
        subject = AuditEvent.subject_id
        own = [
            subject.in_(
                self._columns(part, part.table.c.id).where(self._belongs(part, campaign_id))
            )
            for part in PARTS
            if part.named is None and "id" in part.table.c
        ]
        jobs = readable_columns(Job, self.principal, Job.id).where(Job.campaign_id == campaign_id)
        conditions = [*own, subject.in_(jobs), subject == campaign_id]
        conditions.append(subject.startswith(f"{campaign_id}/", autoescape=True))
        conditions += [subject.in_(chunk) for chunk in in_chunks(sorted(named))]
        columns = columns_of(AuditEvent.__table__)
        statement = (
            readable_columns(AuditEvent, self.principal, *columns)
            .where(or_(*conditions), AuditEvent.action != BROUGHT_IN)
            .order_by(AuditEvent.id)
        )
        yield from self.session.execute(statement.execution_options(yield_per=_AT_ONCE))

    def insert(self, part: Part, rows: list[dict[str, Any]]) -> None:
        """Rows into the principal's workspace, unseen by the audit trail: one event covers all."""
        owner = self.principal.workspace_id
        self.session.execute(insert(part.table), [{**row, OWNER: owner} for row in rows])

    def compounds(self) -> dict[str, tuple[str, str | None, bytes | None]]:
        """(name, InChIKey, fingerprint) of every compound of the workspace."""
        columns = (Compound.id, Compound.name, Compound.inchikey, Compound.fingerprint)
        statement = readable_columns(Compound, self.principal, *columns)
        return {row[0]: (row[1], row[2], row[3]) for row in self.session.execute(statement)}

    def aliases(self) -> dict[str, str]:
        """Folded name to compound."""
        columns = (CompoundAlias.folded, CompoundAlias.compound_id)
        rows = self.session.execute(readable_columns(CompoundAlias, self.principal, *columns))
        return {row[0]: row[1] for row in rows}

    def forms(self) -> set[tuple[str, str]]:
        """(compound, InChIKey) of every registered form."""
        columns = (Substance.compound_id, Substance.inchikey)
        rows = self.session.execute(readable_columns(Substance, self.principal, *columns))
        return {(row[0], row[1]) for row in rows}

    def cell_lines(self) -> dict[str, tuple[str, str, str | None]]:
        """Folded name to (id, name, Cellosaurus id)."""
        columns = (CellLine.folded, CellLine.id, CellLine.name, CellLine.cellosaurus_id)
        rows = self.session.execute(readable_columns(CellLine, self.principal, *columns))
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def features(self) -> dict[str, str]:
        """Cell line to the hash of its features."""
        columns = (CellLineFeatures.cell_line_id, CellLineFeatures.sha256)
        rows = self.session.execute(readable_columns(CellLineFeatures, self.principal, *columns))
        return {row[0]: row[1] for row in rows}

    def field_maps(self) -> list[dict[str, Any]]:
        """Every version of every map."""
        columns = (FieldMap.id, FieldMap.folded, FieldMap.version, FieldMap.definition)
        statement = readable_columns(FieldMap, self.principal, *columns).order_by(FieldMap.id)
        return [dict(row._mapping) for row in self.session.execute(statement)]

    def datasets(self) -> dict[tuple[str, str], str]:
        """Bytes and how they were declared, to data set."""
        columns = (Dataset.sha256, Dataset.declared, Dataset.id)
        rows = self.session.execute(readable_columns(Dataset, self.principal, *columns))
        return {(row[0], row[1]): row[2] for row in rows}

    def dataset_fits(self) -> dict[tuple[str | None, int, datetime], str]:
        """Data set, seed and moment, to fit."""
        columns = (DatasetFit.dataset_id, DatasetFit.seed, DatasetFit.created_at, DatasetFit.id)
        rows = self.session.execute(readable_columns(DatasetFit, self.principal, *columns))
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    def campaigns(self, identifiers: Iterable[str]) -> set[str]:
        """Those of ``identifiers`` that are campaigns of this workspace."""
        found: set[str] = set()
        for chunk in in_chunks(sorted(identifiers)):
            statement = readable_columns(Campaign, self.principal, Campaign.id)
            found |= set(self.session.scalars(statement.where(Campaign.id.in_(chunk))))
        return found

    def barcodes(self) -> set[str]:
        """Every barcode that is in use."""
        return set(self.session.scalars(readable_columns(Plate, self.principal, Plate.barcode)))

    def _columns(self, part: Part, *columns: Any) -> Select[Any]:
        return readable_columns(part.entity, self.principal, *columns)

    def _belongs(self, part: Part, campaign_id: str) -> Any:
        column = part.table.c[part.column]
        if part.of is None:
            return column == campaign_id
        entity, name = part.of
        table = entity.__table__  # type: ignore[attr-defined]
        inner = readable_columns(entity, self.principal, table.c[name])
        return column.in_(
            inner.where(table.c.campaign_id == campaign_id, table.c[name].is_not(None))
        )

    def _stream(self, part: Part, statement: Select[Any], *first: Any) -> Iterator[Sequence[Any]]:
        keys = [part.table.c[name] for name in part.order] or list(part.table.primary_key)
        ordered = statement.order_by(*(self._sorted(key) for key in (*first, *keys)))
        yield from self.session.execute(ordered.execution_options(yield_per=_AT_ONCE))

    def _sorted(self, column: Any) -> Any:
        """Byte by byte on both databases: PostgreSQL would ask the locale."""
        is_text = column.type.python_type is str and not isinstance(column.type, Identifier)
        if is_text and self.session.get_bind().dialect.name == "postgresql":
            return collate(column, "C")
        return column
