"""Ensembles whose members are one batch: deep, randomised-prior and mean/variance networks.

Every tensor of weights carries its members first, ``(members, out, in)``; one batched product
evaluates all of them, and the gradient of the summed losses trains each on its own.

Deep ensemble (Lakshminarayanan et al. 2017, arXiv 1612.01474). Members differ by their start. The
penalty of a member is minus the log of the prior N(0, prior_sd^2) of its weights, over the number
of training rows: weight decay as maximum a posteriori.

Randomised prior (Osband et al. 2018, arXiv 1806.03335; anchored: Pearce et al. 2020,
arXiv 1810.05546). Member m is f = g_theta + beta p_m, where p_m is a fixed network drawn from the
prior, trained on targets with noise drawn once for each (row, member):

    sum_i (y_i + sigma e_im - f(x_i))^2 / (2 sigma^2) + |theta|^2 / (2 beta^2 prior_sd^2).

For f linear in its weights the minimum over theta is, with w = theta + beta w_m, that of
(perturbed likelihood) + |w - beta w_m|^2 / (2 beta^2 prior_sd^2): a draw of the Gaussian posterior
under the prior N(0, beta^2 prior_sd^2), exactly. Members are then independent posterior draws.

Mean and variance (Nix & Weigend 1994). Fitting both by one likelihood starves the mean wherever
the variance is overestimated: its gradient is divided by that variance, so that badly fitted
regions stay badly fitted (Seitzer et al. 2022, arXiv 2203.09168). Here the mean is fitted with one
common scale, and the variance to the *detached* residuals: the mean cannot be harmed at all,
whereas beta-NLL only weakens the effect and gives up the meaning of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.layers import LinearDraws, normal
from models.pharmacology.random_numbers import combine, normals
from models.screen import IntArray, ScreenError

SLOPE = 1.5
"""Keeps the variance of activations near 1 through ``silu``."""


class MemberWeight(nn.Module):
    """``value``: ``(members, *shape)`` weights, independent draws of N(0, (start prior_sd)^2).

    ``anchored``: the prior of each member is centred on its own start instead of 0.
    Raises :class:`ScreenError` for no members or a prior scale that is not positive.
    """

    value: nn.Parameter
    anchor: Tensor

    def __init__(
        self,
        members: int,
        shape: tuple[int, ...],
        prior_sd: float,
        generator: torch.Generator,
        *,
        start: float = 1.0,
        anchored: bool = False,
    ) -> None:
        super().__init__()
        if members < 1:
            raise ScreenError(f"an ensemble needs at least one member, got {members}")
        if not 0 < prior_sd < math.inf:
            raise ScreenError(f"the prior scale of weights must be positive, got {prior_sd}")
        self.prior_sd = prior_sd
        drawn = normal((members, *shape), generator, torch.device("cpu")) * (start * prior_sd)
        self.value = nn.Parameter(drawn)
        self.register_buffer("anchor", drawn.clone() if anchored else torch.zeros(()))

    def penalty(self) -> Tensor:
        """``(members,)`` minus the log prior of the weights up to a constant, nats."""
        apart = ((self.value - self.anchor) / self.prior_sd).flatten(1)
        return 0.5 * apart.square().sum(1)


class MemberLinear(nn.Module):
    """``y = W x + b`` with ``W`` ``(members, out, in)`` and ``b`` ``(members, out)``.

    ``gain``: standard deviation of an output under the prior for inputs of unit mean square; that
    of the bias. Biases start at 0.
    """

    def __init__(
        self,
        members: int,
        fan_in: int,
        fan_out: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        bias: bool = True,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        scale = gain / math.sqrt(max(fan_in, 1))
        self.weight = MemberWeight(members, (fan_out, fan_in), scale, generator, start=start)
        self.bias = MemberWeight(members, (fan_out,), gain, generator, start=0.0) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """``(rows, in)`` or ``(members, rows, in)`` to ``(members, rows, out)``."""
        return self.maps()(x)

    def maps(self) -> LinearDraws:
        """The members' linear maps."""
        return LinearDraws(self.weight.value, None if self.bias is None else self.bias.value)

    def penalty(self) -> Tensor:
        """``(members,)`` nats, weights and biases."""
        own = self.weight.penalty()
        return own if self.bias is None else own + self.bias.penalty()


class MemberEmbedding(nn.Module):
    """A vector for each of ``count`` identities and each member; ``gain`` is its prior scale."""

    def __init__(
        self,
        members: int,
        count: int,
        width: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        self.table = MemberWeight(members, (count, width), gain, generator, start=start)

    def forward(self, index: Tensor) -> Tensor:
        """``(rows,)`` identities to ``(members, rows, width)``."""
        return gather(self.table.value, index)

    def penalty(self) -> Tensor:
        """``(members,)`` nats."""
        return self.table.penalty()


class MemberNetwork(nn.Module):
    """Multilayer perceptrons: ``widths`` from input to output, ``silu`` between, linear output.

    ``widths`` of length two is linear regression. ``start``: share of the prior scale at which
    weights start (1: each member starts as a draw of the prior over functions).
    """

    def __init__(
        self,
        members: int,
        widths: Sequence[int],
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        bias: bool = True,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ScreenError("a network needs at least the widths of its input and its output")
        self.layers = nn.ModuleList(
            MemberLinear(members, inner, outer, generator, gain=gain, bias=bias, start=start)
            for inner, outer in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(rows, in)`` or ``(members, rows, in)`` to ``(members, rows, out)``."""
        value: Tensor = self.layers[0](x)
        for layer in self.layers[1:]:
            value = layer(SLOPE * functional.silu(value))
        return value

    def penalty(self) -> Tensor:
        """``(members,)`` nats, over all layers."""
        return torch.stack([layer.penalty() for layer in self.layers]).sum(0)  # type: ignore[operator]


class RandomisedPrior(nn.Module):
    """``trained + beta * prior``, the second fixed; both of the same members and widths.

    The prior over functions that the members sample is that of ``beta * prior``.
    """

    def __init__(self, trained: MemberNetwork, prior: MemberNetwork, beta: float = 1.0) -> None:
        super().__init__()
        if not 0 < beta < math.inf:
            raise ScreenError(f"the scale of the random prior must be positive, got {beta}")
        self.trained, self.prior, self.beta = trained, prior.requires_grad_(False), beta

    def forward(self, x: Tensor) -> Tensor:
        """``(rows, in)`` to ``(members, rows, out)``."""
        with torch.no_grad():
            fixed = self.beta * self.prior(x)
        moved: Tensor = self.trained(x) + fixed
        return moved

    def penalty(self) -> Tensor:
        """``(members,)`` nats: the trained part stands under the scaled prior, too."""
        return self.trained.penalty() / self.beta**2


class MeanVariance(nn.Module):
    """Two networks side by side: a mean and the logarithm of the scale of the noise.

    Loss: :func:`mean_variance_loss`. Both end in one output.
    """

    def __init__(self, mean: MemberNetwork, log_scale: MemberNetwork) -> None:
        super().__init__()
        self.mean, self.log_scale = mean, log_scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(rows, in)`` to mean and log scale, ``(members, rows)`` each."""
        return self.mean(x)[..., 0], self.log_scale(x)[..., 0]

    def penalty(self) -> Tensor:
        """``(members,)`` nats."""
        return self.mean.penalty() + self.log_scale.penalty()


def log_density(residual: Tensor, scale: Tensor, df: float = math.inf) -> Tensor:
    """log of the Student-t density (Gaussian for infinite ``df``), broadcast; nats."""
    z = residual / scale
    if math.isinf(df):
        return -0.5 * z.square() - torch.log(scale) - 0.5 * math.log(2 * math.pi)
    half = (df + 1) / 2
    constant = math.lgamma(half) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return constant - torch.log(scale) - half * torch.log1p(z.square() / df)


def ensemble_loss(log_likelihood: Tensor, penalty: Tensor, n_rows: int) -> Tensor:
    """Sum over members of (mean of -log p over the minibatch + penalty / ``n_rows``); a scalar.

    ``log_likelihood``: ``(members, rows)``; ``penalty``: ``(members,)``. The gradient of one member
    does not know of the others.
    """
    return (penalty / n_rows - log_likelihood.mean(1)).sum()


def mean_variance_loss(
    mean: Tensor,
    log_scale: Tensor,
    target: Tensor,
    common_scale: Tensor,
    df: float = math.inf,
) -> Tensor:
    """``(members, rows)`` log likelihoods to maximise: the mean's, and that of its residuals.

    ``mean``, ``log_scale``: ``(members, rows)``. The mean is judged under ``common_scale``, the
    scale on residuals that carry no gradient; see the module's text.
    """
    of_mean = log_density(target - mean, common_scale, df)
    return of_mean + log_density((target - mean).detach(), torch.exp(log_scale), df)


def target_noise(seed: int, keys: IntArray, members: int) -> Tensor:
    """``(members, rows)`` standard normal numbers, each a function of (seed, key, member) only."""
    drawn = normals(seed, combine(np.asarray(keys, dtype=np.int64)), members, 1)[..., 0]
    return torch.tensor(drawn, dtype=torch.float32)


def gather(table: Tensor, index: Tensor) -> Tensor:
    """``(members, count, width)`` and ``(rows,)`` to ``(members, rows, width)``.

    One flat look-up: its gradient is many times faster on a CPU than that of fancy indexing.
    """
    members, count, width = table.shape
    offset = torch.arange(members, device=index.device)[:, None] * count
    return functional.embedding(index + offset, table.reshape(members * count, width))


def agreement(values: Tensor) -> dict[str, float]:
    """How far members agree: ``values`` ``(members, rows)``.

    ``correlation``: mean of the pairwise correlations over rows; ``spread_ratio``: mean over rows
    of the members' standard deviation, over the standard deviation of their mean over rows. A
    single member agrees with itself: 1 and 0.
    """
    numbers = values.double().cpu().numpy()
    if len(numbers) < 2 or numbers.shape[1] < 2:
        return {"correlation": 1.0, "spread_ratio": 0.0}
    spread = float(numbers.std(axis=0, ddof=1).mean())
    centred = numbers - numbers.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(centred).sum(axis=1))
    unit = centred / np.where(length > 0, length, 1.0)[:, None]
    table = unit @ unit.T
    pairs = table[np.triu_indices(len(table), k=1)]
    along = float(numbers.mean(axis=0).std())
    return {
        "correlation": round(float(pairs.mean()), 6),
        "spread_ratio": round(spread / along, 6) if along > 0 else 0.0,
    }
