"""Tables that were read, as artifacts, and back. Imported by workers only."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from models.perturbation.data import ResponseTable
from service.datasets.reading.found import Course, Courses, Found
from service.kit.artifacts import ArtifactStore
from service.kit.database import dump_json

FORMAT = "nextround-dataset/1"


def store(found: Found | Courses, artifacts: ArtifactStore) -> str:
    """Store what was read; returns the name of its description, which names its arrays."""
    arrays, plain = _responses(found) if isinstance(found, Found) else _courses(found)
    tensors = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    description = {
        "format": FORMAT,
        "arrays": artifacts.put(tensors, "safetensors"),
        "units": found.units,
        "notes": found.notes,
        **plain,
    }
    return artifacts.put(dump_json(description).encode(), "json")


def artifacts_of(content: str, artifacts: ArtifactStore) -> list[str]:
    """All artifacts that a stored table consists of."""
    return [content, json.loads(artifacts.get(content))["arrays"]]


def load_responses(content: str, artifacts: ArtifactStore) -> Found:
    """The table of responses that was stored as ``content``."""
    plain, arrays = _loaded(content, artifacts)
    table = ResponseTable.of(
        perturbations=plain["perturbations"],
        readouts=plain["readouts"],
        conditions=plain["conditions"],
        doses=arrays["doses"],
        values=arrays["values"],
        kind=plain["kind"],
        batch=plain["batch"],
        low_quality=arrays["low_quality"],
    )
    return Found(table, tuple(plain["units"]), tuple(plain["notes"]), arrays.get("library"))


def load_courses(content: str, artifacts: ArtifactStore) -> Courses:
    """The time courses that were stored as ``content``."""
    plain, arrays = _loaded(content, artifacts)
    courses = tuple(
        Course(name, line, plate, tuple(doses))
        for (name, line, plate), doses in zip(
            plain["courses"], arrays["doses"].tolist(), strict=True
        )
    )
    return Courses(
        courses, tuple(plain["channels"]), tuple(plain["perturbations"]), tuple(plain["units"]),
        arrays["series"], arrays["time_h"], arrays["values"], tuple(plain["notes"]),
    )  # fmt: skip


def _loaded(content: str, artifacts: ArtifactStore) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    plain: dict[str, Any] = json.loads(artifacts.get(content))
    return plain, load(artifacts.get(plain["arrays"]))


def _responses(found: Found) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    table = found.table
    arrays = {"doses": table.doses, "values": table.values, "low_quality": table.low_quality}
    if found.library is not None:
        arrays["library"] = found.library
    plain = {
        "holds": "responses",
        "kind": table.kind,
        "perturbations": table.perturbations,
        "readouts": table.readouts,
        "conditions": table.conditions,
        "batch": table.batch,
    }
    return arrays, plain


def _courses(found: Courses) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {
        "series": found.series,
        "time_h": found.time_h,
        "values": found.values,
        "doses": found.doses(),
    }
    plain = {
        "holds": "time_courses",
        "channels": found.channels,
        "perturbations": found.perturbations,
        "courses": [(course.name, course.cell_line, course.plate) for course in found.courses],
    }
    return arrays, plain
