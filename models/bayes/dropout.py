"""Weights that switch themselves off: sparse variational dropout and relevance determination.

Both have Gaussian posteriors N(mean, sd^2), learned in mean and log sd (the additive form of
Molchanov et al. 2017, whose log sigma^2 is 2 ``log_sd``), and a KL that falls in the noise to
signal ratio alpha = sd^2 / mean^2. A weight with log alpha > ``PRUNE_ABOVE`` is noise: it is
exactly 0 in every draw, and in moments once the module is in evaluation mode (``eval()``). In
training mode moments carry all weights, so that a weight can come back. Biases of these families
are plain :class:`~models.bayes.weights.GaussianWeight` and stay.

Relation of the two. Relevance determination gives each weight its own proper prior N(0, t^2) and
sets t^2 to its best value mean^2 + sd^2; what is left of the KL is 0.5 log(1 + 1 / alpha). The
log-uniform prior is what remains when t is integrated over p(t) ~ 1 / t instead. Both KLs are 0
for alpha -> infinity and grow as -0.5 log alpha for alpha -> 0, the improper one by k1 = 0.636
nats more. Neither depends on the scale of a layer: ``prior_sd`` sets only where training starts
(and, for relevance determination, rows without data).

What they prune. One weight with least-squares estimate z standard errors from 0 has its optimum
at 0 when |z| < 1 under relevance determination (otherwise mean z - 1 / z and variance 1 - 1 / z^2,
MacKay's fixed point) and when |z| < 1.06 under sparse dropout. So about seven in ten irrelevant
inputs of a well-determined regression go; the rest stay, shrunk.

Warm-up. From the start these KLs would remove weights before the data speak: multiply the KL by
:func:`warm_up` (Molchanov et al. 2017, section 4.3; Soenderby et al. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.bayes.priors import ard_kl, log_alpha, sparse_dropout_kl
from models.bayes.weights import MEAN_START, SD_START, Moments, VariationalWeight, normal
from models.screen import ScreenError

PRUNE_ABOVE = 3.0
"""log alpha above which a weight is 0: a dropout rate over 95 % (Molchanov et al. 2017)."""


def warm_up(step: int, steps: int) -> float:
    """Factor of the KL at ``step`` (from 0): linear from 1 / ``steps`` to 1, then 1.

    ``steps`` 0 means no warm-up. Raises :class:`ScreenError` for negative numbers.
    """
    if step < 0 or steps < 0:
        raise ScreenError(f"warm-up counts steps from 0, got step {step} of {steps}")
    return min(1.0, (step + 1) / steps) if steps else 1.0


class PrunableWeight(VariationalWeight):
    """What both families share: log alpha, the mask, and draws in which masked weights are 0."""

    def log_alpha(self) -> Tensor:
        """log(sd^2 / mean^2) of each weight, from its mean; infinite where the mean is 0."""
        return log_alpha(self.mean, self.log_sd)

    @torch.no_grad()
    def pruned(self) -> Tensor:
        """True for the weights that are 0; a boolean tensor of the shape of the weights."""
        return self.log_alpha() > PRUNE_ABOVE

    def moments(self) -> Moments:
        """Mean and variance of each weight; in evaluation mode exactly 0 where pruned."""
        mean, variance = super().moments()
        if self.training:
            return mean, variance
        pruned = self.pruned()
        return mean.masked_fill(pruned, 0.0), variance.masked_fill(pruned, 0.0)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` weights of ``n`` worlds, exactly 0 where pruned, in either mode."""
        return super().sample(n, generator).masked_fill(self.pruned(), 0.0)


class SparseDropoutWeight(PrunableWeight):
    """Log-uniform prior p(|w|) ~ 1 / |w|, improper: it has a KL but neither draws nor a scale."""

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats; see :func:`sparse_dropout_kl`."""
        return sparse_dropout_kl(self.mean, self.log_sd)

    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Raises :class:`ScreenError`: nothing can be drawn from an improper prior."""
        raise ScreenError(
            "the log-uniform prior of sparse variational dropout is improper and has no draws; "
            "use the family 'ard' for a proper prior"
        )

    def reset_to_prior(self, rows: Tensor) -> None:
        """Raises :class:`ScreenError`: rows without data would have no posterior at all."""
        raise ScreenError(
            "the log-uniform prior of sparse variational dropout is improper, so identities never "
            "measured have no distribution; use a family with a proper prior for them"
        )


class ArdWeight(PrunableWeight):
    """Prior N(0, t^2) with t^2 = mean^2 + sd^2 of each weight, its empirical-Bayes value.

    Rows given back to the prior have no data to learn t from and take that of their layer,
    ``prior_sd``. Their mean of 0 says "not measured", not "irrelevant", so they are never pruned;
    ``unmeasured`` ``(first axis,)`` remembers them.
    """

    unmeasured: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        prior_sd: float,
        generator: torch.Generator,
        mean_start: float = MEAN_START,
        sd_start: float = SD_START,
    ) -> None:
        super().__init__(shape, prior_sd, generator, mean_start, sd_start)
        self.register_buffer("unmeasured", torch.zeros(shape[0], dtype=torch.bool))

    def kl(self, generator: torch.Generator | None = None) -> Tensor:
        """Scalar, nats; see :func:`ard_kl`. Rows given back to the prior add exactly 0."""
        return ard_kl(self.mean, self.log_sd)

    @torch.no_grad()
    def pruned(self) -> Tensor:
        """True for the weights that are 0; never in rows given back to the prior."""
        kept = self.unmeasured.reshape(-1, *[1] * (self.mean.ndim - 1))
        return super().pruned() & ~kept

    @torch.no_grad()
    def prior_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, *shape)`` draws of N(0, mean^2 + sd^2), the prior at its learned scales."""
        scale = torch.hypot(self.mean, torch.exp(self.log_sd))
        return scale * normal((n, *self.mean.shape), generator, self.mean.device)

    @torch.no_grad()
    def reset_to_prior(self, rows: Tensor) -> None:
        """Give ``rows`` (first axis) N(0, prior_sd^2) and never prune them again."""
        super().reset_to_prior(rows)
        self.unmeasured[rows] = True


@dataclass(frozen=True)
class Sparsity:
    """How much of a network is switched off. ``layers``: name -> (pruned, weights)."""

    layers: Mapping[str, tuple[int, int]]

    @property
    def pruned_share(self) -> float:
        """Part of all prunable weights that is 0, between 0 and 1."""
        total = sum(weights for _, weights in self.layers.values())
        return sum(pruned for pruned, _ in self.layers.values()) / total if total else 0.0

    def layer_shares(self) -> dict[str, float]:
        """The same of each layer; 0 for a layer without weights."""
        return {name: pruned / max(total, 1) for name, (pruned, total) in self.layers.items()}


def sparsity(module: nn.Module) -> Sparsity:
    """Counts the pruned weights of every prunable tensor inside ``module``.

    Raises :class:`ScreenError` where there is none: a share of nothing would read as "dense".
    """
    weights = [(k, part) for k, part in module.named_modules() if isinstance(part, PrunableWeight)]
    if not weights:
        raise ScreenError(f"{type(module).__name__} has no weights of a family that prunes")
    return Sparsity({k: (int(part.pruned().sum()), part.mean.numel()) for k, part in weights})
