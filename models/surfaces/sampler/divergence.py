"""The alpha-divergence as a supremum over critics, with the shift that makes the bound tight.

D(Q || P) = sup over g of  E_Q[g] - inf over nu of { nu + E_P[f*(g - nu)] }, where

    f(x) = (x^a - 1) / (a (a - 1)),
    f*(y) = (a - 1)^(a / (a - 1)) max(y, 0)^(a / (a - 1)) / a + 1 / (a (a - 1)).

Without the shift nu the bound is tight only for critics that contain all constants. Source:
Birrell, Dupuis, Katsoulakis, Pantazis & Rey-Bellet, JMLR 23 (2022), 39.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.screen import ScreenError

_HALVINGS = 60


def alpha_divergence(q: Tensor, p: Tensor, alpha: float = 2.0) -> Tensor:
    """D of two distributions ``(n,)`` on the same states, nats; a scalar."""
    _require(alpha)
    powered = torch.pow(torch.div(q, p), alpha)
    total = torch.sum(torch.mul(p, powered - 1))
    return torch.div(total, alpha * (alpha - 1))


def conjugate(y: Tensor, alpha: float = 2.0) -> Tensor:
    """f*, same shape."""
    _require(alpha)
    power = alpha / (alpha - 1)
    return float((alpha - 1) ** power) * y.clamp_min(0).pow(power) / alpha + 1 / (
        alpha * (alpha - 1)
    )


def best_shift(critic: Tensor, weights: Tensor | None = None, alpha: float = 2.0) -> Tensor:
    """The nu that minimises nu + E_P[f*(g - nu)] for values ``(n,)`` of a critic; a scalar.

    Where the derivative 1 - E_P[f*'(g - nu)] is 0: it grows with nu, so that halving finds it.
    """
    _require(alpha)
    values = critic.detach().double()
    share = torch.full_like(values, 1 / len(values)) if weights is None else weights.double()
    power = 1 / (alpha - 1)

    def slope(nu: Tensor) -> Tensor:
        return (share * ((alpha - 1) * (values - nu).clamp_min(0)).pow(power)).sum()

    # At the highest value the slope is 0; far enough below the lowest it is above 1.
    high, low = values.max(), values.min() - 1 / (alpha - 1)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if bool(slope(middle) > 1) else (low, middle)
    return (0.5 * (low + high)).to(critic.dtype)


def variational_bound(
    on_q: Tensor,
    on_p: Tensor,
    alpha: float = 2.0,
    weights: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """E_Q[g] - inf over nu {nu + E_P[f*(g - nu)]}: a lower bound of D(Q || P); a scalar.

    ``on_q``, ``on_p``: values of one critic on draws of each, or on the states that ``weights``
    gives the probabilities of. By the envelope theorem the gradient needs none of nu.
    """
    q, p = weights if weights is not None else (None, None)
    nu = best_shift(on_p, p, alpha)
    lost = conjugate(on_p - nu, alpha)
    mean_q = on_q.mean() if q is None else (q * on_q).sum()
    mean_p = lost.mean() if p is None else (p * lost).sum()
    return mean_q - (nu + mean_p)


def gradient_excess(gradient: Tensor) -> Tensor:
    """One-sided penalty max(0, |gradient|^2 - 1), mean over rows ``(n, ...)``: a critic flatter
    than 1 is not punished; a scalar."""
    return (gradient.flatten(1).square().sum(dim=1) - 1).clamp_min(0).mean()


def _require(alpha: float) -> None:
    if not alpha > 1:
        raise ScreenError(f"alpha must be above 1, not {alpha:g}")
