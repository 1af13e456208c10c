"""Comparing names of compounds and cell lines the way people mean them. Pure Python."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

CLOSE_ENOUGH = 0.6
"""Least :mod:`difflib` ratio (0 to 1) of a suggestion."""


def fold_name(name: str) -> str:
    """``name`` in the form in which two spellings of one name are equal.

    Unicode is compatibility-composed (NFKC, which also makes the two micro signs one), case is
    folded, and each run of blanks becomes one space.
    """
    if name.isascii():
        return " ".join(name.lower().split())
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def nearest_names(query: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The ``n`` names in ``known`` closest to ``query``, best first, spelled as in ``known``.

    Names with a similarity under 0.6 are left out; ties keep alphabetical order.
    """
    matcher = difflib.SequenceMatcher(None, "", fold_name(query), autojunk=False)
    scored: list[tuple[float, str]] = []
    for name in known:
        matcher.set_seq1(fold_name(name))
        if (ratio := _ratio(matcher)) >= CLOSE_ENOUGH:
            scored.append((-ratio, name))
    return [name for _, name in sorted(scored)[:n]]


def _ratio(matcher: difflib.SequenceMatcher[str]) -> float:
    """The similarity, or an upper bound of it where that is already too small."""
    bound = matcher.real_quick_ratio()
    if bound >= CLOSE_ENOUGH:
        bound = matcher.quick_ratio()
    return matcher.ratio() if bound >= CLOSE_ENOUGH else bound
