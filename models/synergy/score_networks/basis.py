"""The reduction of wide inputs as a map that can be kept and applied to another screen.

:func:`models.synergy.inputs.reduced` rotates a table onto its own main directions. A network that
is to go on with another screen must see that screen in the *same* directions, so here the mean,
the scale and the directions are kept with the posterior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from models.screen import BoolArray, FloatArray, ScreenError
from models.synergy.inputs import (
    CELL_LINE_DIRECTIONS,
    CURVE_LIMIT,
    FINGERPRINT_DIRECTIONS,
    Features,
    InputTables,
)


@dataclass(frozen=True)
class Reduction:
    """``(x - mean) @ directions`` for known rows, 0 for others. ``mean`` ``(width,)``,
    ``directions`` ``(width, d)``: with them the first screen's rows have unit mean square length.
    """

    mean: FloatArray
    directions: FloatArray

    @classmethod
    def of(cls, table: FloatArray, known: BoolArray, most: int, *, scale: bool) -> Reduction:
        """The ``d <= most`` main directions of the known rows; ``scale``: columns to variance 1."""
        width = table.shape[1]
        rows = table[known]
        if len(rows) < 2:
            return cls(np.zeros(width), np.zeros((width, 0)))
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        weight = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
        column = weight if scale else np.ones(width)
        centred = (rows - mean) * column
        gram, count = centred @ centred.T, min(most, len(rows) - 1)
        if not np.trace(gram) > 0:
            return cls(mean, np.zeros((width, 0)))
        first = len(rows) - count
        values, vectors = scipy.linalg.eigh(gram, subset_by_index=[first, len(rows) - 1])
        keep = values > 1e-9 * values[-1]
        length = np.sqrt(values[keep].sum() / len(rows))
        directions = centred.T @ (vectors[:, keep] / np.sqrt(values[keep]))
        return cls(mean, column[:, None] * directions / length)

    def apply(self, what: str, table: FloatArray, known: BoolArray) -> FloatArray:
        """``(n, d)`` coordinates. :class:`ScreenError` for a table of another width."""
        result = np.zeros((len(table), self.directions.shape[1]))
        if result.shape[1] == 0 or not known.any():
            return result
        if table.shape[1] != len(self.mean):
            raise ScreenError(
                f"{what} have {table.shape[1]} columns, but {len(self.mean)} in the screen that "
                "the model was trained on: give both screens the same columns"
            )
        result[known] = (table[known] - self.mean) @ self.directions
        return result


@dataclass(frozen=True)
class Basis:
    """How a screen's features become inputs. ``curve_mean``, ``curve_sd``: ``(k,)``."""

    fingerprints: Reduction
    features: Reduction
    curve_mean: FloatArray
    curve_sd: FloatArray

    @classmethod
    def of(cls, features: Features) -> Basis:
        """Of a screen's own tables; what it lacks has width 0."""
        compounds, lines = features.compounds, features.cell_lines
        bits = compounds.fingerprints.astype(np.float64)
        return cls(
            Reduction.of(bits, compounds.has_structure, FINGERPRINT_DIRECTIONS, scale=False),
            Reduction.of(lines.features, lines.has_features, CELL_LINE_DIRECTIONS, scale=True),
            *_curve_moments(features.curves),
        )

    def tables(self, features: Features, device: torch.device) -> InputTables:
        """The inputs of any screen in this basis.

        A missing curve value reads as the average; values are held within ``CURVE_LIMIT``
        standard deviations. Raises :class:`ScreenError` for tables of another width.
        """
        compounds, lines = features.compounds, features.cell_lines
        bits = compounds.fingerprints.astype(np.float64)
        tables = (
            self.fingerprints.apply("fingerprints", bits, compounds.has_structure),
            self.features.apply("cell-line features", lines.features, lines.has_features),
            self._curves(features),
        )
        return InputTables(*(torch.tensor(t, dtype=torch.float32, device=device) for t in tables))

    def to_tensors(self) -> dict[str, Tensor]:
        """float64 tensors, for files."""
        return {
            "fingerprints.mean": torch.from_numpy(self.fingerprints.mean),
            "fingerprints.directions": torch.from_numpy(self.fingerprints.directions),
            "features.mean": torch.from_numpy(self.features.mean),
            "features.directions": torch.from_numpy(self.features.directions),
            "curve_mean": torch.from_numpy(self.curve_mean),
            "curve_sd": torch.from_numpy(self.curve_sd),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Basis:
        """Inverse of :meth:`to_tensors`."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return cls(
            Reduction(arrays["fingerprints.mean"], arrays["fingerprints.directions"]),
            Reduction(arrays["features.mean"], arrays["features.directions"]),
            arrays["curve_mean"],
            arrays["curve_sd"],
        )

    def _curves(self, features: Features) -> FloatArray:
        rows = len(features.compounds) * len(features.cell_lines)
        width = len(self.curve_mean)
        if features.curves is None or width == 0:
            return np.zeros((rows, width))
        flat = features.curves.reshape(rows, -1)
        if flat.shape[1] != width:
            raise ScreenError(
                f"curves have {flat.shape[1]} values, but {width} in the screen that the model "
                "was trained on: give both screens the same curve features"
            )
        filled = np.where(np.isfinite(flat), flat, self.curve_mean)
        spread = np.where(self.curve_sd > 1e-9, self.curve_sd, np.inf)
        return np.asarray(np.clip((filled - self.curve_mean) / spread, -CURVE_LIMIT, CURVE_LIMIT))


def _curve_moments(curves: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Mean of each value over known curves, and its spread with missing ones at the mean."""
    none = np.zeros(0)
    if curves is None or curves.size == 0:
        return none, none
    flat = curves.reshape(-1, curves.shape[2])
    known = np.isfinite(flat)
    if not known.all(axis=1).any():
        return none, none
    mean = np.nanmean(np.where(known, flat, np.nan), axis=0)
    return mean, np.where(known, flat, mean).std(axis=0)
