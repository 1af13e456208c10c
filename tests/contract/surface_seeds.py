"""Surfaces as a worker would have stored them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.kit.artifacts import ArtifactStore
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.surfaces.tables import SurfaceFit


def surface_fit(
    owned: dict[str, str], job_id: str, artifacts: ArtifactStore, pair: Sequence[str], line: str
) -> SurfaceFit:
    """Surfaces as a worker would have stored them: one block of one well."""

    def put(document: Any) -> str:
        return artifacts.put(dump_json(document).encode(), "json")

    ends = ("bliss", "mean", "low_50", "high_50", "low_90", "high_90", "measured")
    well = {"row": 0, "column": 0, "doses_um": [1.0, 1.0], "taken": 0.9, "sd_left": 0.02}
    block = {
        "compounds": [{"id": f"cmp_{name}", "name": name} for name in pair],
        "cell_line": {"id": "cel_1", "name": line},
        "doses_um": [[1.0], [1.0]],
        "margins": [[0.7], [0.6]],
        "margins_measured": [True, False],
        **{name: [[0.4]] for name in ends},
        "n_wells": [[1]],
        "next_wells": [well],
        "next_diagonal": [well],
    }
    index = [{**block["cell_line"], "blocks": put([block])}]  # type: ignore[dict-item]
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
