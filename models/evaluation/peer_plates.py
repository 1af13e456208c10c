"""BATCHIE's plates: made before the campaign, chosen whole.

    layout = lay_out(campaign.candidates, np.setdiff1d(everything, initial), PLATE, seed)
    rows = choose_whole_plates(posterior, pool, layout.left(rest), 191, draws=128, seed=1)

A past screen has no free choice of wells: its blocks are put on candidate plates of one cell line
each, and a round takes whole plates, each given those before it, by PDBAL (Tosh et al. 2025,
doi:10.1038/s41467-024-55287-7, retrospective studies).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.acquisition.pdbal import PlateScorer
from models.acquisition.pdbal_plates import choose_plates_by_pdbal
from models.acquisition.world_distances import score_distance
from models.bayes.predictive import Noise
from models.screen import Candidates, IntArray, ScreenError, StopCallback, never_stop
from models.synergy.registry import ModelPosterior

PLATE = 24
"""Blocks of a plate."""


@dataclass(frozen=True)
class PlateLayout:
    """``plates``: ``(p, size)`` rows of the campaign, each row of blocks in one cell line."""

    plates: IntArray

    def left(self, rest: IntArray) -> IntArray:
        """``(q, size)`` the plates of which nothing is measured, as positions in ``rest``
        ``(m,)``, the ascending rows of the campaign that are not measured."""
        place = np.minimum(np.searchsorted(rest, self.plates), max(len(rest) - 1, 0))
        if not len(rest):
            return place[:0]
        whole = (rest[place] == self.plates).all(axis=1)
        return np.asarray(place[whole], dtype=np.int64)


def lay_out(candidates: Candidates, rows: IntArray, size: int, seed: int) -> PlateLayout:
    """Random plates of ``size`` of the blocks ``rows``, line by line.

    All have one size, since scores of plates are compared; what is left over in a line (fewer
    than ``size``) is on no plate. Raises :class:`ScreenError` for a size below 1.
    """
    if size < 1:
        raise ScreenError(f"a plate of {size} blocks holds nothing")
    random = np.random.default_rng([seed, size])
    found = [np.empty((0, size), np.int64)]
    for line in np.unique(candidates.cell_line[rows]):
        own = random.permutation(np.sort(rows[candidates.cell_line[rows] == line]))
        whole = len(own) // size
        found.append(own[: whole * size].reshape(whole, size))
    return PlateLayout(np.concatenate(found))


def choose_whole_plates(
    posterior: ModelPosterior,
    candidates: Candidates,
    plates: IntArray | Sequence[IntArray],
    size: int,
    *,
    draws: int,
    seed: int,
    should_stop: StopCallback = never_stop,
) -> IntArray:
    """``(<= size,)`` rows of ``candidates`` ``(m,)``: plates one by one by PDBAL.

    The distance between two worlds is the mean squared difference of the scores of all
    candidates. The last plate is measured in part where ``size`` is no multiple of a plate. Fewer
    rows where the plates run out. Raises ``Stopped``.
    """
    if not len(plates):
        return np.empty(0, np.int64)
    worlds = posterior.draws(candidates, draws, seed).numpy().astype(np.float64)
    scale = posterior.noise_scale(candidates).numpy().astype(np.float64)
    variance = np.square(Noise(scale, posterior.noise_df).sd())
    scorer = PlateScorer(worlds, variance, score_distance(worlds))
    wanted = -(-size // len(plates[0]))
    chosen = choose_plates_by_pdbal(scorer, plates, wanted, seed=seed, should_stop=should_stop)
    rows = np.concatenate([np.asarray(plates[plate]) for plate in chosen.plates])
    return rows[:size].astype(np.int64)
