"""Fits of ``logit_tensor`` and the worlds that they leave to predict from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bayes.diagnostics import FEWEST_DRAWS, describe_chains
from models.bayes.training import one_thread
from models.pharmacology.plate_noise import well_scales
from models.pharmacology.random_numbers import combine, normals
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    Wells,
)
from models.synergy.response.labels import FRESH, DoseLabels
from models.synergy.response.surface import PAIR_SLOTS
from models.synergy.response.tensor_gibbs import (
    HIGHEST,
    LOCAL_SLAB,
    LOWEST,
    LabelledWells,
    TensorChain,
)
from models.synergy.response.treatments import Treatments
from models.synergy.training import Schedule

DIMENSIONS = 8
CHAINS = 2
WATCHED = 200
"""Wells whose fitted logits stand for the state in R-hat and effective sample size."""


@dataclass(frozen=True)
class TensorWorlds:
    """States ``s`` of all chains, last axis: ``row`` ``(n_labels, 1 + 2 d, s)``, ``line``
    ``(n_lines, 1 + d, s)``, ``overall`` ``(1 + 2 d, s)``, ``noise`` ``(1, s)``; float32.
    ``centre``: the overall mean ``a``."""

    states: Mapping[str, np.ndarray]
    labels: DoseLabels
    centre: float

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_compounds, n_cell_lines)``."""
        return self.labels.n_compounds, self.states["line"].shape[0]

    def surface(self, treatments: Treatments, n: int, seed: int) -> tuple[list[Tensor], Tensor]:
        """Logits of the compounds of each slot alone and of all together, ``(m, n)`` each."""
        label = self.labels.find(treatments)
        states = self.states["noise"].shape[-1]
        order = np.random.default_rng([seed & 0xFFFFFFFF, 7]).permutation(states)
        place = order[np.arange(n) % states]
        line = self._take("line", treatments.cell_line, place)
        rows = [self._rows(treatments, label[:, k], k, place, seed) for k in range(label.shape[1])]
        d = line.shape[1] - 1
        base = self.centre + line[:, 0]
        own = [r[:, 0] + (line[:, 1:] * r[:, 1 : 1 + d]).sum(1) for r in rows]
        joint = torch.stack(own).sum(0)
        for i, j in PAIR_SLOTS[len(rows)]:
            joint = joint + (line[:, 1:] * (rows[i][:, 1 + d :] * rows[j][:, 1 + d :])).sum(1)
        return [base + part for part in own], base + joint

    def _take(self, name: str, at: IntArray, place: IntArray) -> Tensor:
        return torch.from_numpy(np.take(self.states[name][at], place, axis=-1))

    def _rows(
        self, treatments: Treatments, label: IntArray, slot: int, place: IntArray, seed: int
    ) -> Tensor:
        """``(m, 1 + 2 d, n)``: zero where empty, from the prior by name where never measured."""
        width = self.states["row"].shape[1]
        result = torch.zeros((len(label), width, len(place)))
        known = (label >= 0) & (label < len(self.labels))
        result[torch.from_numpy(known)] = self._take("row", label[known], place)
        fresh = label == FRESH
        if fresh.any():
            key = combine(treatments.compounds[fresh, slot], treatments.doses_um[fresh, slot])
            z = normals(seed, key, len(place), 3 * width).transpose(1, 2, 0)
            z = z.reshape(len(key), width, 3, len(place))
            spread = np.square(z[:, :, 1] / z[:, :, 2] * self.states["overall"][:, place])
            drawn = z[:, :, 0] * np.sqrt(spread / (1.0 + spread / LOCAL_SLAB**2))
            result[torch.from_numpy(fresh)] = torch.from_numpy(drawn.astype(np.float32))
        return result


def sample_tensor(
    wells: Wells,
    shape: tuple[int, int],
    *,
    seed: int,
    device: torch.device,
    plan: Schedule,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> tuple[TensorWorlds, dict[str, Any]]:
    """Run the chains one after the other; worlds of all of them, and how well they agree."""
    if plan.steps - plan.horizon < FEWEST_DRAWS:
        raise ScreenError(f"a schedule must keep {FEWEST_DRAWS} sweeps beyond its burn-in")
    labels = DoseLabels.of(wells, shape[0])
    data, centre, brought_in = label_wells(wells, labels, shape)
    states: list[dict[str, FloatArray]] = []
    watched = []
    some = torch.from_numpy(np.linspace(0, len(data.line) - 1, WATCHED).astype(np.int64))
    with one_thread():
        for number in range(CHAINS):
            chain = TensorChain(data, DIMENSIONS, CHAINS * seed + number, device)
            for sweep in range(plan.steps):
                if should_stop():
                    raise Stopped
                on_progress("training", number * plan.steps + sweep, CHAINS * plan.steps)
                chain.sweep()
                if sweep >= plan.horizon:
                    states.append(chain.snapshot())
                    watched.append(chain.mean().cpu()[some].numpy())
    stacked = {
        name: np.stack([state[name] for state in states], axis=-1).astype(np.float32)
        for name in states[0]
    }
    report = {
        "kind": "chain",
        "sweeps": plan.steps,
        "burn_in": plan.horizon,
        "dimensions": DIMENSIONS,
        "brought_into_range": brought_in,
        **describe_chains(np.stack(watched).reshape(CHAINS, -1, len(some))),
    }
    return TensorWorlds(stacked, labels, centre), report


def label_wells(
    wells: Wells, labels: DoseLabels, shape: tuple[int, int]
) -> tuple[LabelledWells, float, int]:
    """Wells that hold compounds, sorted, as labels; their mean logit, and how many viabilities
    were outside ``LOWEST`` to ``HIGHEST`` and brought to its ends."""
    keys = [wells.viability, *wells.doses_um.T[::-1], *wells.compounds.T[::-1], wells.cell_line]
    sorted_ = wells.select(np.lexsort([well_scales(wells), *keys]))
    sorted_ = sorted_.select(sorted_.n_compounds > 0)
    treatments = Treatments.of(sorted_.compounds, sorted_.doses_um, sorted_.cell_line, *shape)
    k = int(sorted_.n_compounds.max(initial=1))
    inside = np.clip(sorted_.viability, LOWEST, HIGHEST)
    logit = np.log(inside) - np.log1p(-inside)
    centre = float(logit.mean())
    label = labels.find(treatments)[:, :k]
    line, scale = treatments.cell_line, well_scales(sorted_)
    data = LabelledWells(label, line, logit - centre, len(labels), shape[1], scale)
    return data, centre, int((inside != sorted_.viability).sum())
