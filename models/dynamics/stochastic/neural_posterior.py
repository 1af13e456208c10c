"""Amortised posteriors: one network, trained on simulations, answers for any series.

q(theta | y) is a normalising flow (neural splines: Durkan et al. 2019; `zuko`) of the parameters
as standard normals (:mod:`priors`), given what a summary network makes of y. It is trained by
maximum likelihood on pairs drawn from the prior and the simulator (Papamakarios & Murray 2016;
Lueckmann et al. 2017), so with enough of both it is the posterior; what it misses is measured by
:mod:`calibration`, never assumed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import zuko  # type: ignore[import-untyped]
from torch import Tensor, nn

from models.bayes.channel_health import ChannelHealth
from models.bayes.training import NonFiniteLossError, one_thread
from models.dynamics.stochastic.priors import Prior
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

Inputs = tuple[Tensor, ...]
"""What the summary network is called with; rows first."""


@dataclass(frozen=True)
class Simulated:
    """Parameters ``(N, P)`` and, for each, what was simulated: inputs of ``N`` rows."""

    theta: Tensor
    inputs: Inputs

    def __post_init__(self) -> None:
        if any(len(each) != len(self.theta) for each in self.inputs):
            raise ScreenError("there must be as many simulations as parameters")

    def select(self, index: Tensor) -> Simulated:
        """The rows at ``index``."""
        return Simulated(self.theta[index], tuple(each[index] for each in self.inputs))


class Source(Protocol):
    """Where training pairs come from."""

    def batch(self, n: int, generator: torch.Generator) -> Simulated:
        """``n`` pairs of the joint law of parameters and data."""
        ...


@dataclass(frozen=True)
class Stored:
    """A fixed number of simulations, drawn from with replacement."""

    pairs: Simulated

    def batch(self, n: int, generator: torch.Generator) -> Simulated:
        """See :class:`Source`."""
        return self.pairs.select(torch.randint(len(self.pairs.theta), (n,), generator=generator))


@dataclass(frozen=True)
class Training:
    """``steps`` of ``rows`` simulations each; the rate rises, then falls along a cosine. The held
    out simulations are looked at every ``every`` steps, and the best network is kept."""

    steps: int = 2000
    rows: int = 256
    rate: float = 1e-3
    every: int = 100
    decay: float = 1e-5


class Density(Protocol):
    """What can be judged by simulations: one posterior, or a mixture of some."""

    def eval(self) -> Any:
        """Out of training."""
        ...

    def log_prob(self, theta: Tensor, *inputs: Tensor) -> Tensor:
        """See :meth:`NeuralPosterior.log_prob`."""
        ...


class NeuralPosterior(nn.Module):
    """q(theta | y) of the parameters of ``prior``; ``embedding`` makes ``embedded`` numbers of the
    inputs. The same ``seed`` builds the same network, but for the embedding, which is the
    caller's. ``channels``: how active those of its networks were in training
    (:meth:`models.bayes.channel_health.ChannelHealth.report`), ``None`` before."""

    channels: dict[str, Any] | None = None

    def __init__(
        self,
        prior: Prior,
        embedding: nn.Module,
        embedded: int,
        *,
        seed: int,
        transforms: int = 3,
        hidden: Sequence[int] = (64, 64),
        bins: int = 8,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.embedding = embedding
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.flow = zuko.flows.NSF(
                len(prior.names), embedded, transforms=transforms, hidden_features=tuple(hidden),
                bins=bins,
            )  # fmt: skip

    def embed(self, *inputs: Tensor) -> Tensor:
        """``(B, H)`` summaries of the inputs."""
        found: Tensor = self.embedding(*inputs)
        return found

    def log_prob(self, theta: Tensor, *inputs: Tensor) -> Tensor:
        """``(B,)`` log density of ``theta`` ``(B, P)`` given each row of the inputs, nats per the
        units of the parameters. Raises :class:`ScreenError` outside of the prior."""
        return self.log_prob_of(theta, self.embed(*inputs))

    def log_prob_of(self, theta: Tensor, context: Tensor) -> Tensor:
        """:meth:`log_prob` of summaries ``(B, H)`` that are there already."""
        normal = self.prior.to_normal(theta)
        found: Tensor = self.flow(context).log_prob(normal.to(context.dtype))
        return found + self.prior.log_slope(normal).to(found.dtype)

    @torch.no_grad()
    def sample(self, n: int, *inputs: Tensor, generator: torch.Generator) -> Tensor:
        """``(n, B, P)`` draws for each row of the inputs, float64, all inside the prior."""
        return self.sample_of(n, self.embed(*inputs), generator)

    @torch.no_grad()
    def sample_of(self, n: int, context: Tensor, generator: torch.Generator) -> Tensor:
        """:meth:`sample` of summaries ``(B, H)`` that are there already."""
        size = (n, len(context), len(self.prior.names))
        normal = torch.randn(size, generator=generator, device=context.device)
        transform = self.flow(context).transform
        return self.prior.from_normal(transform.inv(normal))


def train(
    posterior: NeuralPosterior,
    source: Source,
    held_out: Simulated,
    *,
    seed: int,
    training: Training | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> list[float]:
    """Fit the flow and its embedding; the network ends with the weights that did best on
    ``held_out``, in evaluation mode. Returns the held-out mean log density at each look, nats.

    Raises :class:`NonFiniteLossError` naming the step, and :class:`Stopped`.
    """
    options = training or Training()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        posterior.parameters(), lr=options.rate, weight_decay=options.decay, fused=True
    )
    history: list[float] = []
    best, kept = -math.inf, copy.deepcopy(posterior.state_dict())
    health = ChannelHealth()
    with one_thread(), health.watch(posterior):
        for step in range(options.steps):
            if should_stop():
                raise Stopped
            for group in optimizer.param_groups:
                group["lr"] = options.rate * _schedule(step, options.steps)
            _step(posterior, source.batch(options.rows, generator), optimizer, step)
            on_progress("training on simulations", step + 1, options.steps)
            if (step + 1) % options.every == 0 or step + 1 == options.steps:
                history.append(held_out_score(posterior, held_out))
                if history[-1] > best:
                    best, kept = history[-1], copy.deepcopy(posterior.state_dict())
    posterior.load_state_dict(kept)
    posterior.eval()
    posterior.channels = health.report()
    return history


def _step(
    posterior: NeuralPosterior, pairs: Simulated, optimizer: torch.optim.Optimizer, step: int
) -> None:
    posterior.train()
    loss = -posterior.log_prob(pairs.theta, *pairs.inputs).mean()
    if not math.isfinite(loss.item()):
        raise NonFiniteLossError(f"the loss is {loss.item()} at step {step + 1} of training")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(posterior.parameters(), 5.0)
    optimizer.step()


@torch.no_grad()
def held_out_score(posterior: Density, pairs: Simulated, rows: int = 1000) -> float:
    """Mean log density of the true parameters, nats; higher is better."""
    posterior.eval()
    total = 0.0
    for part in torch.split(torch.arange(len(pairs.theta)), rows):
        some = pairs.select(part)
        total += float(posterior.log_prob(some.theta, *some.inputs).sum())
    return total / len(pairs.theta)


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / (0.03 * steps + 1))
    return warm * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * step / steps)))
