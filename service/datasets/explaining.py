"""What the data sets of a campaign say of a pair: interaction, path, or that nothing is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any

from service.datasets.service import DatasetService
from service.datasets.tables import DatasetFit
from service.kit.unit import Unit

Pair = frozenset[str]
MOST = 5
CHANCE = 0.05
"""Chance that a pair without any interaction is said to change a readout."""


class Mechanisms:
    """The newest fits of a campaign's data sets, asked about pairs of compounds (ids)."""

    def __init__(self, unit: Unit, campaign_id: str) -> None:
        self._service = DatasetService(unit)
        self.fits = self._service.fits.latest(campaign_id)
        self._known = [(fit, self._by_pair(fit)) for fit in self.fits]

    def of_pair(self, compounds: Iterable[str]) -> list[dict[str, Any]]:
        """One statement for each data set that knows the pair, by data set."""
        pair = frozenset(compounds)
        return [
            {"dataset_id": fit.dataset_id, "fit_id": fit.id, "skill": fit.skill, **known[pair]}
            for fit, known in self._known
            if pair in known
        ]

    def _by_pair(self, fit: DatasetFit) -> dict[Pair, dict[str, Any]]:
        dataset = self._service.datasets.get(fit.dataset_id)
        compounds = self._service.compounds_of([dataset])
        results = json.loads(self._service.unit.parts.artifacts.get(fit.results))
        paths = _keyed(results.get("explanations") or (), "compounds", compounds)
        found: dict[Pair, dict[str, Any]] = {}
        for pair, row in _keyed(results.get("pairs") or (), "perturbations", compounds).items():
            found[pair] = _statement(row, paths.get(pair))
        return found


def _keyed(
    rows: Iterable[dict[str, Any]], column: str, compounds: Mapping[str, str | None]
) -> dict[Pair, dict[str, Any]]:
    """Rows by the compounds that their two perturbations are; others are left aside."""
    found = {}
    for row in rows:
        ids = [compounds.get(name) for name in row[column]]
        if None not in ids and len(set(ids)) == 2:
            found[frozenset(str(one) for one in ids)] = row
    return found


def _statement(row: dict[str, Any], path: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "interaction": row["readouts"][:MOST],
        "strength": row["strength"],
        "measured": row["measured"],
        "supported": bool(path and path["supported"]),
        "mediators": [] if path is None else path["mediators"][:MOST],
        "edges": [] if path is None else path["edges"][:MOST],
        "words": _words(row, path),
    }


def _clear(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Readouts that change beyond chance: a kept one is the extreme of all that were looked at, so
    its normal tail is multiplied by how many those were (Bonferroni)."""
    looked_at = int(row.get("n_readouts", len(row["readouts"])))
    least = NormalDist().inv_cdf(1 - CHANCE / (2 * max(looked_at, 1)))
    return [each for each in row["readouts"] if abs(each["interaction"]) > least * each["sd"]]


def _words(row: dict[str, Any], path: dict[str, Any] | None) -> str:
    first, second = row["perturbations"]
    clear = _clear(row)
    verb = "change" if row["measured"] else "are expected to change"
    if clear:
        most = "; ".join(
            f"{each['name']} {each['interaction']:+.2g} ± {each['sd']:.2g}" for each in clear[:3]
        )
        text = f"Beyond the sum of their effects, {first} and {second} {verb} {most}."
    else:
        how = "acted" if row["measured"] else "are expected to act"
        text = f"{first} and {second} {how} as the sum of their effects."
    return text if path is None else f"{text} {path['sentence']}"
