"""How readouts scatter around what the decoder says: negative binomial or Student-t."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.bayes.training import student_log_density

LOG_CONCENTRATION_START = math.log(2.0)
MIN_DF = 3.0
DF_START = 8.0


def negative_binomial_log_pmf(count: Tensor, mean: Tensor, concentration: Tensor) -> Tensor:
    """log NB(count) with this mean and variance mean + mean^2 / concentration; nats, broadcast.

    The Poisson law with a Gamma rate of shape theta and mean ``mean``, whose mean is exactly that.
    """
    total = torch.log(concentration + mean)
    # count log(mean / ...) with 0 log 0 = 0, for readouts that cannot be seen at all.
    log_mean = torch.xlogy(count, mean) - count * total
    return (
        torch.lgamma(count + concentration)
        - torch.lgamma(concentration)
        - torch.lgamma(count + 1)
        + concentration * (torch.log(concentration) - total)
        + log_mean
    )


class CountObservation(nn.Module):
    """x_g ~ NB(mean l rho_g, concentration exp(free_g)) with rho = softmax of the decoder."""

    def __init__(self, n_readouts: int) -> None:
        super().__init__()
        self.log_concentration = nn.Parameter(torch.full((n_readouts,), LOG_CONCENTRATION_START))

    def location(self, raw: Tensor, library: Tensor) -> Tensor:
        """``(..., g)`` means l rho; they sum to the library size, ``(...,)``."""
        return library[..., None] * torch.softmax(raw, -1)

    def log_likelihood(self, raw: Tensor, values: Tensor, library: Tensor) -> Tensor:
        """``(n, g)`` nats of the counts ``values`` ``(n, g)``."""
        mean = self.location(raw, library)
        return negative_binomial_log_pmf(values, mean, torch.exp(self.log_concentration))


class ContinuousObservation(nn.Module):
    """x_g ~ Student-t around the decoder's output, a scale a readout, common degrees of freedom."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.log(scale))
        self.log_df = nn.Parameter(torch.tensor(math.log(DF_START - MIN_DF)))

    def noise(self) -> tuple[Tensor, Tensor]:
        """Scales ``(g,)`` and degrees of freedom, a scalar above 3."""
        return torch.exp(self.log_scale), MIN_DF + torch.exp(self.log_df)

    def location(self, raw: Tensor, library: Tensor) -> Tensor:
        """``(..., g)`` centres: the decoder's output."""
        return raw

    def log_likelihood(self, raw: Tensor, values: Tensor, library: Tensor) -> Tensor:
        """``(n, g)`` nats of ``values`` ``(n, g)``; 0 where they are missing (NaN)."""
        known = ~torch.isnan(values)
        scale, df = self.noise()
        residual = torch.where(known, values - raw, 0.0)
        return torch.where(known, student_log_density(residual, scale, df), 0.0)
