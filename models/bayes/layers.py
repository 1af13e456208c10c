"""Mean-field Gaussian variational layers (Blundell et al. 2015, arXiv 1505.05424).

Every weight has the prior N(0, sigma_p^2) and the posterior N(mu, sigma^2), independent of the
others. Training uses the local reparameterisation (Kingma et al. 2015, arXiv 1506.02557):
noise is drawn for each row's activation, not for each weight. Prediction uses *whole functions*:
the weights of ``n`` worlds are drawn once and applied to all rows with one batched product.

Prior scales. A linear layer with ``fan_in`` inputs of unit mean square has
``sigma_p = gain / sqrt(fan_in)``, so that its output has variance ``gain^2`` under the prior; an
embedding has ``sigma_p = gain``.
Start. Means are drawn at ``MEAN_START`` of the prior scale, standard deviations start at
``SD_START`` of it: small enough that the signal is not drowned before it is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN_START = 0.6
SD_START = 0.08
TINY_VARIANCE = 1e-12

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each activation, ``(rows, width)`` each."""


def gaussian_kl(mean: Tensor, log_sd: Tensor, prior_sd: float | Tensor) -> Tensor:
    """KL[N(mean, sd^2) || N(0, prior_sd^2)] summed over all weights, in nats; a scalar.

    log(prior_sd / sd) + (sd^2 + mean^2) / (2 prior_sd^2) - 1/2 for each weight: never negative,
    0 exactly at the prior.
    """
    prior = torch.as_tensor(prior_sd, dtype=mean.dtype, device=mean.device)
    ratio = (torch.exp(2 * log_sd) + mean.square()) / (2 * prior.square())
    return (torch.log(prior) - log_sd + ratio - 0.5).sum()


def add_moments(*parts: Moments) -> Moments:
    """Moments of a sum of independent activations."""
    mean = torch.stack([part[0] for part in parts]).sum(0)
    return mean, torch.stack([part[1] for part in parts]).sum(0)


def draw_moments(moments: Moments, generator: torch.Generator) -> Tensor:
    """One independent normal draw of every activation (the local reparameterisation)."""
    mean, variance = moments
    noise = normal((*mean.shape,), generator, mean.device)
    return mean + torch.sqrt(variance + TINY_VARIANCE) * noise


def normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers that follow the generator, drawn where the generator lives."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


class GaussianWeight(nn.Module):
    """One tensor of weights: ``mean`` and ``log_sd`` of the shape given, and its prior scale."""

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
        start = normal(shape, generator, torch.device("cpu")) * (mean_start * prior_sd)
        self.mean = nn.Parameter(start)
        self.log_sd = nn.Parameter(torch.full(shape, math.log(sd_start * prior_sd)))
        self.register_buffer("prior_sd", torch.tensor(prior_sd))

    def kl(self) -> Tensor:
        """Scalar, nats."""
        return gaussian_kl(self.mean, self.log_sd, self.prior_sd)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` weights of ``n`` worlds."""
        noise = normal((n, *self.mean.shape), generator, self.mean.device)
        return self.mean + torch.exp(self.log_sd) * noise

    @torch.no_grad()
    def reset_to_prior(self, rows: Tensor) -> None:
        """Set the posterior of ``rows`` (first axis) to the prior, its optimum without data."""
        self.mean[rows] = 0.0
        self.log_sd[rows] = torch.log(self.prior_sd)


@dataclass(frozen=True)
class LinearDraws:
    """``n`` drawn linear maps: ``weight`` ``(n, out, in)``, ``bias`` ``(n, out)`` or ``None``."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """``(rows, in)`` or ``(n, rows, in)`` to ``(n, rows, out)``."""
        inputs = x if x.ndim == 3 else x.expand(len(self.weight), *x.shape)
        transposed = self.weight.transpose(1, 2)
        if self.bias is None:
            return torch.bmm(inputs, transposed)
        return torch.baddbmm(self.bias[:, None, :], inputs, transposed)


class VariationalLinear(nn.Module):
    """``y = W x + b`` with Gaussian posteriors over ``W`` ``(out, in)`` and ``b`` ``(out,)``.

    ``gain``: standard deviation of an output under the prior for inputs of unit mean square.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        bias: bool = True,
        mean_start: float = MEAN_START,
    ) -> None:
        super().__init__()
        scale = gain / math.sqrt(max(fan_in, 1))
        self.weight = GaussianWeight((fan_out, fan_in), scale, generator, mean_start)
        self.bias = GaussianWeight((fan_out,), gain, generator, 0.0) if bias else None

    def moments(self, x: Tensor) -> Moments:
        """``(rows, in)`` to mean and variance of the outputs, ``(rows, out)`` each."""
        mean = x @ self.weight.mean.T
        variance = x.square() @ torch.exp(2 * self.weight.log_sd).T
        if self.bias is None:
            return mean, variance
        return mean + self.bias.mean, variance + torch.exp(2 * self.bias.log_sd)

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """``(rows, in)`` to ``(rows, out)``, one independent draw a row (training only)."""
        return draw_moments(self.moments(x), generator)

    def kl(self) -> Tensor:
        """Scalar, nats, weights and biases."""
        return self.weight.kl() if self.bias is None else self.weight.kl() + self.bias.kl()

    def sample(self, n: int, generator: torch.Generator) -> LinearDraws:
        """The maps of ``n`` worlds."""
        weight = self.weight.sample(n, generator)
        return LinearDraws(weight, None if self.bias is None else self.bias.sample(n, generator))


class VariationalEmbedding(nn.Module):
    """A learned Gaussian vector for each of ``count`` identities; ``gain`` is its prior scale."""

    def __init__(
        self,
        count: int,
        width: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        mean_start: float = MEAN_START,
        sd_start: float = SD_START,
    ) -> None:
        super().__init__()
        self.table = GaussianWeight((count, width), gain, generator, mean_start, sd_start)

    def moments(self, index: Tensor) -> Moments:
        """``(rows,)`` identities to mean and variance, ``(rows, width)`` each."""
        variance = torch.exp(2 * self.table.log_sd)
        return functional.embedding(index, self.table.mean), functional.embedding(index, variance)

    def forward(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """``(rows,)`` identities to ``(rows, width)``, one independent draw a row."""
        return draw_moments(self.moments(index), generator)

    def kl(self) -> Tensor:
        """Scalar, nats."""
        return self.table.kl()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, count, width)``: the tables of ``n`` worlds."""
        return self.table.sample(n, generator)
