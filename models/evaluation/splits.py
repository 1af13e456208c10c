"""Folds of a measured screen: what a model may learn from and what it is then asked.

All splits are on unordered pairs (:class:`models.screen.Candidates` puts (A, B) and (B, A) into one
order) and depend on the set of blocks, the number of folds and the seed alone, never on the order
of the rows, so that every model meets the same folds.

    random          blocks in any way: every block is tested once
    pair            all cell lines of a pair together: no pair on both sides; tested once
    cell-line       all blocks of a cell line together: no line on both sides; tested once
    compound        test: blocks with at least one held-out compound, training: those with none.
                    A block is tested in the folds of both its compounds, once or twice in all
    both-compounds  test: both compounds held out, training: neither; blocks with exactly one are
                    dropped from the fold. Pairs whose compounds fall into different folds are
                    never tested
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.screen import BoolArray, Candidates, IntArray, ScreenError


@dataclass(frozen=True)
class Fold:
    """``train``, ``test``, ``dropped``: rows of the candidates, ascending, no row in two."""

    number: int
    train: IntArray
    test: IntArray
    dropped: IntArray


def make_folds(candidates: Candidates, split: str, folds: int, seed: int) -> tuple[Fold, ...]:
    """``folds`` folds of ``candidates`` (distinct blocks) by the ``split`` of that name.

    Raises :class:`ScreenError` for an unknown split, fewer than two folds, more folds than there
    are groups to hold out, and a fold with nothing to train on or to test.
    """
    if split not in SPLITS:
        raise ScreenError(f"unknown split {split!r}; known are {', '.join(SPLITS)}")
    if folds < 2:
        raise ScreenError(f"{folds} fold: a split needs at least two")
    made = SPLITS[split](candidates, folds, seed)
    for fold in made:
        if not len(fold.train) or not len(fold.test):
            what = "to test" if len(fold.train) else "to train on"
            raise ScreenError(
                f"fold {fold.number} of {folds} by {split} has nothing {what}: use fewer folds"
            )
    return made


def _by_group(groups: IntArray, folds: int, seed: int) -> tuple[Fold, ...]:
    """Every group is held out in exactly one fold, with all its rows."""
    held = fold_of_groups(groups, folds, seed)
    return tuple(_fold(k, held != k, held == k) for k in range(folds))


def _random(candidates: Candidates, folds: int, seed: int) -> tuple[Fold, ...]:
    return _by_group(candidates.keys(_width(candidates)), folds, seed)


def _pair(candidates: Candidates, folds: int, seed: int) -> tuple[Fold, ...]:
    pair = candidates.compounds[:, 0] * _width(candidates) + candidates.compounds[:, 1]
    return _by_group(pair, folds, seed)


def _cell_line(candidates: Candidates, folds: int, seed: int) -> tuple[Fold, ...]:
    return _by_group(candidates.cell_line, folds, seed)


def _compound(candidates: Candidates, folds: int, seed: int) -> tuple[Fold, ...]:
    held = _held_compounds(candidates, folds, seed)
    return tuple(_fold(k, (held != k).all(1), (held == k).any(1)) for k in range(folds))


def _both_compounds(candidates: Candidates, folds: int, seed: int) -> tuple[Fold, ...]:
    held = _held_compounds(candidates, folds, seed)
    return tuple(_fold(k, (held != k).all(1), (held == k).all(1)) for k in range(folds))


SPLITS: Mapping[str, Callable[[Candidates, int, int], tuple[Fold, ...]]] = MappingProxyType(
    {
        "random": _random,
        "pair": _pair,
        "compound": _compound,
        "both-compounds": _both_compounds,
        "cell-line": _cell_line,
    }
)
"""Every split by its name."""


def fold_of_groups(groups: IntArray, folds: int, seed: int) -> IntArray:
    """``(m,)`` fold in which each row's group is held out; folds hold equally many groups, give
    or take one. Depends on the set of groups only."""
    names, position = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise ScreenError(f"{folds} folds need as many groups to hold out, there are {len(names)}")
    order = np.random.default_rng([seed, folds]).permutation(len(names))
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % folds
    return fold[position]


def _held_compounds(candidates: Candidates, folds: int, seed: int) -> IntArray:
    """``(m, 2)`` fold that holds out each compound of each block."""
    flat = fold_of_groups(candidates.compounds.reshape(-1), folds, seed)
    return flat.reshape(-1, 2)


def _fold(number: int, train: BoolArray, test: BoolArray) -> Fold:
    rows = (np.flatnonzero(mask).astype(np.int64) for mask in (train, test, ~(train | test)))
    return Fold(number, *rows)


def _width(candidates: Candidates) -> int:
    return int(candidates.compounds.max(initial=0)) + 1
