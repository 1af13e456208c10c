"""What learning from a data set gives, whatever it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MODULE_FORMAT = "nextround-module/1"


@dataclass(frozen=True)
class ModuleFeatures:
    """What a fit says of each perturbation and pair, for the models of synergy.

    ``compounds``: a row of ``columns`` for each of ``perturbations``, None where it says nothing.
    ``pairs``: ``(i, j, values)`` with i < j into ``perturbations``, values by ``pair_columns``.
    """

    perturbations: tuple[str, ...]
    columns: tuple[str, ...] = ()
    compounds: tuple[tuple[float | None, ...], ...] = ()
    pair_columns: tuple[str, ...] = ()
    pairs: tuple[tuple[int, int, tuple[float, ...]], ...] = ()

    def document(self, name: str, skill: float) -> dict[str, Any]:
        """As it is stored."""
        return {
            "format": MODULE_FORMAT,
            "name": name,
            "skill": skill,
            "perturbations": self.perturbations,
            "compounds": self.compounds,
            "columns": self.columns,
            "pairs": self.pairs,
            "pair_columns": self.pair_columns,
        }


@dataclass(frozen=True)
class Learned:
    """``report``: short, in the row of the fit; ``results``: tables and curves, in a file."""

    model: str
    skill: float
    report: dict[str, Any]
    results: dict[str, Any]
    features: ModuleFeatures
    tensors: Mapping[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)
