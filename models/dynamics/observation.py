"""From what a system says to what is read: an offset, a noise that grows with the signal, memory.

For channel c of a series, with the system's mean m_t and variance v_t,

    y_t = m_t + offset_c + s_t z_t,    s_t^2 = floor_c^2 + (share_c m_t)^2 + v_t,
    z_t | z_before ~ N(phi z_before, 1 - phi^2),    phi = exp(-(t - t_before) / memory_c):

an Ornstein-Uhlenbeck process sampled at the readings, exact for irregular and missing ones. What
a model cannot follow lasts longer than one reading (Kennedy & O'Hagan 2001); noise without memory
takes that for many independent proofs and is far too sure of the parameters. Each z_t is standard
normal, so bands of single readings need s_t alone. All of it differs between series with learned
spreads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dynamics.parameters import Parameter, Prior, Spread
from models.dynamics.systems.protocol import Observed, Values

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Readings:
    """Readings of ``N`` series, ready for the likelihood.

    ``values``: ``(T, C, 1, N)``, 0 where nothing was read; ``observed``: the same shape, 1 or 0.
    ``before``: ``(T, C, 1, N)`` index in time of the reading before, -1 for the first one;
    ``gap``: hours since then (1 for the first). ``complete``: nothing is missing.
    """

    values: Tensor
    observed: Tensor
    before: Tensor
    gap: Tensor
    complete: bool

    @classmethod
    def of(cls, values: Tensor, times: Tensor) -> Readings:
        """From ``(N, C, T)`` with NaN where nothing was read, and ``(T,)`` hours."""
        laid = values.permute(2, 1, 0)[:, :, None]
        observed = ~torch.isnan(laid)
        count = torch.arange(len(times), device=laid.device)[:, None, None, None]
        latest = torch.where(observed, count, torch.full_like(count, -1)).cummax(0).values
        before = torch.cat([torch.full_like(latest[:1], -1), latest[:-1]])
        gap = times[:, None, None, None] - times[before.clamp_min(0)]
        gap = torch.where(before < 0, torch.ones_like(gap), gap)
        filled = torch.where(observed, laid, torch.zeros_like(laid))
        return cls(filled, observed.to(laid.dtype), before, gap, bool(observed.all()))

    def select(self, rows: Tensor) -> Readings:
        """The series at ``rows``."""
        return Readings(
            self.values[..., rows],
            self.observed[..., rows],
            self.before[..., rows],
            self.gap[..., rows],
            self.complete,
        )


@dataclass(frozen=True)
class Observation:
    """The observation model of a system's ``channels``.

    ``floor`` and ``share``: prior medians of the two parts of the noise, in the unit of the data
    and as a fraction (``None`` for no such part); ``memory``: prior median in hours, ``None`` for
    independent noise. ``offset``: prior median of the spread of offsets, ``None`` for none.
    ``doubt``: prior sd of the logarithms of the three, 0 if they are known. ``differ``: prior
    median of the spread of these logarithms between series, ``None`` if series are alike.
    """

    channels: tuple[str, ...]
    floor: float = 0.02
    share: float | None = 0.1
    memory: float | None = 1.0
    offset: float | None = 0.001
    doubt: float = 2.0
    differ: float | None = 0.3

    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the observation, one element a channel."""
        c = len(self.channels)
        differ = None if self.differ is None else Spread(self.differ, 0.7)
        medians = {
            "noise_floor": self.floor,
            "noise_share": self.share,
            "noise_memory": self.memory,
        }
        found = [
            Parameter(name, Prior.lognormal(math.log(median), self.doubt), c, (), differ)
            for name, median in medians.items()
            if median is not None
        ]
        if self.offset is not None:
            spread = Spread(self.offset, 1.5)
            found.append(Parameter("offset", Prior.normal(0.0, 0.0), c, (), spread))
        return tuple(found)

    def mean(self, system: Observed, values: Values) -> Tensor:
        """``(T, C, K, N)`` expected readings."""
        return system.mean if self.offset is None else system.mean + _channels(values["offset"])

    def scale(self, system: Observed, values: Values) -> Tensor:
        """``(T, C, K, N)`` standard deviation of each reading."""
        variance = _channels(values["noise_floor"]).square().expand(system.mean.shape)
        if self.share is not None:
            variance = variance + (_channels(values["noise_share"]) * system.mean).square()
        if system.variance is not None:
            variance = variance + system.variance
        return torch.sqrt(variance)

    def log_density(self, readings: Readings, system: Observed, values: Values) -> Tensor:
        """log p(readings | parameters) of each sample and series, ``(K, N)`` nats."""
        scale = self.scale(system, values)
        z = (readings.values - self.mean(system, values)) / scale
        density = -torch.log(scale) - HALF_LOG_2PI
        if self.memory is None:
            density = density - 0.5 * z.square()
        else:
            innovation, log_sd = self._innovation(z, readings, values)
            density = density - log_sd - 0.5 * innovation.square()
        if readings.complete:
            return density.sum((0, 1))
        return (density * readings.observed).sum((0, 1))

    def _innovation(self, z: Tensor, readings: Readings, values: Values) -> tuple[Tensor, Tensor]:
        """What is new in each residual, standardised, and the log sd of it."""
        exponent = -readings.gap / _channels(values["noise_memory"])
        first = readings.before < 0
        phi = torch.where(first, torch.zeros_like(exponent), torch.exp(exponent))
        if readings.complete:
            before = torch.cat([torch.zeros_like(z[:1]), z[:-1]])
        else:
            before = torch.gather(z, 0, readings.before.clamp_min(0).expand(z.shape))
        # 1 - phi^2 without cancellation where the memory is far longer than the gap.
        left = torch.where(first, torch.ones_like(exponent), -torch.expm1(2 * exponent))
        return (z - phi * before) * torch.rsqrt(left), 0.5 * torch.log(left)

    def kept(self, values: Values, hours: float) -> Tensor:
        """Mean correlation of residuals ``hours`` apart, ``(C, N)`` float64; 0 without memory."""
        floor = values["noise_floor"]
        if self.memory is None:
            return torch.zeros_like(_channels(floor)[0].mean(1)).double()
        return torch.exp(-hours / _channels(values["noise_memory"])[0].double()).mean(1)

    def follow(
        self, readings: Readings, system: Observed, values: Values, generator: torch.Generator
    ) -> Tensor:
        """A reading at each time given the series' own last one before it, ``(T, C, K, N)``.

        Each is a draw of its own: together they are no curve (:meth:`draw` gives those).
        """
        mean, scale = self.mean(system, values), self.scale(system, values)
        noise = torch.randn(scale.shape, generator=generator, dtype=scale.dtype).to(scale.device)
        if self.memory is None:
            return mean + scale * noise
        z = (readings.values - mean) / scale
        before = torch.gather(z, 0, readings.before.clamp_min(0).expand(z.shape))
        exponent = -readings.gap / _channels(values["noise_memory"])
        first = readings.before < 0
        kept = torch.where(first, torch.zeros_like(exponent), torch.exp(exponent))
        new = torch.where(first, torch.ones_like(exponent), torch.sqrt(-torch.expm1(2 * exponent)))
        return mean + scale * (kept * before + new * noise)

    def draw(
        self, system: Observed, values: Values, times: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One set of readings of each sample and series at all ``times``, ``(T, C, K, N)``."""
        mean, scale = self.mean(system, values), self.scale(system, values)
        noise = torch.randn(scale.shape, generator=generator, dtype=scale.dtype).to(scale.device)
        if self.memory is None:
            return mean + scale * noise
        memory, z = _channels(values["noise_memory"])[0], [noise[0]]
        for step in range(1, len(times)):
            exponent = -(times[step] - times[step - 1]) / memory
            kept, new = torch.exp(exponent), torch.sqrt(-torch.expm1(2 * exponent))
            z.append(kept * z[-1] + new * noise[step])
        return mean + scale * torch.stack(z)


def _channels(value: Tensor) -> Tensor:
    """A parameter ``(C, K, N)`` (or ``(K, N)`` for one channel) as ``(1, C, K, N)``."""
    return value[None] if value.ndim == 3 else value[None, None]
