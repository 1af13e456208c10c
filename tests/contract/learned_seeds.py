"""Surfaces and scorecards as a worker would have stored them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.kit.artifacts import ArtifactStore
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.surfaces.tables import SurfaceFit
from service.triage.tables import TriageCard

Named = dict[str, str]
"""``id`` and ``name``."""


def surface_fit(
    owned: dict[str, str],
    job_id: str,
    artifacts: ArtifactStore,
    pair: Sequence[Named],
    line: Named,
) -> SurfaceFit:
    """Surfaces as a worker would have stored them: one block of one well."""

    def put(document: Any) -> str:
        return artifacts.put(dump_json(document).encode(), "json")

    ends = ("bliss", "mean", "low_50", "high_50", "low_90", "high_90", "measured")
    well = {"row": 0, "column": 0, "doses_um": [1.0, 1.0], "taken": 0.9, "sd_left": 0.02}
    block = {
        "compounds": list(pair),
        "cell_line": line,
        "doses_um": [[1.0], [1.0]],
        "margins": [[0.7], [0.6]],
        "margins_measured": [True, False],
        **{name: [[0.4]] for name in ends},
        "n_wells": [[1]],
        "next_wells": [well],
        "next_diagonal": [well],
    }
    index = [{**line, "blocks": put([block])}]
    words = {"words": "written by hand", "scores": {}, "folds": 0, "served": "bliss"}
    return SurfaceFit(
        **owned,
        id=new_id("sfc"),
        job_id=job_id,
        served="bliss",
        n_blocks=1,
        n_surfaces=1,
        snapshot=put({}),
        surfaces=put(index),
        weights=put({}),
        metadata_artifact=put({}),
        report={"evidence": words, "fit": {}, "left_out": []},
        seed=1,
        device="cpu",
        versions={},
    )


def triage_card(owned: dict[str, str], job_id: str, card: str, scores: str) -> TriageCard:
    """A scorecard as a worker would have stored it."""
    words = {"words": "written by hand"}
    report = {"n_blocks": 9, "n_hits": 2, "base_rate": 2 / 9, "features": [], "left_out": []}
    return TriageCard(
        **owned,
        id=new_id("trg"),
        job_id=job_id,
        score="bliss_mean",
        hit_threshold=10.0,
        n_blocks=9,
        n_hits=2,
        n_scored=1,
        snapshot=card,
        card=card,
        scores=scores,
        report={**report, "calibration": words, "weights": words, "drift": []},
        seed=1,
        versions={},
    )


def written_card(pair: list[Named], line: Named) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A card of one line, and the points of one candidate."""
    one = {"feature": "cell_line", "value": line["name"], "points": 4, "share": 1.0}
    section = {"feature": "cell_line", "words": "cell line", "rows": [one]}
    said = {"total": -36, "base": -40, "chance": 0.2, "low": 0.1, "high": 0.4}
    scored = {"compounds": pair, "cell_line": line, **said, "parts": [one], "reasons": []}
    return {"doubling": 20, "base": -40, "base_chance": 0.2, "sections": [section]}, [scored]
