"""Divergences between posterior and prior of single weights, summed; all in nats.

``mean`` and ``log_sd`` are tensors of one shape: mean and log standard deviation of the posterior
of each weight. Priors are given by their standard deviation as well, so that layers of all
families give activations of the same variance: Laplace(0, b) has b = prior_sd / sqrt(2), a
mixture share N(0, slab^2) + (1 - share) N(0, spike^2) has share slab^2 + (1 - share) spike^2 =
prior_sd^2. Nothing is clamped: each formula is finite for all finite input short of overflow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.screen import ScreenError

K1, K2, K3 = 0.63576, 1.87320, 1.48695
"""Constants of Molchanov et al. 2017, eq. 14; the error of the fit is below 0.0095 nats."""
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
GAUSSIAN_ENTROPY = 0.5 + HALF_LOG_2PI
"""Entropy of N(0, 1)."""


def gaussian_kl(mean: Tensor, log_sd: Tensor, prior_sd: float | Tensor) -> Tensor:
    """KL[N(mean, sd^2) || N(0, prior_sd^2)] summed over all weights, in nats; a scalar.

    log(prior_sd / sd) + (sd^2 + mean^2) / (2 prior_sd^2) - 1/2 for each weight: never negative,
    0 exactly at the prior.
    """
    prior = torch.as_tensor(prior_sd, dtype=mean.dtype, device=mean.device)
    ratio = (torch.exp(2 * log_sd) + mean.square()) / (2 * prior.square())
    return (torch.log(prior) - log_sd + ratio - 0.5).sum()


def laplace_kl(mean: Tensor, log_sd: Tensor, prior_sd: Tensor) -> Tensor:
    """KL[Laplace(mean, s) || Laplace(0, b)], s = sd / sqrt(2), b = prior_sd / sqrt(2); a scalar.

    log(b / s) + (|mean| + s exp(-|mean| / s)) / b - 1 for each weight (integrate |w| / b over the
    two exponential tails); 0 exactly at the prior.
    """
    scale, prior = torch.exp(log_sd) / math.sqrt(2), prior_sd / math.sqrt(2)
    size = mean.abs()
    expected = size + scale * torch.exp(-size / scale)
    return (torch.log(prior_sd) - log_sd + expected / prior - 1).sum()


def expected_size(mean: Tensor, log_sd: Tensor) -> Tensor:
    """E|w| of w ~ N(mean, sd^2), the mean of a folded normal; the shape of ``mean``.

    sd sqrt(2 / pi) exp(-mean^2 / (2 sd^2)) + mean erf(mean / (sd sqrt(2))).
    """
    sd = torch.exp(log_sd)
    z = mean / (sd * math.sqrt(2))
    return sd * math.sqrt(2 / math.pi) * torch.exp(-z.square()) + mean * torch.erf(z)


def laplace_gaussian_kl(mean: Tensor, log_sd: Tensor, prior_sd: Tensor) -> Tensor:
    """KL[N(mean, sd^2) || Laplace(0, b)] with b = prior_sd / sqrt(2), summed; a scalar.

    log(2 b) + E|w| / b - entropy for each weight. Its minimum, log 2 - log pi + 1/2 = 0.0484 nats
    at mean 0 and sd = prior_sd sqrt(pi) / 2, is above 0: no Gaussian is a Laplace distribution.
    """
    b = prior_sd / math.sqrt(2)
    cross = torch.log(2 * b) + expected_size(mean, log_sd) / b
    return (cross - log_sd - GAUSSIAN_ENTROPY).sum()


def mixture_scales(prior_sd: float, share: float, spike: float) -> tuple[float, float]:
    """Standard deviations (slab, spike) of the mixture whose own is ``prior_sd``.

    ``share``: probability of the slab, within (0, 1). ``spike``: sd of the spike as a part of
    the slab's, within (0, 1). Raises :class:`ScreenError` outside.
    """
    if not (0 < share < 1 and 0 < spike < 1):
        raise ScreenError(
            f"a mixture prior needs share and spike between 0 and 1, got {share} and {spike}"
        )
    slab = prior_sd / math.sqrt(share + (1 - share) * spike**2)
    return slab, spike * slab


def mixture_log_density(weight: Tensor, share: Tensor, slab_sd: Tensor, spike_sd: Tensor) -> Tensor:
    """log[share N(w; 0, slab_sd^2) + (1 - share) N(w; 0, spike_sd^2)], the shape of ``weight``.

    Blundell et al. 2015, eq. 7, in log space: ``logaddexp`` of the two weighted log densities.
    """
    slab = torch.log(share) - torch.log(slab_sd) - 0.5 * (weight / slab_sd).square()
    spike = torch.log1p(-share) - torch.log(spike_sd) - 0.5 * (weight / spike_sd).square()
    return torch.logaddexp(slab, spike) - HALF_LOG_2PI


def sparse_dropout_kl(mean: Tensor, log_sd: Tensor) -> Tensor:
    """KL of N(mean, sd^2) from the log-uniform prior p(|w|) ~ 1 / |w|, summed; a scalar.

    Molchanov et al. 2017 (arXiv 1701.05369), eq. 14, with alpha = sd^2 / mean^2:
        k1 + 0.5 log(1 + 1 / alpha) - k1 sigmoid(k2 + k3 log alpha)
    up to the infinite constant that makes it 0 for alpha -> infinity. It falls in alpha. Written
    in r = 1 / alpha, with u = exp(-k2) r^k3, it is 0.5 log(1 + r) + k1 u / (1 + u): smooth at
    mean 0, so log alpha needs no clipping.
    """
    r = (mean * torch.exp(-log_sd)).square()
    u = math.exp(-K2) * r.pow(K3)
    return (0.5 * torch.log1p(r) + K1 * (1 - 1 / (1 + u))).sum()


def ard_kl(mean: Tensor, log_sd: Tensor) -> Tensor:
    """min over t of KL[N(mean, sd^2) || N(0, t^2)] = 0.5 log(1 + mean^2 / sd^2), summed; a scalar.

    The prior scale of each weight is learned from the data (type II maximum likelihood, MacKay
    1994; Kharitonov et al. 2018, arXiv 1811.00596); the minimum is at t^2 = mean^2 + sd^2.
    """
    return 0.5 * torch.log1p((mean * torch.exp(-log_sd)).square()).sum()


def log_alpha(mean: Tensor, log_sd: Tensor) -> Tensor:
    """log(sd^2 / mean^2): noise to signal of each weight, infinite where the mean is 0."""
    return 2 * log_sd - 2 * torch.log(mean.abs())
