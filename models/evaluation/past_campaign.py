"""Screens whose outcome is known, to replay campaigns on: measured ones and simulated ones.

campaign = PastCampaign.of_folder(load_oneil_layout(folder), "bliss_mean", fingerprints)
campaign = FolderSource("../shared/data/oneil", "bliss_mean", line=None).load()
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.evaluation.study import fingerprints_of
from models.objectives.scores import measure_blocks
from models.pharmacology.plate_noise import well_scales
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import Candidates, FloatArray, IntArray, Screen, ScreenError, Wells

CONTROLS = 16
"""Vehicle wells of each simulated cell line."""


@dataclass(frozen=True)
class PastCampaign:
    """``candidates``: all ``m`` blocks. ``truth``: ``(m,)`` their scores. ``observed``: ``(m,)``
    the scores that a measurement gives: those of a measured screen itself, with noise in a
    simulation. ``reveal``: the screen in which exactly the blocks of the given rows are measured,
    single agents always; the same block has the same wells in each."""

    candidates: Candidates
    truth: FloatArray
    observed: FloatArray
    reveal: Callable[[IntArray], Screen]

    @classmethod
    def of_folder(
        cls,
        folder: ScreenFolder,
        score: str,
        fingerprints: NDArray[np.uint8] | None = None,
    ) -> PastCampaign:
        """A measured screen; its measured scores are the truth."""
        n = len(folder.compound_names)
        blocks = measure_blocks(folder.screen(None, fingerprints), score)
        keys = folder.blocks.keys(n)
        order = np.argsort(keys, kind="stable")
        row = order[np.searchsorted(keys, blocks.candidates.keys(n), sorter=order)]
        return cls(
            blocks.candidates,
            blocks.score,
            blocks.score,
            lambda rows: folder.screen(row[rows], fingerprints),
        )

    @classmethod
    def of_simulation(
        cls, simulated: SimulatedScreen, score: str, replicates: int, seed: int
    ) -> PastCampaign:
        """Every pair in every cell line of a simulation; its noise-free scores are the truth.

        Blocks without a score, measured or true (Loewe can be undefined), are no candidates. All
        is measured once, before the campaign begins: noise depends on ``seed`` alone.
        """
        first, second = np.triu_indices(len(simulated.compounds), k=1)
        lines = np.arange(len(simulated.cell_lines))
        candidates = Candidates.of(
            np.tile(first, len(lines)), np.tile(second, len(lines)), np.repeat(lines, len(first))
        )
        base = (
            simulated.single_agents(replicates, seed),
            simulated.controls(CONTROLS, seed + 1),
        )
        wells = simulated.measure(candidates, replicates, seed + 2)
        owner = np.repeat(np.arange(len(candidates)), len(wells) // len(candidates))
        blocks = measure_blocks(simulated.screen(*base, wells), score)
        truth = simulated.true_score(candidates, score)
        n = len(simulated.compounds)
        scored = np.isin(candidates.keys(n), blocks.candidates.keys(n)) & np.isfinite(truth)
        kept = np.flatnonzero(scored)
        candidates = candidates.select(kept)
        order = np.argsort(blocks.candidates.keys(n), kind="stable")
        row = order[np.searchsorted(blocks.candidates.keys(n)[order], candidates.keys(n))]

        def reveal(rows: IntArray) -> Screen:
            """The screen with the wells of these candidates, by their numbers among the scored."""
            shown = np.zeros(len(scored), bool)
            shown[kept[rows]] = True
            return simulated.screen(*base, wells.select(shown[owner]))

        return cls(candidates, truth[kept], blocks.score[row], reveal)

    @cached_property
    def digest(self) -> str:
        """Of the candidates, their scores and all that could be revealed."""
        screen = self.reveal(np.arange(len(self.candidates)))
        digest, lines, compounds = hashlib.sha256(), screen.cell_lines, screen.compounds
        digest.update(repr((compounds.ids, compounds.targets, lines.ids)).encode())
        for table in (
            *(self.candidates.compounds, self.candidates.cell_line, self.truth, self.observed),
            *(screen.wells.cell_line, screen.wells.compounds),
            *(screen.wells.doses_um, screen.wells.viability),
            *(compounds.fingerprints, compounds.has_structure),
            *(lines.features, lines.has_features),
        ):
            digest.update(np.ascontiguousarray(table).tobytes())
        if screen.wells.plate is not None:
            digest.update(np.ascontiguousarray(well_scales(screen.wells)).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class FolderSource:
    """A folder in the O'Neil layout; ``line``: only this cell line, or ``None`` for all."""

    path: str
    score: str
    line: str | None = None

    @property
    def name(self) -> str:
        """What to call it in a report."""
        return self.line or "all lines"

    def load(self) -> PastCampaign:
        """The campaign; raises :class:`ScreenError` for a folder that cannot be read."""
        folder, bits = _read(self.path)
        if self.line is not None:
            folder = one_line(folder, self.line)
        campaign = PastCampaign.of_folder(folder, self.score, bits)
        return _not_empty(campaign, self.name)

    def of_seed(self, seed: int) -> FolderSource:
        """What is replayed under a seed: the same screen under all of them."""
        return self


@dataclass(frozen=True)
class SimulationSource:
    """A simulated screen of every pair, another one for each seed. ``doses`` of each compound in a
    block, ``noise_sd`` of an untreated well (fraction), ``replicates`` of each well."""

    compounds: int
    cell_lines: int
    score: str
    doses: int = 4
    noise_sd: float = 0.06
    replicates: int = 2
    seed: int = 0

    @property
    def name(self) -> str:
        """What to call it in a report."""
        return f"simulated, {self.compounds} compounds in {self.cell_lines} line(s)"

    def load(self) -> PastCampaign:
        """The screen that the seed draws."""
        screen = simulate_screen(
            self.compounds, self.cell_lines, self.doses, self.noise_sd, self.seed
        )
        return PastCampaign.of_simulation(screen, self.score, self.replicates, self.seed)

    def of_seed(self, seed: int) -> SimulationSource:
        """What is replayed under a seed: a screen of its own."""
        return replace(self, seed=seed)


Source = FolderSource | SimulationSource


def one_line(folder: ScreenFolder, line: str) -> ScreenFolder:
    """The same screen as if only this cell line had been measured."""
    if line not in folder.cell_line_names:
        known = ", ".join(folder.cell_line_names)
        raise ScreenError(f"the screen has no cell line {line!r}; it has {known}")
    number = folder.cell_line_names.index(line)
    kept = np.flatnonzero(folder.blocks.cell_line == number)
    renamed = np.full(len(folder.blocks), -1)
    renamed[kept] = np.arange(len(kept))
    wells = folder.combinations.cell_line == number
    return replace(
        folder,
        cell_line_names=(line,),
        features=folder.features[[number]],
        has_features=folder.has_features[[number]],
        singles=_as_first(folder.singles.select(folder.singles.cell_line == number)),
        combinations=_as_first(folder.combinations.select(wells)),
        blocks=Candidates(folder.blocks.compounds[kept], np.zeros(len(kept), np.int64)),
        block=renamed[folder.block[wells]],
    )


@lru_cache(maxsize=1)
def _read(path: str) -> tuple[ScreenFolder, NDArray[np.uint8]]:
    """A folder with the fingerprints of its structures, read once for all its lines."""
    folder = load_oneil_layout(path)
    return folder, fingerprints_of(folder)


def _as_first(wells: Wells) -> Wells:
    return replace(wells, cell_line=np.zeros(len(wells), np.int64))


def _not_empty(campaign: PastCampaign, name: str) -> PastCampaign:
    if not len(campaign.candidates):
        raise ScreenError(f"{name}: no block with both single agents measured")
    return campaign
