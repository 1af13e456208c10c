"""SQL of compounds, their names and their forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from service.compounds.tables import Compound, CompoundAlias, Substance
from service.kit.repository import Repository, in_chunks


class CompoundRepository(Repository[Compound]):
    entity = Compound
    noun = "compound"

    def by_inchikey(self, keys: Iterable[str]) -> dict[str, Compound]:
        found: dict[str, Compound] = {}
        for chunk in in_chunks(keys):
            statement = self.readable().where(Compound.inchikey.in_(chunk))
            found.update((row.inchikey or "", row) for row in self.session.scalars(statement))
        return found

    def named(self, folded: str) -> Compound | None:
        """The compound with this folded name."""
        return self.session.scalar(
            self.readable()
            .join(CompoundAlias, CompoundAlias.compound_id == Compound.id)
            .where(CompoundAlias.folded == folded)
        )

    def fingerprints(self, identifiers: Iterable[str]) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        for chunk in in_chunks(identifiers):
            rows = self.session.execute(
                self.columns(Compound.id, Compound.fingerprint).where(Compound.id.in_(chunk))
            )
            found.update((identifier, packed) for identifier, packed in rows)
        return found

    def targets(self, identifiers: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Gene symbols by compound, of those whose targets are known."""
        found: dict[str, tuple[str, ...]] = {}
        for chunk in in_chunks(identifiers):
            rows = self.session.execute(
                self.columns(Compound.id, Compound.targets).where(Compound.id.in_(chunk))
            )
            found.update((identifier, tuple(symbols)) for identifier, symbols in rows if symbols)
        return found


class AliasRepository(Repository[CompoundAlias]):
    entity = CompoundAlias
    noun = "compound name"

    def by_folded(self, folded: Iterable[str]) -> dict[str, str]:
        """Folded name -> compound id, for the names that exist."""
        found: dict[str, str] = {}
        for chunk in in_chunks(folded):
            rows = self.session.execute(
                self.columns(CompoundAlias.folded, CompoundAlias.compound_id).where(
                    CompoundAlias.folded.in_(chunk)
                )
            )
            found.update((name, identifier) for name, identifier in rows)
        return found

    def everything(self) -> list[tuple[str, str, str]]:
        """(folded, as written, compound id) of every name in the workspace."""
        statement = self.columns(
            CompoundAlias.folded, CompoundAlias.text, CompoundAlias.compound_id
        )
        return [(row[0], row[1], row[2]) for row in self.session.execute(statement)]

    def of_compounds(self, identifiers: Iterable[str]) -> dict[str, list[str]]:
        """Compound id -> its names as written, oldest first."""
        names: dict[str, list[str]] = defaultdict(list)
        for chunk in in_chunks(identifiers):
            statement = self.readable().where(CompoundAlias.compound_id.in_(chunk))
            for alias in self.session.scalars(statement.order_by(CompoundAlias.id)):
                names[alias.compound_id].append(alias.text)
        return names


class SubstanceRepository(Repository[Substance]):
    entity = Substance
    noun = "substance"

    def of_compounds(self, identifiers: Iterable[str]) -> dict[str, Sequence[Substance]]:
        forms: dict[str, list[Substance]] = defaultdict(list)
        for chunk in in_chunks(identifiers):
            statement = self.readable().where(Substance.compound_id.in_(chunk))
            for substance in self.session.scalars(statement.order_by(Substance.id)):
                forms[substance.compound_id].append(substance)
        return dict(forms)
