"""How a well scatters around its surface: apart from the surface, so that draws are noise-free."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.training import student_log_density
from models.pharmacology.noise import NoiseModel

LEAST_DF = 2.5


class WellNoise(nn.Module):
    """Student-t noise whose scale follows the noise model of the screen, times a learned factor
    (replicates of one plate scatter less than plates do), with learned tails.

    ``known``: standard deviation of one well, from replicates. Mean of ``w`` wells: the factor
    applies to the part that replicates share, too, so that ``w`` wells are worth at most ``w``.
    """

    known: Tensor

    def __init__(self, model: NoiseModel) -> None:
        super().__init__()
        sds = torch.tensor([model.additive_sd, model.proportional_sd], dtype=torch.float32)
        self.register_buffer("known", sds)
        self.log_factor = nn.Parameter(torch.zeros(()))
        self.raw_df = nn.Parameter(torch.tensor(2.0))

    @property
    def df(self) -> Tensor:
        """Degrees of freedom, above :data:`LEAST_DF`."""
        return LEAST_DF + functional.softplus(self.raw_df)

    def scale(self, viability: Tensor, wells: Tensor) -> Tensor:
        """Scale of the mean of ``wells`` replicates around ``viability``; same shape."""
        variance = self.known[0].square() + (self.known[1] * viability).square()
        return torch.exp(self.log_factor) * torch.sqrt(variance / wells.clamp_min(1))

    def log_density(self, viability: Tensor, observed: Tensor, wells: Tensor) -> Tensor:
        """``(...)`` nats summed over the wells ``(..., m, n)`` that were measured."""
        scale = self.scale(viability, wells)
        each = student_log_density(observed - viability, scale, self.df)
        return torch.where(wells > 0, each, torch.zeros_like(each)).sum(dim=(-2, -1))

    def sd_factor(self) -> float:
        """Standard deviation over scale."""
        df = self.df.item()
        return math.sqrt(df / (df - 2))
