"""Networks that turn a simulated series into a few numbers: the learned summary statistics.

Series come as ``(B, C, T)``, channels first, float32; summaries are ``(B, H)``. Trained to
regress parameters they are posterior means (Fearnhead & Prangle 2012); as the embedding of a
posterior they are learned with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.bayes.post_shifted import PostShiftedBatchNorm
from models.screen import ScreenError

BLOCKS = (25, 50)
HIDDEN = 100
POOL = 3
_FEWEST = 2
"""A series is pooled no further than to this many times."""


class SeriesCNN(nn.Module):
    """Blocks of two convolutions of width 3, pooled by 3 between blocks; the mean over time; two
    dense layers with batch normalisation (Åkesson, Singh, Wrede & Hellander 2021), here the one
    whose channels do not collapse.

    ``norm`` makes the normalisation of a width. Raises :class:`ScreenError` if ``length`` is too
    short to be pooled between the blocks.
    """

    def __init__(
        self,
        channels: int,
        length: int,
        size: int,
        blocks: Sequence[int] = BLOCKS,
        norm: type[nn.Module] = PostShiftedBatchNorm,
    ) -> None:
        super().__init__()
        if length // POOL ** (len(blocks) - 1) < _FEWEST:
            raise ScreenError(f"{length} times are too few for {len(blocks)} blocks")
        layers: list[nn.Module] = []
        for at, width in enumerate(blocks):
            if at:
                layers.append(nn.MaxPool1d(POOL))
            layers += [nn.Conv1d(channels, width, 3, padding="same"), nn.ReLU()]
            layers += [nn.Conv1d(width, width, 3, padding="same"), nn.ReLU()]
            channels = width
        self.convolutions = nn.Sequential(*layers)
        self.dense = dense(channels, size, norm)

    def forward(self, series: Tensor) -> Tensor:
        """``(B, size)`` of ``(B, C, T)``."""
        found: Tensor = self.dense(self.convolutions(series).mean(dim=-1))
        return found


class PartiallyExchangeable(nn.Module):
    """PEN-d, for series with a memory of ``order`` (Wiqvist et al. 2019): a function of each run of
    ``order + 1`` readings, its mean over time, and the first readings themselves."""

    def __init__(
        self,
        channels: int,
        order: int,
        size: int,
        width: int = 50,
        norm: type[nn.Module] = PostShiftedBatchNorm,
    ) -> None:
        super().__init__()
        self.order = order
        self.runs = nn.Sequential(
            nn.Conv1d(channels, width, order + 1), nn.ReLU(),
            nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, width, 1),
        )  # fmt: skip
        self.dense = dense(width + channels * (order + 1), size, norm)

    def forward(self, series: Tensor) -> Tensor:
        """``(B, size)`` of ``(B, C, T)``, T above ``order``."""
        first = series[..., : self.order + 1].flatten(1)
        found: Tensor = self.dense(torch.cat([self.runs(series).mean(dim=-1), first], dim=1))
        return found


class FilterBank(nn.Module):
    """Long linear filters, and over time the mean, the mean square and the mean product with the
    next filter of what passes: every quadratic statistic of a stationary series up to the filters'
    length lies within reach (pooled statistics: Snyder et al. 2018)."""

    def __init__(self, channels: int, taps: int, size: int, filters: int = 48) -> None:
        super().__init__()
        self.filters = nn.Conv1d(channels, filters, taps, bias=False)
        self.dense = nn.Sequential(
            nn.Linear(3 * filters, 2 * HIDDEN), nn.SiLU(), nn.Linear(2 * HIDDEN, HIDDEN),
            nn.SiLU(), nn.Linear(HIDDEN, size),
        )  # fmt: skip

    def forward(self, series: Tensor) -> Tensor:
        """``(B, size)`` of ``(B, C, T)``, T at least the filters' length."""
        passed = self.filters(series)
        power = passed.square().mean(dim=-1)
        crossed = (passed * passed.roll(1, dims=1)).mean(dim=-1)
        found: Tensor = self.dense(
            torch.cat([passed.mean(dim=-1), torch.log1p(power), crossed], dim=1)
        )
        return found


class SetPooled(nn.Module):
    """One summary of several exchangeable series: the mean and spread over those present, and how
    many there are. The series are first put into an order of their own, so that a permutation
    changes nothing, to the last bit."""

    def __init__(self, encoder: nn.Module, encoded: int, size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dense = nn.Sequential(
            nn.Linear(2 * encoded + 1, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, size)
        )

    def forward(self, series: Tensor, present: Tensor) -> Tensor:
        """``(B, size)`` of series ``(B, K, C, T)`` and which of them are ``present`` ``(B, K)``.

        Raises :class:`ScreenError` for a set without any.
        """
        if not bool(present.any(dim=1).all()):
            raise ScreenError("a set of series is empty")
        series, present = in_order(series, present)
        flat = present.flatten()
        rows = self.encoder(series.flatten(0, 1)[flat])
        encoded = torch.zeros((len(flat), rows.shape[1]), dtype=rows.dtype, device=rows.device)
        encoded[flat] = rows
        encoded = encoded.view(*present.shape, -1)
        weight = present.to(rows.dtype).unsqueeze(-1)
        n = weight.sum(dim=1)
        mean = (encoded * weight).sum(dim=1) / n
        spread = ((encoded - mean.unsqueeze(1)).square() * weight).sum(dim=1) / n
        pooled: Tensor = self.dense(torch.cat([mean, torch.sqrt(spread + 1e-6), n.log()], dim=1))
        return pooled


def in_order(series: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Series ``(B, K, C, T)`` sorted within each set by a key of their own values, those absent
    last; with ``present`` ``(B, K)`` alike."""
    flat = series.flatten(2).to(torch.float64)
    keys = torch.sin(torch.arange(1, flat.shape[2] + 1, dtype=torch.float64, device=flat.device))
    key = torch.where(present, (flat * keys).sum(dim=2), torch.inf)
    order = torch.argsort(key, dim=1, stable=True)
    placed = order[..., None, None].expand(-1, -1, *series.shape[2:])
    return series.gather(1, placed), present.gather(1, order)


def dense(width: int, size: int, norm: type[nn.Module] = PostShiftedBatchNorm) -> nn.Sequential:
    """Two hidden layers of a hundred with normalisation, and a linear end."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(width, HIDDEN), norm(HIDDEN), nn.ReLU()]
        width = HIDDEN
    return nn.Sequential(*layers, nn.Linear(width, size))
