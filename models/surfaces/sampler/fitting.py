"""Training of both samplers: minibatches, masks, progress, cancelling."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.bayes.training import NonFiniteLossError, one_thread
from models.pharmacology.noise import NoiseModel
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.conditions import PairFeatures, observe
from models.surfaces.sampler.posterior import SurfaceSampler
from models.surfaces.sampler.variational import Sizes, SurfaceAutoencoder
from models.surfaces.symmetry import Batch

FEWEST = 20
KEPT = 0.999
"""Of the running mean of the weights at each step."""
PROPOSALS = 4
HIDDEN_WELLS = 0.4
"""Part of the blocks of a minibatch of which the network sees only some wells."""


@dataclass(frozen=True)
class Options:
    """How long and how large."""

    steps: int = 1500
    rows: int = 128
    rate: float = 3e-3
    latent: int = 4
    hidden: int = 48


def fit_sampler(
    tables: Sequence[Blocks],
    noise: NoiseModel,
    features: PairFeatures | None = None,
    *,
    seed: int,
    options: Options | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> SurfaceSampler:
    """The sampler with a likelihood, learned from measured blocks of any shapes.

    ``noise``: of one well, from replicates. Deterministic in ``seed``; blocks are brought into one
    order first. Raises :class:`ScreenError` for fewer than :data:`FEWEST` blocks with wells,
    :class:`NonFiniteLossError` and :class:`Stopped`.
    """
    options, features = options or Options(), features or PairFeatures.none()
    batches = [observe(in_order(blocks), features) for blocks in tables if len(blocks)]
    count = sum(int((batch["wells"] > 0).any(dim=2).any(dim=1).sum()) for batch in batches)
    if count < FEWEST:
        raise ScreenError(f"a sampler needs at least {FEWEST} measured blocks, got {count}")
    generator = torch.Generator().manual_seed(seed)
    sizes = Sizes(options.latent, options.hidden, features.widths)
    network = SurfaceAutoencoder(sizes, noise, generator)
    with one_thread():
        _train(network, batches, options, generator, on_progress, should_stop)
    return SurfaceSampler(network, features, options.steps)


def _train(
    network: SurfaceAutoencoder,
    batches: Sequence[Batch],
    options: Options,
    generator: torch.Generator,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=options.rate)
    average = copy.deepcopy(network.state_dict())
    share = torch.tensor([float(len(batch["reference"])) for batch in batches])
    for step in range(options.steps):
        if should_stop():
            raise Stopped
        for group in optimizer.param_groups:
            group["lr"] = options.rate * cosine(step, options.steps)
        batch = picked(batches, share, options.rows, generator)
        batch = _masked(batch, generator)
        shape = (3, PROPOSALS, len(batch["reference"]), options.latent)
        standard = torch.randn(shape, generator=generator)
        loss = -network.bound(batch, (standard[0], standard[1], standard[2])).mean()
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {step + 1} of training")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 50.0)
        optimizer.step()
        blend(average, network.state_dict(), min(KEPT, (1 + step) / (10 + step)))
        if step % 20 == 0:
            on_progress("training the sampler", step, options.steps)
    network.load_state_dict(average)


def in_order(blocks: Blocks) -> Blocks:
    """By cell line and compounds, so that the order of rows changes nothing."""
    low, high = blocks.compounds.min(axis=1), blocks.compounds.max(axis=1)
    order = torch.from_numpy((blocks.cell_line * 10**6 + low) * 10**6 + high).argsort(stable=True)
    return blocks.select(order.numpy())


def picked(batches: Sequence[Batch], share: Tensor, rows: int, generator: torch.Generator) -> Batch:
    """Some rows of one table, chosen in proportion to their numbers of blocks."""
    at = int(torch.multinomial(share, 1, generator=generator))
    count = len(batches[at]["reference"])
    if count <= rows:
        return batches[at]
    index = torch.randint(count, (rows,), generator=generator)
    return {name: value[index] for name, value in batches[at].items()}


def cosine(step: int, steps: int) -> float:
    """Learning rate over its height: up over fifty steps, then down to a fiftieth."""
    warm = min(1.0, (step + 1) / 50)
    return warm * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def blend(average: dict[str, Tensor], state: dict[str, Tensor], kept: float) -> None:
    """Running mean of weights, in place."""
    with torch.no_grad():
        for name, value in state.items():
            average[name].mul_(kept).add_(value, alpha=1 - kept)


def _masked(batch: Batch, generator: torch.Generator) -> Batch:
    """Some blocks with only some of their wells: the density of any part is to be learned."""
    wells = batch["wells"]
    hidden = torch.rand(len(wells), generator=generator) < HIDDEN_WELLS
    rate = torch.rand(len(wells), 1, 1, generator=generator)
    seen = torch.rand(wells.shape, generator=generator) < rate
    kept = torch.where(hidden[:, None, None] & ~seen, torch.zeros_like(wells), wells)
    return {**batch, "wells": kept, "viability": batch["viability"] * (kept > 0)}
