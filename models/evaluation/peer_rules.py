"""The published loops as strategies: our own versions, played by the same replay as ours.

``recover``: RECOVER (Bertin et al. 2023, doi:10.1016/j.crmeth.2023.100599, active trainer).
    Theirs: five networks with a bilinear merge on Morgan fingerprints and one-hot identities,
    cell lines by FiLM; UCB with kappa = 1, mean and standard deviation over members; the n best,
    each on its own; a new fit from scratch every round.
    Ours: ``bilinear_ensemble`` with ``ucb``, kappa 1, without single-agent curves, which RECOVER
    does not see. It differs: the merge is symmetric as their paper means it (their code is not),
    eight members, early stopping and a schedule of our own (theirs take 4 epochs of patience on
    a fifth of the blocks), a Student-t noise, a linear way past the merge.

``batchie``: BATCHIE (Tosh et al. 2025, Nat. Commun. 16:156).
    Theirs: a Bayesian tensor model of logit viability over drug-dose labels, Gibbs-sampled;
    plates chosen one by one by PDBAL, each given those chosen before.
    Ours: ``logit_tensor`` with ``pdbal``. It differs: the exact three-Gaussian overlap with its
    entropy term in place of the shipped exponent, all triples of draws, a distance on scores,
    and plates of one block, so that every strategy pays the same number of blocks.

``one_hot_halves``: networks on one-hot identities, half of each batch exploiting, half exploring,
    as guides to active learning for synergy recommend and as one-hot baselines are run.
    Theirs: a multilayer perceptron on one-hot compounds and cell lines.
    Ours: ``plain_networks`` that see identities alone; the better half of the batch has the
    highest means, the other the highest standard deviations over members (:func:`halves`).

``random``: chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from models.acquisition.pool import PoolScores
from models.evaluation.strategies import RANDOM, Strategy
from models.rounds import Prepared
from models.screen import (
    BoolArray,
    CellLineTable,
    CompoundTable,
    IntArray,
    Screen,
    ScreenError,
)

PEERS: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            Strategy(
                "recover", "bilinear_ensemble", "ucb", inputs="structures", extra={"kappa": 1.0}
            ),
            Strategy("batchie", "logit_tensor", "pdbal"),
            Strategy(
                "one_hot_halves", "plain_networks", "greedy", inputs="identities", chooser="halves"
            ),
            RANDOM,
        )
    }
)
"""Every peer by name; what each does and where ours differs is said above."""


def find_peer(name: str) -> Strategy:
    """The peer called ``name``; :class:`ScreenError` that lists the known ones otherwise."""
    if name not in PEERS:
        raise ScreenError(f"unknown strategy {name!r}; known are {', '.join(PEERS)}")
    return PEERS[name]


def halves(scores: PoolScores, usable: BoolArray, size: int) -> IntArray:
    """``(<= size,)`` rows: the larger half of the batch by mean, then the rest by epistemic
    standard deviation, without repeats; ties to the earlier row.

    ``usable``: ``(m,)`` bool, rows that may be chosen.
    """
    rows = np.flatnonzero(usable)
    best = rows[np.argsort(-scores.mean[rows], kind="stable")][: (size + 1) // 2]
    rest = np.setdiff1d(rows, best)
    unsure = rest[np.argsort(-scores.epistemic_sd[rest], kind="stable")][: size - len(best)]
    return np.concatenate([best, unsure]).astype(np.int64)


def blinded(screen: Screen, prepared: Prepared, inputs: str) -> tuple[Screen, Prepared]:
    """The same measurements, seen by a model that knows less; see :class:`Strategy`.

    Scores stay as they are: they come from the single agents, as the peers' do.
    """
    if inputs == "all":
        return screen, prepared
    curves = replace(prepared.curves, measured=np.zeros_like(prepared.curves.measured))
    unseen = replace(prepared, curves=curves)
    if inputs == "structures":
        return screen, unseen
    compounds, lines = screen.compounds, screen.cell_lines
    nothing = CompoundTable(
        compounds.ids,
        np.zeros_like(compounds.fingerprints),
        np.zeros(len(compounds), bool),
    )
    plain = CellLineTable(lines.ids, np.zeros((len(lines), 0)), np.zeros(len(lines), bool))
    return replace(screen, compounds=nothing, cell_lines=plain), unseen
