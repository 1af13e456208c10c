"""The operator: identity, a wavelet-diagonal target, symmetry, members that are their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.surfaces.blocks import Blocks
from models.surfaces.inputs import Context, channels, context_of, encode
from models.surfaces.kriging import Field
from models.surfaces.network import BAND_PAIRS, Sizes, draw_parameters, forward, wavelet_block
from tests.models.surfaces.toys import LINES, N_COMPOUNDS, N_LINES, blocks

FIELD = Field.shaped_by_level((-3.0, -3.0, -3.0, -3.0, -4.0, -0.5, 0.0, 0.0))
SIZES = Sizes(N_COMPOUNDS, N_LINES, 0, width=6)


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 16), (1, 7)])
def test_an_identity_operator_is_the_identity(wavelet: str, shape: tuple[int, int]) -> None:
    """``R`` the identity, no skip: what goes in comes out."""
    v = torch.randn(2, 3, *shape, 5, generator=torch.Generator().manual_seed(1))
    bands = torch.eye(5).expand(2, len(BAND_PAIRS), 5, 5)
    skip = torch.zeros(2, 5, 5), torch.zeros(2, 5)
    torch.testing.assert_close(wavelet_block(v, bands, skip, wavelet, _same), v)


def test_a_wavelet_diagonal_operator_is_learned() -> None:
    """A target that scales each band by its own factor: to 1e-3."""
    generator = torch.Generator().manual_seed(2)
    factors = torch.randn(len(BAND_PAIRS), 2, 2, generator=generator)
    skip = torch.zeros(1, 2, 2), torch.zeros(1, 2)
    learned = torch.zeros(1, len(BAND_PAIRS), 2, 2, requires_grad=True)
    optimizer = torch.optim.Adam([learned], lr=0.05)
    v = torch.randn(1, 32, 8, 8, 2, generator=generator)
    target = wavelet_block(v, factors[None], skip, "cdf53", _same)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.98 ** max(0, step - 100)
        optimizer.zero_grad()
        (wavelet_block(v, learned, skip, "cdf53", _same) - target).square().mean().backward()
        optimizer.step()
    new = torch.randn(1, 8, 8, 8, 2, generator=generator)
    away = wavelet_block(new, learned, skip, "cdf53", _same)
    away = away - wavelet_block(new, factors[None], skip, "cdf53", _same)
    assert float(away.detach().abs().max()) < 1e-3


def _encoded(table: Blocks, context: Context) -> tuple[torch.Tensor, torch.Tensor]:
    empty = np.zeros((len(table), *table.shape, 4)), np.zeros((len(table), 3))
    encoded = encode(table, context, *empty)
    mask = torch.from_numpy(table.measured).float()
    weights = {
        name: torch.stack([value, 2.0 * value])
        for name, value in draw_parameters(SIZES, torch.Generator().manual_seed(3)).items()
    }
    return forward(weights, SIZES, encoded, channels(encoded, mask, FIELD, 0.1)), mask


@pytest.mark.parametrize("shape", [(4, 4), (3, 6)])
def test_the_network_commutes_with_a_swap(shape: tuple[int, int]) -> None:
    """Up to rounding; the model averages both orders to make it exact."""
    table = blocks(shape).select(np.arange(9))
    mask = np.random.default_rng(1).random(table.viability.shape) < 0.3
    table = table.seen_only(mask)
    context = context_of((table,), LINES, N_COMPOUNDS)
    there, _ = _encoded(table, context)
    back, _ = _encoded(table.swapped(), context)
    torch.testing.assert_close(back.transpose(2, 3), there, atol=2e-5, rtol=1e-4)


def test_one_network_serves_every_grid() -> None:
    """Weights belong to bands, not to places."""
    for shape in ((1, 1), (4, 16), (16, 16), (7, 5)):
        table = blocks(shape).select(np.arange(2))
        found, _ = _encoded(table, context_of((table,), LINES, N_COMPOUNDS))
        assert found.shape == (2, 2, *shape, 2)
        assert bool(torch.isfinite(found).all())
