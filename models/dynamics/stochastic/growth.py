"""Rates of division, death and sleep from counts of cells, by a network trained for the design.

:func:`learn_growth` simulates wells as they were begun, read and replicated in the experiment at
hand, and trains one amortised posterior for all of its conditions: dose and number of wells are
inputs. :class:`GrowthModel` then answers for every condition, refuses those that look like nothing
simulated, and pushes its draws through the exact chance of extinction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.dynamics.stochastic.calibration import RankCheck, check_ranks, predictive_p
from models.dynamics.stochastic.cell_counts import Experiment, WellCounts, padded
from models.dynamics.stochastic.closed_forms import GrowthRates, growth_extinction
from models.dynamics.stochastic.count_summaries import (
    NUMBERS,
    CountsEmbedding,
    inputs_of,
    numbers_of,
)
from models.dynamics.stochastic.guard import Cloud, Verdict, second_look
from models.dynamics.stochastic.mixture import PosteriorMixture
from models.dynamics.stochastic.neural_posterior import (
    Inputs,
    NeuralPosterior,
    Simulated,
    Training,
    train,
)
from models.dynamics.stochastic.sampling_times import TimesValue, value_of_times
from models.screen import (
    BoolArray,
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

_EMBEDDED = 48
REPLICAS = 600
_HIDE = 0.5
"""Share of training simulations of which only some readings are shown."""


_TRAINING = Training(steps=1500, rows=192, rate=2e-3)


@dataclass(frozen=True)
class GrowthOptions:
    """``training``; how many simulations judge it (``held_out``) and the data (``cloud``)."""

    training: Training = _TRAINING
    held_out: int = 600
    cloud: int = 4000


@dataclass(frozen=True)
class _Source:
    experiment: Experiment

    def batch(self, n: int, generator: torch.Generator) -> Simulated:
        """Pairs of the joint law, of half of them only some readings."""
        theta, counts, present, levels = simulate(self.experiment, n, generator)
        hidden = torch.rand((n, 1), generator=generator) < _HIDE
        chance = torch.rand((n, 1), generator=generator)
        lost = hidden & (torch.rand((n, counts.shape[2]), generator=generator) < chance)
        lost[:, 0] = False
        counts = torch.where(lost[:, None], torch.nan, counts)
        return Simulated(theta, inputs_of(counts, present, levels, self.experiment.times))


def simulate(
    experiment: Experiment, n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Parameters ``(n, 6)``, counts ``(n, K, T)``, wells ``(n, K)`` and dose levels ``(n, 2)``."""
    levels, first, present = experiment.draw_frame(n, generator)
    theta = experiment.draw(levels, generator)
    counts = experiment.simulate(theta, first, generator)
    lost = torch.rand(counts.shape, generator=generator) < experiment.missing
    lost[..., 0] = False
    return theta, torch.where(lost | ~present[..., None], torch.nan, counts), present, levels


def _pairs(experiment: Experiment, n: int, generator: torch.Generator) -> tuple[Simulated, Tensor]:
    theta, counts, present, levels = simulate(experiment, n, generator)
    inputs = inputs_of(counts, present, levels, experiment.times)
    return Simulated(theta, inputs), numbers_of(counts, present, experiment.times)


def untrained(experiment: Experiment, seed: int) -> NeuralPosterior:
    """The network of an experiment before training."""
    generator = torch.Generator().manual_seed(seed)
    facts = _pairs(experiment, 2000, generator)[0].inputs[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embedding = CountsEmbedding(
            len(experiment.times), _EMBEDDED, facts.mean(dim=0), facts.std(dim=0).clamp(min=1e-3)
        )
    return NeuralPosterior(experiment.prior(), embedding, _EMBEDDED, seed=seed)


def learn_growth(
    experiment: Experiment,
    *,
    seed: int,
    options: GrowthOptions | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> NeuralPosterior:
    """Train for an experiment, on simulations that are fresh at every step."""
    chosen = options or GrowthOptions()
    posterior = untrained(experiment, seed)
    held_out = _pairs(experiment, chosen.held_out, torch.Generator().manual_seed(seed + 1))[0]
    train(
        posterior, _Source(experiment), held_out, seed=seed + 2, training=chosen.training,
        on_progress=on_progress, should_stop=should_stop,
    )  # fmt: skip
    return posterior


class GrowthModel:
    """A trained network, or a mixture of some, and the experiment that it was trained for; ``seed``
    of what it simulates to judge itself and the data."""

    def __init__(
        self,
        posterior: NeuralPosterior | PosteriorMixture,
        experiment: Experiment,
        *,
        seed: int,
        options: GrowthOptions | None = None,
    ) -> None:
        self.posterior, self.experiment, self.seed = posterior.eval(), experiment, seed
        chosen = options or GrowthOptions()
        generator = torch.Generator().manual_seed(seed + 3)
        self._known = simulate(experiment, chosen.held_out, generator)
        pairs, numbers = _pairs(experiment, chosen.cloud, generator)
        self.cloud = Cloud.of(self._summaries(pairs.inputs, numbers))

    def verdicts(self, conditions: list[WellCounts]) -> list[Verdict]:
        """Whether each condition looks like something simulated.

        What is far from the cloud gets a second look, at replicas from its own posterior: data
        that these resemble are rare, not odd.
        """
        counts, present = (torch.as_tensor(each) for each in padded(conditions))
        numbers = numbers_of(counts, present, self.experiment.times)
        found = self.cloud.verdicts(self._summaries(self._inputs(conditions), numbers), NUMBERS)
        for at, verdict in enumerate(found):
            if verdict.refused:
                drawn = self.draws([conditions[at]], REPLICAS)[:, 0]
                cloud = Cloud.of(torch.as_tensor(self._replicas(conditions[at], drawn)))
                found[at] = second_look(verdict, float(cloud.p(numbers[at : at + 1])[0]))
        return found

    def draws(self, conditions: list[WellCounts], n: int) -> FloatArray:
        """``(n, m, 6)`` posterior draws of the four rates, an hour, and the two nuisances."""
        generator = torch.Generator().manual_seed(self.seed + 4)
        drawn = self.posterior.sample(n, *self._inputs(conditions), generator=generator)
        return np.asarray(drawn.numpy())

    def calibration(self, n: int = 200) -> RankCheck:
        """Ranks of the true parameters of held-out simulations among ``n`` draws each."""
        generator = torch.Generator().manual_seed(self.seed + 5)
        theta, counts, present, levels = self._known
        inputs = inputs_of(counts, present, levels, self.experiment.times)
        drawn = self.posterior.sample(n, *inputs, generator=generator)
        return check_ranks(theta.numpy(), drawn.numpy(), self.seed)

    def predictive(self, condition: WellCounts, draws: FloatArray) -> dict[str, float]:
        """Two-sided chances, by number of :data:`NUMBERS`, of replicas from ``draws`` ``(S, 6)`` as
        far out as the condition's own."""
        counts, present = (torch.as_tensor(each) for each in padded([condition]))
        own = numbers_of(counts, present, self.experiment.times)[0].numpy()
        found = predictive_p(own, self._replicas(condition, draws))
        return dict(zip(NUMBERS, found.tolist(), strict=True))

    def _replicas(self, condition: WellCounts, draws: FloatArray) -> FloatArray:
        """``(S, 9)`` numbers of wells begun and read as the condition's, one for each draw."""
        generator = torch.Generator().manual_seed(self.seed + 6)
        counts, present = (torch.as_tensor(each) for each in padded([condition]))
        theta = torch.as_tensor(draws)
        first = counts[:, :, 0].expand(len(theta), -1)
        made = self.experiment.simulate(theta, first, generator)
        made = torch.where(torch.isfinite(counts), made, torch.nan)
        wells = present.expand(len(theta), -1)
        return np.asarray(numbers_of(made, wells, self.experiment.times).numpy())

    def times_value(
        self, choose: int = 4, n: int = 300, should_stop: StopCallback = never_stop
    ) -> TimesValue:
        """Which readings teach most of all six parameters, over ``n`` held-out simulations."""
        theta, counts, present, levels = (each[:n] for each in self._known)

        def score(mask: BoolArray) -> FloatArray:
            if should_stop():
                raise Stopped
            shown = torch.where(torch.as_tensor(mask), counts, torch.nan)
            inputs = inputs_of(shown, present, levels, self.experiment.times)
            with torch.no_grad():
                found = self.posterior.log_prob(theta, *inputs)
            return np.asarray(found.double().numpy())

        return value_of_times(score, len(self.experiment.times), choose)

    def _inputs(self, conditions: list[WellCounts]) -> Inputs:
        if any(not np.array_equal(one.times, self.experiment.times) for one in conditions):
            raise ScreenError("these wells were read at other times than the network was made for")
        counts, present = (torch.as_tensor(each) for each in padded(conditions))
        levels = torch.tensor([one.levels for one in conditions], dtype=torch.float64)
        return inputs_of(counts, present, levels, self.experiment.times)

    @torch.no_grad()
    def _summaries(self, inputs: Inputs, numbers: Tensor) -> Tensor:
        """``(N, 9 + H)``: what a person can read, then what the network learned."""
        return torch.cat([numbers, self.posterior.embed(*inputs).double()], dim=1)


def extinction_draws(draws: FloatArray, cells: float, times: FloatArray) -> FloatArray:
    """``(S, T)`` chance that a well of ``cells`` dividing cells has none left at ``times``, for
    posterior draws ``(S, >= 4)`` of the rates."""
    rates = GrowthRates(*(np.ascontiguousarray(draws[:, k]) for k in range(4)))
    return growth_extinction(rates, cells, 0.0, times)


def independent_pair(control: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """``(S, 4)`` rates of a pair whose drugs do not interact, from draws ``(S, 4)`` of the control
    and each drug alone. Assumed: what slows division multiplies, as shares of the control's rate;
    what kills, sends to sleep or wakes adds up. Rates below 0 become 0 (more than all is nothing).
    """
    division = first[:, 0] * second[:, 0] / np.maximum(control[:, 0], 1e-12)
    others = first[:, 1:4] + second[:, 1:4] - control[:, 1:4]
    return np.asarray(np.maximum(np.concatenate([division[:, None], others], axis=1), 0.0))
