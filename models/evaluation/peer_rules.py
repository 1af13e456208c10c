"""The published loops as strategies: our own versions, played by the same replay as ours.

``recover``: RECOVER (Bertin et al. 2023, doi:10.1016/j.crmeth.2023.100599, active trainer).
    Theirs: five networks with a bilinear merge on Morgan fingerprints and one-hot identities,
    cell lines by FiLM; UCB with kappa = 1, mean and standard deviation over members; the n best,
    each on its own; a new fit from scratch every round.
    Ours: ``bilinear_ensemble`` with ``ucb``, kappa 1, without single-agent curves, which RECOVER
    does not see; as many draws as members, so that the deviation is that over members. It differs
    where that serves it better: the merge is symmetric as their paper means it (their code is
    not), eight members, a prior and early stopping of ours (theirs wait 4 epochs at a learning
    rate of 1e-4), a Student-t noise, identities and a linear way past the merge.

``batchie``: BATCHIE (Tosh et al. 2025, Nat. Commun. 16:156).
    Theirs: a Bayesian tensor model of logit viability over drug-dose labels, Gibbs-sampled;
    candidate plates of one cell line made beforehand, chosen one by one by PDBAL, each given
    those before, for all rounds; the best by posterior mean are picked once, when the campaign
    is over, and measured block by block.
    Ours: ``logit_tensor`` with synergy from measured single agents as theirs
    (:mod:`models.evaluation.peer_tensor`), plates of 24 (:mod:`models.evaluation.peer_plates`).
    It differs where that serves it better: the exact three-Gaussian overlap with its entropy term
    in place of the shipped exponent, all triples of draws, a distance on synergy scores, not on
    viabilities, and the picking begins earlier: single blocks by posterior mean in the last third
    of the rounds (:func:`explores`). The last plate of a round is measured in part where the
    batch is no multiple of 24, so that every strategy pays the same number of blocks. Two chains
    of 200 sweeps in 8 dimensions against their 2,000 and more in 12: O'Neil, 955 blocks, 600
    sweeps in 12 dimensions rank the rest hardly better (correlation 0.30 against 0.28).

``one_hot_halves``, ``one_hot_greedy``: networks on one-hot identities as guides to active learning
    for synergy run them (Wang et al. 2025, doi:10.1038/s41598-025-85600-3).
    Theirs: five perceptrons, scored by a weighted sum of mean and deviation over members, whose
    weight turns from exploring to exploiting; "exploitation" is the mean alone.
    Ours: :mod:`models.evaluation.peer_networks`; the better half of the batch has the highest
    means, the other the highest standard deviations over members (:func:`halves`), or all have
    the highest means.

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
from models.synergy.score_networks.network import MEMBERS

EXPLOITED = 1 / 3
"""Share of the planned rounds, the last ones, in which ``batchie`` takes the highest means."""

PEERS: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            Strategy(
                "recover",
                "bilinear_ensemble",
                "ucb",
                inputs="structures",
                extra={"kappa": 1.0, "draws": MEMBERS["ensemble"]},
            ),
            Strategy(
                "batchie",
                "logit_tensor",
                "greedy",
                chooser="pdbal_plates",
                fits="anchored_tensor",
            ),
            Strategy(
                "one_hot_halves",
                "one_hot_networks",
                "greedy",
                inputs="identities",
                chooser="halves",
                fits="one_hot",
            ),
            Strategy(
                "one_hot_greedy",
                "one_hot_networks",
                "greedy",
                inputs="identities",
                fits="one_hot",
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


def explores(round_number: int, planned: int | None) -> bool:
    """Whether ``batchie`` still chooses plates to learn from; always without a planned end."""
    return planned is None or round_number <= planned - round(EXPLOITED * planned)


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
