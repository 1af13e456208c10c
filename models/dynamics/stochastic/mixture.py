"""Several posteriors as one: an equally weighted mixture of networks that differ by their seeds.

Networks trained on the same simulations agree on what these teach and differ by chance in the
rest. The mean of their densities scores at least the mean of their scores (Jensen), and is more
cautious where they disagree (deep ensembles: Lakshminarayanan et al. 2017; of neural posteriors:
Hermans et al. 2022). A mixture widens what is too narrow; it does not narrow what is too wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.dynamics.stochastic.neural_posterior import (
    NeuralPosterior,
    Simulated,
    Source,
    Training,
    train,
)
from models.dynamics.stochastic.priors import Prior
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)


class PosteriorMixture(nn.Module):
    """q(theta | y) = mean over ``members`` of theirs; it answers whatever a member answers.

    Its ``state_dict`` holds all members. Raises :class:`ScreenError` without a member, and for
    members with different priors.

    Example::

        mixture = PosteriorMixture([make(seed) for seed in range(3)])
        train_members(mixture, Stored(pairs), held_out, seed=0)
        mixture.sample(1000, series, generator=torch.Generator().manual_seed(0))
    """

    def __init__(self, members: Sequence[NeuralPosterior]) -> None:
        super().__init__()
        if not members:
            raise ScreenError("a mixture needs at least one posterior")
        if any(one.prior != members[0].prior for one in members):
            raise ScreenError("the posteriors of a mixture share one prior")
        self.members = nn.ModuleList(members)

    @property
    def prior(self) -> Prior:
        """The prior of every member."""
        return self._all()[0].prior

    def _all(self) -> list[NeuralPosterior]:
        return [one for one in self.members if isinstance(one, NeuralPosterior)]

    def embed(self, *inputs: Tensor) -> Tensor:
        """``(B, H)`` summaries of the inputs: of all members, side by side."""
        return torch.cat([one.embed(*inputs) for one in self._all()], dim=1)

    def log_prob(self, theta: Tensor, *inputs: Tensor) -> Tensor:
        """``(B,)`` log density of ``theta`` ``(B, P)`` given each row of the inputs, nats per the
        units of the parameters. Raises :class:`ScreenError` outside of the prior."""
        each = torch.stack([one.log_prob(theta, *inputs) for one in self._all()])
        return torch.logsumexp(each, dim=0) - math.log(len(each))

    @torch.no_grad()
    def sample(self, n: int, *inputs: Tensor, generator: torch.Generator) -> Tensor:
        """``(n, B, P)`` draws for each row of the inputs, float64, all inside the prior. The member
        of each of the ``n`` is drawn, for all rows at once, so draws of a row are independent."""
        members = self._all()
        if len(members) == 1:
            return members[0].sample(n, *inputs, generator=generator)
        whose = torch.randint(
            len(members), (n,), generator=generator, device=generator.device
        )  # fmt: skip
        drawn = torch.cat([
            one.sample(int((whose == k).sum()), *inputs, generator=generator)
            for k, one in enumerate(members)
        ])  # fmt: skip
        # Rows came member by member; each goes to a draw of that member.
        found = torch.empty_like(drawn)
        found[torch.argsort(whose, stable=True)] = drawn
        return found


def train_members(
    mixture: PosteriorMixture,
    source: Source,
    held_out: Simulated,
    *,
    seed: int,
    training: Training | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> list[list[float]]:
    """:func:`neural_posterior.train` of each member, with ``seed``, ``seed + 1``, ...; what it
    returns and raises."""
    members = mixture._all()

    def told(at: int) -> Callable[[str, int, int], None]:
        return lambda stage, done, total: on_progress(
            stage, at * total + done, len(members) * total
        )

    found = [
        train(
            one, source, held_out, seed=seed + at, training=training, on_progress=told(at),
            should_stop=should_stop,
        )
        for at, one in enumerate(members)
    ]  # fmt: skip
    mixture.eval()
    return found
