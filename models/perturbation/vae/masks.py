"""Sparse effects of targets on the latent: masks, effects given masks, and their KL.

Prior. M_pg ~ Bernoulli(pi), E_pg ~ N(0, s^2); target p shifts coordinate g by E_pg M_pg (SAMS-VAE,
Bereket & Karaletsos 2023; GPO-VAE names the coordinates after genes). Guide. q(M_pg) =
Bernoulli(sigmoid(W_pg)) with straight-through relaxed draws; q(E_p | M_p) is a diagonal normal
amortised over [M_p, one-hot p] where the mask is on and the prior where it is off: there E does
not touch the data, so the prior is its exact posterior and costs nothing.
sigmoid(W) is the reported network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.weights import normal
from models.perturbation.vae.layers import Dense
from models.screen import ScreenError

SD_START = 0.1
MEAN_START = 0.1
"""Starting spread of the effects' means over target and coordinate."""


@dataclass(frozen=True)
class EffectDraw:
    """One draw of all targets: ``mask`` and ``effect`` ``(t, m)``, and the KL of each target's
    mask and effects from their priors, ``(t,)``, nats."""

    mask: Tensor
    effect: Tensor
    kl: Tensor

    def shift(self) -> Tensor:
        """``(t, m)`` E * M."""
        return self.mask * self.effect


class SparseEffects(nn.Module):
    """Masks and effects of ``t`` targets on ``m`` coordinates.

    ``prior_on``: pi. ``effect_sd``: s. ``hidden``: width of the amortising network.
    """

    def __init__(
        self,
        n_targets: int,
        width: int,
        generator: torch.Generator,
        *,
        prior_on: float,
        effect_sd: float,
        temperature: float,
        hidden: int,
    ) -> None:
        super().__init__()
        if not 0 < prior_on < 1:
            raise ScreenError(f"the prior probability of an edge is {prior_on}, not within (0, 1)")
        if not (effect_sd > 0 and temperature > 0):
            raise ScreenError("the effects' prior scale and the temperature must be positive")
        self.prior_on, self.effect_sd, self.temperature = prior_on, effect_sd, temperature
        self.logits = nn.Parameter(torch.zeros(n_targets, width))
        # The one-hot input meets its own row of weights, so its product is a table of rows.
        start = normal((n_targets, width), generator, torch.device("cpu"))
        self.mean = nn.Parameter(start * (MEAN_START * effect_sd))
        self.log_sd = nn.Parameter(torch.full((n_targets, width), math.log(SD_START * effect_sd)))
        self.of_mask = Dense(width, hidden, generator)
        self.of_target = nn.Parameter(normal((n_targets, hidden), generator, torch.device("cpu")))
        # Starts at no correction: the mean is the table alone.
        self.to_mean = Dense(hidden, width, generator, 0.0)
        self.bend = nn.SiLU()

    def probabilities(self) -> Tensor:
        """``(t, m)`` posterior probability of each edge: the network."""
        return torch.sigmoid(self.logits)

    def effect_moments(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of E given ``mask`` ``(..., t, m)``, where it is on."""
        hidden = self.bend(self.of_mask(mask) + self.of_target)
        return self.mean + self.effect_sd * self.to_mean(hidden), self.log_sd

    def draw_dense(self, generator: torch.Generator) -> EffectDraw:
        """One draw with every mask on: what training starts from where axes are yet to be found."""
        mask = torch.ones_like(self.logits)
        mean, log_sd = self.effect_moments(mask)
        effect = mean + torch.exp(log_sd) * normal((*mean.shape,), generator, mean.device)
        return EffectDraw(mask, effect, self._effect_kl(mask, mean, log_sd))

    def draw(self, generator: torch.Generator) -> EffectDraw:
        """One draw with gradients: straight-through masks, reparameterised effects."""
        noise = torch.rand(self.logits.shape, generator=generator, device=generator.device)
        noise = noise.to(self.logits.device).clamp(1e-7, 1 - 1e-7)
        soft = torch.sigmoid((self.logits + torch.logit(noise)) / self.temperature)
        mask = (soft > 0.5).float() + (soft - soft.detach())
        mean, log_sd = self.effect_moments(mask)
        effect = mean + torch.exp(log_sd) * normal((*mean.shape,), generator, mean.device)
        return EffectDraw(mask, effect, self.mask_kl() + self._effect_kl(mask, mean, log_sd))

    @torch.no_grad()
    def samples(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, t, m)`` draws of E * M."""
        shape = (n, *self.logits.shape)
        coin = torch.rand(shape, generator=generator, device=generator.device)
        mask = (coin.to(self.logits.device) < self.probabilities()).float()
        mean, log_sd = self.effect_moments(mask)
        return mask * (mean + torch.exp(log_sd) * normal(shape, generator, mean.device))

    def expected(self) -> Tensor:
        """``(t, m)`` signed network: P(M = 1) E[E | M = P(M)], the amortised mean at the expected
        mask (exact where the amortisation does not bend)."""
        probabilities = self.probabilities()
        return probabilities * self.effect_moments(probabilities)[0]

    def mask_kl(self) -> Tensor:
        """``(t,)`` KL(Bernoulli(sigmoid W) || Bernoulli(pi)), summed over coordinates; nats."""
        on = self.probabilities()
        log_on, log_off = functional.logsigmoid(self.logits), functional.logsigmoid(-self.logits)
        kl = on * (log_on - math.log(self.prior_on))
        return (kl + (1 - on) * (log_off - math.log1p(-self.prior_on))).sum(-1)

    def _effect_kl(self, mask: Tensor, mean: Tensor, log_sd: Tensor) -> Tensor:
        log_ratio = log_sd - math.log(self.effect_sd)
        squares = (mean.square() / self.effect_sd**2 + torch.exp(2 * log_ratio)) / 2
        return (mask * (squares - 0.5 - log_ratio)).sum(-1)


def plate_weights(present: Tensor) -> Tensor:
    """``(n, t)`` share of each target's KL that each cell of an epoch carries.

    1 / n_p in the n_p cells where target p is ``present`` ``(n, t)``; 1 / n in every cell for a
    target without cells, which thus keeps its prior. Each column sums to 1.
    """
    count = present.sum(0)
    rows = torch.where(count > 0, present / count.clamp(min=1), 1.0 / len(present))
    return rows
