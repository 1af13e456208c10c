"""A signed gene network with probabilities and q-values, learned from interventions.

    learned = learn_network(from_expression(genes, controls, treated, targeted), seed=0)
    learned.edges(0.1)

Edges are direct: an effect that the other edges explain is not one. See
:mod:`models.perturbation.edge_sampler` for the model, and :mod:`models.perturbation.permutations`
and :mod:`models.perturbation.edge_rates` for what makes the q-values honest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.perturbation.edge_design import make_design
from models.perturbation.edge_rates import edge_q_values
from models.perturbation.edge_sampler import EdgeSamples, SamplerSettings, sample_edges
from models.perturbation.interventions import InterventionTable
from models.perturbation.permutations import control_table, rebuilt_table
from models.screen import (
    BoolArray,
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

INFORMATIVE = 2.0
"""An intervention that moves its own gene by fewer noise standard deviations teaches nothing."""


@dataclass(frozen=True)
class NetworkSettings:
    """``sampler`` for the network and for each null; ``rebuilds``: networks rebuilt to see how
    often indirect effects pass, from the last sweeps of the chains in turn; ``controls``:
    permutations of controls."""

    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    rebuilds: int = 4
    controls: int = 1

    def __post_init__(self) -> None:
        if min(self.rebuilds, self.controls) < 1:
            raise ScreenError("q-values need at least one rebuild and one permutation of controls")


@dataclass(frozen=True)
class Edge:
    """One directed edge. ``sign``: 1 activates, -1 represses; ``sign_probability`` of that sign
    given the edge; ``weight``: pushes of the target per push of the regulator."""

    regulator: str
    target: str
    sign: int
    probability: float
    sign_probability: float
    q_value: float
    weight: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class EdgePosterior:
    """What is known of every ordered pair; matrices ``(g, g)``, regulators in rows.

    ``probability`` of a direct edge; ``positive``: probability of an edge that activates;
    ``weight``: mean weight where there is an edge, pushes of the target per push of the
    regulator; ``q_value``: least false-discovery rate at which the edge is called; 1 on the
    diagonal. ``tested``: ``(g,)``, whether an intervention moved the gene itself; edges out of
    others rest on correlation alone.
    """

    genes: tuple[str, ...]
    probability: FloatArray
    positive: FloatArray
    weight: FloatArray
    q_value: FloatArray
    tested: BoolArray

    def __post_init__(self) -> None:
        g = len(self.genes)
        for name in ("probability", "positive", "weight", "q_value"):
            matrix = getattr(self, name)
            if matrix.shape != (g, g) or not np.isfinite(matrix).all():
                raise ScreenError(f"{name} of a network of {g} genes must be finite, {g} x {g}")
        if self.tested.shape != (g,):
            raise ScreenError(f"tested needs one value for each of {g} genes")

    def called(self, fdr: float) -> BoolArray:
        """``(g, g)`` edges at this false-discovery rate. Raises :class:`ScreenError` outside
        (0, 1)."""
        if not 0 < fdr < 1:
            raise ScreenError(f"a false-discovery rate lies between 0 and 1, got {fdr}")
        return np.asarray((self.q_value <= fdr) & ~np.eye(len(self.genes), dtype=bool))

    def weights(self, fdr: float) -> FloatArray:
        """``(g, g)`` weights of the called edges, 0 elsewhere."""
        return np.asarray(np.where(self.called(fdr), self.weight, 0.0))

    def edges(self, fdr: float) -> tuple[Edge, ...]:
        """Called edges, the most probable first, then by name."""
        found = [self._edge(g, h) for g, h in np.argwhere(self.called(fdr))]
        return tuple(sorted(found, key=lambda e: (-e.probability, e.regulator, e.target)))

    def _edge(self, g: int, h: int) -> Edge:
        up = float(self.positive[g, h] / self.probability[g, h]) if self.probability[g, h] else 0.5
        return Edge(
            self.genes[g],
            self.genes[h],
            1 if up > 0.5 else -1,
            float(self.probability[g, h]),
            max(up, 1 - up),
            float(self.q_value[g, h]),
            float(self.weight[g, h]),
        )

    def as_dict(self, fdr: float = 0.1) -> dict[str, Any]:
        """For JSON: genes, called edges and one sentence."""
        return {
            "genes": list(self.genes),
            "untested": [g for g, seen in zip(self.genes, self.tested, strict=True) if not seen],
            "fdr": fdr,
            "edges": [edge.as_dict() for edge in self.edges(fdr)],
            "sentence": self.sentence(fdr),
        }

    def sentence(self, fdr: float = 0.1) -> str:
        """The network in words."""
        found = self.edges(fdr)
        if not found:
            return (
                f"No edge among {len(self.genes)} genes passes a false-discovery rate of {fdr:g}."
            )
        up = sum(edge.sign > 0 for edge in found)
        return (
            f"{len(found)} direct edges among {len(self.genes)} genes pass a false-discovery rate "
            f"of {fdr:g}: {up} activate, {len(found) - up} repress."
        )

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON; the inverse is :func:`load_network`."""
        names = ("probability", "positive", "weight", "q_value", "tested")
        tensors = {name: torch.from_numpy(getattr(self, name).copy()) for name in names}
        return tensors, {"genes": list(self.genes)}


def load_network(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> EdgePosterior:
    """A saved network, to the bit."""
    arrays = {name: tensor.numpy().copy() for name, tensor in tensors.items()}
    return EdgePosterior(genes=tuple(metadata["genes"]), **arrays)


def learn_network(
    table: InterventionTable,
    settings: NetworkSettings | None = None,
    *,
    seed: int,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> EdgePosterior:
    """Edges with signs and q-values from interventions; ``seed`` decides all.

    Samples the network, then does the same with responses of controls and with responses of
    networks rebuilt from its own posterior, where every false edge is known to be one. About 20
    CPU s for 100 genes and 200 conditions. Raises :class:`Stopped` when asked to.
    """
    settings = settings or NetworkSettings()
    seeds = np.random.SeedSequence(seed).generate_state(
        1 + 2 * settings.rebuilds + 2 * settings.controls
    )
    numbers = iter(int(number) for number in seeds)

    def sample(data: InterventionTable, stage: str, number: int = 0, of: int = 1) -> EdgeSamples:
        """Edges of one table under the next seed; ``number`` of ``of`` runs for the progress."""
        return sample_edges(
            make_design(data),
            settings.sampler,
            seed=next(numbers),
            on_progress=lambda name, done, total: on_progress(
                name, number * total + done, of * total
            ),
            should_stop=should_stop,
            stage=stage,
        )

    found = sample(table, "edges")
    nulls = [
        sample(control_table(table, next(numbers)), "controls", i, settings.controls).probability
        for i in range(settings.controls)
    ]
    rebuilt = []
    for number in range(settings.rebuilds):
        truth = found.draws[number % settings.sampler.chains]
        data = rebuilt_table(table, truth, next(numbers))
        again = sample(data, "rebuilt", number, settings.rebuilds)
        rebuilt.append((again.probability, (truth != 0).any(axis=0)))
    return _posterior(table, found, edge_q_values(found.probability, nulls, rebuilt))


def _posterior(table: InterventionTable, found: EdgeSamples, q_value: FloatArray) -> EdgePosterior:
    design = make_design(table)
    present = np.where(found.probability > 0, found.probability, 1.0)
    moved = (~design.free) & (np.abs(design.y) > INFORMATIVE)
    return EdgePosterior(
        table.genes,
        found.probability,
        found.positive,
        found.mean / present * design.x_sd,
        q_value,
        np.asarray(moved.any(axis=0)),
    )
