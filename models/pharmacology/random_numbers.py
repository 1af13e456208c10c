"""Normal numbers addressed by name: the same (seed, key, draw, component) gives the same number.

A stateful generator would tie the draws of one curve to which other curves were asked for in the
same call. A counter-based one does not (Salmon et al., SC 2011); the mixing function is
SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) and the normal comes from Box and Muller (1958).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.screen import FloatArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)

Word = NDArray[np.uint64]


def mix(words: Word) -> Word:
    """SplitMix64 finaliser: a bijection of 64-bit words that scatters every bit."""
    with np.errstate(over="ignore"):
        z = words + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_A
        z = (z ^ (z >> np.uint64(27))) * _MIX_B
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def combine(*columns: NDArray[np.generic]) -> Word:
    """``(m,)`` one key per row of the columns (integers, or floats by their bits)."""
    key = np.zeros(1, np.uint64)
    for column in columns:
        array = np.ascontiguousarray(column)
        floating = np.issubdtype(array.dtype, np.floating)
        bits = array.astype(np.float64).view(np.uint64) if floating else array.astype(np.uint64)
        key = mix(key ^ bits)
    return key


def normals(seed: int, key: Word, n: int, components: int) -> FloatArray:
    """``(n, len(key), components)`` standard normals, each a function of its own address only."""
    base = mix(key ^ mix(np.array([seed], np.int64).view(np.uint64)))
    counter = np.arange(n * components, dtype=np.uint64).reshape(n, 1, components)
    with np.errstate(over="ignore"):
        word = mix(base[None, :, None] + counter * _GOLDEN)
    radius = np.sqrt(-2.0 * np.log(_uniform(word)))
    return np.asarray(radius * np.cos(2.0 * np.pi * _uniform(mix(~word))), dtype=np.float64)


def _uniform(words: Word) -> FloatArray:
    """Words to (0, 1), both ends excluded, 53 bits."""
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
