"""What a fitted VAE says about conditions: effects against the control by common random numbers.

A world is one draw of masks, effects and interaction. In each world every condition *and the
control* are decoded from the same basal states, in calls of one shape, so that what differs is the
shift alone and the effect of a control is 0 to the bit. Cells of good quality throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.bayes.weights import normal
from models.perturbation.vae.cells import COUNTS_PER_CELL
from models.perturbation.vae.doses import pairs_of
from models.perturbation.vae.module import PerturbationVae
from models.perturbation.vae.observations import CountObservation
from models.screen import FloatArray, ScreenError

BASAL_STATES = 32
Scale = Literal["ratio", "log2_profile"]
"""``ratio``: difference for continuous readouts, natural log of the ratio of mean proportions for
counts. ``log2_profile``: for counts the published effect, mean of log2(1 + counts in 10,000)."""


@dataclass(frozen=True)
class Worlds:
    """``n`` draws ``effects`` ``(n, t, m)`` with their interactions (or none), and the basal
    states ``(k, L)`` that all of them share."""

    effects: Tensor
    factor: Tensor | None
    output: Tensor | None
    basal: Tensor

    @classmethod
    def of(cls, model: PerturbationVae, n: int, seed: int, states: int = BASAL_STATES) -> Worlds:
        """Drawn from the posterior; the same for the same seed."""
        if n < 1 or states < 1:
            raise ScreenError(f"cannot draw {n} worlds of {states} basal states")
        generator = torch.Generator().manual_seed(seed)
        effects = model.effects.samples(n, generator)
        factor = output = None
        if model.interaction is not None:
            with torch.no_grad():
                factor = model.interaction.factor.sample(n, generator)
                output = model.interaction.output.sample(n, generator)
        basal = normal((states, model.settings.basal), generator, torch.device("cpu"))
        return cls(effects, factor, output, basal)

    def mirrored(self, model: PerturbationVae) -> Worlds:
        """The same worlds with the interaction's output weights mirrored at their means: averaged
        over both, an interaction that data say nothing about cancels in place of adding noise."""
        if model.interaction is None or self.output is None:
            return self
        mean = model.interaction.output.mean.detach()
        return Worlds(self.effects, self.factor, 2 * mean - self.output, self.basal)

    @torch.no_grad()
    def shifts(self, model: PerturbationVae, doses: Tensor, interacting: bool) -> Tensor:
        """``(n, m)`` at one condition ``(p,)``."""
        pairs = pairs_of(doses[None])
        both = None
        rows = []
        for world, effects in enumerate(self.effects):
            if interacting and self.factor is not None and self.output is not None:
                both = self.factor[world], self.output[world]
            rows.append(model.shift(doses[None], effects, both, pairs)[0])
        return torch.stack(rows)


@torch.no_grad()
def effects(
    model: PerturbationVae,
    doses: FloatArray,
    worlds: Worlds,
    *,
    scale: Scale = "ratio",
    interacting: bool = True,
) -> FloatArray:
    """``(n, c, g)`` effect of each condition ``(c, p)`` in each world, float64.

    ``interacting``: with the interaction term; without it the shifts of a combination are the sums
    of its parts'. Independent of how conditions are ordered or split into calls, to the bit.
    """
    control = _level(model, torch.zeros(len(worlds.effects), len(model.settings.columns)), worlds)
    found = np.empty((len(worlds.effects), len(doses), model.n_readouts))
    for row, dose in enumerate(torch.tensor(np.asarray(doses, np.float32))):
        shift = worlds.shifts(model, dose, interacting)
        found[:, row] = _against(model, _level(model, shift, worlds), control, scale)
    return found


def interaction_effects(
    model: PerturbationVae, doses: FloatArray, worlds: Worlds, *, scale: Scale = "ratio"
) -> FloatArray:
    """``(n, c, g)`` what the interaction adds to each condition: 0 to the bit unless two compounds
    are present. Its posterior is the transcriptional synergy."""
    joint = effects(model, doses, worlds, scale=scale)
    return joint - effects(model, doses, worlds, scale=scale, interacting=False)


def _level(model: PerturbationVae, shift: Tensor, worlds: Worlds) -> Tensor:
    """``(n, k, g)`` decoded raw output for shifts ``(n, m)`` and all basal states."""
    n, k = len(shift), len(worlds.basal)
    z = worlds.basal.repeat(n, 1)
    flag = torch.zeros(n * k)
    artifact = None if model.artifact is None else model.artifact.mean
    raw = model.decode(z, shift.repeat_interleave(k, 0), flag, artifact)
    return raw.reshape(n, k, -1)


def _against(model: PerturbationVae, treated: Tensor, control: Tensor, scale: Scale) -> np.ndarray:
    if not isinstance(model.observation, CountObservation):
        return (treated.double().mean(1) - control.double().mean(1)).numpy()
    shares = [torch.softmax(raw.double(), -1) for raw in (treated, control)]
    if scale == "ratio":
        first, second = (torch.log(share.mean(1)) for share in shares)
    else:
        first, second = (torch.log2(1 + COUNTS_PER_CELL * share).mean(1) for share in shares)
    return (first - second).numpy()
