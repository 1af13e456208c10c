"""Energies behind a bank of recursive filters: a fixed first layer for stationary series.

A filter e_t = y_t - a e_(t-1) - b e_(t-2), from rest, whitens the series whose spectrum is its
inverse; where that is the truth the energy of what is left is least, and what it is at many (a, b)
says how much less likely all others are. The filters are drawn once and not learned, so that all
of a training set passes them once; a network reads the logarithms of the energies, and, by softmin
over the bank at several learned temperatures, where it is least (the idea of random features:
Rahimi & Recht 2007; of attention: Bahdanau et al. 2014). Both directions of time are averaged:
nothing of a stationary Gaussian series knows which one is forward.

A filter that starts from rest rings with what it never saw, near the edges of the triangle to the
end of the series. ``backcast`` takes the two shocks before the first reading as unknowns of the
same size as all others and leaves the least energy that any of them allow: the unconditional sum
of squares of Box & Jenkins (1970). For a moving average of order two with the filter's own
coefficients that is the quadratic part of the exact likelihood, so a bank is a summary by someone
who knows the family of the model, though not its likelihood's determinant or posterior.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.dynamics.stochastic.priors import TrianglePrior
from models.screen import ScreenError

_ROWS = 4000
_TEMPERATURES = (0.3, 1.0, 2.5, 6.0, 15.0, 40.0)
COMPONENTS = 48
"""Energies of neighbours are nearly the same number: so many principal components are read."""
_FLAT = 1e-7
"""Variance of a component, as a share of the first, below which it is rounding."""


def triangle_nodes(n: int, seed: int) -> Tensor:
    """``(n, 2)`` coefficients of stable filters, in the triangle of those that can be inverted:
    half even over it, half nearer to its edges, where filters ring longest."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand((n, 2), generator=generator, dtype=torch.float64)
    unit[::2] = torch.sin(torch.pi / 2 * unit[::2]).square()
    return TrianglePrior().from_unit(unit)


class ResonatorBank:
    """Filters of coefficients ``nodes`` ``(K, 2)`` for series of ``length``, from rest or
    ``backcast``.

    Raises :class:`ScreenError` for a filter that is not stable.
    """

    def __init__(self, nodes: Tensor, length: int, *, backcast: bool = False) -> None:
        if not bool(TrianglePrior().contains(nodes).all()):
            raise ScreenError("a filter of the bank is not stable")
        self.nodes, self.length, self.backcast = nodes, length, backcast
        answer = [torch.ones(len(nodes), dtype=torch.float64)]
        before = torch.zeros_like(answer[0])
        for _ in range(length - 1):
            answer.append(-nodes[:, 0] * answer[-1] - nodes[:, 1] * before)
            before = answer[-2]
        place = torch.arange(length)
        lag = place[:, None] - place
        table = torch.stack(answer, dim=1)[:, lag.clamp(min=0)]
        # (K, T, T) lower triangular: reading at t from those up to it.
        matrices = torch.where(lag >= 0, table, 0.0)
        if backcast:
            matrices = _without_start(matrices, nodes)
        self._matrices = matrices.to(torch.float32)

    def energies(self, series: Tensor) -> Tensor:
        """``(N, K)`` mean squares behind each filter, of ``(N, T)`` float32, both ways of time."""
        if series.shape[1] != self.length:
            raise ScreenError(f"the bank is made for {self.length} readings")
        # Backcast energies are the same in both ways of time.
        once = self._behind if self.backcast else self._both
        return torch.cat([once(part) for part in torch.split(series, _ROWS)])

    def _both(self, series: Tensor) -> Tensor:
        found = self._behind(torch.cat([series, series.flip(1)]))
        return (found[: len(series)] + found[len(series) :]) / 2

    def _behind(self, series: Tensor) -> Tensor:
        columns = series.T.contiguous()
        return torch.stack([(one @ columns).square().mean(dim=0) for one in self._matrices], dim=1)


def _without_start(matrices: Tensor, nodes: Tensor) -> Tensor:
    """``(K, T, T)`` that give the least energy over the two shocks before the series, these
    counted, of what ``matrices`` leave from rest: min |F y - G s|^2 + |s|^2 =
    (F y)' (I + G G')^-1 F y."""
    start = torch.zeros(*matrices.shape[:2], 2, dtype=matrices.dtype)
    start[:, 0, 0], start[:, 1, 0], start[:, 0, 1] = nodes[:, 0], nodes[:, 1], nodes[:, 1]
    heard = matrices @ start
    unit = torch.eye(matrices.shape[1], dtype=matrices.dtype)
    factor = torch.linalg.cholesky(unit + heard @ heard.transpose(1, 2))
    found: Tensor = torch.linalg.solve_triangular(factor, matrices, upper=False)
    return found


class EnergyEmbedding(nn.Module):
    """``(B, size)`` of energies ``(B, K)``; ``known`` ``(N, K)`` set the centre, and the principal
    components that are read, each of unit variance."""

    def __init__(self, bank: ResonatorBank, known: Tensor, size: int, width: int = 256) -> None:
        super().__init__()
        logs = known.log()
        self.register_buffer("centre", logs.mean(dim=0))
        components = _components(logs)
        self.register_buffer("components", components)
        self._scale = bank.length / 2
        nodes = bank.nodes.float()
        values = torch.cat([nodes, nodes.square(), nodes.prod(dim=1, keepdim=True)], dim=1)
        heads = len(_TEMPERATURES)
        self.temperatures = nn.Parameter(torch.tensor(_TEMPERATURES).log())
        self.offsets = nn.Parameter(torch.zeros(heads, len(nodes)))
        self.values = nn.Parameter(values.repeat(heads, 1, 1))
        self.network = nn.Sequential(
            nn.Linear(components.shape[1] + heads * values.shape[1], width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size),
        )  # fmt: skip

    def forward(self, energies: Tensor) -> Tensor:
        """See the class."""
        above = self._scale * (energies - energies.amin(dim=1, keepdim=True))
        weights = -above[:, None] / self.temperatures.exp()[:, None] + self.offsets
        least = torch.einsum("nhk,hkv->nhv", torch.softmax(weights, dim=2), self.values)
        assert isinstance(self.centre, Tensor)  # noqa: S101 - buffers are untyped
        assert isinstance(self.components, Tensor)  # noqa: S101
        scaled = (energies.log() - self.centre) @ self.components
        found: Tensor = self.network(torch.cat([scaled, least.flatten(1)], dim=1))
        return found


def _components(logs: Tensor) -> Tensor:
    """``(K, R)`` that make principal components of unit variance of ``(N, K)``, the largest."""
    values, vectors = torch.linalg.eigh(torch.cov(logs.T.to(torch.float64)))
    values, vectors = values.flip(0)[:COMPONENTS], vectors.flip(1)[:, :COMPONENTS]
    kept = values > _FLAT * values[0]
    found: Tensor = vectors[:, kept] / values[kept].sqrt()
    return found.to(torch.float32)
