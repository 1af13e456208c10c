"""Which wells see which unknowns, coloured so that unknowns of one colour can be drawn together.

A *unit* is one small group of unknowns: a curve, an interaction, the factors of a cell line. Given
everything else, units that share no well are independent, so a Gibbs sweep visits colours one
after the other and all units of a colour at once. The colouring is greedy, largest degree first
(Welsh & Powell, Comput J 10 (1967), 85).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.screen import IntArray


@dataclass(frozen=True)
class Colour:
    """Units that share no well, and the wells that see them.

    ``units``: ``(u,)``. ``well``, ``slot``, ``local``: ``(e,)`` the well of each entry, the place
    in the well at which the unit stands, and the unit's position in ``units``. ``sums``:
    ``(u, e)`` sparse matrix that adds up the entries of each unit. ``starts``: first entry of each
    unit, and the end.
    """

    units: Tensor
    well: Tensor
    slot: Tensor
    local: Tensor
    sums: Tensor
    starts: list[int]


def colours_of(
    unit: IntArray, well: IntArray, slot: IntArray, n_units: int, device: torch.device
) -> tuple[Colour, ...]:
    """Colours of the units that entries ``(e,)`` tie to wells; units without entries are left out.

    One unit may meet a well once only.
    """
    colour = _greedy(*_conflicts(unit, well), n_units)
    order = np.lexsort([well, unit, colour[unit]])
    unit, well, slot = unit[order], well[order], slot[order]
    bounds = np.searchsorted(colour[unit], np.arange(colour.max(initial=-1) + 2))
    return tuple(
        _colour(unit[low:high], well[low:high], slot[low:high], device)
        for low, high in pairwise(bounds)
        if high > low
    )


def _colour(unit: IntArray, well: IntArray, slot: IntArray, device: torch.device) -> Colour:
    units, local, count = np.unique(unit, return_inverse=True, return_counts=True)
    rows = np.concatenate([[0], np.cumsum(count)])
    with warnings.catch_warnings():
        # torch announces once a process that compressed rows are young.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        sums = torch.sparse_csr_tensor(
            torch.from_numpy(rows),
            torch.arange(len(unit)),
            torch.ones(len(unit), dtype=torch.float64),
            (len(units), len(unit)),
            device=device,
            check_invariants=False,
        )
    places = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (well, slot, local)]
    return Colour(
        torch.from_numpy(units).to(device), places[0], places[1], places[2], sums, rows.tolist()
    )


def _conflicts(unit: IntArray, well: IntArray) -> tuple[IntArray, IntArray]:
    """Both directions of every pair of units that share a well, each once."""
    order = np.lexsort([unit, well])
    unit, well = unit[order], well[order]
    found = []
    for shift in range(1, int(np.bincount(well).max(initial=1))):
        same = well[shift:] == well[:-shift]
        found.append(np.stack([unit[:-shift][same], unit[shift:][same]]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    both = np.concatenate(found, axis=1)
    edges = np.unique(np.concatenate([both, both[::-1]], axis=1), axis=1)
    return edges[0], edges[1]


def _greedy(first: IntArray, second: IntArray, n_units: int) -> IntArray:
    """``(n_units,)`` the smallest colour that no neighbour has, visited by falling degree."""
    start = np.searchsorted(first, np.arange(n_units + 1))
    colour = np.full(n_units, -1, np.int64)
    if not len(first):
        return np.zeros(n_units, np.int64)
    for node in np.argsort(-np.diff(start), kind="stable"):
        taken = colour[second[start[node] : start[node + 1]]]
        free = np.ones(len(taken) + 1, bool)
        free[taken[(taken >= 0) & (taken < len(free))]] = False
        colour[node] = int(np.argmax(free))
    return colour
