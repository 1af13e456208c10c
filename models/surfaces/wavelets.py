"""Wavelet transforms of short axes by lifting: 1 to 64 doses, odd numbers too.

One level splits ``n`` samples into ``ceil(n / 2)`` coarse ones and ``floor(n / 2)`` details:

    haar   d_i = (x_{2i+1} - x_{2i}) / sqrt 2,        s_i = (x_{2i} + x_{2i+1}) / sqrt 2
    cdf53  d_i = x_{2i+1} - (x_{2i} + x_{2i+2}) / 2,  s_i = x_{2i} + (d_{i-1} + d_i) / 4,
           then s sqrt 2 and d / sqrt 2

Samples beyond an end are mirrored: half-sample for Haar (an odd last sample pairs with itself),
whole-sample for CDF 5/3. Lifting steps invert exactly, whatever the ends. Filters of 12 taps would
see little but the boundary here. Source: Sweldens, SIAM J Math Anal 29 (1998), 511; Le Gall &
Tabatabai, ICASSP (1988), 761.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from models.screen import ScreenError

WAVELETS = ("haar", "cdf53")
MOST_LEVELS = 2
_ROOT = math.sqrt(2.0)


def analyse(x: Tensor, wavelet: str) -> tuple[Tensor, Tensor]:
    """``(n, ...)`` to coarse ``(ceil(n / 2), ...)`` and detail ``(floor(n / 2), ...)``."""
    even, odd = x[0::2], x[1::2]
    if wavelet == "haar":
        whole = even[: len(odd)]
        coarse = torch.cat([(whole + odd) / _ROOT, _ROOT * even[len(odd) :]])
        return coarse, (odd - whole) / _ROOT
    _require(wavelet)
    if not len(odd):
        return _ROOT * even, odd
    detail = odd - 0.5 * (even[: len(odd)] + _right(even, len(odd)))
    coarse = even + 0.25 * (_left(detail, len(even)) + _same(detail, len(even)))
    return _ROOT * coarse, detail / _ROOT


def synthesise(coarse: Tensor, detail: Tensor, wavelet: str) -> Tensor:
    """The inverse of :func:`analyse`, ``(n, ...)``."""
    if wavelet == "haar":
        pairs = coarse[: len(detail)]
        even = torch.cat([(pairs - detail) / _ROOT, coarse[len(detail) :] / _ROOT])
        return _interleave(even, (pairs + detail) / _ROOT)
    _require(wavelet)
    even, inner = coarse / _ROOT, detail * _ROOT
    if not len(inner):
        return even
    even = even - 0.25 * (_left(inner, len(even)) + _same(inner, len(even)))
    odd = inner + 0.5 * (even[: len(inner)] + _right(even, len(inner)))
    return _interleave(even, odd)


def decompose(x: Tensor, wavelet: str, levels: int) -> list[Tensor]:
    """``(n, ...)`` to [coarsest samples, coarsest detail, ..., finest detail]."""
    details: list[Tensor] = []
    for _ in range(levels):
        x, detail = analyse(x, wavelet)
        details.insert(0, detail)
    return [x, *details]


def recompose(parts: list[Tensor], wavelet: str) -> Tensor:
    """The inverse of :func:`decompose`."""
    x = parts[0]
    for detail in parts[1:]:
        x = synthesise(x, detail, wavelet)
    return x


def levels_of(n: int) -> int:
    """Levels that an axis of ``n`` doses is split into: two from four doses on."""
    return min(MOST_LEVELS, max(n, 1).bit_length() - 1)


@lru_cache(maxsize=256)
def bands_of(n: int, levels: int) -> tuple[tuple[int, int, int], ...]:
    """(band, start, end) of the coefficients in :func:`matrices`; band 0 is coarse, ``l`` the
    detail of level ``l``, 1 the finest."""
    sizes: list[tuple[int, int]] = []
    for level in range(1, levels + 1):
        sizes.insert(0, (level, n // 2))
        n -= n // 2
    found, start = [], 0
    for band, size in [(0, n), *sizes]:
        if size:
            found.append((band, start, start + size))
        start += size
    return tuple(found)


@lru_cache(maxsize=256)
def matrices(n: int, wavelet: str, levels: int) -> tuple[Tensor, Tensor]:
    """The transform of an axis and its inverse, ``(n, n)`` float64 each: lifting of unit vectors.

    On axes this short one small product is quicker than the steps of the lifting.
    """
    unit = torch.eye(n, dtype=torch.float64)
    parts = decompose(unit, wavelet, levels)
    sizes = [len(part) for part in parts]
    back = recompose([part.contiguous() for part in torch.split(unit, sizes)], wavelet)
    return torch.cat(parts), back


def _require(wavelet: str) -> None:
    if wavelet not in WAVELETS:
        raise ScreenError(f"wavelet {wavelet!r} is none of {', '.join(WAVELETS)}")


def _right(even: Tensor, n: int) -> Tensor:
    """``x_{2i+2}`` for each of ``n`` odd samples; mirrored at the last one of an even axis."""
    return even[1:] if len(even) > n else torch.cat([even[1:], even[-1:]])


def _left(detail: Tensor, n: int) -> Tensor:
    """``d_{i-1}`` for each of ``n`` even samples."""
    return torch.cat([detail[:1], detail])[:n]


def _same(detail: Tensor, n: int) -> Tensor:
    """``d_i`` for each of ``n`` even samples; mirrored at the last one of an odd axis."""
    return detail if len(detail) == n else torch.cat([detail, detail[-1:]])


def _interleave(even: Tensor, odd: Tensor) -> Tensor:
    out = even.new_empty((len(even) + len(odd), *even.shape[1:]))
    out[0::2], out[1::2] = even, odd
    return out
