"""From a SMILES string to one chemical identity: the desalted parent, metals kept whole.

A *compound* is the parent structure; a *substance* is the form that was registered, often a
salt. :func:`standardise` returns both, and says in words what it removed or why it kept all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from rdkit import Chem, rdBase
from rdkit.Chem.Descriptors import MolWt  # type: ignore[attr-defined]
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from models.chemistry.salts import FREE_METALS, INORGANIC_CARBON, ORGANIC_FORMERS, SIMPLE_IONS

MAX_HEAVY_ATOMS = 1000
"""InChI has no key for larger structures."""

MAX_SMILES_LENGTH = 10_000
"""Characters; longer text is refused before it is parsed."""

_NON_METALS = frozenset({1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 34, 35, 36, 53, 54, 85, 86})
_BY_NAME = "a compound without a known structure is registered by name, with no SMILES"
_LOG_NOISE = re.compile(r"^\[[\d:]+\] (SMILES Parse Error: )?")
_LOG_LOCK = threading.Lock()  # RDKit's log switches are process-wide


class StructureError(ValueError):
    """A structure that cannot be registered. ``reason`` says why, in words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Structure:
    """One standardised structure. Molecular weights are in g/mol.

    ``inchikey`` identifies the compound and its first 14 characters, ``skeleton``, are shared by
    its stereoisomers. ``substance_inchikey`` identifies the registered form. ``parent_count`` is
    how many parents one registered formula unit holds (2 in a hemisulfate): a stock of ``c``
    micromolar registered form holds ``c * parent_count`` micromolar parent.
    """

    name: str | None
    parent_smiles: str
    inchikey: str
    skeleton: str
    formula: str
    parent_weight: float
    registered_smiles: str
    substance_inchikey: str
    registered_weight: float
    parent_count: int
    is_salt: bool
    removed: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class _Parent:
    molecule: Chem.Mol
    count: int
    removed: tuple[str, ...]
    note: str


def standardise(smiles: str, name: str | None = None) -> Structure:
    """Parse ``smiles``, find its parent and its identity.

    Text after the first blank is a name; an explicit ``name`` wins over it. Raises
    :class:`StructureError` for text that is empty, too long, unparsable, holds dummy atoms or
    more than 1,000 heavy atoms, or has no InChIKey.
    """
    text, tail = _split_name(smiles)
    with _LOG_LOCK, rdBase.BlockLogs():
        registered = _parse(text)
        cleaned = _cleanup(registered, text)
        parent = _find_parent(cleaned)
        parent_smiles = Chem.MolToSmiles(parent.molecule)
        inchikey = _inchikey(Chem.MolFromSmiles(parent_smiles), text)
        substance_inchikey = _inchikey(cleaned, text)
    return Structure(
        name=(name or "").strip() or tail,
        parent_smiles=parent_smiles,
        inchikey=inchikey,
        skeleton=inchikey[:14],
        formula=CalcMolFormula(parent.molecule),
        parent_weight=MolWt(parent.molecule),
        registered_smiles=Chem.MolToSmiles(registered),
        substance_inchikey=substance_inchikey,
        registered_weight=MolWt(registered),
        parent_count=parent.count,
        is_salt=bool(parent.removed),
        removed=parent.removed,
        note=parent.note,
    )


def _split_name(smiles: str) -> tuple[str, str | None]:
    """The SMILES itself, and the name behind the first blank (ChemAxon ``|...|`` dropped)."""
    parts = smiles.split(maxsplit=1)
    if not parts:
        raise StructureError(f"the SMILES is empty; {_BY_NAME}")
    tail = re.sub(r"^\|[^|]*\|", "", parts[1]).strip() if len(parts) == 2 else ""
    return parts[0], tail or None


def _parse(text: str) -> Chem.Mol:
    if len(text) > MAX_SMILES_LENGTH:
        raise StructureError(
            f"the SMILES {_short(text)} has {len(text):,} characters, more than the "
            f"{MAX_SMILES_LENGTH:,} allowed; {_BY_NAME}"
        )
    if not (text.isascii() and text.isprintable()):
        odd = next(c for c in text if not (c.isascii() and c.isprintable()))
        raise StructureError(
            f"the SMILES {_short(text)} holds the character {odd!r}, which no SMILES has; "
            "copy it again as plain text"
        )
    with rdBase.CaptureErrorLog() as log:
        molecule = Chem.MolFromSmiles(text)
    if molecule is None:
        raise StructureError(f"{_short(text)} is no valid SMILES: {_objection(log.messages)}")
    _check_atoms(molecule, text)
    return molecule


def _check_atoms(molecule: Chem.Mol, text: str) -> None:
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise StructureError(
            f"the SMILES {_short(text)} has a dummy atom (* or R): give the complete structure"
        )
    heavy = molecule.GetNumHeavyAtoms()
    if heavy > MAX_HEAVY_ATOMS:
        raise StructureError(
            f"the SMILES {_short(text)} has {heavy:,} heavy atoms, more than the "
            f"{MAX_HEAVY_ATOMS:,} that an InChIKey can name; {_BY_NAME}"
        )


def _objection(log: str) -> str:
    """RDKit's own complaint in one line, with the place where it saw the mistake."""
    lines = [_LOG_NOISE.sub("", line).strip() for line in log.splitlines()]
    complaint = re.split(r" while parsing:| for input:", lines[0])[0] if lines else ""
    place = re.search(r"around position (\d+)", log)
    where = f" near character {place.group(1)}" if place else ""
    return (
        (complaint or "it cannot be parsed") + where + f"; correct it, or leave it out: {_BY_NAME}"
    )


def _cleanup(molecule: Chem.Mol, text: str) -> Chem.Mol:
    try:
        return rdMolStandardize.Cleanup(molecule)
    except (ValueError, RuntimeError) as error:
        raise StructureError(f"{_short(text)} cannot be standardised: {error}") from error


def _find_parent(cleaned: Chem.Mol) -> _Parent:
    fragments = Chem.GetMolFrags(cleaned, asMols=True)
    reason = _why_whole(fragments)
    if reason:
        return _Parent(cleaned, 1, (), f"kept whole: {reason}")
    chosen = _neutral(rdMolStandardize.FragmentParent(_join(_candidates(fragments))))
    chosen_smiles = Chem.MolToSmiles(chosen)
    parts = [_neutral_smiles(fragment) for fragment in fragments]
    removed = tuple(sorted(part for part in parts if part != chosen_smiles))
    return _Parent(chosen, len(parts) - len(removed), removed, _note(removed))


def _why_whole(fragments: Sequence[Chem.Mol]) -> str:
    """Why nothing may be removed; empty if an organic parent is present and all else is salt."""
    organic = False
    for fragment in fragments:
        if _is_simple_ion(fragment):
            continue
        metals = sorted({a.GetSymbol() for a in fragment.GetAtoms() if _is_metal(a)})
        if metals:
            return f"contains {', '.join(metals)}"
        if not _is_organic(fragment):
            return f"the fragment {Chem.MolToSmiles(fragment)} is inorganic and no common salt ion"
        organic = True
    return "" if organic else "it has no organic part"


def _is_metal(atom: Chem.Atom) -> bool:
    return atom.GetAtomicNum() not in _NON_METALS


def _is_simple_ion(fragment: Chem.Mol) -> bool:
    if fragment.GetNumAtoms() == 1 and fragment.GetAtomWithIdx(0).GetSymbol() in FREE_METALS:
        return True
    return _neutral_smiles(fragment) in _SIMPLE_IONS


def _is_organic(fragment: Chem.Mol) -> bool:
    if not any(atom.GetAtomicNum() == 6 for atom in fragment.GetAtoms()):
        return False
    return _neutral_smiles(fragment) not in _INORGANIC_CARBON


def _candidates(fragments: Sequence[Chem.Mol]) -> list[Chem.Mol]:
    """The organic fragments, without known salt formers unless nothing else is there."""
    organic = [fragment for fragment in fragments if not _is_simple_ion(fragment)]
    drugs = [f for f in organic if _neutral_smiles(f, stereo=False) not in _ORGANIC_FORMERS]
    return drugs or organic


def _join(fragments: Sequence[Chem.Mol]) -> Chem.Mol:
    joined = fragments[0]
    for fragment in fragments[1:]:
        joined = Chem.CombineMols(joined, fragment)
    Chem.SanitizeMol(joined)
    return joined


def _neutral(molecule: Chem.Mol) -> Chem.Mol:
    """``molecule`` without charges where hydrogens can balance them (not in PF6-)."""
    neutral = rdMolStandardize.Uncharger().uncharge(molecule)
    failed = Chem.SanitizeMol(neutral, catchErrors=True)
    return molecule if failed else neutral


def _neutral_smiles(molecule: Chem.Mol, stereo: bool = True) -> str:
    return str(Chem.MolToSmiles(_neutral(molecule), isomericSmiles=stereo))


def _note(removed: tuple[str, ...]) -> str:
    if not removed:
        return "free form"
    known = _SIMPLE_IONS | _ORGANIC_FORMERS
    odd = sorted({part for part in removed if _flat(part) not in known | _FREE_METAL_SMILES})
    note = f"salt or solvate: removed {', '.join(removed)}"
    if odd:
        note += f"; {', '.join(odd)} is no known salt former: register an active mixture in parts"
    return note


def _flat(smiles: str) -> str:
    return str(Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False))


def _inchikey(molecule: Chem.Mol | None, text: str) -> str:
    key = "" if molecule is None else Chem.MolToInchiKey(molecule)  # type: ignore[no-untyped-call]
    if not key:
        raise StructureError(
            f"no InChIKey can be made for {_short(text)}: it holds query atoms, query bonds or an "
            f"impossible atom; give the exact structure, or leave it out: {_BY_NAME}"
        )
    return str(key)


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _canonical(table: Sequence[str]) -> frozenset[str]:
    return frozenset(_neutral_smiles(Chem.MolFromSmiles(smiles), stereo=False) for smiles in table)


with rdBase.BlockLogs():
    _SIMPLE_IONS = _canonical(SIMPLE_IONS)
    _INORGANIC_CARBON = _canonical(INORGANIC_CARBON)
    _ORGANIC_FORMERS = _canonical(ORGANIC_FORMERS)
    _FREE_METAL_SMILES = frozenset(
        form for metal in FREE_METALS for form in (f"[{metal}+]", f"[{metal}+2]", f"[{metal}]")
    )
