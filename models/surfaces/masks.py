"""Which wells of a block are taken as measured: the ways in which matrices are left sparse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from models.screen import BoolArray, ScreenError
from models.surfaces.blocks import Shape

FIVE = 5


def nothing(shape: Shape, rng: np.random.Generator) -> BoolArray:
    """No well."""
    return np.zeros(shape, bool)


def row(shape: Shape, rng: np.random.Generator) -> BoolArray:
    """One dose of one compound with every dose of the other."""
    mask = np.zeros(shape, bool)
    if rng.random() < 0.5:
        mask[rng.integers(shape[0])] = True
    else:
        mask[:, rng.integers(shape[1])] = True
    return mask


def diagonal(shape: Shape, rng: np.random.Generator) -> BoolArray:
    """Rising doses of both; on unequal sides the nearest wells to the diagonal."""
    mask = np.zeros(shape, bool)
    steps = np.linspace(0.0, 1.0, max(shape)) if max(shape) > 1 else np.zeros(1)
    at = tuple(np.rint(steps * (side - 1)).astype(np.int64) for side in shape)
    mask[at] = True
    return mask


def five_wells(shape: Shape, rng: np.random.Generator) -> BoolArray:
    """Five wells anywhere, or a third of the block where that is fewer."""
    return _some(shape, min(FIVE, shape[0] * shape[1] // 3), rng)


def any_number(shape: Shape, rng: np.random.Generator) -> BoolArray:
    """One well to all but one."""
    return _some(shape, int(rng.integers(1, max(2, shape[0] * shape[1]))), rng)


PATTERNS: Mapping[str, Callable[[Shape, np.random.Generator], BoolArray]] = MappingProxyType(
    {
        "nothing": nothing,
        "row": row,
        "diagonal": diagonal,
        "five": five_wells,
        "any": any_number,
    }
)
"""Every pattern by its name."""

TRAINING = (("nothing", 0.3), ("row", 0.1), ("diagonal", 0.3), ("five", 0.2), ("any", 0.1))
"""Shares of the patterns under which a model learns."""


def draw_masks(pattern: str, n: int, shape: Shape, rng: np.random.Generator) -> BoolArray:
    """``(n, *shape)`` masks of one pattern, or of the training mixture for "mixed"."""
    if pattern == "mixed":
        shares = [share for _, share in TRAINING]
        chosen = [TRAINING[k][0] for k in rng.choice(len(TRAINING), n, p=shares)]
    elif pattern in PATTERNS:
        chosen = [pattern] * n
    else:
        raise ScreenError(f"mask {pattern!r} is none of {', '.join(PATTERNS)}")
    masks = [PATTERNS[name](shape, rng) for name in chosen]
    return np.stack(masks) if masks else np.zeros((0, *shape), bool)


def _some(shape: Shape, count: int, rng: np.random.Generator) -> BoolArray:
    mask = np.zeros(shape[0] * shape[1], bool)
    mask[rng.choice(len(mask), count, replace=False)] = True
    return mask.reshape(shape)
