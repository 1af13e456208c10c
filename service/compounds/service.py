"""Rules of compounds: one structure is one compound, one name leads to one compound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.chemistry.fingerprints import FEATURE_VERSION, fingerprint, pack
from models.chemistry.names import fold_name
from models.chemistry.structures import Structure, StructureError, standardise
from service.compounds.repository import (
    AliasRepository,
    CompoundRepository,
    SubstanceRepository,
)
from service.compounds.schemas import (
    CompoundIn,
    CompoundOut,
    CompoundPatch,
    SubstanceOut,
)
from service.compounds.tables import Compound, CompoundAlias, Substance
from service.kit import etag
from service.kit.ids import new_id
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit


@dataclass(frozen=True)
class Registered:
    """One line of a registration: the compound, and whether it is new."""

    compound: Compound
    created: bool


class CompoundService:
    def __init__(self, unit: Unit) -> None:
        self.session = unit.session
        self.compounds = CompoundRepository(unit.session, unit.principal)
        self.aliases = AliasRepository(unit.session, unit.principal)
        self.substances = SubstanceRepository(unit.session, unit.principal)

    def register(self, items: Sequence[CompoundIn]) -> list[Registered]:
        """Register all of ``items`` or, if one of them breaks a rule, none."""
        structures, errors = _standardise_all(items)
        errors += _repeated_names(items)
        _refuse(errors)
        owners = self.aliases.by_folded(
            {fold_name(text) for item in items for text in _names(item)}
        )
        by_key = self.compounds.by_inchikey({s.inchikey for s in structures if s is not None})
        registered: list[Registered] = []
        grown: dict[str, Compound] = {}
        for row, (item, structure) in enumerate(zip(items, structures, strict=True)):
            known = self._known(item, structure, by_key, owners)
            errors += _contradictions(row, item, known, owners)
            if errors:
                continue
            compound = known or self._create(item, structure)
            gains = structure is not None and self._add_form(compound, item.name, structure)
            gains |= self._add_names(compound, _names(item), owners)
            if item.targets and not compound.targets:
                compound.targets = item.targets
            if structure is not None:
                by_key[structure.inchikey] = compound
            if gains and known is not None:
                grown[known.id] = known
            registered.append(Registered(compound, known is None))
        _refuse(errors)
        for compound in grown.values():
            etag.touch(compound)
        self.session.flush()
        return registered

    def patch(self, compound: Compound, change: CompoundPatch) -> Compound:
        """Rename, add names, or give a structure to a compound that has none."""
        texts = {f"/add_aliases/{row}": text for row, text in enumerate(change.add_aliases)}
        if change.name:
            texts["/name"] = change.name
        owners = self.aliases.by_folded({fold_name(text) for text in texts.values()})
        for pointer, text in texts.items():
            owner = owners.get(fold_name(text), compound.id)
            if owner != compound.id:
                message = f"{text!r} is the name of another compound, {owner}. Choose another name."
                raise _invalid("name_taken", message, pointer)
        if change.smiles is not None:
            self._give_structure(compound, change.smiles)
        if change.name:
            compound.name = change.name
        if change.targets is not None:
            compound.targets = change.targets
        if self._add_names(compound, list(texts.values()), owners):
            etag.touch(compound)
        self.session.flush()
        return compound

    def describe(self, compounds: Sequence[Compound]) -> list[CompoundOut]:
        """What the outside sees of ``compounds``, in their order."""
        identifiers = [compound.id for compound in compounds]
        names = self.aliases.of_compounds(identifiers)
        forms = self.substances.of_compounds(identifiers)
        return [
            CompoundOut(
                id=compound.id,
                name=compound.name,
                aliases=[text for text in names.get(compound.id, []) if text != compound.name],
                inchikey=compound.inchikey,
                smiles=compound.smiles,
                formula=compound.formula,
                molecular_weight=compound.molecular_weight,
                targets=compound.targets,
                substances=[SubstanceOut.model_validate(f) for f in forms.get(compound.id, [])],
                version=compound.version,
                created_at=compound.created_at,
            )
            for compound in compounds
        ]

    def _known(
        self,
        item: CompoundIn,
        structure: Structure | None,
        by_key: dict[str, Compound],
        owners: dict[str, str],
    ) -> Compound | None:
        """The compound that ``item`` means, by its structure or, without one, by its name."""
        if structure is not None:
            return by_key.get(structure.inchikey)
        owner = owners.get(fold_name(item.name))
        return None if owner is None else self.compounds.get(owner)

    def _create(self, item: CompoundIn, structure: Structure | None) -> Compound:
        compound = Compound(id=new_id("cmp"), name=item.name, targets=item.targets)
        if structure is not None:
            _describe_structure(compound, structure)
        self.compounds.add(compound)
        # Names and forms point at the compound by id alone, so it has to be there first.
        self.session.flush()
        return compound

    def _give_structure(self, compound: Compound, smiles: str) -> None:
        if compound.inchikey is not None:
            raise Conflict(
                f"{compound.name} has a structure already, and results may rest on it. "
                f"Register another structure as another compound."
            )
        try:
            structure = standardise(smiles, compound.name)
        except StructureError as error:
            raise _invalid("structure", str(error), "/smiles") from None
        other = self.compounds.by_inchikey([structure.inchikey]).get(structure.inchikey)
        if other is not None:
            raise Conflict(f"This structure is registered as {other.name} ({other.id}).")
        _describe_structure(compound, structure)
        self.session.flush()
        self._add_form(compound, compound.name, structure)

    def _add_form(self, compound: Compound, name: str, structure: Structure) -> bool:
        """Add the registered form if it is new; returns whether it is."""
        forms = self.substances.of_compounds([compound.id]).get(compound.id, [])
        if any(form.inchikey == structure.substance_inchikey for form in forms):
            return False
        self.substances.add(
            Substance(
                id=new_id("sub"),
                compound_id=compound.id,
                name=name,
                smiles=structure.registered_smiles,
                inchikey=structure.substance_inchikey,
                molecular_weight=structure.registered_weight,
                parent_count=structure.parent_count,
                is_salt=structure.is_salt,
                note=structure.note,
            )
        )
        self.session.flush()
        return True

    def _add_names(self, compound: Compound, texts: Sequence[str], owners: dict[str, str]) -> bool:
        """Add the names that are new; returns whether there are any."""
        new = {fold_name(text): text for text in reversed(texts) if fold_name(text) not in owners}
        for folded, text in reversed(new.items()):
            owners[folded] = compound.id
            self.aliases.add(
                CompoundAlias(id=new_id("als"), compound_id=compound.id, text=text, folded=folded)
            )
        return bool(new)


def _names(item: CompoundIn) -> list[str]:
    return [item.name, *item.aliases]


def _describe_structure(compound: Compound, structure: Structure) -> None:
    compound.inchikey = structure.inchikey
    compound.smiles = structure.parent_smiles
    compound.formula = structure.formula
    compound.molecular_weight = structure.parent_weight
    compound.fingerprint = pack(fingerprint(structure.parent_smiles))
    compound.feature_version = FEATURE_VERSION


def _standardise_all(
    items: Sequence[CompoundIn],
) -> tuple[list[Structure | None], list[FieldError]]:
    structures: list[Structure | None] = []
    errors: list[FieldError] = []
    for row, item in enumerate(items):
        try:
            structures.append(None if item.smiles is None else standardise(item.smiles, item.name))
        except StructureError as error:
            structures.append(None)
            errors.append(_row_error(row, "smiles", "structure", f"{item.name}: {error}"))
    return structures, errors


def _repeated_names(items: Sequence[CompoundIn]) -> list[FieldError]:
    first: dict[str, int] = {}
    errors = []
    for row, item in enumerate(items):
        folded = fold_name(item.name)
        if folded in first:
            message = (
                f"{item.name!r} is listed twice, in rows {first[folded]} and {row}. Keep one; "
                f"list further names of one compound under aliases."
            )
            errors.append(_row_error(row, "name", "repeated_name", message))
        first.setdefault(folded, row)
    return errors


def _contradictions(
    row: int,
    item: CompoundIn,
    known: Compound | None,
    owners: dict[str, str],
) -> list[FieldError]:
    """Names of ``item`` that already lead to a compound other than the ``known`` one, and targets
    that are not its."""
    errors = []
    for place, text in enumerate(_names(item)):
        owner = owners.get(fold_name(text))
        if owner is None or (known is not None and owner == known.id):
            continue
        message = (
            f"{text!r} is already the name of {owner}, which has another structure or none. "
            f"Correct the SMILES, choose another name, or PATCH {owner} to give it this structure."
        )
        column = "name" if place == 0 else f"aliases/{place - 1}"
        errors.append(_row_error(row, column, "name_taken", message))
    if known is not None and item.targets and known.targets not in (None, item.targets):
        message = (
            f"{item.name!r} is registered ({known.id}) with the targets "
            f"{', '.join(known.targets)}. PATCH it to replace them, or leave the field out."
        )
        errors.append(_row_error(row, "targets", "contradiction", message))
    return errors


def _row_error(row: int, column: str, code: str, message: str) -> FieldError:
    return FieldError(
        code=code,
        message=message,
        pointer=f"/compounds/{row}/{column}",
        row=row,
        column=column,
    )


def _invalid(code: str, message: str, pointer: str) -> Invalid:
    return Invalid(message, errors=[FieldError(code=code, message=message, pointer=pointer)])


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        more = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
        raise Invalid(
            f"Nothing was registered. Row {errors[0].row}: {errors[0].message}{more}",
            errors=errors,
        )
