"""What every ``repository.py`` builds on. Rows enter through ``readable`` and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session

from service.kit.auth.principal import Principal, readable, readable_columns
from service.kit.auth.tables import WorkspaceOwned
from service.kit.pagination import Page, PageQuery
from service.kit.problems import NotFound

Row = TypeVar("Row", bound=WorkspaceOwned)
Value = TypeVar("Value")


def in_chunks(values: Iterable[Value], size: int = 500) -> Iterator[list[Value]]:
    """Lists of at most ``size``: databases limit the parameters of a statement."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Repository(Generic[Row]):
    """Rows of one class, as one principal sees them."""

    entity: type[Row]
    noun: ClassVar[str]

    def __init__(self, session: Session, principal: Principal) -> None:
        self.session = session
        self.principal = principal

    def readable(self) -> Select[Row]:
        """The statement that everything here starts from."""
        return readable(self.entity, self.principal)

    def columns(self, *columns: Any) -> Select[Any]:
        """The same, for some columns."""
        return readable_columns(self.entity, self.principal, *columns)

    def find(self, identifier: str) -> Row | None:
        """The row, or nothing: a row of another workspace is nothing."""
        if not (identifier.isascii() and identifier.isprintable()):
            return None  # not one of ours, and PostgreSQL refuses NUL
        return self.session.scalar(self.readable().where(self._id() == identifier))

    def get(self, identifier: str) -> Row:
        """The row, or a 404 that does not tell whether another workspace has it."""
        row = self.find(identifier)
        if row is None:
            raise NotFound(f"There is no {self.noun} {identifier[:60]!r} in this workspace.")
        return row

    def get_many(self, identifiers: Iterable[str]) -> dict[str, Row]:
        """Those of ``identifiers`` that exist, by id."""
        found: dict[str, Row] = {}
        for chunk in in_chunks(identifiers):
            for row in self.session.scalars(self.readable().where(self._id().in_(chunk))):
                found[row.id] = row  # type: ignore[attr-defined]
        return found

    def page(self, query: PageQuery, statement: Select[Row] | None = None) -> Page[Row]:
        """One page of ``statement``, newest last, after the query's cursor."""
        statement = self.readable() if statement is None else statement
        if query.after is not None:
            statement = statement.where(self._id() > query.after)
        rows: Sequence[Row] = self.session.scalars(
            statement.order_by(self._id()).limit(query.limit + 1)
        ).all()
        return Page.of(rows, query.limit)

    def add(self, row: Row) -> Row:
        """Put a new row into the principal's workspace."""
        row.workspace_id = self.principal.workspace_id
        self.session.add(row)
        return row

    def _id(self) -> Any:
        return self.entity.id  # type: ignore[attr-defined]
