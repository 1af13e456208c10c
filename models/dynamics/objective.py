"""Importance-weighted bounds and their gradients.

With log weights log w = log p(y | theta) + log p(theta) - log q(theta | y), every density at the
sampled theta itself (the published port scored a clipped one, which is no bound of anything), the
bound of K samples is log mean w (Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519). It does
not fall in K in expectation, and tends to log p(y).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bound(log_weights: Tensor) -> Tensor:
    """``(K, N)`` log weights to the bound of each series, ``(N,)`` nats."""
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))


def normalised(log_weights: Tensor) -> Tensor:
    """Importance weights that add up to 1 over the samples, ``(K, N)``."""
    return torch.softmax(log_weights, dim=0)


def surrogate(log_weights: Tensor, sampled: Tensor) -> Tensor:
    """A scalar per series whose gradient is the doubly reparameterised one (DReG); ``(N,)``.

    ``sampled``: ``(K, N, Q)`` reparameterised coordinates through which alone q is learned: in
    ``log_weights`` the density q must be taken with its own parameters detached. Gradients of
    everything else are weighted by w, those through ``sampled`` by w^2: Tucker, Lawson, Gu &
    Maddison 2019 (arXiv 1810.04152), eqs. 8 and 9. The value is sum w log w: not the bound.
    """
    weights = normalised(log_weights).detach()
    if sampled.requires_grad:
        sampled.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient * weights[..., None]
        )
    return (weights * log_weights).sum(0)


def effective_samples(log_weights: Tensor) -> Tensor:
    """1 / sum w^2 of normalised weights: how many samples count, ``(N,)``."""
    return 1 / normalised(log_weights).square().sum(0)


def resample(log_weights: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Indices ``(draws, N)`` of samples drawn by their weights."""
    weights = normalised(log_weights).T.double().cpu()
    picked = torch.multinomial(weights, draws, replacement=True, generator=generator)
    return picked.T.to(log_weights.device)
