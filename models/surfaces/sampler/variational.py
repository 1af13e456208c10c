"""A sampler with a likelihood: a conditional variational autoencoder, symmetric by construction.

A block has hidden numbers of its pair, of its row drug and of its column drug, standard normal;
the field of :mod:`.layers` makes of them a residual around Bliss, and wells scatter around that
surface as :mod:`.noise` says. The swap exchanges the numbers of the two drugs, under which the
normal law is invariant: so are the law of surfaces and the density of measurements.

The density of what was measured is an integral over the hidden numbers, by importance sampling
from a mixture of the encoder and the prior, whose weights are bounded (Owen & Zhou 2000, JASA
95). Its logarithm is a lower bound in the mean (Burda et al. 2016, ICLR). Wells that were not
measured drop out of it, so that missing wells need no other rule: drawing the hidden numbers by
those weights fills them in. Source of the rest: Kingma & Welling, ICLR 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.pharmacology.noise import NoiseModel
from models.surfaces.sampler.conditions import OWN, to_residual, to_viability
from models.surfaces.sampler.layers import Dense, SymmetricField, Wells
from models.surfaces.sampler.noise import WellNoise
from models.surfaces.symmetry import Batch

PRIOR_SHARE = 0.25
"""Part of the proposals that comes from the prior."""
LEAST_LOG_SD, MOST_LOG_SD = -4.0, 0.5
Hidden = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Sizes:
    """``latent``: hidden numbers of the pair and of each drug. ``features``: columns of compounds
    and of cell lines."""

    latent: int = 4
    hidden: int = 48
    features: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Proposal:
    """Independent normals ``(b, latent)`` of the pair, the row drug and the column drug."""

    mean: Hidden
    log_sd: Hidden

    def draw(self, standard: Hidden) -> Hidden:
        """From standard normals ``(..., b, latent)``."""
        first, second, third = (
            m + torch.exp(s) * z for m, s, z in zip(self.mean, self.log_sd, standard, strict=True)
        )
        return first, second, third

    def log_density(self, hidden: Hidden) -> Tensor:
        """``(..., b)`` nats."""
        parts = [
            (-0.5 * ((z - m) * torch.exp(-s)).square() - s).sum(dim=-1)
            for m, s, z in zip(self.mean, self.log_sd, hidden, strict=True)
        ]
        width = sum(z.shape[-1] for z in hidden)
        return parts[0] + (parts[1] + parts[2]) - 0.5 * width * math.log(2 * math.pi)


class Encoder(nn.Module):
    """What the measured wells say of the hidden numbers; swapping the drugs swaps the answers."""

    def __init__(self, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        compounds, lines = sizes.features
        hidden = sizes.hidden
        self.wells = Wells((OWN + compounds, 3, lines), hidden, hidden, generator)
        self.drug = Dense(2 * hidden + 1, hidden, generator)
        self.drug_out = Dense(hidden, 2 * sizes.latent, generator, scale=0.1)
        self.pair = Dense(hidden + 1, hidden, generator)
        self.pair_out = Dense(hidden, 2 * sizes.latent, generator, scale=0.1)

    def forward(self, batch: Batch) -> Proposal:
        """For a batch of :func:`models.surfaces.sampler.conditions.observe`."""
        rows, columns, context = batch["rows"], batch["columns"], batch["context"]
        seen = (batch["wells"] > 0).float()
        residual = to_residual(batch["reference"], batch["viability"]) * seen
        well = torch.stack([residual, batch["reference"], torch.log1p(batch["wells"])], dim=-1)
        share = (seen / (1.0 + seen.sum(dim=(1, 2), keepdim=True)))[..., None]
        first = functional.silu(self.wells(rows, columns, well, context)) * share
        second = self.wells(columns, rows, well.transpose(1, 2), context)
        second = functional.silu(second) * share.transpose(1, 2)
        one, two = first.sum(dim=(1, 2)), second.sum(dim=(1, 2))
        known = torch.log1p(seen.sum(dim=(1, 2)))[:, None]
        drugs = [
            self.drug_out(functional.silu(self.drug(torch.cat([own, other, known], dim=1))))
            for own, other in ((one, two), (two, one))
        ]
        pair = self.pair_out(functional.silu(self.pair(torch.cat([one + two, known], dim=1))))
        mean, log_sd = zip(*(part.chunk(2, dim=1) for part in (pair, *drugs)), strict=True)
        low, high = LEAST_LOG_SD, MOST_LOG_SD
        bounded = [low + (high - low) * torch.sigmoid(part + 1.5) for part in log_sd]
        return Proposal((mean[0], mean[1], mean[2]), (bounded[0], bounded[1], bounded[2]))


class SurfaceAutoencoder(nn.Module):
    """The network; :mod:`.fitting` trains it and :mod:`.posterior` is what users call."""

    def __init__(self, sizes: Sizes, noise: NoiseModel, generator: torch.Generator) -> None:
        super().__init__()
        compounds, lines = sizes.features
        self.sizes = sizes
        self.field = SymmetricField(sizes.latent, (OWN + compounds, lines), sizes.hidden, generator)
        self.encoder = Encoder(sizes, generator)
        self.noise = WellNoise(noise)

    def surface(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Noise-free viability ``(..., b, m, n)`` of hidden numbers ``(..., b, latent)``."""
        return to_viability(batch["reference"], self.field(hidden, batch))

    def bound(self, batch: Batch, standard: Hidden) -> Tensor:
        """``(b,)`` importance-weighted bound with proposals of the encoder alone, for training.

        ``standard``: normals ``(k, b, latent)``.
        """
        proposal = self.encoder(batch)
        hidden = proposal.draw(standard)
        weights = self._joint(hidden, batch) - proposal.log_density(hidden)
        return torch.logsumexp(weights, dim=0) - math.log(len(weights))

    def weighted(self, batch: Batch, standard: Hidden) -> tuple[Hidden, Tensor]:
        """Hidden numbers ``(k, b, latent)`` and log weights ``(k, b)``, whose log mean exp is the
        log density. ``standard``: normals ``(k, 1 or b, latent)``, of which the first
        :data:`PRIOR_SHARE` are taken as they are and the others through the encoder."""
        proposal = self.encoder(batch)
        shape = (len(standard[0]), *proposal.mean[0].shape)
        normal = [part.expand(shape) for part in standard]
        plain = max(1, round(PRIOR_SHARE * shape[0]))
        drawn = proposal.draw((normal[0], normal[1], normal[2]))
        parts = [torch.cat([n[:plain], d[plain:]]) for n, d in zip(normal, drawn, strict=True)]
        hidden = (parts[0], parts[1], parts[2])
        share = plain / shape[0]
        both = torch.logaddexp(
            proposal.log_density(hidden) + math.log1p(-share),
            prior_log_density(hidden) + math.log(share),
        )
        return hidden, self._joint(hidden, batch) - both

    def _joint(self, hidden: Hidden, batch: Batch) -> Tensor:
        surface = self.surface(hidden, batch)
        likelihood = self.noise.log_density(surface, batch["viability"], batch["wells"])
        return likelihood + prior_log_density(hidden)


def prior_log_density(hidden: Hidden) -> Tensor:
    """Standard normal, ``(..., b)`` nats."""
    parts = [(-0.5 * z.square()).sum(dim=-1) for z in hidden]
    width = sum(z.shape[-1] for z in hidden)
    return parts[0] + (parts[1] + parts[2]) - 0.5 * width * math.log(2 * math.pi)


def orbit_of_normals(k: int, latent: int, generator: torch.Generator) -> Hidden:
    """Standard normals ``(k, 1, latent)``, the swap of every one among them: estimates from them
    are as symmetric as what they estimate. ``k`` is a multiple of 8, so that the parts that come
    from the prior and from the encoder are whole orbits."""
    half = torch.randn(3, k // 2, 1, latent, generator=generator)
    pair = torch.stack([half[0], half[0]], dim=1).flatten(0, 1)
    one = torch.stack([half[1], half[2]], dim=1).flatten(0, 1)
    two = torch.stack([half[2], half[1]], dim=1).flatten(0, 1)
    return pair, one, two
