"""Controls: the same screen with a link cut, to show what a model's skill rests on.

A model that does as well with shuffled features has learned identities, not chemistry or biology;
one that has any skill with permuted labels has seen the answer somewhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.screen import FloatArray, IntArray
from models.synergy.inputs import Features, ScoredBlocks, Training


def controls(
    training: Training, *, shuffled_features: bool = False, permuted_labels: bool = False, seed: int
) -> Training:
    """The training bundle with features and / or labels given to others; a pure function.

    ``shuffled_features``: every compound takes structure, targets and curves of another one (all
    of the same one), every cell line the features of another. Identities, blocks and wells stay.
    ``permuted_labels``: scores change places between blocks, together with their standard errors;
    the wells of combinations go, because they tell the true score, single agents and controls
    stay. With neither, the bundle itself.
    """
    if shuffled_features:
        rng = np.random.default_rng([seed, 1])
        training = replace(training, features=_shuffled(training.features, rng))
    if permuted_labels:
        training = _permuted(training.sorted(), np.random.default_rng([seed, 2]))
    return training


def _shuffled(features: Features, rng: np.random.Generator) -> Features:
    compounds, lines = features.compounds, features.cell_lines
    other, other_line = _one_cycle(len(compounds), rng), _one_cycle(len(lines), rng)
    targets = compounds.targets
    return Features(
        replace(
            compounds,
            fingerprints=compounds.fingerprints[other],
            has_structure=compounds.has_structure[other],
            targets=tuple(targets[k] for k in other) if targets else (),
        ),
        replace(
            lines,
            features=lines.features[other_line],
            has_features=lines.has_features[other_line],
        ),
        _taken(features.curves, other),
        modules=tuple(module.select(other) for module in features.modules),
    )


def _taken(curves: FloatArray | None, other: IntArray) -> FloatArray | None:
    return None if curves is None else curves[other]


def _permuted(training: Training, rng: np.random.Generator) -> Training:
    blocks, wells = training.blocks, training.wells
    order = rng.permutation(len(blocks))
    mixed = ScoredBlocks(blocks.candidates, blocks.score[order], blocks.noise_sd[order])
    kept = None if wells is None else wells.select(wells.n_compounds < 2)
    return replace(training, blocks=mixed, wells=kept)


def _one_cycle(n: int, rng: np.random.Generator) -> IntArray:
    """``(n,)`` a random permutation that is one single cycle: nobody keeps what is theirs."""
    order = rng.permutation(n)
    cycle = np.empty(n, dtype=np.int64)
    cycle[order] = np.roll(order, 1)
    return cycle
