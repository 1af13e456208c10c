"""Dense layers whose start follows a generator, and the normal laws of the guide."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.bayes.weights import normal

MIN_VARIANCE = 1e-4


class Dense(nn.Module):
    """``y = x W + b``: weights start with standard deviation ``gain / sqrt(fan_in)``, b at 0."""

    def __init__(
        self, fan_in: int, fan_out: int, generator: torch.Generator, gain: float = 1.0
    ) -> None:
        super().__init__()
        start = normal((fan_in, fan_out), generator, torch.device("cpu"))
        self.weight = nn.Parameter(start * (gain / math.sqrt(max(fan_in, 1))))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        return x @ self.weight + self.bias


class Trunk(nn.Module):
    """Linear, leaky rectifier, then ``blocks`` residual blocks of the same.

    ``(n, in)`` to ``(n, hidden)``.
    """

    def __init__(self, fan_in: int, hidden: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        self.enter = Dense(fan_in, hidden, generator, math.sqrt(2.0))
        self.blocks = nn.ModuleList(Dense(hidden, hidden, generator) for _ in range(blocks))
        self.bends = nn.ModuleList(nn.LeakyReLU() for _ in range(blocks + 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in)`` to ``(n, hidden)``."""
        hidden: Tensor = self.bends[0](self.enter(x))
        for block, bend in zip(self.blocks, self.bends[1:], strict=True):
            hidden = hidden + bend(block(hidden))
        return hidden


class Decoder(nn.Module):
    """A trunk and a linear layer: ``(n, in)`` to ``(n, out)``."""

    def __init__(
        self, fan_in: int, hidden: int, fan_out: int, blocks: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.trunk = Trunk(fan_in, hidden, blocks, generator)
        self.leave = Dense(hidden, fan_out, generator, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in)`` to ``(n, out)``."""
        return self.leave(self.trunk(x))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A trunk, then mean and variance of normal coordinates: ``(n, in)`` to ``(n, out)`` each."""

    def __init__(
        self, fan_in: int, hidden: int, fan_out: int, blocks: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.trunk = Trunk(fan_in, hidden, blocks, generator)
        self.mean = Dense(hidden, fan_out, generator)
        self.log_variance = Dense(hidden, fan_out, generator, 0.1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Variances are exp of the output plus 1e-4."""
        hidden = self.trunk(x)
        return self.mean(hidden), torch.exp(self.log_variance(hidden)) + MIN_VARIANCE


def normal_kl(mean: Tensor, variance: Tensor, to_mean: Tensor, to_variance: Tensor) -> Tensor:
    """``(n,)`` KL(N(mean, variance) || N(to_mean, to_variance)), diagonal, ``(n, k)`` each."""
    ratio = variance / to_variance
    away = (mean - to_mean).square() / to_variance
    return 0.5 * (ratio + away - 1 - torch.log(ratio)).sum(-1)


def standard_kl(mean: Tensor, variance: Tensor) -> Tensor:
    """``(n,)`` KL(N(mean, variance) || N(0, 1)), diagonal, ``(n, k)``."""
    return 0.5 * (variance + mean.square() - 1 - torch.log(variance)).sum(-1)
