"""A surface model as tensors and JSON, and back to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.screen import ScreenError
from models.surfaces.ensemble import Ensemble
from models.surfaces.inputs import Context
from models.surfaces.kriging import Field
from models.surfaces.model import Calibration, SurfaceModel
from models.surfaces.network import Sizes
from models.surfaces.scales import DoseScale
from models.surfaces.shift_folds import ShiftFolds
from models.surfaces.shifts import Shifts
from models.surfaces.shifts import Sizes as Tables

FORMAT = "nextround-surfaces/2"
_EARLIER = "nextround-surfaces/1"  # fields whose amplitudes knew the reference only


def save_model(model: SurfaceModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (frozen weights included) and a JSON-able description."""
    tensors: dict[str, Tensor] = {}
    for name, value in model.ensemble.theta.items():
        tensors[f"theta.{name}"] = value.contiguous()
    for name, value in model.ensemble.prior.items():
        tensors[f"prior.{name}"] = value.contiguous()
    tensors["prior_scale"], tensors["beta"] = model.ensemble.prior_scale, model.ensemble.beta
    for number, shifts in enumerate((model.shifts.whole, *model.shifts.folds)):
        flat = np.concatenate(shifts.coefficients)
        at = np.flatnonzero(flat)
        tensors[f"shifts.{number}.at"] = torch.from_numpy(at)
        tensors[f"shifts.{number}.value"] = torch.from_numpy(flat[at])
        for part, seen in zip(("curve", "line", "pair"), shifts.seen, strict=True):
            tensors[f"shifts.{number}.seen_{part}"] = torch.from_numpy(seen)
    context = model.context
    arrays = {
        "low": context.scale.low,
        "high": context.scale.high,
        "compound_known": context.compound_known,
        "line_known": context.line_known,
        "descriptors": context.descriptors,
        "fold_keys": np.array(list(model.shifts.fold_of), np.int64),
        "fold_numbers": np.array(list(model.shifts.fold_of.values()), np.int64),
    }
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    tables = model.shifts.whole.sizes
    return tensors, {
        "format": FORMAT,
        "name": model.name,
        "sizes": asdict(model.ensemble.sizes),
        "tables": [tables.compounds, tables.lines],
        "folds": len(model.shifts.folds),
        "unit": model.ensemble.unit,
        "structured": model.ensemble.structured,
        "field": list(model.field.values),
        "calibration": asdict(model.calibration),
        "report": model.report,
    }


def load_model(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> SurfaceModel:
    """What :func:`save_model` described. Raises :class:`ScreenError` for another format."""
    if description.get("format") not in (FORMAT, _EARLIER):
        raise ScreenError(f"a surface model of format {description.get('format')!r} is not known")
    arrays = {
        name: tensors[name].numpy()
        for name in ("low", "high", "compound_known", "line_known", "descriptors")
    }
    scale = DoseScale(arrays["low"], arrays["high"])
    context = Context(scale, arrays["compound_known"], arrays["line_known"], arrays["descriptors"])
    tables = Tables(*description["tables"])
    shifts = [_shifts(tensors, k, tables, scale) for k in range(description["folds"] + 1)]
    keys, numbers = tensors["fold_keys"].tolist(), tensors["fold_numbers"].tolist()
    folds = ShiftFolds(shifts[0], tuple(shifts[1:]), dict(zip(keys, numbers, strict=True)))
    ensemble = Ensemble(
        Sizes(**description["sizes"]),
        _under(tensors, "theta."),
        _under(tensors, "prior."),
        tensors["prior_scale"],
        tensors["beta"],
        description["unit"],
        structured=description["structured"],
    )
    return SurfaceModel(
        description["name"],
        context,
        folds,
        _field(description),
        ensemble,
        Calibration(**description["calibration"]),
        dict(description["report"]),
    )


def _field(description: Mapping[str, Any]) -> Field:
    values = tuple(description["field"])
    return Field(values) if description["format"] == FORMAT else Field.shaped_by_level(values)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _shifts(tensors: Mapping[str, Tensor], number: int, tables: Tables, scale: DoseScale) -> Shifts:
    flat = np.zeros(sum(tables.of_kinds))
    flat[tensors[f"shifts.{number}.at"].numpy()] = tensors[f"shifts.{number}.value"].numpy()
    splits = np.cumsum(tables.of_kinds)[:-1]
    curve, line, pair = (
        tensors[f"shifts.{number}.seen_{part}"].numpy() for part in ("curve", "line", "pair")
    )
    return Shifts(tables, scale, tuple(np.split(flat, splits)), (curve, line, pair))
