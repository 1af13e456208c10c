"""Block templates that a fit of surfaces fills: which wells of a block teach most of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from service.kit.artifacts import ArtifactStore
from service.surfaces.tables import SurfaceFit

At = tuple[int, int]


class InformedBlocks:
    """The wells that one fit would have measured next, block by block."""

    def __init__(self, fit: SurfaceFit, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._lines: dict[str, str] = {
            line["id"]: line["blocks"] for line in json.loads(artifacts.get(fit.surfaces))
        }
        self._read: dict[str, dict[frozenset[str], dict[str, Any]]] = {}

    def wells(
        self, pair: tuple[str, str], line: str, doses_um: tuple[Sequence[float], Sequence[float]]
    ) -> list[At] | None:
        """Positions in the doses of the first and of the second compound, the well that teaches
        most first; ``None`` where the fit has no surface of this block at one of these doses."""
        block = self._blocks(line).get(frozenset(pair))
        if block is None:
            return None
        turned = block["compounds"][0]["id"] != pair[0]
        sides = block["doses_um"][::-1] if turned else block["doses_um"]
        if any(_at(dose, known) is None for given, known in zip(doses_um, sides, strict=True)
               for dose in given):  # fmt: skip
            return None
        found = []
        for well in block["next_wells"]:
            both = well["doses_um"][::-1] if turned else well["doses_um"]
            i, j = (_at(dose, given) for dose, given in zip(both, doses_um, strict=True))
            if i is not None and j is not None:
                found.append((i, j))
        return found

    def _blocks(self, line: str) -> dict[frozenset[str], dict[str, Any]]:
        if line not in self._lines:
            return {}
        if line not in self._read:
            listed = json.loads(self._artifacts.get(self._lines[line]))
            self._read[line] = {frozenset(c["id"] for c in b["compounds"]): b for b in listed}
        return self._read[line]


def _at(dose: float, doses: Sequence[float]) -> int | None:
    found = (k for k, each in enumerate(doses) if math.isclose(dose, each, rel_tol=1e-9))
    return next(found, None)
