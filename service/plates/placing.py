"""Where things go on a plate: controls spread evenly, samples shuffled by seed.

Nothing here keeps state: every choice is a function of the seed and of what is placed, so that the
same seed gives the same plate on every machine and in every version of Python.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

from service.plates.geometry import WellAt

Item = TypeVar("Item")

_GOLDEN = 0.6180339887498949
# Every further plate begins elsewhere: irrational shifts that never come round.
_SHIFT = (_GOLDEN, 0.4142135623730951)


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56


def shuffled(items: Sequence[Item], *seed: object) -> list[Item]:
    """The items in an order that depends on the seed alone."""
    keys = [fraction(*seed, index) for index in range(len(items))]
    return [items[index] for index in sorted(range(len(items)), key=lambda i: (keys[i], i))]


def spread(wells: Sequence[WellAt], count: int, plate: int, *seed: object) -> list[WellAt]:
    """``count`` of the wells, evenly over rows and over columns, elsewhere on every plate.

    A rank-1 lattice (Korobov 1959): point i lies at (i / n, i a / n) modulo 1, with a / n near the
    golden ratio, so that neither rows nor columns nor the two together see clusters. Where a well
    is taken the nearest free one stands in.
    """
    rows = sorted({row for row, _ in wells})
    columns = sorted({column for _, column in wells})
    free, found = set(wells), list[WellAt]()
    steps = (1, _multiplier(count))
    start = [fraction(*seed, axis) + plate * _SHIFT[axis] for axis in (0, 1)]
    for point in range(count):
        row, column = (
            names[int((start[axis] + point * steps[axis] / count) % 1 * len(names))]
            for axis, names in enumerate((rows, columns))
        )
        well = min(free, key=lambda at: (abs(at[0] - row) + abs(at[1] - column), at))
        free.remove(well)
        found.append(well)
    return found


def _multiplier(count: int) -> int:
    """The number nearest to count times the golden ratio that shares no factor with it."""
    prime = [number for number in range(1, count + 1) if math.gcd(number, count) == 1]
    return min(prime, key=lambda number: abs(number - count * _GOLDEN), default=1)
