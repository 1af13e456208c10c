"""Morgan fingerprints of parents: made once from the first registered parent, then stored.

Bits may change between RDKit releases and between tautomers of one InChIKey, therefore every
stored fingerprint carries :data:`FEATURE_VERSION` and is never recomputed from a later upload.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

from models.chemistry.structures import StructureError

RADIUS = 2
BITS = 2048
BYTES = BITS // 8

RDKIT_VERSION: str = rdBase.rdkitVersion
FEATURE_VERSION = f"morgan-r{RADIUS}-{BITS}-chiral/rdkit-{RDKIT_VERSION}"

_GENERATOR = rdFingerprintGenerator.GetMorganGenerator(
    radius=RADIUS, fpSize=BITS, includeChirality=True
)


def fingerprint(parent_smiles: str) -> NDArray[np.uint8]:
    """Morgan bits of a parent: ``(2048,)`` uint8 of 0 and 1.

    ``parent_smiles`` comes from :func:`models.chemistry.structures.standardise`. Raises
    :class:`StructureError` if it cannot be parsed or is empty.
    """
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(parent_smiles) if parent_smiles.strip() else None
    if molecule is None:
        raise StructureError(f"{parent_smiles[:60]!r} is no parent SMILES; standardise it first")
    bits: NDArray[np.uint8] = _GENERATOR.GetFingerprintAsNumPy(molecule).astype(np.uint8)
    return bits


def pack(bits: NDArray[np.uint8]) -> bytes:
    """``(2048,)`` bits as 256 bytes, first bit in the highest place. Raises ValueError."""
    if bits.shape != (BITS,):
        raise ValueError(f"a fingerprint has shape ({BITS},), not {bits.shape}")
    if np.any(bits > 1):
        raise ValueError("a fingerprint holds only 0 and 1")
    return np.packbits(bits).tobytes()


def unpack(packed: bytes) -> NDArray[np.uint8]:
    """256 bytes as ``(2048,)`` uint8 bits; the inverse of :func:`pack`. Raises ValueError."""
    if len(packed) != BYTES:
        raise ValueError(f"a packed fingerprint has {BYTES} bytes, not {len(packed)}")
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8))


def tanimoto(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Tanimoto similarity ``|a & b| / |a | b|``: ``(n, bits)``, ``(m, bits)`` -> ``(n, m)``.

    A row of zeros (no structure) has similarity 0 to everything, itself included. Raises
    ValueError if the arrays are not two matrices of equal width.

    >>> tanimoto(np.array([[1, 1, 0]], np.uint8), np.array([[1, 0, 0], [1, 1, 0]], np.uint8))
    array([[0.5, 1. ]])
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"tanimoto needs (n, bits) and (m, bits), not {a.shape} and {b.shape}")
    left, right = (a != 0).astype(np.float32), (b != 0).astype(np.float32)
    common = (left @ right.T).astype(np.float64)  # whole numbers below 2^24: exact
    union = left.sum(axis=1, dtype=np.float64)[:, None] + right.sum(axis=1, dtype=np.float64)
    union -= common
    similarity: NDArray[np.float64] = np.zeros_like(common)
    np.divide(common, union, out=similarity, where=union > 0)
    return similarity
