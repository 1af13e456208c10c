"""Samplers of dose surfaces on held-out O'Neil blocks, and whether their samples may be trained on.

    python -m benchmarks.symmetric_sampler [--data FOLDER] [--steps 1600] [--gan-steps 400]

Leaves out a fifth of the pairs, then a fifth of the cell lines. Every model is told the
single-agent margins, which compound is which and which cell line it is (the one left out is then
new to it). Log density is that of all 16 wells of a block, in nats; the GAN has none, so that the
mixture of its draws under the noise of a well stands for it, and beside it that of the autoencoder.
Differences are paired over what was left out together.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.special
import scipy.stats
import torch

from benchmarks.machine import describe
from models.evaluation.oneil import load_oneil_layout
from models.pharmacology.dose_response import fit_curves
from models.pharmacology.noise import STUDENT_DOF, NoiseModel
from models.screen import FloatArray, IntArray
from models.surfaces.blocks import Blocks, gather_blocks, join_blocks
from models.surfaces.sampler.admission import (
    HeldOut,
    check_copying,
    judge_admission,
    paired_gain,
)
from models.surfaces.sampler.adversarial import (
    AdversarialOptions,
    AdversarialSampler,
    fit_adversarial,
)
from models.surfaces.sampler.conditions import PairFeatures
from models.surfaces.sampler.fitting import Options, fit_sampler
from models.surfaces.sampler.posterior import SurfaceSampler
from models.surfaces.sampler.references import AroundBliss, LinearCloud
from models.surfaces.sampler.two_sample import compare_surfaces, energy_distance, energy_score

DATA = Path(os.environ.get("NEXTROUND_DATA", "../shared/data"))
HELD_OUT, DRAWS, MIXTURE = 1200, 48, 192
FEW, SYNTHETIC = 150, 600
PARTS = ("admission", "drift", "pairs", "lines")


@dataclass(frozen=True)
class Screen:
    """The blocks of the screen, the noise of one well, and who is who."""

    blocks: Blocks
    noise: NoiseModel
    features: PairFeatures


def load(folder: Path) -> Screen:
    found = load_oneil_layout(folder)
    n, lines = len(found.compound_names), len(found.cell_line_names)
    curves = fit_curves(found.singles, n, lines)
    tables = gather_blocks(found.combinations, curves)
    blocks = max(tables, key=len)
    return Screen(
        blocks.select(blocks.measured.all(axis=(1, 2))),
        curves.noise,
        PairFeatures(np.eye(n), np.eye(lines)),
    )


def split(blocks: Blocks, group: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Rows to learn from, and some of the rows of a fifth of the groups."""
    rng = np.random.default_rng(seed)
    names = np.unique(group)
    out = np.isin(group, rng.permutation(names)[: len(names) // 5])
    held_out = rng.permutation(np.flatnonzero(out))[:HELD_OUT]
    return np.flatnonzero(~out), np.sort(held_out)


def pair_of(blocks: Blocks) -> IntArray:
    return np.asarray(blocks.compounds.min(axis=1) * 1000 + blocks.compounds.max(axis=1))


def mixture(draws: FloatArray, sd: FloatArray, df: float, observed: FloatArray) -> FloatArray:
    """``(b,)`` log density of blocks under the mean over draws of independent well noise."""
    each = scipy.stats.t.logpdf((observed - draws) / sd, df) - np.log(sd)
    summed = each.sum(axis=(2, 3))
    return np.asarray(scipy.special.logsumexp(summed, axis=0) - np.log(len(draws)))


def gan_readings(sampler: AdversarialSampler, at: Blocks, n: int, seed: int) -> FloatArray:
    surfaces = sampler.draws(at, n, seed)
    z = np.random.default_rng(seed).standard_t(STUDENT_DOF, surfaces.shape)
    return np.asarray(surfaces + sampler.noise.sd(surfaces) * z)


def compare(screen: Screen, name: str, group: IntArray, asked: argparse.Namespace) -> None:
    rows, held = split(screen.blocks, group, asked.seed)
    train, test = screen.blocks.select(rows), screen.blocks.select(held)
    both = join_blocks([train, train.swapped()])
    bliss = AroundBliss.fit(train.select(np.arange(0, len(train), 4)))
    cloud = LinearCloud.fit(both, screen.features)
    clock = time.process_time()
    options = Options(steps=asked.steps, latent=6)
    ours = fit_sampler([train], screen.noise, screen.features, seed=asked.seed, options=options)
    spent = [time.process_time() - clock]
    clock = time.process_time()
    gan = fit_adversarial(
        [train],
        screen.noise,
        screen.features,
        seed=asked.seed,
        options=AdversarialOptions(steps=asked.gan_steps),
    )
    spent.append(time.process_time() - clock)
    print(f"\nleaving out {name}: {len(train)} blocks learned, {len(test)} judged in "
          f"{len(np.unique(group[held]))} groups; CPU seconds autoencoder {spent[0]:.0f}, "
          f"GAN {spent[1]:.0f}")  # fmt: skip
    density = {
        "noise around Bliss": bliss.log_density(test),
        "linear cloud, both orders": cloud.log_density(test),
        "autoencoder": ours.log_density(test),
        "autoencoder, mixture of draws": _ours_by_draws(ours, test),
        "GAN, mixture of draws": _gan_by_draws(gan, test),
    }
    readings: dict[str, FloatArray] = {
        "noise around Bliss": bliss.readings(test, DRAWS, 1),
        "linear cloud, both orders": cloud.readings(test, DRAWS, 1),
        "autoencoder": ours.replicates(ours.draws(test, DRAWS, 1), test, 2),
        "GAN, mixture of draws": gan_readings(gan, test, DRAWS, 1),
    }
    _table(density, readings, test, group[held])


def _ours_by_draws(sampler: SurfaceSampler, test: Blocks) -> FloatArray:
    draws = sampler.draws(test, MIXTURE, 3)
    scale = sampler.noise_sd(draws) / sampler.network.noise.sd_factor()
    return mixture(draws, scale, sampler.network.noise.df.item(), test.viability)


def _gan_by_draws(sampler: AdversarialSampler, test: Blocks) -> FloatArray:
    draws = sampler.draws(test, MIXTURE, 3)
    return mixture(draws, sampler.noise.sd(draws), STUDENT_DOF, test.viability)


def _table(
    density: dict[str, FloatArray], readings: dict[str, FloatArray], test: Blocks, group: IntArray
) -> None:
    flat = test.viability.reshape(len(test), -1)
    off = (test.viability - test.reference).reshape(len(test), -1)
    energy = {
        key: energy_score(value.reshape(len(value), len(test), -1), flat)
        for key, value in readings.items()
    }
    best = density["autoencoder"]
    print(f"{'':32}{'log density':>12}{'less than ours':>22}{'energy score':>14}"
          f"{'less than ours':>20}{'energy distance':>17}")  # fmt: skip
    for key, value in density.items():
        gain = paired_gain(best - value, group)
        line = f"{key:32}{value.mean():12.3f}{gain.mean:12.3f} +- {gain.error:.3f}{'':2}"
        if key in energy:
            lost = paired_gain(energy[key] - energy["autoencoder"], group)
            far = readings[key][0] - test.reference
            distance = energy_distance(far.reshape(len(test), -1), off)
            line += (f"{energy[key].mean():14.4f}{lost.mean:12.4f} +- {lost.error:.4f}"
                     f"{distance:12.5f}")  # fmt: skip
        print(line)


def admission(screen: Screen, asked: argparse.Namespace) -> None:
    """Few measured blocks, and synthetic ones of pairs that were not measured beside them."""
    group = pair_of(screen.blocks)
    rows, held = split(screen.blocks, group, asked.seed)
    order = np.random.default_rng(asked.seed).permutation(rows)
    real, test = screen.blocks.select(order[:FEW]), screen.blocks.select(held)
    asked_of = screen.blocks.select(order[FEW : FEW + SYNTHETIC])  # margins alone are used
    nothing = PairFeatures.none()
    options = Options(steps=asked.steps // 4, latent=3, hidden=32)
    ours = fit_sampler([real], screen.noise, nothing, seed=1, options=options)
    gan = fit_adversarial(
        [real],
        screen.noise,
        nothing,
        seed=1,
        options=AdversarialOptions(steps=asked.gan_steps // 2),
    )
    bliss = AroundBliss.fit(real)
    makers: dict[str, Callable[[], FloatArray]] = {
        "autoencoder": lambda: ours.replicates(ours.draws(asked_of, 1, 5), asked_of, 6)[0],
        "GAN": lambda: gan_readings(gan, asked_of, 1, 5)[0],
        "noise around Bliss": lambda: bliss.readings(asked_of, 1, 5)[0],
        "copies of the real ones": lambda: _copies(real, asked_of),
    }
    print(f"\nadmission: {FEW} real blocks, {SYNTHETIC} synthetic ones, the learner a linear "
          f"cloud, judged on {len(test)} blocks of pairs left out")  # fmt: skip
    none = LinearCloud.fit(real).log_density(test)
    swapped = join_blocks([real, real.swapped()])
    plain = LinearCloud.fit(swapped).log_density(test)
    print(f"{'none':26}{none.mean():9.3f} nats\n{'swapped copies':26}{plain.mean():9.3f} nats")
    for name, make in makers.items():
        made = replace(asked_of, viability=make())
        learner = LinearCloud.fit(join_blocks([swapped, made, made.swapped()]))
        with_made = learner.log_density(test)
        copying = check_copying(
            _departures(made),
            _departures(real),
            _departures(test),
            turned=(_departures(made.swapped()), _departures(test.swapped())),
        )
        found = judge_admission(HeldOut(none, plain, with_made, group[held]), copying)
        print(f"{name:26}{with_made.mean():9.3f} nats  nearest learned "
              f"{100 * copying.learned_share:3.0f} %  "
              f"{'ADMITTED' if found.admitted else 'refused'}: {found.reason}")  # fmt: skip


def _copies(real: Blocks, asked_of: Blocks) -> FloatArray:
    """Departures of measured blocks, a little shaken, on the margins of others."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(real), len(asked_of))
    off = (real.viability - real.reference)[chosen]
    return np.asarray(asked_of.reference + off + 0.002 * rng.normal(size=off.shape))


def _departures(blocks: Blocks) -> FloatArray:
    return np.asarray((blocks.viability - blocks.reference).reshape(len(blocks), -1))


def drift(screen: Screen, seed: int) -> None:
    """How often halves of one cell line differ, and a plate that reads all a little higher."""
    rng = np.random.default_rng(seed)
    print("\ndrift between two sets of 24 blocks of one cell line, 40 pairs of sets: share found "
          "at one in twenty")  # fmt: skip
    for shift in (0.0, 0.02, 0.04, 0.08):
        found = []
        for _ in range(40):
            line = rng.choice(np.unique(screen.blocks.cell_line))
            rows = rng.permutation(np.flatnonzero(screen.blocks.cell_line == line))[:48]
            some = screen.blocks.select(rows)
            off = some.viability - some.reference
            test = compare_surfaces(off[:24], off[24:] + shift, permutations=199)
            found.append(test.p_value <= 0.05)
        print(f"  wells read {100 * shift:3.0f} points higher: {100 * np.mean(found):3.0f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "oneil")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--gan-steps", type=int, default=400)
    parser.add_argument("--parts", nargs="*", choices=PARTS, help="all of them unless named")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(describe())
    screen = load(asked.data)
    started = time.perf_counter()
    parts: dict[str, Callable[[], None]] = {
        "admission": lambda: admission(screen, asked),
        "drift": lambda: drift(screen, asked.seed),
        "pairs": lambda: compare(screen, "pairs", pair_of(screen.blocks), asked),
        "lines": lambda: compare(screen, "cell lines", screen.blocks.cell_line, asked),
    }
    for name in asked.parts or parts:
        parts[name]()
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
