"""How good a network is: against known edges, and against perturbed cells it has not seen.

All matrices are ``(g, g)``, regulators in rows; the diagonal never counts. Scores that grow with
the number of edges are compared only at equal numbers, and a pair counts as a non-edge only if
the network does not call it an edge: without these two rules the rates say nothing about the
network (the known faults of published scores).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from models.perturbation.interventions import InterventionTable
from models.screen import BoolArray, FloatArray, ScreenError


def off_diagonal(matrix: FloatArray | BoolArray) -> FloatArray:
    """``(g (g - 1),)`` the entries off the diagonal, row by row."""
    return np.asarray(matrix[~np.eye(len(matrix), dtype=bool)])


def average_precision(scores: FloatArray, truth: BoolArray) -> float:
    """Area under precision and recall: mean precision at each true edge; ties shared evenly.

    An edge in a tie is charged with the expected rank inside it, so that the order of genes does
    not matter. Raises :class:`ScreenError` where there is no true edge.
    """
    score, real = off_diagonal(scores), off_diagonal(truth).astype(bool)
    if score.shape != real.shape or not real.any():
        raise ScreenError("precision needs scores and at least one true edge of the same genes")
    if not np.isfinite(score).all():
        raise ScreenError("scores of edges must be finite")
    _, level, size = np.unique(-score, return_inverse=True, return_counts=True)
    found = np.bincount(level, weights=real)
    before, hits_before = np.cumsum(size) - size, np.cumsum(found) - found
    inner = np.where(size > 1, (found - 1) / np.maximum(size - 1, 1), 0.0)
    total = 0.0
    for start, hits, n, k, rate in zip(before, hits_before, size, found, inner, strict=True):
        if k:
            rank = np.arange(1, n + 1)
            total += k / n * float(((hits + 1 + (rank - 1) * rate) / (start + rank)).sum())
    return total / float(real.sum())


def realised_fdr(called: BoolArray, truth: BoolArray) -> tuple[int, float]:
    """Number of edges called and the part of them that is false; (0, 0.0) for none."""
    calls, real = off_diagonal(called).astype(bool), off_diagonal(truth).astype(bool)
    n = int(calls.sum())
    return n, float((calls & ~real).sum() / n) if n else 0.0


def top_edges(scores: FloatArray, n_edges: int) -> BoolArray:
    """The ``n_edges`` ordered pairs of highest score; ``(g, g)`` bool.

    Raises :class:`ScreenError` for fewer than 1 or more edges than there are pairs, and where a
    tie at the border makes the choice arbitrary.
    """
    g = len(scores)
    if not 1 <= n_edges <= g * (g - 1):
        raise ScreenError(f"a network of {g} genes cannot have {n_edges} edges")
    values = np.where(np.eye(g, dtype=bool), -np.inf, scores)
    called = values >= np.sort(values, axis=None)[-n_edges]
    if int(called.sum()) != n_edges:
        raise ScreenError(f"scores tie at edge {n_edges}: choose a number of edges without a tie")
    return np.asarray(called)


@dataclass(frozen=True)
class EdgeRates:
    """``precision``: share of predicted edges that are significant; ``false_omission``: share of
    significant ones among pairs that were *not* predicted. ``None`` where there are no such."""

    precision: float | None
    false_omission: float | None
    n_edges: int
    n_others: int


def edge_rates(predicted: BoolArray, significant: BoolArray, tested: BoolArray) -> EdgeRates:
    """Over all ``tested`` pairs ``(t, m)``, the diagonal too if tested: nothing is sampled and
    nothing is rescaled."""
    edges, others = predicted & tested, ~predicted & tested

    def share(of: BoolArray) -> float | None:
        return float(significant[of].mean()) if of.any() else None

    return EdgeRates(share(edges), share(others), int(edges.sum()), int(others.sum()))


@dataclass(frozen=True)
class CellScores:
    """What held-out cells say of a network.

    ``n_edges``: edges called among pairs that could be tested. ``mean_distance``: mean
    Wasserstein distance of their targets between control and perturbed cells, in the unit of the
    readout. ``supported``: part of them that differ by a Mann-Whitney test. ``false_omission``:
    part of the pairs *not called* that differ by it. ``n_omitted``: how many those are.
    """

    n_edges: int
    mean_distance: float
    supported: float
    false_omission: float
    n_omitted: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def score_on_cells(
    called: BoolArray, held_out: InterventionTable, *, p_value: float = 0.05
) -> CellScores:
    """Distances over called edges and tests over all others, on conditions not learned from.

    A pair (g, h) can be tested where some held-out condition acts on g and not on h. Compare two
    networks only through :func:`compare_on_cells`: distances fall with the number of edges.
    Raises :class:`ScreenError` where nothing can be tested or no edge or every pair is called.
    """
    distance, differs, tested = _contrasts(held_out, p_value)
    if called.shape != tested.shape:
        raise ScreenError("the network and the held-out conditions have different genes")
    rates = edge_rates(called, differs, tested)
    if rates.precision is None or rates.false_omission is None:
        raise ScreenError("held-out conditions test no called edge, or no other pair")
    return CellScores(
        rates.n_edges,
        float(distance[called & tested].mean()),
        rates.precision,
        rates.false_omission,
        rates.n_others,
    )


def compare_on_cells(
    scores: dict[str, FloatArray], held_out: InterventionTable, n_edges: int
) -> dict[str, CellScores]:
    """Several networks on held-out conditions, each cut to the same number of testable edges."""
    tested = _testable(held_out)
    if int(tested.sum()) < n_edges:
        raise ScreenError(f"held-out conditions can test {int(tested.sum())} pairs, not {n_edges}")
    cut = {}
    for name, score in scores.items():
        called = top_edges(np.where(tested, score, -np.inf), n_edges)
        cut[name] = score_on_cells(called, held_out)
    return cut


def wasserstein(first: FloatArray, second: FloatArray) -> FloatArray:
    """``(g,)`` distance of order 1 between the columns of ``(n, g)`` and ``(m, g)`` samples.

    The area between the two empirical distribution functions of each column.
    """
    both = np.sort(np.vstack([first, second]), axis=0)
    width = np.diff(both, axis=0)
    total = np.zeros(both.shape[1])
    for column in range(both.shape[1]):
        at = both[:-1, column]
        below = np.searchsorted(np.sort(first[:, column]), at, side="right") / len(first)
        other = np.searchsorted(np.sort(second[:, column]), at, side="right") / len(second)
        total[column] = float(np.abs(below - other) @ width[:, column])
    return total


def _testable(table: InterventionTable) -> BoolArray:
    g = len(table.genes)
    tested = np.zeros((g, g), dtype=bool)
    for regulator in range(g):
        rows = table.targeted[:, regulator]
        if rows.any():
            tested[regulator] = ~table.targeted[rows].any(axis=0)
    return tested


def _contrasts(table: InterventionTable, p_value: float) -> tuple[FloatArray, BoolArray, BoolArray]:
    g = len(table.genes)
    distance, differs, tested = np.zeros((g, g)), np.zeros((g, g), dtype=bool), _testable(table)
    for regulator in np.flatnonzero(tested.any(axis=1)):
        cells = table.responses[table.targeted[:, regulator]]
        distance[regulator] = wasserstein(table.controls, cells)
        differs[regulator] = mannwhitneyu(table.controls, cells, axis=0).pvalue < p_value
    return distance, differs, tested
