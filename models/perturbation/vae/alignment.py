"""Aligning the shifts with a network: K-hop sums of edges against measured changes.

S = sum over k = 0..K of W (P W / m)^k, where P takes each coordinate that is itself a perturbed
gene to its row: with as many rows as coordinates this is the published sum of W^(k+1) / m^k. The
dose row times S should be the change of a cell against its matched control on the m coordinates.

Two ways. ``magnitude`` (published): W are the logits of the masks, the change is |delta| - c, and
with K = 0 row p goes to median |delta_p| - c, so that an edge is a change above c. ``signed``: W
are the expected effects, the change is the shrunken log fold change with its sign; the direct
coordinates then carry the direction of each effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.masks import SparseEffects
from models.perturbation.vae.matching import matched_controls
from models.screen import FloatArray, ScreenError

Way = Literal["magnitude", "signed"]


@dataclass(frozen=True)
class Alignment:
    """``hops``: K. ``threshold``: c, of ``magnitude`` only. ``weight``: of the term per cell."""

    way: Way = "signed"
    hops: int = 5
    threshold: float = 0.5
    weight: float = 100.0

    def __post_init__(self) -> None:
        if self.way not in ("magnitude", "signed"):
            raise ScreenError(f"the network is aligned by {self.way!r}: use magnitude or signed")
        if self.hops < 0 or self.weight < 0 or self.threshold < 0:
            raise ScreenError("hops, threshold and weight of the alignment must not be negative")


def row_of_column(columns: tuple[str, ...], targets: tuple[str, ...]) -> Tensor:
    """``(m,)`` the target that has each coordinate's name, -1 where none has."""
    position = {name: i for i, name in enumerate(targets)}
    return torch.tensor([position.get(name, -1) for name in columns])


def hop_sum(edges: Tensor, rows: Tensor, hops: int) -> Tensor:
    """``(t, m)`` S of ``edges`` ``(t, m)``; ``rows``: see :func:`row_of_column`."""
    known = (rows >= 0).to(edges.dtype)
    onward = edges[rows.clamp(min=0)] * known[:, None] / edges.shape[1]
    term = total = edges
    for _ in range(hops):
        term = term @ onward
        total = total + term
    return total


def alignment_loss(
    way: Way, effects: SparseEffects, rows: Tensor, hops: int, doses: Tensor, change: Tensor
) -> Tensor:
    """Mean |D S - change| over the known entries of ``change`` ``(n, m)``; ``doses`` ``(n, t)``."""
    edges = effects.logits if way == "magnitude" else effects.expected()
    known = ~torch.isnan(change)
    away = torch.where(known, doses @ hop_sum(edges, rows, hops) - change, 0.0)
    return away.abs().sum() / known.sum().clamp(min=1)


def changes(
    cells: CellTable, columns: tuple[str, ...], alignment: Alignment, seed: int
) -> FloatArray:
    """``(n, m)`` what the alignment of each treated cell aims at; NaN for controls, failed cells
    and coordinates that are not readouts. Raises :class:`ScreenError` without good controls."""
    position = {name: i for i, name in enumerate(cells.readouts)}
    at = [position.get(name, -1) for name in columns]
    found = np.array(at) >= 0
    if not found.any():
        raise ScreenError("no coordinate is a readout: the network has nothing to be aligned to")
    profiles = cells.profiles()
    good = ~cells.low_quality
    treated = np.flatnonzero(~cells.is_control & good)
    controls = np.flatnonzero(cells.is_control & good)
    if not len(controls):
        raise ScreenError("aligning the network needs control cells of good quality")
    matched = np.full(len(cells), -1)
    _, group = np.unique(cells.doses[treated], axis=0, return_inverse=True)
    for number in range(len(np.unique(group))):
        members = treated[group.reshape(-1) == number]
        picked = matched_controls(profiles[members], profiles[controls], seed)
        matched[members] = controls[picked]
    delta = np.full((len(cells), len(columns)), np.nan)
    columns_read = np.array(at)[found]
    away = profiles[treated] - profiles[matched[treated]]
    delta[np.ix_(treated, np.flatnonzero(found))] = away[:, columns_read]
    if alignment.way == "magnitude":
        return np.asarray(np.abs(delta) - alignment.threshold)
    return _shrunken(delta, treated, group.reshape(-1))


def _shrunken(delta: FloatArray, treated: np.ndarray, group: np.ndarray) -> FloatArray:
    """The mean change of each condition, shrunk towards 0 by empirical Bayes; a row per cell."""
    result = np.full_like(delta, np.nan)
    for number in range(group.max() + 1 if len(group) else 0):
        members = treated[group == number]
        rows = delta[members]
        result[members] = shrink(rows.mean(axis=0), _squared_error(rows))
    return result


def _squared_error(rows: FloatArray) -> FloatArray:
    """Squared standard error of each column's mean; of one row only, no error is known: 0."""
    if len(rows) < 2:
        return np.zeros(rows.shape[1])
    return np.asarray(rows.var(axis=0, ddof=1) / len(rows))


def shrink(mean: FloatArray, squared_error: FloatArray) -> FloatArray:
    """``mean * tau^2 / (tau^2 + se^2)``, tau^2 the excess of the mean squares over the errors."""
    known = ~np.isnan(mean)
    if not known.any():
        return mean
    excess = float(np.mean(mean[known] ** 2) - np.mean(squared_error[known]))
    tau = max(excess, 0.0)
    total = tau + squared_error
    share = np.divide(tau, total, out=np.zeros_like(mean), where=total > 0)
    return np.asarray(mean * share)
