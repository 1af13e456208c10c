"""Tensors of random weights: one class for each pair of prior and posterior.

All posteriors are independent over weights and have the parameters ``mean`` and ``log_sd``. What
differs is the KL from the prior, the shape of the noise and the draws of the prior.

| class | prior | posterior | KL |
|---|---|---|---|
| GaussianWeight | N(0, prior_sd^2) | Gaussian | closed form |
| MixtureWeight | spike and slab of two Gaussians | Gaussian | entropy exact, rest Monte Carlo |
| LaplaceWeight | Laplace, sd prior_sd | Laplace | closed form |
| LaplaceGaussianWeight | Laplace, sd prior_sd | Gaussian | closed form |

The two that remove weights are in :mod:`models.bayes.dropout`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models.bayes.priors import (
    GAUSSIAN_ENTROPY,
    gaussian_kl,
    laplace_gaussian_kl,
    laplace_kl,
    mixture_log_density,
    mixture_scales,
)
from models.screen import ScreenError

MEAN_START = 0.6
SD_START = 0.08
SLAB_SHARE = 0.25
"""Probability of the slab: a point of the grid of Blundell et al. 2015, section 5.1."""
SPIKE = 0.1
"""Standard deviation of the spike as a part of the slab's: 0.2 of the prior scale, well above
``SD_START``, so that spike and slab both attract a weight that starts between them."""
PAIRS = 2
"""Antithetic pairs of each weight in the Monte-Carlo part of a KL."""

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each activation, ``(rows, width)`` each."""


def normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers that follow the generator, drawn where the generator lives."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


def laplace(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Laplace numbers of *unit variance*: a difference of two exponentials, over sqrt(2)."""
    rates = torch.empty((2, *shape), device=generator.device).exponential_(generator=generator)
    return ((rates[0] - rates[1]) / math.sqrt(2)).to(device)


class VariationalWeight(nn.Module, ABC):
    """One tensor of weights: ``mean`` and ``log_sd`` of the shape given, and its prior scale.

    Raises :class:`ScreenError` where the scale of the prior is not a positive number.
    """

    mean: nn.Parameter
    log_sd: nn.Parameter
    prior_sd: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        prior_sd: float,
        generator: torch.Generator,
        mean_start: float = MEAN_START,
        sd_start: float = SD_START,
    ) -> None:
        super().__init__()
        if not 0 < prior_sd < math.inf:
            raise ScreenError(f"the prior scale of weights must be positive, got {prior_sd}")
        start = normal(shape, generator, torch.device("cpu")) * (mean_start * prior_sd)
        self.mean = nn.Parameter(start)
        self.log_sd = nn.Parameter(torch.full(shape, math.log(sd_start * prior_sd)))
        self.register_buffer("prior_sd", torch.tensor(prior_sd))

    @abstractmethod
    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """KL of the posterior from the prior, summed over weights; a scalar, nats."""

    @abstractmethod
    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` independent draws of the prior."""

    def moments(self) -> Moments:
        """Mean and variance of each weight, of the shape of the weights each."""
        return self.mean, torch.exp(2 * self.log_sd)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Numbers of mean 0 and variance 1 with the posterior's law around its mean."""
        return normal(shape, generator, self.mean.device)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` weights of ``n`` worlds."""
        noise = self.noise((n, *self.mean.shape), generator)
        return self.mean + torch.exp(self.log_sd) * noise

    @torch.no_grad()
    def reset_to_prior(self, rows: Tensor) -> None:
        """Give ``rows`` (first axis) the prior's mean 0 and standard deviation.

        This is the optimum without data where posterior and prior are of one kind. Elsewhere the
        optimum would be narrower than the prior; identities never measured keep its variance.
        """
        self.mean[rows] = 0.0
        self.log_sd[rows] = torch.log(self.prior_sd)


class GaussianWeight(VariationalWeight):
    """Gaussian prior, Gaussian posterior (Blundell et al. 2015)."""

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats; see :func:`gaussian_kl`."""
        return gaussian_kl(self.mean, self.log_sd, self.prior_sd)

    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` draws of N(0, prior_sd^2)."""
        noise = normal((n, *self.mean.shape), generator, self.mean.device)
        return self.prior_sd.expand_as(self.mean) * noise


class MixtureWeight(VariationalWeight):
    """Prior share N(0, slab_sd^2) + (1 - share) N(0, spike_sd^2), Gaussian posterior.

    Blundell et al. 2015, eq. 7. The two scales follow from ``prior_sd``, which is the standard
    deviation of the mixture, and from ``spike`` = spike_sd / slab_sd.
    """

    share: Tensor
    slab_sd: Tensor
    spike_sd: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        prior_sd: float,
        generator: torch.Generator,
        mean_start: float = MEAN_START,
        sd_start: float = SD_START,
        *,
        share: float = SLAB_SHARE,
        spike: float = SPIKE,
    ) -> None:
        super().__init__(shape, prior_sd, generator, mean_start, sd_start)
        slab_sd, spike_sd = mixture_scales(prior_sd, share, spike)
        self.register_buffer("share", torch.tensor(share))
        self.register_buffer("slab_sd", torch.tensor(slab_sd))
        self.register_buffer("spike_sd", torch.tensor(spike_sd))

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Unbiased estimate, a scalar, nats: exact -entropy minus a mean of log p over draws.

        ``PAIRS`` antithetic pairs (mean + sd e, mean - sd e) a weight cancel the odd part of
        log p. Near its minimum single estimates may fall below 0. Raises :class:`ScreenError`
        without a generator.
        """
        if generator is None:
            raise ScreenError("the KL from a mixture prior is a Monte-Carlo sum: pass a generator")
        noise = normal((PAIRS, *self.mean.shape), generator, self.mean.device)
        away = torch.exp(self.log_sd) * noise
        drawn = torch.cat([self.mean + away, self.mean - away])
        density = mixture_log_density(drawn, self.share, self.slab_sd, self.spike_sd)
        return (-self.log_sd - GAUSSIAN_ENTROPY - density.mean(0)).sum()

    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` draws: a coin for slab or spike, then a normal number of that scale."""
        shape, device = (n, *self.mean.shape), self.mean.device
        coin = torch.rand(shape, generator=generator, device=generator.device).to(device)
        scale = torch.where(coin < self.share, self.slab_sd, self.spike_sd)
        return scale * normal(shape, generator, device)


class LaplaceWeight(VariationalWeight):
    """Laplace prior, Laplace posterior: scales s = sd / sqrt(2) and b = prior_sd / sqrt(2).

    Activations. A weighted sum of Laplace variables has no simple law, so layers draw it from a
    Gaussian of exactly its mean and variance (local reparameterisation through the central limit
    theorem, as Wang & Manning 2013 do for dropout). This is an approximation in training only: a
    Gaussian likelihood on the sum itself sees no difference, because its expectation needs two
    moments; after a nonlinearity the excess kurtosis 3 sum v_i^2 / (sum v_i)^2 (v_i: variances of
    the terms) is lost, 3 / n for n equal terms. The alternative, one draw of the weights for a
    whole minibatch, has the right law but correlates the noise of all rows. ``sample`` and an
    embedding's own draws, which sum nothing, are exactly Laplace.
    """

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats; see :func:`laplace_kl`."""
        return laplace_kl(self.mean, self.log_sd, self.prior_sd)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Laplace numbers of mean 0 and variance 1."""
        return laplace(shape, generator, self.mean.device)

    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` draws of Laplace(0, prior_sd / sqrt(2))."""
        noise = laplace((n, *self.mean.shape), generator, self.mean.device)
        return self.prior_sd.expand_as(self.mean) * noise


class LaplaceGaussianWeight(VariationalWeight):
    """Laplace prior, Gaussian posterior: sparsity in the KL, exact local reparameterisation."""

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats; see :func:`laplace_gaussian_kl`."""
        return laplace_gaussian_kl(self.mean, self.log_sd, self.prior_sd)

    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` draws of Laplace(0, prior_sd / sqrt(2))."""
        noise = laplace((n, *self.mean.shape), generator, self.mean.device)
        return self.prior_sd.expand_as(self.mean) * noise


def total_kl(module: nn.Module, generator: torch.Generator | None = None) -> Tensor:
    """KL summed over every variational weight inside ``module``; a scalar, nats.

    ``generator`` is needed by mixture priors only. Raises :class:`ScreenError` where the module
    holds no variational weight.
    """
    weights = [part for part in module.modules() if isinstance(part, VariationalWeight)]
    if not weights:
        raise ScreenError(f"{type(module).__name__} has no variational weights, so no KL")
    return torch.stack([weight.kl(generator) for weight in weights]).sum()
