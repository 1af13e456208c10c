"""What a scorecard may know of compounds: their targets, and how these act.

*Target*: the set of genes that a compound acts on, as one name. *Mechanism*: compounds whose sets
of targets are alike, by average linkage of Jaccard's distance (``ALIKE``). Both follow from the
table of compounds alone, never from an outcome, so they are the same whatever was held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.cluster.hierarchy
import scipy.spatial.distance

from models.screen import ABSENT, CompoundTable, FloatArray, IntArray

ALIKE = 0.7
"""Compounds join while the mean distance of their sets of targets stays below this."""
_SHOWN = 3


@dataclass(frozen=True)
class Attributes:
    """Labels of ``n`` compounds. ``target``, ``mechanism`` ``(n,)``: positions in their names, or
    ``ABSENT``. ``shared_targets``, ``similarity`` ``(n, n)``: Jaccard's index of targets and
    Tanimoto's of structures, NaN where one of the two is not known."""

    target_names: tuple[str, ...]
    target: IntArray
    mechanism_names: tuple[str, ...]
    mechanism: IntArray
    shared_targets: FloatArray
    similarity: FloatArray


def describe_compounds(compounds: CompoundTable) -> Attributes:
    """Attributes of every compound in the table."""
    n = len(compounds)
    sets = [frozenset(genes) for genes in compounds.targets] or [frozenset[str]()] * n
    known = np.array([bool(genes) for genes in sets], dtype=bool)
    shared = _jaccard(sets)
    distinct = sorted({genes for genes in sets if genes}, key=sorted)
    target_names = _told_apart([_name(sorted(genes)) for genes in distinct])
    place = {genes: k for k, genes in enumerate(distinct)}
    target = np.array([place.get(genes, ABSENT) for genes in sets], dtype=np.int64)
    mechanism_names, mechanism = _mechanisms(sets, shared, known)
    return Attributes(
        target_names,
        target,
        mechanism_names,
        mechanism,
        np.where(np.outer(known, known), shared, np.nan),
        _similarity(compounds),
    )


def _name(genes: Sequence[str]) -> str:
    more = len(genes) - _SHOWN
    return "/".join(genes[:_SHOWN]) + (f" +{more}" if more > 0 else "")


def _told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Long sets are shown by their first genes: the second of a name is its #2."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(f"{name} #{seen[name]}" if seen[name] > 1 else name)
    return tuple(told)


def _jaccard(sets: Sequence[frozenset[str]]) -> FloatArray:
    genes = {gene: k for k, gene in enumerate(sorted(set().union(*sets)))} if sets else {}
    table = np.zeros((len(sets), max(len(genes), 1)))
    for row, own in enumerate(sets):
        table[row, [genes[gene] for gene in own]] = 1.0
    common = table @ table.T
    size = table.sum(axis=1)
    union = size[:, None] + size[None, :] - common
    shared: FloatArray = np.zeros_like(common)
    np.divide(common, union, out=shared, where=union > 0)
    return shared


def _mechanisms(
    sets: Sequence[frozenset[str]], shared: FloatArray, known: np.ndarray
) -> tuple[tuple[str, ...], IntArray]:
    rows = np.flatnonzero(known)
    mechanism = np.full(len(sets), ABSENT, np.int64)
    if not len(rows):
        return (), mechanism
    group = np.ones(1, np.int64)
    if len(rows) > 1:
        distance = scipy.spatial.distance.squareform(1 - shared[np.ix_(rows, rows)], checks=False)
        tree = scipy.cluster.hierarchy.linkage(distance, "average")
        group = scipy.cluster.hierarchy.fcluster(tree, ALIKE, "distance")
    members = [rows[group == k] for k in np.unique(group)]
    names = [_shared_name([sets[row] for row in rows]) for rows in members]
    order = sorted(range(len(names)), key=lambda k: (names[k], int(members[k][0])))
    for place, k in enumerate(order):
        mechanism[members[k]] = place
    return _told_apart([names[k] for k in order]), mechanism


def _shared_name(sets: Sequence[frozenset[str]]) -> str:
    """The genes that most of the compounds act on, the commonest first."""
    count = Counter(gene for genes in sets for gene in genes)
    common = sorted(count, key=lambda gene: (-count[gene], gene))
    return "like " + _name(common)


def _similarity(compounds: CompoundTable) -> FloatArray:
    bits = compounds.fingerprints.astype(np.float64)
    common = bits @ bits.T
    size = bits.sum(axis=1)
    union = size[:, None] + size[None, :] - common
    similar = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    known = compounds.has_structure
    return np.where(np.outer(known, known), similar, np.nan)
