"""Layers whose start is drawn from a generator, and the field that is equivariant by construction.

Spectral normalisation divides a matrix by its largest singular value, computed exactly: the
matrices are small, and power iteration would carry a state. Source: Miyato et al., ICLR 2018.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Dense(nn.Module):
    """``(..., inputs)`` to ``(..., outputs)``; ``spectral``: with a Lipschitz constant of 1."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generator: torch.Generator,
        *,
        spectral: bool = False,
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        sd = scale / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(sd * torch.randn(outputs, inputs, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.spectral = spectral

    def forward(self, x: Tensor) -> Tensor:
        """Linear."""
        weight: Tensor = self.weight
        if self.spectral and weight.numel():
            weight = weight / _largest_singular_value(weight)
        return functional.linear(x, weight, self.bias)


def _largest_singular_value(weight: Tensor) -> Tensor:
    """u^T W v with both vectors held fixed: the value and its derivative are exact, and the
    decomposition need not be differentiated."""
    with torch.no_grad():
        u, _, v = torch.linalg.svd(weight, full_matrices=False)
    found: Tensor = (u[:, 0] @ weight @ v[0]).abs()
    return found


class Wells(nn.Module):
    """Values of each well from both drugs there: ``(..., m, n, outputs)``.

    Its own drug's columns ``(..., m, p)``, the other's ``(..., n, p)``, those of the well
    ``(..., m, n, w)`` and of the block ``(..., c)`` are added after one matrix each, so that the
    cost of a first layer is paid for each dose, not for each pair of doses. Not symmetric: the
    callers average it over the swap.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        hidden: int,
        outputs: int,
        generator: torch.Generator,
        *,
        spectral: bool = False,
        last: float = 1.0,
    ) -> None:
        super().__init__()
        own, well, block = widths
        self.own = Dense(own, hidden, generator, spectral=spectral)
        self.other = Dense(own, hidden, generator, spectral=spectral, bias=False)
        self.well = Dense(well, hidden, generator, spectral=spectral, bias=False)
        self.block = Dense(block, hidden, generator, spectral=spectral, bias=False)
        self.middle = Dense(hidden, hidden, generator, spectral=spectral)
        self.last = Dense(hidden, outputs, generator, spectral=spectral, scale=last)

    def forward(self, own: Tensor, other: Tensor, well: Tensor, block: Tensor) -> Tensor:
        """See the class."""
        first = self.own(own).unsqueeze(-2) + self.other(other).unsqueeze(-3)
        first = first + self.well(well) + self.block(block)[..., None, None, :]
        found: Tensor = self.last(functional.silu(self.middle(functional.silu(first))))
        return found


class SymmetricField(nn.Module):
    """Residuals ``(..., m, n)`` from noise and condition: swapping both transposes them.

    r = (T(rows, columns) + T(columns, rows)^T) / 2, an average over the group.
    """

    def __init__(
        self,
        noise: int,
        widths: tuple[int, int],
        hidden: int,
        generator: torch.Generator,
        *,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        columns, context = widths
        self.wells = Wells(
            (columns + noise, 1, context + noise),
            hidden,
            1,
            generator,
            spectral=spectral,
            last=0.3,
        )

    def forward(self, noise: tuple[Tensor, Tensor, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """``noise``: ``(..., b, width)`` of the pair, the row drug and the column drug."""
        pair, first, second = noise
        rows, columns = _joined(batch["rows"], first), _joined(batch["columns"], second)
        block = torch.cat([batch["context"].expand(*pair.shape[:-1], -1), pair], dim=-1)
        reference = batch["reference"].expand(*pair.shape[:-1], -1, -1).unsqueeze(-1)
        one = self.wells(rows, columns, reference, block)
        two = self.wells(columns, rows, reference.transpose(-3, -2), block).transpose(-3, -2)
        found: Tensor = 0.5 * (one + two).squeeze(-1)
        return found


def _joined(doses: Tensor, noise: Tensor) -> Tensor:
    """Columns of the doses ``(b, m, p)`` with noise ``(..., b, k)`` of their drug."""
    shape = (*noise.shape[:-1], doses.shape[1])
    wide = noise.unsqueeze(-2).expand(*shape, noise.shape[-1])
    return torch.cat([doses.expand(*shape, doses.shape[2]), wide], dim=-1)
