"""The wavelet neural operator: all members of an ensemble as one batched program.

Every weight has the members on its first axis, every activation too, so that one product serves all
members. A block is ``v -> act(W^-1 R W v + v K + b)``: a separable wavelet transform of both dose
axes, one channel mixing ``R`` for each pair of bands, the inverse, and a mixing of each well's own
channels. Weights belong to bands, not to places: a network runs on any grid, and says where it is
by coordinates. Bands (i, j) and (j, i) share ``R``, both compounds share their lift, and what joins
them is a sum and a product: the operator commutes with a swap of the compounds.
Source: Tripura & Chakraborty, Comput Methods Appl Mech Eng 404 (2023), 115783, in which weights
belong to places.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from models.bayes.channel_health import mark_activation
from models.surfaces.inputs import DOSE_FEATURES, SHARED_FEATURES, Channels, Encoded
from models.surfaces.wavelets import MOST_LEVELS, bands_of, levels_of, matrices

Parameters = dict[str, Tensor]
Activation = Callable[[Tensor], Tensor]
BAND_PAIRS = tuple((i, j) for i in range(MOST_LEVELS + 1) for j in range(i, MOST_LEVELS + 1))


@dataclass(frozen=True)
class Sizes:
    """Widths of a network and the tables that it embeds; ``wavelet`` empty: no transforms."""

    compounds: int
    lines: int
    descriptors: int
    width: int = 16
    embedding: int = 4
    layers: int = 2
    wavelet: str = "haar"

    def shapes(self) -> dict[str, tuple[tuple[int, ...], float]]:
        """Shape and prior standard deviation of each weight, without the members' axis."""
        w, e = self.width, self.embedding
        lift = DOSE_FEATURES + 2 * e + self.descriptors
        joined = 2 * w + SHARED_FEATURES
        found: dict[str, tuple[tuple[int, ...], float]] = {
            "compound": ((self.compounds + 1, e), 0.5),
            "line": ((self.lines + 1, e), 0.5),
            **_linear("lift", lift, w),
            **_linear("lift_more", w, w),
            **_linear("join", joined, w),
            **_linear("out", w, w),
            **_linear("last", w, 2),
        }
        for layer in range(self.layers):
            found |= _linear(f"skip{layer}", w, w)
            if self.wavelet:
                found[f"bands{layer}"] = ((len(BAND_PAIRS), w, w), 1.0 / math.sqrt(w))
        return found


def draw_parameters(sizes: Sizes, generator: torch.Generator) -> Parameters:
    """One member's weights: normal, scaled so that signals keep their size; biases too."""
    return {
        name: sd * torch.randn(shape, generator=generator)
        for name, (shape, sd) in sizes.shapes().items()
    }


def wavelet_block(
    v: Tensor, bands: Tensor, skip: tuple[Tensor, Tensor], wavelet: str, activation: Activation
) -> Tensor:
    """``(k, b, m, n, c)`` to the same: ``act(W^-1 R W v + v K + bias)``.

    ``bands``: ``(k, len(BAND_PAIRS), c, c)``; ``skip``: ``K`` ``(k, c, c)`` and bias ``(k, c)``.
    """
    return activation(_linear_map(v, *skip) + _in_bands(v, bands, wavelet))


def forward(weights: Parameters, sizes: Sizes, encoded: Encoded, channels: Channels) -> Tensor:
    """``(k, b, m, n, 2)`` of all ``k`` members: a correction, and a log standard deviation.

    Both in units of the residuals; equal to that of swapped blocks, transposed, up to rounding.
    """
    one = _lift(weights, encoded.row_doses, encoded.compound[:, 0], encoded)
    two = _lift(weights, encoded.column_doses, encoded.compound[:, 1], encoded)
    one, two = one[:, :, :, None, :], two[:, :, None, :, :]
    members = one.shape[0]
    shared = channels.shared.expand(members, *channels.shared.shape)
    joined = torch.cat([one + two, one * two, shared], dim=-1)
    v = _gelu("join", _linear_map(joined, weights["join"], weights["join_bias"]))
    for layer in range(sizes.layers):
        skip = weights[f"skip{layer}"], weights[f"skip{layer}_bias"]
        if sizes.wavelet:
            bend = partial(_gelu, f"block{layer}")
            new = wavelet_block(v, weights[f"bands{layer}"], skip, sizes.wavelet, bend)
        else:
            new = _gelu(f"block{layer}", _linear_map(v, *skip))
        v = v + new
    v = _gelu("out", _linear_map(v, weights["out"], weights["out_bias"]))
    return _linear_map(v, weights["last"], weights["last_bias"])


def _lift(weights: Parameters, doses: Tensor, compound: Tensor, encoded: Encoded) -> Tensor:
    """``(k, b, m, width)`` of one side's doses."""
    (b, m, _), members = doses.shape, weights["lift"].shape[0]
    own = weights["compound"][:, compound][:, :, None, :].expand(-1, b, m, -1)
    line = weights["line"][:, encoded.line][:, :, None, :].expand(-1, b, m, -1)
    known = torch.cat([doses, encoded.descriptors[:, None, :].expand(b, m, -1)], dim=-1)
    x = torch.cat([known.expand(members, *known.shape), own, line], dim=-1)
    x = _gelu("lift", _linear_map(x, weights["lift"], weights["lift_bias"]))
    return _linear_map(x, weights["lift_more"], weights["lift_more_bias"])


def _gelu(name: str, x: Tensor) -> Tensor:
    """Members are channels of their own, blocks and wells are rows."""
    mark_activation(name, x, "gelu", (0, -1))
    return functional.gelu(x)


def _linear(name: str, fan_in: int, fan_out: int) -> dict[str, tuple[tuple[int, ...], float]]:
    sd = 1.0 / math.sqrt(fan_in)
    return {name: ((fan_in, fan_out), sd), f"{name}_bias": ((fan_out,), 0.1)}


def _linear_map(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``(k, ..., in)`` to ``(k, ..., out)``."""
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    return torch.baddbmm(bias[:, None, :], flat, weight).reshape(*x.shape[:-1], weight.shape[-1])


def _in_bands(v: Tensor, bands: Tensor, wavelet: str) -> Tensor:
    """``W^-1 R W v``: every pair of bands has its own mixing of channels."""
    m, n = v.shape[2:4]
    ways = [levels_of(side) for side in (m, n)]
    there, back = (each.to(v) for each in _both_axes(m, n, wavelet))
    c = _over_wells(v, there)
    strips = []
    for i, start, end in bands_of(m, ways[0]):
        parts = [
            _mix(c[:, :, start:end, left:right], bands[:, BAND_PAIRS.index((min(i, j), max(i, j)))])
            for j, left, right in bands_of(n, ways[1])
        ]
        strips.append(torch.cat(parts, dim=3))
    return _over_wells(torch.cat(strips, dim=2), back)


@lru_cache(maxsize=64)
def _both_axes(m: int, n: int, wavelet: str) -> tuple[Tensor, Tensor]:
    """The transform of an ``m`` by ``n`` grid and its inverse as ``(mn, mn)`` matrices: one product
    of 16 wells is quicker than any number of steps over 4."""
    (rows, rows_back), (columns, columns_back) = (
        matrices(side, wavelet, levels_of(side)) for side in (m, n)
    )
    return torch.kron(rows, columns).float(), torch.kron(rows_back, columns_back).float()


def _over_wells(v: Tensor, matrix: Tensor) -> Tensor:
    """``(mn, mn)`` applied to the wells of ``(k, b, m, n, c)``."""
    k, b, m, n, c = v.shape
    flat = v.reshape(k * b, m * n, c)
    return torch.bmm(matrix.expand(k * b, m * n, m * n), flat).reshape(v.shape)


def _mix(part: Tensor, weight: Tensor) -> Tensor:
    flat = part.reshape(part.shape[0], -1, part.shape[-1])
    return torch.bmm(flat, weight).reshape(part.shape)
