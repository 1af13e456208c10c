"""Why a pair of compounds may work together, as far as a network supports it, or that it does not.

Only edges that pass the false-discovery rate count. With u and v the responses of all genes when
the targets of one and of the other compound are switched off, the interaction is sum_h u_h v_h:
positive where both push the same genes the same way, negative where they oppose each other. It
is a score of overlap, not a synergy; give a response model's own prediction as ``interaction`` to
explain that instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.perturbation.neighbourhoods import (
    HOPS,
    Neighbourhood,
    distances_from,
    neighbourhood,
    responses_to,
)
from models.perturbation.network import EdgePosterior
from models.screen import BoolArray, FloatArray, ScreenError

FDR = 0.1
"""Edges with a q-value above this are not evidence."""

Interaction = Callable[[FloatArray], float]
"""Interaction that a network predicts, from its ``(g, g)`` weights; regulators in rows."""


@dataclass(frozen=True)
class Mediator:
    """A gene that both compounds reach. ``effects``: responses to the one and the other, in
    pushes. ``share`` of all overlap and opposition that runs through it; ``opposed`` where the
    compounds push it opposite ways. ``is_target``: of either compound."""

    gene: str
    effects: tuple[float, float]
    share: float
    opposed: bool
    is_target: bool


@dataclass(frozen=True)
class EdgeDrop:
    """``drop``: interaction with all edges minus interaction without this one."""

    regulator: str
    target: str
    sign: int
    probability: float
    q_value: float
    drop: float


@dataclass(frozen=True)
class Explanation:
    """Why a pair may work. All in the order of ``compounds``; see the module for the numbers.

    ``overlap`` and ``opposition``: sums over genes pushed the same way and opposite ways, both
    >= 0; ``interaction`` is their difference unless a response model gave its own.
    ``untested_targets``: targets that the network does not know. ``supported``: whether any gene
    is reached by both; if not, the lists are empty and ``sentence`` says why.
    """

    compounds: tuple[str, str]
    supported: bool
    interaction: float
    overlap: float
    opposition: float
    neighbourhoods: tuple[Neighbourhood, ...]
    mediators: tuple[Mediator, ...]
    edges: tuple[EdgeDrop, ...]
    untested_targets: tuple[str, ...]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def explain_pair(
    network: EdgePosterior,
    compounds: tuple[str, str],
    targets: tuple[tuple[str, ...], tuple[str, ...]],
    *,
    hops: int = HOPS,
    fdr: float = FDR,
    interaction: Interaction | None = None,
) -> Explanation:
    """Neighbourhoods of both compounds' targets, what they share and which edges carry it.

    Swapping the compounds swaps what is listed in their order and changes no number. Raises
    :class:`ScreenError` for a compound without any target.
    """
    for name, genes in zip(compounds, targets, strict=True):
        if not genes:
            raise ScreenError(f"{name} has no known target: a network cannot explain it")
    known = [
        sorted({network.genes.index(t) for t in each if t in network.genes}) for each in targets
    ]
    untested = tuple(sorted({t for each in targets for t in each} - set(network.genes)))
    lacking = [name for name, at in zip(compounds, known, strict=True) if not at]
    if lacking:
        return _unsupported(compounds, untested, f"the network knows no target of {lacking[0]}")
    weights = network.weights(fdr)
    reach = [np.isfinite(distances_from(weights, at, hops)) for at in known]
    both = np.flatnonzero(reach[0] & reach[1])
    u, v = (responses_to(weights, at, hops) for at in known)
    size = np.abs(u * v)
    if not len(both) or not size.any():
        reason = f"no gene is reached from both within {hops} edges at a false-discovery rate "
        return _unsupported(compounds, untested, reason + f"of {fdr:g}")
    functional = interaction or (lambda w: overlap_interaction(w, known[0], known[1], hops))
    mediators = _rank_mediators(network, u, v, known)
    edges = _leave_out(network, weights, functional, reach[0] | reach[1])
    near = tuple(
        neighbourhood(network.genes, weights, tuple(network.genes[i] for i in at), hops)
        for at in known
    )
    value = float(functional(weights))
    overlap, opposition = _sums(u, v)
    sentence = _in_words(compounds, mediators, edges, overlap, opposition)
    return Explanation(
        compounds, True, value, overlap, opposition, near, mediators, edges, untested, sentence
    )


def overlap_interaction(
    weights: FloatArray, first: list[int], second: list[int], hops: int = HOPS
) -> float:
    """sum_h u_h v_h for targets at these positions; the same to the last bit when swapped."""
    u, v = responses_to(weights, first, hops), responses_to(weights, second, hops)
    return float((u * v).sum())


def _sums(u: FloatArray, v: FloatArray) -> tuple[float, float]:
    product = u * v
    return float(product[product > 0].sum()), float(-product[product < 0].sum())


def _rank_mediators(
    network: EdgePosterior, u: FloatArray, v: FloatArray, known: list[list[int]]
) -> tuple[Mediator, ...]:
    product = u * v
    total = float(np.abs(product).sum())
    aimed = {i for at in known for i in at}
    found = [
        Mediator(
            network.genes[i],
            (float(u[i]), float(v[i])),
            float(abs(product[i]) / total),
            bool(product[i] < 0),
            i in aimed,
        )
        for i in np.flatnonzero(product)
    ]
    return tuple(sorted(found, key=lambda m: (-m.share, m.gene)))


def _leave_out(
    network: EdgePosterior, weights: FloatArray, functional: Interaction, reached: BoolArray
) -> tuple[EdgeDrop, ...]:
    whole = float(functional(weights))
    found = []
    for g, h in np.argwhere((weights != 0) & reached[:, None]):
        without = weights.copy()
        without[g, h] = 0.0
        drop = whole - float(functional(without))
        if drop:
            found.append(
                EdgeDrop(
                    network.genes[g],
                    network.genes[h],
                    int(np.sign(weights[g, h])),
                    float(network.probability[g, h]),
                    float(network.q_value[g, h]),
                    drop,
                )
            )
    return tuple(sorted(found, key=lambda e: (-abs(e.drop), e.regulator, e.target)))


def _unsupported(compounds: tuple[str, str], untested: tuple[str, ...], reason: str) -> Explanation:
    first, second = compounds
    sentence = f"No supported path between {first} and {second}: {reason}."
    return Explanation(compounds, False, 0.0, 0.0, 0.0, (), (), (), untested, sentence)


def _in_words(
    compounds: tuple[str, str],
    mediators: tuple[Mediator, ...],
    edges: tuple[EdgeDrop, ...],
    overlap: float,
    opposition: float,
) -> str:
    first, second = compounds
    way = "the same way" if overlap >= opposition else "opposite ways"
    main = mediators[0]
    text = f"{first} and {second} push {len(mediators)} shared "
    text += f"{'gene' if len(mediators) == 1 else 'genes'}, on balance {way}, most of all "
    text += f"{main.gene} ({main.share:.0%} of it)"
    if edges:
        edge = edges[0]
        verb = "activates" if edge.sign > 0 else "represses"
        text += f"; it rests most on {edge.regulator}, which {verb} {edge.target}"
    return text + "."
