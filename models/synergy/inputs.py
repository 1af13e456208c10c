"""What a synergy model may look at: tables of compounds, cell lines and single-agent curves.

Wide inputs (2,048 fingerprint bits, thousands of genes) are rotated onto the directions in which
the compounds or cell lines of this screen differ. With at least as many directions as rows
nothing is lost, and a Gaussian prior on the weights stays the same Gaussian prior; what changes is
that a mean-field posterior then needs one weight per direction that the data can tell apart.
The rotation sees inputs of the screen's own tables only, never a score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from models.pharmacology.score_rules import score_rule
from models.screen import (
    ABSENT,
    BoolArray,
    Candidates,
    CellLineTable,
    CompoundTable,
    FloatArray,
    IntArray,
    ScreenError,
    Wells,
)
from models.synergy.modules import Module

FINGERPRINT_DIRECTIONS = 64
CELL_LINE_DIRECTIONS = 16
MODULE_DIRECTIONS = 16
CURVE_LIMIT = 3.0
"""Standardised curve features are held within this many standard deviations."""


class Observations(Protocol):
    """Measured blocks (:class:`models.objectives.scores.Blocks` is one).

    ``score`` and its standard error ``noise_sd``: ``(m,)`` in the score's unit.
    """

    @property
    def candidates(self) -> Candidates:
        """``(m,)`` blocks."""
        ...

    @property
    def score(self) -> FloatArray:
        """``(m,)`` measured scores, in their unit."""
        ...

    @property
    def noise_sd(self) -> FloatArray:
        """``(m,)`` their standard errors, in the same unit."""
        ...


@dataclass(frozen=True)
class ScoredBlocks:
    """Plain :class:`Observations`, validated: finite scores, finite errors from 0 up."""

    candidates: Candidates
    score: FloatArray
    noise_sd: FloatArray

    def __post_init__(self) -> None:
        if not len(self.score) == len(self.noise_sd) == len(self.candidates):
            raise ScreenError("every measured block needs one score and one standard error")
        if not (np.all(np.isfinite(self.score)) and np.all(np.isfinite(self.noise_sd))):
            raise ScreenError("scores and their standard errors must be finite")
        if np.any(self.noise_sd < 0):
            raise ScreenError("a standard error is negative")

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def sorted_from(cls, data: Observations, n_compounds: int) -> ScoredBlocks:
        """The same blocks in the order of their keys, so that row order changes nothing."""
        whole = cls(data.candidates, data.score, data.noise_sd)
        return whole.select(whole.order(n_compounds))

    def order(self, n_compounds: int) -> IntArray:
        """``(m,)`` rows in the order of their keys."""
        return np.lexsort((self.score, self.candidates.keys(n_compounds)))

    def select(self, rows: np.ndarray) -> ScoredBlocks:
        """The blocks at ``rows`` (mask or indices)."""
        return ScoredBlocks(self.candidates.select(rows), self.score[rows], self.noise_sd[rows])


@dataclass(frozen=True)
class Features:
    """Inputs of a screen. ``curves``: ``(n_compounds, n_cell_lines, k)`` or ``None``.

    NaN in ``curves`` is a missing value and reads as the average curve. ``responses``:
    ``(n_compounds, n_cell_lines, q)`` of :func:`models.pharmacology.single_agents.
    single_agent_responses` or ``None``. Targets of compounds are in ``compounds.targets``.
    ``modules``: what other data say, by different names.
    """

    compounds: CompoundTable
    cell_lines: CellLineTable
    curves: FloatArray | None = None
    responses: FloatArray | None = None
    modules: tuple[Module, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.compounds), len(self.cell_lines))
        for name, table in (("curves", self.curves), ("responses", self.responses)):
            if table is not None and table.shape[:2] != expected:
                raise ScreenError(f"{name} have shape {table.shape}, expected {expected} first")
        for module in self.modules:
            if len(module.compounds) != len(self.compounds):
                raise ScreenError(
                    f"module {module.name!r} is of {len(module.compounds)} compounds, the screen "
                    f"of {len(self.compounds)}"
                )
        if len({module.name for module in self.modules}) < len(self.modules):
            raise ScreenError("two modules have the same name; give each its own")


@dataclass(frozen=True)
class Training:
    """All that a model may learn from.

    ``wells``: those behind the blocks, single agents, controls and wells of three compounds, for
    models of responses; ``None`` where only scores are known. ``score``: what the blocks'
    scores are, a key of :data:`models.pharmacology.score_rules.SCORES`.
    """

    blocks: ScoredBlocks
    features: Features
    wells: Wells | None = None
    score: str = "bliss_mean"

    def __post_init__(self) -> None:
        score_rule(self.score)

    @classmethod
    def of(
        cls,
        data: Observations,
        features: Features,
        wells: Wells | None = None,
        score: str = "bliss_mean",
    ) -> Training:
        """From any observations."""
        blocks = ScoredBlocks(data.candidates, data.score, data.noise_sd)
        return cls(blocks, features, wells, score)

    def sorted(self) -> Training:
        """The same with blocks in the order of their keys, so that row order changes nothing."""
        blocks = ScoredBlocks.sorted_from(self.blocks, len(self.features.compounds))
        return Training(blocks, self.features, self.wells, self.score)

    def select(self, rows: BoolArray | IntArray) -> Training:
        """Only the blocks at ``rows``; the wells of every other block are gone, too.

        A well of three compounds is gone with any block that it contains: it tells of it.
        """
        kept = self.blocks.select(rows)
        if self.wells is None:
            return Training(kept, self.features, None, self.score)
        n = len(self.features.compounds)
        gone = np.setdiff1d(self.blocks.candidates.keys(n), kept.candidates.keys(n))
        lost = np.zeros(len(self.wells), bool)
        for first, second in ((0, 1), (0, 2), (1, 2)):
            pair = self.wells.compounds[:, [first, second]]
            key = (self.wells.cell_line * n + pair[:, 0]) * n + pair[:, 1]
            lost |= (pair[:, 1] != ABSENT) & np.isin(key, gone)
        return Training(kept, self.features, self.wells.select(~lost), self.score)


@dataclass(frozen=True)
class InputTables:
    """Inputs as float32 tensors: ``compounds`` ``(n, p)``, ``cell_lines`` ``(l, q)`` with rows of
    unit mean square length, ``curves`` ``(n * l, k)`` standardised. The last columns of
    ``compounds`` are modules, rows of each as long as its skill says."""

    compounds: Tensor
    cell_lines: Tensor
    curves: Tensor

    @classmethod
    def of(cls, features: Features, device: torch.device) -> InputTables:
        """Reduce and standardise; inputs that are absent become tables of width 0."""
        bits = features.compounds.fingerprints.astype(np.float64)
        lines = _standardised(features.cell_lines.features, features.cell_lines.has_features)
        curves = _curve_table(features)
        tables = (
            reduced(bits, features.compounds.has_structure, FINGERPRINT_DIRECTIONS),
            reduced(lines, features.cell_lines.has_features, CELL_LINE_DIRECTIONS),
            curves,
        )
        tensors = (torch.tensor(t, dtype=torch.float32, device=device) for t in tables)
        return cls(*tensors).with_modules(features.modules)

    def with_modules(self, modules: tuple[Module, ...]) -> InputTables:
        """The same with the compounds' columns of modules that have any skill."""
        more = [one.skill * module_coordinates(one) for one in modules if one.skill > 0]
        if not more:
            return self
        columns = torch.tensor(np.concatenate(more, axis=1), dtype=torch.float32)
        wider = torch.cat([self.compounds, columns.to(self.compounds.device)], dim=1)
        return replace(self, compounds=wider)

    @property
    def n_compounds(self) -> int:
        """Rows of ``compounds``."""
        return len(self.compounds)

    @property
    def n_cell_lines(self) -> int:
        """Rows of ``cell_lines``."""
        return len(self.cell_lines)


def module_coordinates(module: Module) -> FloatArray:
    """``(n, d)`` compounds in the main directions of a module's standardised numbers; 0 for
    compounds of which it says nothing."""
    table = module.standardised_compounds()
    return reduced(table, module.known_compounds, MODULE_DIRECTIONS)


def reduced(table: FloatArray, known: BoolArray, most: int) -> FloatArray:
    """``(n, d)`` coordinates of the known rows in their ``d <= most`` main directions.

    Centred on the known rows and scaled to a mean squared length of 1; other rows are 0.
    """
    rows = table[known] - table[known].mean(axis=0) if known.any() else table[known]
    gram = rows @ rows.T
    count = min(most, len(rows) - 1)
    if count < 1 or not np.trace(gram) > 0:
        return np.zeros((len(table), 0))
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=[len(rows) - count, len(rows) - 1])
    keep = values > 1e-9 * values[-1]
    scores = vectors[:, keep] * np.sqrt(values[keep])
    result = np.zeros((len(table), scores.shape[1]))
    result[known] = scores / np.sqrt(np.square(scores).sum(axis=1).mean())
    return result


def _standardised(table: FloatArray, known: BoolArray) -> FloatArray:
    """Columns with mean 0 and variance 1 over the known rows; constant columns become 0."""
    if not known.any():
        return table
    spread = table[known].std(axis=0)
    scaled = (table - table[known].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.where(known[:, None], scaled * (spread > 0), 0.0)


def _curve_table(features: Features) -> FloatArray:
    rows = len(features.compounds) * len(features.cell_lines)
    if features.curves is None or rows == 0:
        return np.zeros((rows, 0))
    flat = features.curves.reshape(rows, -1)
    known = np.isfinite(flat)
    if not known.all(axis=1).any():
        return np.zeros((rows, 0))
    values = np.where(known, flat, np.nanmean(np.where(known, flat, np.nan), axis=0))
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf)
    return np.asarray(np.clip(scaled, -CURVE_LIMIT, CURVE_LIMIT))
