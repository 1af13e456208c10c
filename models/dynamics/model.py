"""A system, its observation, its hierarchy and their approximate posterior, as one module.

Bound for N series with shared unknowns G and individual u_n, one draw of G for each series:

    log p(Y) >= sum_n E_q(G) E_q(u_n) log mean_k [p(y_n | u_nk, G) p(u_nk | G) / q(u_nk | y_n)]
                - KL[q(G) || p(G)].

The K samples of a series share their G, which keeps the bound valid for all series together (with
a G for each sample it would be that of each series alone, its shared unknowns learned N times).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from models.dynamics.encoder import Encoder, SeriesFeatures
from models.dynamics.local import Local
from models.dynamics.observation import Observation, Readings
from models.dynamics.parameters import Hierarchy
from models.dynamics.series import TimeCourses
from models.dynamics.shared import Knowledge, SharedPosterior
from models.dynamics.solver import Solver
from models.dynamics.systems.protocol import Observed, System
from models.screen import FloatArray, ScreenError

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Batch:
    """Series as tensors: readings, inputs ``(I, 1, N)``, groups ``(N,)`` by factor, features
    ``(N, F)``, and the times ``(T,)`` they are read at."""

    readings: Readings
    inputs: Tensor
    groups: Mapping[str, Tensor]
    features: Tensor
    times: FloatArray

    def __len__(self) -> int:
        return len(self.features)

    def select(self, rows: Tensor) -> Batch:
        """The series at ``rows``."""
        return replace(
            self,
            readings=self.readings.select(rows),
            inputs=self.inputs[..., rows],
            groups={factor: index[rows] for factor, index in self.groups.items()},
            features=self.features[rows],
        )


@dataclass(frozen=True)
class Moments:
    """The prior of series given shared unknowns, on the inner scale: ``location`` ``(K, N, P)`` of
    all elements, ``sd`` ``(K, N, Q)`` of individual ones."""

    location: Tensor
    sd: Tensor


@dataclass(frozen=True)
class Terms:
    """The parts of the log weights, ``(K, N)`` nats each, and the elements ``(K, N, P)``."""

    log_likelihood: Tensor
    log_prior: Tensor
    log_q: Tensor
    elements: Tensor

    def log_weights(self) -> Tensor:
        """log p(y | u, G) + log p(u | G) - log q(u)."""
        return self.log_likelihood + self.log_prior - self.log_q


class DynamicModel(nn.Module):
    """All that is learned: weights of the system, posterior of shared unknowns, encoder.

    ``factors``: labels of the groups by factor; groups that come later are drawn from their prior.
    """

    def __init__(
        self,
        system: System,
        observation: Observation,
        solver: Solver,
        factors: Mapping[str, tuple[str, ...]],
        features: SeriesFeatures,
        generator: torch.Generator,
        known: Knowledge | None = None,
    ) -> None:
        super().__init__()
        if observation.channels != system.channels:
            raise ScreenError(
                f"the system is read in {system.channels}, the observation in "
                f"{observation.channels}"
            )
        self.system, self.observation, self.solver = system, observation, solver
        parameters = system.parameters_of_model + observation.parameters()
        self.hierarchy = Hierarchy(parameters, factors)
        self.features = features
        self.shared = SharedPosterior(self.hierarchy, known)
        location, spread = self.hierarchy.start()
        self.location: Tensor
        self.spread: Tensor
        self.register_buffer("location", location)
        self.register_buffer("spread", spread)
        width = 0 if features.mean is None else len(features.mean)
        self.encoder = Encoder(width, self.hierarchy.series_size, generator)

    def batch(self, series: TimeCourses) -> Batch:
        """``series`` as tensors; raises :class:`ScreenError` if its channels are others."""
        if series.channels != self.system.channels:
            raise ScreenError(f"the series have {series.channels}, not {self.system.channels}")
        groups = {f: self._index(series, f) for f in self.hierarchy.used_factors}
        readings = Readings.of(self.tensor(series.values), self.tensor(series.times))
        inputs = self.tensor(series.inputs.T)[:, None]
        features = self.tensor(self.features.of(series))
        return Batch(readings, inputs, groups, features, series.times)

    def tensor(self, values: FloatArray) -> Tensor:
        """float32 on the device of the model."""
        return torch.as_tensor(values, dtype=torch.float32, device=self.location.device)

    def _index(self, series: TimeCourses, name: str) -> Tensor:
        """The group of each series among the labels known, -1 for a new one."""
        factor = series.factor(name)
        known = {label: at for at, label in enumerate(self.hierarchy.labels[name])}
        place = [known.get(label, -1) for label in factor.labels]
        index = torch.from_numpy(np.asarray(place, dtype=np.int64)[factor.index])
        return index.to(self.location.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DynamicModel:
        """``to``, ``cuda``, ``cpu``: the hierarchy's tables go along."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.hierarchy.move(self.location.device)
        return self

    def local(self, batch: Batch) -> Local:
        """The encoder's posterior of each series."""
        found: Local = self.encoder(batch.features)
        return found

    def inner(self, standard: Tensor) -> Tensor:
        """Individual coordinates from standardised ones."""
        return self.location + self.spread * standard

    def moments(
        self, shared: Tensor, batch: Batch, noise: torch.Generator | None = None
    ) -> Moments:
        """The prior of the series of ``batch`` for standardised ``shared`` ``(K or 1, N, D)``;
        ``noise`` draws the effects of groups not seen before."""
        return Moments(*self.hierarchy.moments(self.shared.inner(shared), batch.groups, noise))

    def elements(self, sampled: Tensor, moments: Moments) -> tuple[Tensor, Tensor]:
        """All elements ``(K, N, P)`` of sampled series, and log p(u | G) ``(K, N)``.

        ``sampled``: standardised ``(K, N, Q)``.
        """
        location, sd = moments.location, moments.sd
        index = self.hierarchy.individual
        u = self.inner(sampled)
        white = (u - location[..., index]) / sd
        # In units of the standardised coordinates, as q is: the unit cancels in the ratio.
        density = -0.5 * white.square() - torch.log(sd / self.spread) - HALF_LOG_2PI
        elements = location.expand(len(sampled), -1, -1).index_copy(2, index, u)
        return elements, density.sum(-1)

    def run(self, elements: Tensor, inputs: Tensor, times: FloatArray) -> Observed:
        """What the system says at ``times`` for elements ``(K, N, P)``."""
        context = self.system.prepare(self.hierarchy.values(elements), inputs)
        return self.system.observe(self.solver(self.system, times, context), context)

    def terms(self, batch: Batch, local: Local, sampled: Tensor, moments: Moments) -> Terms:
        """The parts of the log weights at samples of individual coordinates, drawn from
        ``local``, under the prior of these ``moments``."""
        elements, log_prior = self.elements(sampled, moments)
        observed = self.run(elements, batch.inputs, batch.times)
        values = self.hierarchy.values(elements)
        likelihood = self.observation.log_density(batch.readings, observed, values)
        return Terms(likelihood, log_prior, local.log_density(sampled), elements)

    def normal(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Standard normal numbers on the device of the model, drawn on the generator's."""
        return torch.randn(shape, generator=generator).to(self.location.device)
