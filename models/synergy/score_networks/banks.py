"""Where the weights of a score network live: in members of an ensemble, or in a posterior.

A bank turns the parts of an architecture into weights with a leading axis of members or of drawn
worlds. Every linear layer may have a ``base``, a fixed map that its weights are added to: the
identity of the bilinear forms, or what another screen has taught. The prior is then centred there
(for a point estimate this is L2-SP, Li et al. 2018, arXiv 1802.01483).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from models.bayes.dropout import PrunableWeight, sparsity
from models.bayes.ensembles import MemberEmbedding, MemberLinear
from models.bayes.families import GAUSSIAN, WeightFamily
from models.bayes.layers import (
    MEAN_START,
    LinearDraws,
    VariationalEmbedding,
    VariationalLinear,
    VariationalWeight,
)
from models.synergy.score_networks.architecture import LinearPart, Part, TablePart, Weights

TRAIN_WORLDS = 2
"""Functions drawn at each step of variational training."""

TRANSFER = 0.2
"""Prior scale of layers around what another screen taught, as a share of their own: at their full
scale the posterior of few blocks is as wide as if nothing had been learned."""

Base = tuple[Tensor, Tensor | None]
"""Weight ``(n, out, in)`` and bias ``(n, out)`` of a base; ``n`` is 1 or the number of members."""


class Bank(nn.Module, ABC):
    """All weights of one network. ``bases``: overrides of the parts' own centres by name."""

    def __init__(self, parts: tuple[Part, ...], bases: Mapping[str, Base]) -> None:
        super().__init__()
        self.parts = parts
        for part in parts:
            if isinstance(part, LinearPart):
                own = None if part.mean is None else (part.mean[None], None)
                weight, bias = bases.get(part.name, own) or (None, None)
                self.register_buffer(f"base_{part.name}", weight)
                self.register_buffer(f"base_{part.name}_bias", bias)

    @abstractmethod
    def training_weights(self, generator: torch.Generator) -> Weights:
        """Differentiable weights for one step."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Weights:
        """Weights of ``n`` whole functions; fewer where there are fewer members."""

    @abstractmethod
    def prior_terms(self, generator: torch.Generator) -> Tensor:
        """Minus log priors ``(members,)``, or the KL ``(1,)``; nats."""

    @property
    @abstractmethod
    def n_weights(self) -> int:
        """Of one function."""

    @abstractmethod
    def learned(self, name: str) -> Base:
        """What a linear layer has learned, with its base: a base for another network."""

    def base(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """Of a linear layer."""
        return getattr(self, f"base_{name}"), getattr(self, f"base_{name}_bias")

    def adopt_bases(self, state: Mapping[str, Tensor]) -> None:
        """Take over which layers of a saved state have a base, and its values."""
        for part in self.parts:
            for name in (f"base_{part.name}", f"base_{part.name}_bias"):
                if isinstance(part, LinearPart):
                    self.register_buffer(name, state.get(name))

    def lifted(self, name: str, maps: LinearDraws) -> LinearDraws:
        """Drawn maps added to the base."""
        weight, bias = self.base(name)
        lifted_bias = maps.bias if bias is None or maps.bias is None else maps.bias + bias
        return LinearDraws(maps.weight if weight is None else maps.weight + weight, lifted_bias)

    def of_owner(self, owner: str) -> Iterator[str]:
        """Names of the tables of compounds or of cell lines."""
        return (p.name for p in self.parts if isinstance(p, TablePart) and p.owner == owner)


class MemberBank(Bank):
    """Point estimates of ``members`` networks, each started at its own draw of the prior.

    Linear layers with a base from ``bases`` start there, under a prior narrowed by ``TRANSFER``.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        members: int,
        generator: torch.Generator,
        bases: Mapping[str, Base] | None = None,
    ) -> None:
        super().__init__(parts, bases or {})
        self.members = members
        self.maps: dict[str, MemberLinear] = {}
        self.tables: dict[str, MemberEmbedding] = {}
        for part in parts:
            if isinstance(part, TablePart):
                self.tables[part.name] = MemberEmbedding(
                    members, part.count, part.width, generator, gain=part.gain
                )
            else:
                taught = bases is not None and part.name in bases
                self.maps[part.name] = MemberLinear(
                    members,
                    part.fan_in,
                    part.fan_out,
                    generator,
                    gain=part.gain * (TRANSFER if taught else 1.0),
                    bias=part.bias,
                    start=0.0 if taught else 1.0,
                )
        self.layers = nn.ModuleDict({**self.maps, **self.tables})

    def training_weights(self, generator: torch.Generator) -> Weights:
        """The members themselves."""
        linear = {name: self.lifted(name, layer.maps()) for name, layer in self.maps.items()}
        return Weights(linear, {name: layer.table.value for name, layer in self.tables.items()})

    def sample(self, n: int, generator: torch.Generator) -> Weights:
        """The first ``n`` members."""
        every = self.training_weights(generator)
        linear = {
            name: LinearDraws(maps.weight[:n], None if maps.bias is None else maps.bias[:n])
            for name, maps in every.linear.items()
        }
        return Weights(linear, {name: table[:n] for name, table in every.tables.items()})

    def prior_terms(self, generator: torch.Generator) -> Tensor:
        """``(members,)`` nats."""
        terms = [layer.penalty() for layer in self.maps.values()]
        terms += [layer.penalty() for layer in self.tables.values()]
        return torch.stack(terms).sum(0)

    @property
    def n_weights(self) -> int:
        """Of one member."""
        return sum(p.numel() for p in self.layers.parameters()) // self.members

    def learned(self, name: str) -> Base:
        """The members' maps."""
        maps = self.lifted(name, self.maps[name].maps())
        return maps.weight.detach(), None if maps.bias is None else maps.bias.detach()

    @torch.no_grad()
    def put_rows(self, owner: str, rows: Tensor, other: MemberBank | None) -> None:
        """Set ``rows`` (a mask) of the owner's tables to those of ``other``, or to 0."""
        for name in self.of_owner(owner):
            values = 0.0 if other is None else other.tables[name].table.value[:, rows]
            self.tables[name].table.value[:, rows] = values


class VariationalBank(Bank):
    """A posterior over every weight; bases as in :class:`MemberBank`.

    Identities take a Gaussian where the family prunes: one never measured must be able to follow
    a proper prior.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        family: WeightFamily,
        generator: torch.Generator,
        bases: Mapping[str, Base] | None = None,
    ) -> None:
        super().__init__(parts, bases or {})
        self.family = family
        of_tables = GAUSSIAN if family.prunes else family
        self.maps: dict[str, VariationalLinear] = {}
        self.tables: dict[str, VariationalEmbedding] = {}
        for part in parts:
            if isinstance(part, TablePart):
                self.tables[part.name] = VariationalEmbedding(
                    part.count, part.width, generator, gain=part.gain, family=of_tables
                )
            else:
                taught = bases is not None and part.name in bases
                self.maps[part.name] = VariationalLinear(
                    part.fan_in,
                    part.fan_out,
                    generator,
                    gain=part.gain * (TRANSFER if taught else 1.0),
                    bias=part.bias,
                    mean_start=0.0 if taught else MEAN_START,
                    family=family,
                )
        self.layers = nn.ModuleDict({**self.maps, **self.tables})

    def training_weights(self, generator: torch.Generator) -> Weights:
        """``TRAIN_WORLDS`` whole functions. Nothing is pruned yet: a weight can come back."""
        linear = {}
        for name, layer in self.maps.items():
            bias = None if layer.bias is None else _open_draw(layer.bias, generator)
            maps = LinearDraws(_open_draw(layer.weight, generator), bias)
            linear[name] = self.lifted(name, maps)
        tables = {n: _open_draw(layer.table, generator) for n, layer in self.tables.items()}
        return Weights(linear, tables)

    def sample(self, n: int, generator: torch.Generator) -> Weights:
        """``n`` whole functions, pruned weights at exactly 0."""
        linear = {
            name: self.lifted(name, layer.sample(n, generator)) for name, layer in self.maps.items()
        }
        tables = {name: layer.sample(n, generator) for name, layer in self.tables.items()}
        return Weights(linear, tables)

    def prior_terms(self, generator: torch.Generator) -> Tensor:
        """``(1,)`` nats."""
        terms = [layer.kl(generator) for layer in self.maps.values()]
        terms += [layer.kl(generator) for layer in self.tables.values()]
        return torch.stack(terms).sum()[None]

    @property
    def n_weights(self) -> int:
        """Posterior means, not their spreads."""
        return sum(m.mean.numel() for m in self.modules() if isinstance(m, VariationalWeight))

    def learned(self, name: str) -> Base:
        """The posterior mean."""
        layer = self.maps[name]
        bias = None if layer.bias is None else layer.bias.mean[None]
        maps = self.lifted(name, LinearDraws(layer.weight.mean[None], bias))
        return maps.weight.detach(), None if maps.bias is None else maps.bias.detach()

    def pruned_share(self) -> float | None:
        """Share of prunable weights that are 0; ``None`` for a family that does not prune."""
        if not any(isinstance(module, PrunableWeight) for module in self.modules()):
            return None
        return sparsity(self).pruned_share

    @torch.no_grad()
    def forget(self, owner: str, rows: Tensor) -> None:
        """Give ``rows`` (a mask) of the owner's tables their prior."""
        for name in self.of_owner(owner):
            self.tables[name].table.reset_to_prior(rows)


def _open_draw(weight: VariationalWeight, generator: torch.Generator) -> Tensor:
    """As ``weight.sample``, without pruning."""
    noise = weight.noise((TRAIN_WORLDS, *weight.mean.shape), generator)
    return weight.mean + torch.exp(weight.log_sd) * noise
