"""Measured blocks as points: what the models see of them, the same in both orders of a pair.

For compounds a and b in line l, each table of unit mean square length,

    [c_a + c_b, |c_a - c_b|, r_al + r_bl, |r_al - r_bl|] / sqrt 2,  line

with c the main directions of the structures, r the single agent's curve and line the features. A
compound without a structure or a line without features is a direction of its own: nothing is
known that would make it like another.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from models.screen import BoolArray, Candidates, FloatArray
from models.synergy.inputs import Features, InputTables


def embed_blocks(candidates: Candidates, features: Features) -> FloatArray:
    """``(m, d)`` points of ``m`` blocks; see the module. Only blocks with equal points cannot be
    told apart by their inputs."""
    tables = InputTables.of(features, torch.device("cpu"))
    compounds = _own_directions(tables.compounds, features.compounds.has_structure)
    lines = _own_directions(tables.cell_lines, features.cell_lines.has_features)
    curves = tables.curves.double().numpy() / math.sqrt(max(1, tables.curves.shape[1]))
    a, b = candidates.compounds.T
    line, count = candidates.cell_line, len(features.cell_lines)
    parts = []
    for first, second in (
        (compounds[a], compounds[b]),
        (curves[a * count + line], curves[b * count + line]),
    ):
        parts += [(first + second) / math.sqrt(2), np.abs(first - second) / math.sqrt(2)]
    return np.concatenate([*parts, lines[line]], axis=1)


def _own_directions(table: Tensor, known: BoolArray) -> FloatArray:
    """``(n, p + unknown)``: rows of which nothing is known get a unit direction each."""
    unknown = np.flatnonzero(~known)
    own = np.zeros((len(known), len(unknown)))
    own[unknown, np.arange(len(unknown))] = 1.0
    return np.concatenate([table.double().numpy(), own], axis=1)
