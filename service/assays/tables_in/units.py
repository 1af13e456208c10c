"""Molar units of doses, in every spelling that tables use, to micromolar."""

from __future__ import annotations

from models.chemistry.names import fold_name

UNIT_NAMES = "M, mM, uM, nM or pM"

# Number of micromolar in one unit, as (multiply, divide): dividing keeps 35 nM exactly 0.035 uM.
_TO_UM = {"M": (1e6, 1.0), "mM": (1e3, 1.0), "uM": (1.0, 1.0), "nM": (1.0, 1e3), "pM": (1.0, 1e6)}

UNIT_SUFFIXES = {"m": "M", "mm": "mM", "um": "uM", "nm": "nM", "pm": "pM"}
"""Folded spelling, as in a column name ``dose_1_um`` -> the unit."""

_WORDS = {"molar": "M", "millimolar": "mM", "micromolar": "uM", "nanomolar": "nM"}
_PER_LITRE = {"mol/l": "M", "mmol/l": "mM", "umol/l": "uM", "nmol/l": "nM", "pmol/l": "pM"}
_SPELLINGS = {**UNIT_SUFFIXES, **_WORDS, **_PER_LITRE}


def parse_unit(text: str) -> str | None:
    """The unit that ``text`` spells (either micro sign, any case), or None."""
    return _SPELLINGS.get(fold_name(text).replace("μ", "u").replace(" ", ""))


def to_um(dose: float, unit: str) -> float:
    """``dose`` in ``unit`` (one of ``M mM uM nM pM``) as micromolar."""
    multiply, divide = _TO_UM[unit]
    return dose * multiply / divide
