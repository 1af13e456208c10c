"""``hierarchical_bliss``: responses as Bliss products of hierarchical Hill curves times shrunken
interactions, sampled whole; scores are read off the drawn surfaces.

The response surface is in :mod:`.surface`, what curves share in :mod:`.hierarchy`, the priors of
interactions in :mod:`.shrinkage`, the noise in :mod:`.errors`, the sampler in :mod:`.sampling`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.noise import NoiseModel
from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.inputs import ScoredBlocks, Training
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.response.reference import ReferenceCurves
from models.synergy.response.sampling import sample_worlds
from models.synergy.response.scoring import (
    CALIBRATION_DRAWS,
    Remainder,
    calibrate,
    calibration_rows,
    require_score_of_responses,
    score_draws,
)
from models.synergy.response.table import DoseScale
from models.synergy.response.treatments import Treatments
from models.synergy.response.worlds import Worlds
from models.synergy.training import Schedule, require_rows

NAME = "hierarchical_bliss"
VERSION = 1
MIN_ROWS = 5


@dataclass(frozen=True)
class HierarchicalBlissPosterior:
    """Posterior of ``hierarchical_bliss``: of responses
    (:class:`models.synergy.response.treatments.ResponsePosterior`) and of the score."""

    worlds: Worlds
    grids: DoseGrids
    reference: ReferenceCurves
    score: str
    well_noise: NoiseModel
    remainder: Remainder
    schedule: Schedule
    report: dict[str, Any]

    model = NAME

    def viability_draws(
        self, compounds: IntArray, doses_um: FloatArray, cell_line: IntArray, n: int, seed: int
    ) -> Tensor:
        """``(n, m)`` float32 draws of true viabilities; up to three compounds in any order.

        Vehicle is exactly 1. A compound that no well holds has a wide prior, also of its dose
        range. Raises :class:`ScreenError` for treatments outside the tables.
        """
        treatments = Treatments.of(compounds, doses_um, cell_line, *self.worlds.shape)
        return self.worlds.draws(treatments, n, seed)

    def well_noise_sd(self, viability: FloatArray) -> FloatArray:
        """Standard deviation of one sound well around a true viability; same shape."""
        return self.well_noise.sd(np.maximum(viability, 0.0))

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 noise-free scores of ``n`` whole functions.

        The reference is that of measured scores: the curves of the single-agent wells where there
        are any, else the drawn ones.
        """
        return self.score_draws(candidates, n, seed)

    def score_draws(
        self,
        candidates: Candidates,
        n: int,
        seed: int,
        *,
        fresh_blocks: bool = False,
        drawn_reference: bool = False,
    ) -> Tensor:
        """As :meth:`draws`; ``fresh_blocks``: as if no candidate's own block had been measured;
        ``drawn_reference``: against the drawn single agents, which combinations inform, too. That
        is closer to the true synergy where single agents and combinations share plates, further
        from what a measured score will say.
        """

        def surface(
            pairs: IntArray, doses: FloatArray, line: IntArray
        ) -> tuple[list[Tensor], Tensor]:
            treatments = Treatments.of(pairs, doses, line, *self.worlds.shape)
            singles, joint = self.worlds.surface(treatments, n, seed, fresh_blocks=fresh_blocks)
            if drawn_reference:
                return singles, joint
            own = [
                self.reference.replace(single, pairs[:, k], line, doses[:, k])
                for k, single in enumerate(singles)
            ]
            return own, joint

        return score_draws(surface, candidates, self.grids, self.score, n)

    counted = "unknowns of one draw"

    @property
    def n_parameters(self) -> int:
        """Unknowns of one draw."""
        return sum(int(np.prod(state.shape[:-1])) for state in self.worlds.states.values())

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of a measured score around the true one."""
        return self.remainder.df

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of a measurement like the others."""
        return torch.full((len(candidates),), self.remainder.total())

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        df = self.noise_df
        return self.noise_scale(candidates) * math.sqrt(df / (df - 2))

    def diagnostics(self) -> dict[str, Any]:
        """Sweeps, acceptance, R-hat and effective sample size of fitted viabilities."""
        return self.report


class HierarchicalBliss:
    """The model; see :class:`models.synergy.registry.Model`."""

    name = NAME
    learns_from_wells = True

    def fit(
        self,
        training: Training,
        *,
        seed: int,
        device: str = "cpu",
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
        schedule: Schedule | None = None,
        refit: bool = True,
    ) -> HierarchicalBlissPosterior:
        """Fit to the wells; the blocks calibrate the noise of scores. Row order does not matter.

        ``schedule``: sweeps in all (``steps``) and of those the burn-in (``horizon``). Nothing is
        held out, so ``refit`` changes nothing. Raises :class:`ScreenError` without wells or with
        fewer than 5 blocks, ``Stopped``, ``NonFiniteLossError``.
        """
        require_score_of_responses(training.score)
        if training.wells is None:
            raise ScreenError(f"{NAME} learns from wells; this screen has scores only")
        blocks = training.sorted().blocks
        require_rows(len(blocks), MIN_ROWS)
        shape = (len(training.features.compounds), len(training.features.cell_lines))
        sampled = sample_worlds(
            training.wells,
            shape,
            seed=seed,
            device=torch.device(device),
            on_progress=on_progress,
            should_stop=should_stop,
            schedule=schedule,
        )
        posterior = HierarchicalBlissPosterior(
            worlds=sampled.worlds,
            grids=DoseGrids.of(training.wells, shape[0]),
            reference=ReferenceCurves.of(training.wells, shape),
            score=training.score,
            well_noise=NoiseModel(*sampled.noise_sd, "posterior mean"),
            remainder=Remainder(0.0, math.inf, 0.0),
            schedule=sampled.schedule,
            report=sampled.report,
        )
        return dataclasses.replace(posterior, remainder=_remainder(posterior, blocks, seed))

    def save(
        self, posterior: HierarchicalBlissPosterior
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors for safetensors and metadata for JSON; :meth:`load` gives the same draws."""
        worlds = posterior.worlds
        tensors = {
            f"states.{k}": torch.from_numpy(np.ascontiguousarray(v))
            for k, v in worlds.states.items()
        }
        tensors |= {
            "cells": torch.from_numpy(worlds.cells),
            "pairs": torch.from_numpy(worlds.pairs),
            "blocks": torch.from_numpy(worlds.blocks),
            "centre": torch.from_numpy(worlds.scale.centre),
            "known": torch.from_numpy(worlds.scale.known),
        }
        metadata = {
            "model": NAME,
            "version": VERSION,
            "score": posterior.score,
            "dose_spread": worlds.scale.spread,
            "well_noise": dataclasses.asdict(posterior.well_noise),
            "remainder": dataclasses.asdict(posterior.remainder),
            "schedule": dataclasses.asdict(posterior.schedule),
            "report": posterior.report,
        }
        tensors |= posterior.grids.save() | posterior.reference.save()
        return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> HierarchicalBlissPosterior:
        """Rebuild a saved posterior; predictions run on the CPU whatever the device.

        Raises :class:`ScreenError` for another model or version.
        """
        if (metadata.get("model"), metadata.get("version")) != (NAME, VERSION):
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {NAME} version {VERSION}")
        prefix = "states."
        states = {
            k.removeprefix(prefix): v.cpu().numpy()
            for k, v in tensors.items()
            if k.startswith(prefix)
        }
        index = [tensors[name].cpu().numpy() for name in ("cells", "pairs", "blocks")]
        centre, known = tensors["centre"].cpu().numpy(), tensors["known"].cpu().numpy()
        return HierarchicalBlissPosterior(
            worlds=Worlds(
                states,
                index[0],
                index[1],
                index[2],
                DoseScale(centre, known, float(metadata["dose_spread"])),
            ),
            grids=DoseGrids.load({k: v.cpu() for k, v in tensors.items()}),
            reference=ReferenceCurves.load(tensors),
            score=metadata["score"],
            well_noise=NoiseModel(**metadata["well_noise"]),
            remainder=Remainder(**metadata["remainder"]),
            schedule=Schedule(**metadata["schedule"]),
            report=dict(metadata["report"]),
        )


def _remainder(posterior: HierarchicalBlissPosterior, blocks: ScoredBlocks, seed: int) -> Remainder:
    """Calibrated on blocks whose own terms are drawn from the prior: nearly out of sample."""
    some = blocks.select(calibration_rows(len(blocks), seed))
    draws = posterior.score_draws(some.candidates, CALIBRATION_DRAWS, seed, fresh_blocks=True)
    return calibrate(draws.numpy().astype(np.float64), some)
