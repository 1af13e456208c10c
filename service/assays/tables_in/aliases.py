"""What a column name means: SynergyFinder, DrugComb, O'Neil and our own spellings.

Names are compared without case, blanks, underscores and punctuation; a dose column may end in
its unit (``dose_1_um``, ``Conc1 [µM]``) and a response column may hold its scale
(``viability_fraction``, ``% inhibition``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from models.chemistry.names import fold_name
from service.assays.tables_in.rows import Quantity, ScaleUnit
from service.assays.tables_in.units import UNIT_SUFFIXES

Kind = Literal[
    "compound", "dose", "dose unit", "value", "cell line", "plate", "well", "replicate", "block"
]


@dataclass(frozen=True)
class Role:
    """What a column holds. ``slot`` is 1 to 3 for compounds, doses and their units, else 0."""

    kind: Kind
    slot: int = 0
    unit: str | None = None
    quantity: Quantity | None = None
    scale_unit: ScaleUnit | None = None

    @property
    def meaning(self) -> str:
        """Equal for two columns that cannot stand in one table."""
        return f"{self.kind} {self.slot}" if self.slot else self.kind


_COMPOUND = {
    1: "drug drug1 druga drugrow drugr compound compound1 compounda",
    2: "drug2 drugb drugcol drugc compound2 compoundb",
    3: "drug3 compound3",
}
_DOSE = {
    1: "conc conc1 conca concr concrow concentration concentration1 dose dose1 dosea",
    2: "conc2 concb concc conccol concentration2 dose2 doseb",
    3: "conc3 concentration3 dose3",
}
_PLAIN: dict[Kind, str] = {
    "cell line": "cellline celllinename cell cellname celllineid",
    "plate": "plate plateid platebarcode barcode",
    "well": "well wellid wellposition",
    "replicate": "replicate rep replicateid",
    "block": "block blockid pairindex",
}
_QUANTITIES: dict[str, Quantity | None] = {
    "response": None,
    "viability": "viability",
    "cellviability": "viability",
    "inhibition": "inhibition",
}
_SCALES: dict[str, ScaleUnit] = {
    "fraction": "fraction",
    "percent": "percent",
    "percentage": "percent",
    "pct": "percent",
}
_BEYOND = re.compile(r"(drug|compound|conc|concentration|dose)([4-9]|[1-9]\d+)(unit|[munp]?m)?")


def normalise(header: str) -> str:
    """A column name as its letters and digits: ``Conc_R (µM)`` -> ``concrum``."""
    folded = fold_name(header).replace("μ", "u").replace("%", " percent ")
    return re.sub(r"[\W_]+", "", folded)


def is_beyond_three(header: str) -> bool:
    """Whether the column belongs to a fourth compound, which no well of ours can hold."""
    return _BEYOND.fullmatch(normalise(header)) is not None


def role_of(header: str) -> Role | None:
    """What the column holds, or None if its name is not known."""
    return _ROLES.get(normalise(header))


def _dose_roles() -> dict[str, Role]:
    roles = {"concunit": Role("dose unit"), "doseunit": Role("dose unit")}
    for slot, names in _DOSE.items():
        for name in names.split():
            roles[name] = Role("dose", slot)
            for suffix, unit in UNIT_SUFFIXES.items():
                roles[name + suffix] = Role("dose", slot, unit=unit)
            roles.setdefault(name + "unit", Role("dose unit", slot))
        for stem in ("concunit", "doseunit", "concentrationunit"):
            roles[f"{stem}{slot}"] = Role("dose unit", slot)
    roles["concentrationunit"] = Role("dose unit")
    return roles


def _value_roles() -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for name, quantity in _QUANTITIES.items():
        roles[name] = Role("value", quantity=quantity)
        for word, unit in _SCALES.items():
            role = Role("value", quantity=quantity, scale_unit=unit)
            roles[name + word] = roles[word + name] = role
    return roles


def _all_roles() -> dict[str, Role]:
    roles = {n: Role("compound", slot) for slot, names in _COMPOUND.items() for n in names.split()}
    roles |= {n: Role(kind) for kind, names in _PLAIN.items() for n in names.split()}
    return roles | _dose_roles() | _value_roles()


_ROLES = _all_roles()
