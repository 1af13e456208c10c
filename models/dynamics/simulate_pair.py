"""Drug-pair experiments drawn from the model itself, with the synergies that made them.

For checks of calibration: fits of such data must find the truth as often as they say
(Talts et al. 2018, arXiv 1804.06788).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from models.dynamics.drug_pair import Noise, PairData, PairModel, PairOptions, bends
from models.dynamics.series import TimeCourses
from models.dynamics.systems.growth_death import CHANNELS
from models.screen import FloatArray

TIMES = np.linspace(0.0, 72.0, 9)
ASKED = np.array([[2.0, 0.5], [8.0, 2.0]])
"""Dose pairs whose synergies are asked for."""


def template() -> TimeCourses:
    """Three wells of each pair of a 3 x 3 grid of doses, whose readings only set the units."""
    grid = [(a, b) for a in (0.0, 2.0, 8.0) for b in (0.0, 0.5, 2.0)]
    doses = np.array([pair for pair in grid for _ in range(3)])
    usual = np.array([9.0, 1.0, 1.0])[:, None]
    values = np.broadcast_to(usual, (len(doses), 3, len(TIMES))).copy()
    names = tuple(f"well {i:02d}" for i in range(len(doses)))
    return TimeCourses(TIMES, values, CHANNELS, names, doses, ("A", "B"), ())


def simulated(seed: int) -> tuple[TimeCourses, FloatArray]:
    """Readings of an experiment with everything from the prior (spreads and noise within half of
    it), and the synergies ``(4,)`` at :data:`ASKED` that made them: cytostatic, then cytotoxic."""
    series, rng = template(), np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    model = PairModel(PairData.of(series), PairOptions())

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    hyper = model.centre[model.hyper] + 0.5 * model.unit[model.hyper] * normal(len(model.hyper))
    shared = model.at(normal(1, len(model.free)), hyper)
    for name, places in model.misfit_places.items():
        shared[:, places] = (model.surfaces[name].root @ normal(len(places)))[None]
    every = shared[:, None].expand(-1, len(series), -1)
    location, sd = model.hierarchy.moments(every, model.groups)
    location = location.index_add(2, model.hierarchy.individual, sd * normal(*sd.shape))
    values = model.named(location)
    noise = Noise.of(values, model.scale)
    mean = model.curves(values, model.inputs, model.times)
    centre = torch.asinh(mean / bends(model.scale))
    centre = centre + model.frame_effects(values, normal(1, 3, len(TIMES)))
    new = torch.from_numpy(rng.standard_t(float(noise.df[0]), size=centre.shape))
    levels = [new[0]]
    for gap, each in zip(np.diff(TIMES), new[1:], strict=True):
        kept = torch.exp(-gap / noise.memory[0])
        levels.append(kept * levels[-1] + torch.sqrt(1 - kept**2) * each)
    readings = bends(model.scale) * torch.sinh(centre + noise.scale * torch.stack(levels))
    asked = torch.from_numpy(ASKED.T.copy())[:, None]
    effects = model.system.effects(model.named(location[:, :1]), asked)
    truth = torch.cat([-effects["growth_interaction"][0], effects["death_interaction"][0]])
    return replace(series, values=readings[:, :, 0].permute(2, 1, 0).numpy()), truth.numpy()
