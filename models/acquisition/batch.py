"""A batch from values: by rank, without repeats, under the rules of the bench."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, Candidates, FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class BatchRules:
    """``size``: most candidates. ``max_per_compound``: most that may hold one compound."""

    size: int
    max_per_compound: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ScreenError(f"a batch of {self.size} candidates cannot be chosen")
        if self.max_per_compound is not None and self.max_per_compound < 1:
            raise ScreenError("the cap per compound must be at least 1")


@dataclass(frozen=True)
class Batch:
    """``rows``: ``(k,)``, first choice first. ``shortfall``: why there are fewer than asked for,
    in words; empty for a full batch."""

    rows: IntArray
    shortfall: str


def choose_batch(
    candidates: Candidates,
    values: FloatArray,
    rules: BatchRules,
    *,
    pinned: BoolArray,
    excluded: BoolArray,
) -> IntArray:
    """``(k,)`` rows of the batch, first choice first, ``k <= rules.size``.

    Pinned rows come first, by value, whatever the cap, and count towards it; the others follow by
    value while their compounds have room. Ties go to the earlier row. Raises
    :class:`ScreenError` for values that are not finite, pinned rows that are excluded, and more
    pinned rows than fit.
    """
    return fill_batch(candidates, values, rules, pinned=pinned, excluded=excluded).rows


def fill_batch(
    candidates: Candidates,
    values: FloatArray,
    rules: BatchRules,
    *,
    pinned: BoolArray,
    excluded: BoolArray,
) -> Batch:
    """:func:`choose_batch`, and why the batch is short where it is."""
    _check(candidates, values, rules, pinned, excluded)
    order = np.argsort(-values, kind="stable")
    chosen = [int(row) for row in order[pinned[order]]]
    count = _Counts(candidates, rules.max_per_compound)
    for row in chosen:
        count.add(row)
    for row in order[~(pinned | excluded)[order]]:
        if len(chosen) >= rules.size:
            break
        if count.has_room(int(row)):
            count.add(int(row))
            chosen.append(int(row))
    rows = np.array(chosen, dtype=np.int64)
    return Batch(rows, _why_short(rules, rows, excluded, count))


def _why_short(rules: BatchRules, rows: IntArray, excluded: BoolArray, count: _Counts) -> str:
    if len(rows) >= rules.size:
        return ""
    head = f"{len(rows)} of {rules.size} candidates"
    left = int((~excluded).sum()) - len(rows)
    if not left:
        return f"{head}: there are no more usable candidates"
    full = int((count.count >= (rules.max_per_compound or np.inf)).sum())
    return (
        f"{head}: each of the {left} usable candidates left holds a compound that is in "
        f"{rules.max_per_compound} of the batch already, the most allowed; so are {full} compounds"
    )


class _Counts:
    """How often each compound is in the batch so far."""

    def __init__(self, candidates: Candidates, cap: int | None) -> None:
        self.compounds, self.cap = candidates.compounds, cap
        self.count = np.zeros(int(self.compounds.max(initial=0)) + 1, dtype=np.int64)

    def has_room(self, row: int) -> bool:
        """Whether no compound of candidate ``row`` is in the batch as often as is allowed."""
        return self.cap is None or bool(self.count[self.compounds[row]].max() < self.cap)

    def add(self, row: int) -> None:
        """Count the compounds of candidate ``row``."""
        self.count[self.compounds[row]] += 1


def _check(
    candidates: Candidates,
    values: FloatArray,
    rules: BatchRules,
    pinned: BoolArray,
    excluded: BoolArray,
) -> None:
    if not len(candidates) == len(values) == len(pinned) == len(excluded):
        raise ScreenError("values, pinned and excluded need one entry per candidate")
    if not np.all(np.isfinite(values)):
        raise ScreenError("acquisition values hold NaN or infinity")
    if np.any(pinned & excluded):
        row = int(np.flatnonzero(pinned & excluded)[0])
        raise ScreenError(f"candidate {row} is pinned, but it is banned, pending or measured")
    if pinned.sum() > rules.size:
        raise ScreenError(f"{pinned.sum()} candidates are pinned, the batch holds {rules.size}")
