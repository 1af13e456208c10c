"""Lifting wavelets: perfect reconstruction, energy, and the filters of another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pywt
import torch

from models.screen import ScreenError
from models.surfaces.wavelets import (
    WAVELETS,
    analyse,
    bands_of,
    decompose,
    levels_of,
    matrices,
    recompose,
    synthesise,
)

SIZES = range(1, 65)


def _signal(n: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=dtype)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_reconstruction_is_perfect_for_every_length(wavelet: str) -> None:
    """To 1e-6 in float32, one to five levels, odd lengths too."""
    for n in SIZES:
        x = _signal(n)
        for levels in range(6):
            back = recompose(decompose(x, wavelet, levels), wavelet)
            torch.testing.assert_close(back, x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n", [n for n in SIZES if n % 4 == 0])
def test_haar_keeps_energy(n: int) -> None:
    """Parseval: the orthonormal transform of an even axis has the energy of the signal."""
    x = _signal(n, torch.float64)
    parts = decompose(x, "haar", 2)
    torch.testing.assert_close(sum((p**2).sum() for p in parts), (x**2).sum())


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_a_constant_has_no_detail(wavelet: str) -> None:
    """Also at the ends and on odd axes."""
    for n in SIZES:
        coarse, detail = analyse(torch.full((n,), 2.5, dtype=torch.float64), wavelet)
        assert torch.all(detail.abs() < 1e-14)
        torch.testing.assert_close(coarse, torch.full_like(coarse, 2.5 * math.sqrt(2.0)))


def test_a_straight_line_has_no_detail_of_cdf53_inside() -> None:
    """Its prediction is linear; only a mirrored end sees a kink."""
    _, detail = analyse(torch.arange(12.0, dtype=torch.float64), "cdf53")
    assert torch.all(detail[:-1].abs() < 1e-14)
    assert detail[-1].abs() > 0.1


@pytest.mark.parametrize("n", [4, 5, 8, 13, 16, 33, 64])
def test_haar_is_that_of_pywavelets(n: int) -> None:
    """Symmetric extension, coarse and detail, odd axes too; our detail has the other sign."""
    x = _signal(n, torch.float64).numpy()[:, 0]
    theirs = pywt.dwt(x, "haar", mode="symmetric")
    coarse, detail = analyse(torch.from_numpy(x), "haar")
    np.testing.assert_allclose(coarse.numpy(), theirs[0], atol=1e-12)
    np.testing.assert_allclose(detail.numpy(), -theirs[1][: n // 2], atol=1e-12)


@pytest.mark.parametrize("n", [6, 8, 9, 16, 33, 64])
def test_cdf53_is_the_bior22_of_pywavelets(n: int) -> None:
    """Whole-sample extension ("reflect"): the same coefficients up to sign, shifted by one."""
    x = _signal(n, torch.float64).numpy()[:, 0]
    theirs = pywt.dwt(x, "bior2.2", mode="reflect")
    coarse, detail = analyse(torch.from_numpy(x), "cdf53")
    np.testing.assert_allclose(coarse.numpy(), theirs[0][1 : 1 + len(coarse)], atol=1e-12)
    np.testing.assert_allclose(detail.numpy(), -theirs[1][1 : 1 + len(detail)], atol=1e-12)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_matrices_are_the_transform(wavelet: str) -> None:
    """The product of both is the identity, and bands cover every coefficient once."""
    for n in (1, 2, 3, 4, 7, 16, 64):
        levels = levels_of(n)
        there, back = matrices(n, wavelet, levels)
        torch.testing.assert_close(back @ there, torch.eye(n, dtype=torch.float64))
        x = _signal(n, torch.float64)
        torch.testing.assert_close(there @ x, torch.cat(decompose(x, wavelet, levels)))
        covered = [k for _, start, end in bands_of(n, levels) for k in range(start, end)]
        assert covered == list(range(n))


def test_gradients_flow_through_lifting() -> None:
    """The inverse of the transform has the inverse Jacobian."""
    x = _signal(9, torch.float64).requires_grad_(True)
    coarse, detail = analyse(x, "cdf53")
    synthesise(coarse, detail, "cdf53").sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_an_unknown_wavelet_is_named() -> None:
    """Not guessed."""
    with pytest.raises(ScreenError, match="db6"):
        analyse(_signal(8), "db6")
