"""Why a candidate is proposed, in one sentence, with the measurement nearest to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.screen import Candidates, CompoundTable, FloatArray, IntArray, Screen

SAME_LINE_BONUS = 0.25
"""Added to the similarity (0 to 1) of two pairs when both are in the same cell line."""
NEAR = 0.55
"""Least similarity, bonus included, at which a measurement counts as near."""
ROWS_AT_ONCE = 64
LIKELY, POSSIBLE = 0.5, 0.2


def compound_similarity(compounds: CompoundTable) -> FloatArray:
    """``(n, n)`` Tanimoto similarity of fingerprints, 1 on the diagonal, 0 without structure."""
    bits = compounds.fingerprints.astype(np.float64)
    shared = bits @ bits.T
    counts = np.diag(shared)
    union = counts[:, None] + counts[None, :] - shared
    similarity = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    np.fill_diagonal(similarity, 1.0)
    return similarity


def nearest_measured(
    candidates: Candidates, measured: Candidates, similarity: FloatArray
) -> IntArray:
    """``(m,)`` row of ``measured`` nearest to each candidate, -1 where none is near.

    Similarity of pairs (a, b) and (c, d): the better of [s(a,c) + s(b,d)] / 2 and
    [s(a,d) + s(b,c)] / 2, plus a bonus in the same cell line. Ties go to the earlier row.
    """
    result = np.full(len(candidates), -1, dtype=np.int64)
    if not len(measured):
        return result
    c, d = measured.compounds.T
    for start in range(0, len(candidates), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        to_a, to_b = (similarity[candidates.compounds[rows, k]] for k in (0, 1))
        score = 0.5 * np.maximum(to_a[:, c] + to_b[:, d], to_a[:, d] + to_b[:, c])
        score += SAME_LINE_BONUS * (candidates.cell_line[rows, None] == measured.cell_line)
        best = score.argmax(axis=1)
        near = np.take_along_axis(score, best[:, None], axis=1)[:, 0] >= NEAR
        result[rows] = np.where(near, best, -1)
    return result


@dataclass(frozen=True)
class Forecast:
    """What is said about each candidate, ``(m,)`` each; ``pinned`` and ``modelled`` decide how.
    ``of``: words behind the expected number, such as what it is measured from."""

    hit_probability: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    pinned: np.ndarray
    modelled: bool
    of: str = ""


class Wording:
    """Names of a screen and what its measured blocks gave: ``score`` ``(m,)`` in the objective's
    unit, NaN where it is not known."""

    def __init__(
        self,
        screen: Screen,
        measured: Candidates,
        score: FloatArray,
        names: Mapping[str, str] | None,
    ) -> None:
        called = names or {}
        self.compounds = [called.get(i, i) for i in screen.compounds.ids]
        self.cell_lines = [called.get(i, i) for i in screen.cell_lines.ids]
        self.measured, self.score = measured, score

    def reasons(
        self, candidates: Candidates, nearest: IntArray, forecast: Forecast, rule: str
    ) -> tuple[str, ...]:
        """One sentence a candidate. ``rule``: why the order is what it is without a model."""
        return tuple(
            self._forecast(k, forecast, rule) + self._neighbour(candidates, k, int(nearest[k]))
            for k in range(len(candidates))
        )

    def _forecast(self, k: int, forecast: Forecast, rule: str) -> str:
        pinned = "Pinned. " if forecast.pinned[k] else ""
        if not forecast.modelled:
            return f"{pinned}{rule}"
        chance = float(forecast.hit_probability[k])
        word = "High" if chance >= LIKELY else "Fair" if chance >= POSSIBLE else "Low"
        interval = f"{forecast.low[k]:+.1f} to {forecast.high[k]:+.1f}"
        expected = f"expected {forecast.mean[k]:+.1f}{forecast.of}, 90 % interval {interval}"
        return f"{pinned}{word} chance of a hit ({100 * chance:.0f} %): {expected}"

    def _neighbour(self, candidates: Candidates, k: int, row: int) -> str:
        if row < 0:
            return "; nothing similar has been measured."
        a, b = candidates.compounds[k]
        c, d = self.measured.compounds[row]
        pair = f"{self.compounds[c]} + {self.compounds[d]}"
        where = self.cell_lines[self.measured.cell_line[row]]
        known = np.isfinite(self.score[row])
        value = f"{self.score[row]:+.1f}" if known else "measured"
        if (a, b) == (c, d):
            return f"; {pair} was {value} in {where}."
        return f"; the similar {pair} was {value} in {where}."
