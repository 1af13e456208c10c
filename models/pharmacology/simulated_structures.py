"""Structures for simulated compounds: fingerprints and SMILES that carry the compound's class.

The SMILES are written, not computed: a scaffold per class, with three places that take one of a
list of substituents each. They parse, and compounds of one class share their scaffold's bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.screen import IntArray, ScreenError

_SCAFFOLDS = (
    "{0}c1ccc(cc1{1})C(=O)Nc1cccc({2})c1",
    "{0}c1ccc2ncnc(Nc3cccc({1})c3{2})c2c1",
    "{0}c1ccc(cc1{1})S(=O)(=O)N1CCN(CC1)c1ccccc1{2}",
    "{0}c1cc2[nH]ccc2cc1C(=O)N1CCC(CC1)Oc1ccc({1})cc1{2}",
    "{0}c1cnn(c1)-c1cc({1})nc(n1)NC1CCCCC1{2}",
    "{0}c1ccc(cc1)C1CC(=O)N(C1)c1ccc({1})c({2})c1",
    "{0}c1cc({1})c2oc(=O)cc(c2c1)N1CCOCC1{2}",
    "{0}c1sc2ncnc(N3CCC(CC3)NC(=O)C{1})c2c1{2}",
    "{0}c1ccc(nc1)Oc1ccc(cc1{1})NC(=O)Nc1ccccc1{2}",
    "{0}c1ccc(cc1{1})-c1nc2ccccc2n1CC{2}",
    "{0}c1cc({1})ccc1CN1C(=O)NC(C1=O){2}",
    "{0}C1CCN(CC1)C(=O)c1cc(on1)-c1ccc({1})cc1{2}",
)
_SUBSTITUENTS = (
    ("C", "F", "Cl", "Br", "CO", "FC(F)(F)", "N#C", "N", "O", "CC", "CC(C)", "CS(=O)(=O)"),
    ("C", "F", "Cl", "OC", "C(F)(F)F", "C#N", "CC", "OCC", "C(C)(C)C", "N(C)C", "OC(F)F", "CO"),
    ("F", "Cl", "C", "OC", "CC", "C(F)(F)F", "CCO", "CN", "OCCO", "C1CC1", "C(=O)N", "CCOC"),
)
_PER_SCAFFOLD = int(np.prod([len(choices) for choices in _SUBSTITUENTS]))
_CLASS_BITS = 0.10  # share of the bits that a class sets
_KEEP, _STRAY = 0.85, 0.04  # chance of a class bit to be kept, of any other to be set


def compound_classes(n: int, n_classes: int, seed: int) -> IntArray:
    """``(n,)`` class of each compound, ``0 .. n_classes - 1``."""
    return np.random.default_rng([seed, 101]).integers(n_classes, size=n)


def simulated_fingerprints(classes: IntArray, n_bits: int, seed: int) -> NDArray[np.uint8]:
    """``(n, n_bits)`` binary fingerprints: the class's bits, some lost, some strays added."""
    rng = np.random.default_rng([seed, 102])
    template = rng.random((int(classes.max(initial=0)) + 1, n_bits)) < _CLASS_BITS
    chance = np.where(template[classes], _KEEP, _STRAY)
    return (rng.random(chance.shape) < chance).astype(np.uint8)


def sample_smiles(n: int, seed: int, *, n_classes: int = 8) -> tuple[str, ...]:
    """``n`` distinct SMILES; compounds of one class (:func:`compound_classes`) share a scaffold.

    Raises :class:`ScreenError` when more are asked for than the substituents can tell apart
    (1,728 per class), or more classes than there are scaffolds.
    """
    if n_classes > len(_SCAFFOLDS):
        raise ScreenError(f"{n_classes} classes asked for, {len(_SCAFFOLDS)} scaffolds known")
    classes = compound_classes(n, n_classes, seed)
    if np.bincount(classes, minlength=1).max(initial=0) > _PER_SCAFFOLD:
        raise ScreenError(f"no {n} distinct structures of {n_classes} classes")
    rng = np.random.default_rng([seed, 103])
    order = [rng.permutation(_PER_SCAFFOLD) for _ in range(n_classes)]
    used = [0] * n_classes
    written = []
    for scaffold in classes.tolist():
        written.append(_write(scaffold, int(order[scaffold][used[scaffold]])))
        used[scaffold] += 1
    return tuple(written)


def _write(scaffold: int, number: int) -> str:
    """The scaffold with the substituents that ``number`` stands for."""
    chosen = []
    for choices in _SUBSTITUENTS:
        number, which = divmod(number, len(choices))
        chosen.append(choices[which])
    return _SCAFFOLDS[scaffold].format(*chosen)
