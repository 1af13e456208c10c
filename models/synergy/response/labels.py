"""Drug-doses as labels: the doses that ``logit_tensor`` knows, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.screen import ABSENT, BoolArray, FloatArray, IntArray, ScreenError, Wells
from models.synergy.response.treatments import Treatments

FRESH = -2
"""Stands for the label of a compound that no well holds: its factors come from the prior."""


@dataclass(frozen=True)
class DoseLabels:
    """``compound``, ``dose_um``: ``(n_labels,)``, ascending by compound, then dose."""

    compound: IntArray
    dose_um: FloatArray
    n_compounds: int

    @classmethod
    def of(cls, wells: Wells, n_compounds: int) -> DoseLabels:
        """Every compound and dose that some well holds."""
        present = wells.compounds != ABSENT
        table = np.column_stack([wells.compounds[present], wells.doses_um[present]])
        rows = np.unique(table, axis=0)
        return cls(rows[:, 0].astype(np.int64), np.ascontiguousarray(rows[:, 1]), n_compounds)

    def __len__(self) -> int:
        return len(self.compound)

    @cached_property
    def known(self) -> BoolArray:
        """``(n_compounds,)`` whether any well holds the compound."""
        known = np.zeros(self.n_compounds, bool)
        known[self.compound] = True
        return known

    def find(self, treatments: Treatments) -> IntArray:
        """``(m, k)`` labels; ``len(self)`` where a slot is empty, ``FRESH`` for a compound without
        any well. Raises :class:`ScreenError` for a measured compound at another dose."""
        label = np.full(treatments.compounds.shape, len(self), np.int64)
        starts = np.searchsorted(self.compound, np.arange(self.n_compounds + 1))
        for c in np.unique(treatments.compounds[treatments.compounds != ABSENT]):
            at = treatments.compounds == c
            if not self.known[c]:
                label[at] = FRESH
                continue
            own = self.dose_um[starts[c] : starts[c + 1]]
            place = np.searchsorted(own, treatments.doses_um[at])
            inside = np.minimum(place, len(own) - 1)
            wrong = own[inside] != treatments.doses_um[at]
            if wrong.any():
                dose = treatments.doses_um[at][wrong][0]
                raise ScreenError(
                    f"logit_tensor knows doses as labels: compound {c} was never measured at "
                    f"{dose:g} uM; use a measured dose or a model with dose-response curves"
                )
            label[at] = starts[c] + inside
        return label
