"""Sparse shifts recovered from simulated cells, and effects judged on held-out ones.

    python -m benchmarks.perturbation_vae [--small] [--seed 0] [--only masks|pairs]

First the simulator of SAMS-VAE: F1 of the masks after matching coordinates, and the effects of
each treatment against those of test cells, with simple predictions and the halves of the test cells
against each other beside them. Then simulated counts with a known network: held-out pairs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.machine import describe
from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.evaluation import compare, measured_effects, simple_predictions
from models.perturbation.vae.fitting import fit_vae
from models.perturbation.vae.module import VaeSettings
from models.perturbation.vae.simulate import (
    NetworkDesign,
    ShiftDesign,
    ShiftTruth,
    draw_network,
    draw_truth,
    mask_recovery,
)
from models.perturbation.vae.training import TrainingPlan

LEAST_EFFECT = 1.75
"""An edge must shift by this many basal standard deviations to pay for itself."""


def sparse_fit(truth: ShiftTruth, cells: CellTable, *, hidden: int, blocks: int, **plan):
    """A fit of summed latents to simulated cells."""
    m = truth.design.latent
    settings = VaeSettings(
        columns=tuple(f"latent {i}" for i in range(m)),
        basal=m,
        hidden=hidden,
        blocks=blocks,
        join="sum",
        prior_on=truth.design.mask_share,
        effect_sd=5.0,
    )
    # An edge costs n_p lambda / m nats and saves n_p e^2 / 2.
    sparsity = m * LEAST_EFFECT**2 / 2
    schedule = TrainingPlan(dense=0.6, sparsity=sparsity, mask_rate=0.05, **plan)
    return fit_vae(cells, settings, schedule, seed=0)


def recover(small: bool, seed: int, epochs: int) -> None:
    """Masks, then effects of treatments against the mean of all cells of the test set."""
    design = ShiftDesign(latent=8, treatments=50) if small else ShiftDesign()
    truth = draw_truth(design, seed)
    per = 100 if small else 500
    sizes = {"hidden": 64, "blocks": 2} if small else {"hidden": 100, "blocks": 3}
    plan = {"epochs": 40, "batch_cells": 100} if small else {"epochs": epochs, "batch_cells": 256}
    cells, test = truth.cells(per, seed + 1), truth.cells(100, seed + 2)
    started = time.perf_counter()
    fitted = sparse_fit(truth, cells, **sizes, **plan)
    seconds = time.perf_counter() - started
    found = mask_recovery(fitted.network().probability > 0.5, truth.mask)
    print(f"{len(cells)} cells, {design.treatments} treatments, {seconds:.0f} s")
    print(f"masks: F1 {found.f1:.3f}, precision {found.precision:.3f}, recall {found.recall:.3f}")
    treatment = np.repeat(np.arange(design.treatments), 100)
    means = np.array([test.values[treatment == i].mean(axis=0) for i in range(design.treatments)])
    trained = np.repeat(np.arange(design.treatments), per)
    own = np.array([cells.values[trained == i].mean(axis=0) for i in range(design.treatments)])
    halves = [
        np.array([test.values[treatment == i][part::2].mean(axis=0) for i in range(len(means))])
        for part in (0, 1)
    ]
    effects = fitted.effects(np.eye(design.treatments), 16, 0, states=128).mean(axis=0)
    # Without controls effects are against the mean of treatments.
    centred = {
        "sparse VAE": effects - effects.mean(axis=0),
        "same condition": own - own.mean(axis=0),
        "mean of others": 0 * own,
    }
    print_scores(compare(centred, means - means.mean(axis=0)))
    first, second = (half - half.mean(axis=0) for half in halves)
    print_scores(compare({"half against half": first}, second))


def held_out_pairs(seed: int) -> None:
    """Counts of a known network: trained on singles and half of the pairs, judged on the others."""
    world = draw_network(NetworkDesign(), seed)
    cells, test = world.cells(80, seed + 1), world.cells(80, seed + 2)
    pairs = np.unique(cells.doses[(cells.doses > 0).sum(axis=1) == 2], axis=0)
    hidden = pairs[np.random.default_rng(seed).permutation(len(pairs))[: len(pairs) // 2]]
    left_out = np.array([(hidden == row).all(axis=1).any() for row in cells.doses])
    train = cells.select(~left_out)
    started = time.perf_counter()
    settings = VaeSettings(
        columns=world.genes, basal=3, hidden=16, own_readout=True, rank=2, prior_on=0.05
    )
    plan = TrainingPlan(epochs=50, batch_cells=64, rate=5e-3, mask_rate=0.05)
    fitted = fit_vae(train, settings, plan, seed=seed)
    print(f"\n{len(train)} cells of counts, {time.perf_counter() - started:.0f} s")
    reference = measured_effects(test.select(left_out | test.is_control))
    predicted = simple_predictions(measured_effects(train), reference.doses)
    predicted.pop("same condition")
    found = fitted.effects(reference.doses, 32, 0)
    print_scores(compare(predicted | {"VAE": found.mean(axis=0)}, reference.effect, top=8))
    edges = world.effect != 0
    on = fitted.network().probability > 0.5
    hits = (on & edges).sum()
    print(f"direct edges: precision {hits / max(on.sum(), 1):.3f}, recall {hits / edges.sum():.3f}")


def print_scores(scores) -> None:
    """One row per prediction."""
    for name, score in scores.items():
        r = "     -" if score.correlation is None else f"{score.correlation:6.3f}"
        numbers = f"R2 {score.r2:7.3f}  Jaccard {score.jaccard:.3f}  MSE {score.mse:.4f}"
        print(f"  {name:<18} r {r}  {numbers}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30, help="of the full-size masks")
    parser.add_argument("--only", choices=["masks", "pairs"])
    options = parser.parse_args()
    print(describe())
    if options.only != "masks":
        held_out_pairs(options.seed)
    if options.only != "pairs":
        recover(options.small, options.seed, options.epochs)


if __name__ == "__main__":
    main()
