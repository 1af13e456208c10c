"""Mean-field variational layers (Blundell et al. 2015, arXiv 1505.05424).

Every weight has its prior and its posterior, independent of the others; which ones, says the
:class:`~models.bayes.families.WeightFamily` a layer is built with. Training uses the local
reparameterisation (Kingma et al. 2015, arXiv 1506.02557): noise is drawn for each row's
activation, not for each weight. Prediction uses *whole functions*: the weights of ``n`` worlds are
drawn once and applied to all rows with one batched product.

Prior scales. A linear layer with ``fan_in`` inputs of unit mean square has weights of prior
standard deviation ``gain / sqrt(fan_in)``, so that its output has variance ``gain^2`` under the
prior; an embedding has ``gain``. Families differ in the shape of the prior, not in its scale.
Start. Means are drawn at ``MEAN_START`` of the prior scale, standard deviations start at
``SD_START`` of it: small enough that the signal is not drowned before it is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.families import GAUSSIAN, WeightFamily
from models.bayes.priors import gaussian_kl
from models.bayes.weights import (
    MEAN_START,
    SD_START,
    GaussianWeight,
    Moments,
    VariationalWeight,
    normal,
    total_kl,
)

__all__ = [
    "GAUSSIAN",
    "MEAN_START",
    "SD_START",
    "GaussianWeight",
    "LinearDraws",
    "Moments",
    "VariationalEmbedding",
    "VariationalLinear",
    "VariationalWeight",
    "WeightFamily",
    "add_moments",
    "draw_moments",
    "gaussian_kl",
    "normal",
    "total_kl",
]

TINY_VARIANCE = 1e-12


def add_moments(*parts: Moments) -> Moments:
    """Moments of a sum of independent activations."""
    mean = torch.stack([part[0] for part in parts]).sum(0)
    return mean, torch.stack([part[1] for part in parts]).sum(0)


def draw_moments(moments: Moments, generator: torch.Generator) -> Tensor:
    """One independent normal draw of every activation (the local reparameterisation)."""
    mean, variance = moments
    noise = normal((*mean.shape,), generator, mean.device)
    return mean + torch.sqrt(variance + TINY_VARIANCE) * noise


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
    """``y = W x + b`` with posteriors over ``W`` ``(out, in)`` and ``b`` ``(out,)``.

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
        family: WeightFamily = GAUSSIAN,
    ) -> None:
        super().__init__()
        scale = gain / math.sqrt(max(fan_in, 1))
        self.weight = family.weight((fan_out, fan_in), scale, generator, mean_start)
        self.bias = family.bias((fan_out,), gain, generator, 0.0) if bias else None

    def moments(self, x: Tensor) -> Moments:
        """``(rows, in)`` to mean and variance of the outputs, ``(rows, out)`` each."""
        weight, weight_variance = self.weight.moments()
        mean = x @ weight.T
        variance = x.square() @ weight_variance.T
        if self.bias is None:
            return mean, variance
        bias, bias_variance = self.bias.moments()
        return mean + bias, variance + bias_variance

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """``(rows, in)`` to ``(rows, out)``, one independent draw a row (training only)."""
        return draw_moments(self.moments(x), generator)

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats, weights and biases; ``generator`` is needed by mixture priors only."""
        kl = self.weight.kl(generator)
        return kl if self.bias is None else kl + self.bias.kl(generator)

    def sample(self, n: int, generator: torch.Generator) -> LinearDraws:
        """The maps of ``n`` worlds."""
        weight = self.weight.sample(n, generator)
        return LinearDraws(weight, None if self.bias is None else self.bias.sample(n, generator))

    def prior_sample(self, n: int, generator: torch.Generator) -> LinearDraws:
        """``n`` maps of the prior; raises :class:`models.screen.ScreenError` if it is improper."""
        weight = self.weight.prior_sample(n, generator)
        bias = None if self.bias is None else self.bias.prior_sample(n, generator)
        return LinearDraws(weight, bias)


class VariationalEmbedding(nn.Module):
    """A learned random vector for each of ``count`` identities; ``gain`` is its prior scale."""

    def __init__(
        self,
        count: int,
        width: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        mean_start: float = MEAN_START,
        sd_start: float = SD_START,
        family: WeightFamily = GAUSSIAN,
    ) -> None:
        super().__init__()
        self.table = family.weight((count, width), gain, generator, mean_start, sd_start)

    def moments(self, index: Tensor) -> Moments:
        """``(rows,)`` identities to mean and variance, ``(rows, width)`` each."""
        mean, variance = self.table.moments()
        return functional.embedding(index, mean), functional.embedding(index, variance)

    def forward(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """``(rows,)`` identities to ``(rows, width)``, one independent draw a row.

        The law is the posterior's own, whatever the family: nothing is summed here.
        """
        mean, variance = self.moments(index)
        noise = self.table.noise((*mean.shape,), generator)
        return mean + torch.sqrt(variance + TINY_VARIANCE) * noise

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats; ``generator`` is needed by mixture priors only."""
        return self.table.kl(generator)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, count, width)``: the tables of ``n`` worlds."""
        return self.table.sample(n, generator)

    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, count, width)`` of the prior; raises as :class:`VariationalLinear` does."""
        return self.table.prior_sample(n, generator)
