"""Wells as the samplers see them: sorted, with positions of their curves, pairs and blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pharmacology.curve_fit import dose_range
from models.pharmacology.plate_noise import well_scales
from models.screen import ABSENT, BoolArray, FloatArray, IntArray, ScreenError, Wells
from models.synergy.response.surface import PAIR_SLOTS


@dataclass(frozen=True)
class DoseScale:
    """Middle of each compound's log-dose range, so that units cancel.

    ``centre``: ``(n_compounds,)`` natural logarithm of micromolar. ``known``: ``(n_compounds,)``
    false where no well has the compound; its middle is the median of the others, and
    ``spread`` (at least one decade) how far theirs are apart.
    """

    centre: FloatArray
    known: BoolArray
    spread: float

    @classmethod
    def of(cls, wells: Wells, n_compounds: int) -> DoseScale:
        """From the doses that the wells use."""
        known = np.zeros(n_compounds, bool)
        known[wells.compounds[wells.compounds != ABSENT]] = True
        centre = dose_range(wells, n_compounds).centre
        spread = float(centre[known].std()) if known.any() else 0.0
        return cls(centre, known, max(spread, float(np.log(10.0))))


@dataclass(frozen=True)
class WellTable:
    """Sorted wells and what they are made of; ``k`` slots (the most compounds of any well).

    Per well, ``(n,)``: ``line``, ``viability``, ``noise_scale`` (noise of its plate over that of a
    usual one). Per slot, ``(n, k)``: ``compound``
    (``n_compounds`` where empty), ``log_dose`` from the compound's middle (0 where empty),
    ``present``, ``cell`` (position in ``cells``, its length where empty). Per pair of slots,
    ``(n, p)``: ``pair``, ``block`` (positions, their lengths where one is empty).
    ``cells``: ``(c, 2)`` compound, line. ``pairs``: ``(q, 2)`` compounds ascending.
    ``blocks``: ``(b, 2)`` position of the pair, line.
    """

    n_compounds: int
    n_lines: int
    line: IntArray
    viability: FloatArray
    noise_scale: FloatArray
    compound: IntArray
    log_dose: FloatArray
    present: BoolArray
    cell: IntArray
    pair: IntArray
    block: IntArray
    cells: IntArray
    pairs: IntArray
    blocks: IntArray

    @classmethod
    def of(cls, wells: Wells, scale: DoseScale, n_lines: int) -> WellTable:
        """Encode wells; their order makes no difference.

        Raises :class:`ScreenError` where a well points outside the tables.
        """
        n_compounds = len(scale.centre)
        _require_inside(wells, n_compounds, n_lines)
        columns = [wells.compounds[:, k] for k in (2, 1, 0)] + [wells.cell_line]
        doses = [wells.doses_um[:, k] for k in (2, 1, 0)]
        order = np.lexsort([well_scales(wells), wells.viability, *doses, *columns])
        wells = wells.select(order)
        k = int(wells.n_compounds.max(initial=1)) or 1
        present = wells.compounds[:, :k] != ABSENT
        compound = np.where(present, wells.compounds[:, :k], n_compounds)
        padded = np.append(scale.centre, 0.0)
        log_dose = np.log(np.where(present, wells.doses_um[:, :k], 1.0))
        log_dose = np.where(present, log_dose - padded[compound], 0.0)
        line = wells.cell_line
        cell_keys, cell = _positions(line[:, None] * n_compounds + compound, present)
        firsts = [i for i, _ in PAIR_SLOTS[k]]
        seconds = [j for _, j in PAIR_SLOTS[k]]
        both = present[:, firsts] & present[:, seconds]
        pair_keys, pair = _positions(compound[:, firsts] * n_compounds + compound[:, seconds], both)
        block_keys, block = _positions(pair * n_lines + line[:, None], both)
        return cls(
            n_compounds=n_compounds,
            n_lines=n_lines,
            line=line,
            viability=wells.viability,
            noise_scale=well_scales(wells),
            compound=compound,
            log_dose=log_dose,
            present=present,
            cell=cell,
            pair=pair,
            block=block,
            cells=np.stack([cell_keys % n_compounds, cell_keys // n_compounds], axis=1),
            pairs=np.stack([pair_keys // n_compounds, pair_keys % n_compounds], axis=1),
            blocks=np.stack([block_keys // n_lines, block_keys % n_lines], axis=1),
        )

    def __len__(self) -> int:
        return len(self.line)

    @property
    def slots(self) -> int:
        """Most compounds that a well can hold."""
        return int(self.compound.shape[1])


def _positions(keys: IntArray, where: BoolArray) -> tuple[IntArray, IntArray]:
    """Distinct keys among the chosen entries, and the position of each entry (else the length)."""
    found, inverse = np.unique(keys[where], return_inverse=True)
    position = np.full(keys.shape, len(found), np.int64)
    position[where] = inverse
    return found, position


def _require_inside(wells: Wells, n_compounds: int, n_lines: int) -> None:
    if wells.compounds.max(initial=-1) >= n_compounds:
        raise ScreenError(f"a well names compound {wells.compounds.max()} of {n_compounds}")
    if wells.cell_line.max(initial=-1) >= n_lines:
        raise ScreenError(f"a well names cell line {wells.cell_line.max()} of {n_lines}")
    if wells.cell_line.min(initial=0) < 0 or wells.compounds.min(initial=0) < ABSENT:
        raise ScreenError("a well points before the start of a table")
