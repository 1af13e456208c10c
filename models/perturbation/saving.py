"""What the saved forms of models of responses share: who saved them, of what, arrays, tails."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypedDict

import torch
from torch import Tensor

from models.screen import FloatArray, ScreenError


class Named(Protocol):
    """A posterior as far as its head is concerned."""

    @property
    def perturbations(self) -> tuple[str, ...]:
        """Names of the ``p`` columns of its doses."""
        ...

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the ``g`` columns of its responses."""
        ...


class Head(TypedDict):
    """``perturbations`` ``(p,)`` and ``readouts`` ``(g,)``."""

    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]


def to_tensors(arrays: Mapping[str, FloatArray]) -> dict[str, Tensor]:
    """Copies as tensors, under the same names."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def to_arrays(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, FloatArray]:
    """Inverse of :func:`to_tensors` for ``names``; raises ``KeyError`` for one that is missing."""
    return {name: tensors[name].numpy().copy() for name in names}


def head_of(posterior: Named, model: str, version: int) -> dict[str, Any]:
    """JSON-able: the model, its version, names of perturbations and readouts."""
    return {
        "model": model,
        "version": version,
        "perturbations": list(posterior.perturbations),
        "readouts": list(posterior.readouts),
    }


def read_head(metadata: Mapping[str, Any], model: str, version: int) -> Head:
    """Names in what :func:`head_of` gave; :class:`ScreenError` as :func:`require_version`."""
    require_version(metadata, model, version)
    return {
        "perturbations": tuple(metadata["perturbations"]),
        "readouts": tuple(metadata["readouts"]),
    }


def require_version(metadata: Mapping[str, Any], model: str, version: int) -> None:
    """Raise :class:`ScreenError` unless ``metadata`` were saved by this version of this model."""
    if metadata.get("model") != model or metadata.get("version") != version:
        found = f"{metadata.get('model')} version {metadata.get('version')}"
        raise ScreenError(f"cannot load {found} as {model} version {version}")


def df_to_json(df: float) -> float | None:
    """Degrees of freedom; ``None`` for infinity, which JSON does not know."""
    return None if math.isinf(df) else df


def df_from_json(df: float | None) -> float:
    """Inverse of :func:`df_to_json`."""
    return math.inf if df is None else df
