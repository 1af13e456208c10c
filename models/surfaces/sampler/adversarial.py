"""The structure-preserving GAN of dose surfaces: the reference implementation, without a density.

Three parts make it (Birrell et al., ICML 2022): a critic that is invariant, so that it is smaller
and as sharp; a generator that is an equivariant map; and noise whose law is invariant. The last is
the step that is easily left out: noise is projected to features of the two drugs, which a swap
would change, and then a random element of the group acts on them. An invariant critic cannot see
an asymmetric generator: without that step it would let it collapse onto one order.

Surfaces are viabilities within bounds around Bliss (:mod:`.conditions`), margins are not drawn,
and the noise of wells is added to what the critic sees of the generator, never to its surfaces.
The critic is trained on the alpha-divergence with its shift and a one-sided gradient penalty, all
its matrices normalised to a Lipschitz constant of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.training import NonFiniteLossError, one_thread
from models.pharmacology.noise import STUDENT_DOF, NoiseModel
from models.screen import (
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.conditions import (
    OWN,
    SURFACE_SWAP,
    PairFeatures,
    condition,
    drug_noise,
    observe,
    to_residual,
    to_viability,
)
from models.surfaces.sampler.divergence import gradient_excess, variational_bound
from models.surfaces.sampler.fitting import FEWEST, blend, cosine, in_order, picked
from models.surfaces.sampler.layers import Dense, SymmetricField, Wells
from models.surfaces.symmetry import Batch

PENALTY = 10.0
CRITIC_STEPS = 2
UNIT = 0.05
"""Viability that counts as 1 in the critic's gradient: about the noise of a well."""
KEPT = 0.995


@dataclass(frozen=True)
class AdversarialOptions:
    """How long and how large. ``rates``: of the generator and of the critic."""

    steps: int = 1500
    rows: int = 64
    rates: tuple[float, float] = (5e-4, 2e-3)
    latent: int = 12
    hidden: int = 32
    alpha: float = 2.0


class Generator(nn.Module):
    """Surfaces from noise ``(..., b, latent)`` and group elements ``(..., b)``, equivariant:
    G(z, s s', s c) = s G(z, s', c)."""

    def __init__(
        self, latent: int, hidden: int, features: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__()
        compounds, lines = features
        self.width = hidden // 4
        self.project = Dense(latent, 3 * self.width, generator)
        self.field = SymmetricField(self.width, (OWN + compounds, lines), hidden, generator)

    def forward(self, z: Tensor, swapped: Tensor, batch: Batch) -> Tensor:
        """``(..., b, m, n)`` viabilities without noise. ``swapped``: bool, the element of each."""
        projected, w = self.project(z), self.width
        pair, first, second = (projected[..., k * w : (k + 1) * w] for k in range(3))
        turn = swapped[..., None]
        noise = (pair, torch.where(turn, second, first), torch.where(turn, first, second))
        return to_viability(batch["reference"], self.field(noise, batch))


class Critic(nn.Module):
    """``(b,)`` a number for each surface with its condition, the same under a swap of both."""

    def __init__(self, hidden: int, features: tuple[int, int], generator: torch.Generator) -> None:
        super().__init__()
        compounds, lines = features
        widths = (OWN + compounds, 2, lines)
        self.wells = Wells(widths, hidden, hidden, generator, spectral=True)
        self.middle = Dense(hidden, hidden, generator, spectral=True)
        self.head = Dense(hidden, 1, generator, spectral=True)
        self.size = nn.Parameter(torch.tensor(8.0))

    def forward(self, batch: Batch) -> Tensor:
        """For a batch of :func:`models.surfaces.sampler.conditions.observe`."""
        return SURFACE_SWAP.average(self.one_sided)(batch)

    def one_sided(self, batch: Batch) -> Tensor:
        """The part that is averaged; not invariant."""
        departure = batch["viability"] - to_viability(
            batch["reference"], torch.zeros_like(batch["reference"])
        )
        residual = to_residual(batch["reference"], batch["viability"])
        well = torch.stack([departure / UNIT, residual], dim=-1)
        wells = self.wells(batch["rows"], batch["columns"], well, batch["context"])
        pooled = functional.silu(wells).mean(dim=(1, 2)) * math.sqrt(wells[0, ..., 0].numel())
        found: Tensor = self.size * self.head(functional.silu(self.middle(pooled))).squeeze(-1)
        return found


@dataclass(frozen=True)
class AdversarialSampler:
    """The trained generator. It has draws and no density."""

    generator: Generator
    features: PairFeatures
    noise: NoiseModel
    latent: int
    bounds: tuple[float, ...]

    def draws(self, blocks: Blocks, n: int, seed: int) -> FloatArray:
        """``(n, b, m, n')`` noise-free surfaces; draw ``i`` of a block is the same in any company
        and turns with its compounds. The random element is the sign of one more number."""
        pair, first, second = drug_noise(blocks, n, seed, self.latent + 1)
        z, sign = pair[..., :-1], first[..., -1] > second[..., -1]
        with torch.no_grad():
            found = self.generator(z, sign, condition(blocks, self.features))
        return np.asarray(found.double().numpy())


def fit_adversarial(
    tables: Sequence[Blocks],
    noise: NoiseModel,
    features: PairFeatures | None = None,
    *,
    seed: int,
    options: AdversarialOptions | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> AdversarialSampler:
    """Generator and critic on complete blocks of any shapes. ``noise``: of one well.

    ``bounds`` of the result are the estimates of the divergence as training went. Raises
    :class:`ScreenError` for few blocks or missing wells, :class:`NonFiniteLossError`,
    :class:`Stopped`.
    """
    options, features = options or AdversarialOptions(), features or PairFeatures.none()
    if sum(len(blocks) for blocks in tables) < FEWEST:
        raise ScreenError(f"a sampler needs at least {FEWEST} measured blocks")
    if not all(blocks.measured.all() for blocks in tables):
        raise ScreenError("the adversarial sampler learns from complete blocks only")
    batches = [observe(in_order(blocks), features) for blocks in tables if len(blocks)]
    job = _Job(batches, noise, options, features.widths, seed)
    with one_thread():
        bounds = job.run(on_progress, should_stop)
    return AdversarialSampler(job.generator, features, noise, options.latent, tuple(bounds))


class _Job:
    """One training of one generator against one critic."""

    def __init__(
        self,
        batches: Sequence[Batch],
        noise: NoiseModel,
        options: AdversarialOptions,
        features: tuple[int, int],
        seed: int,
    ) -> None:
        self.batches, self.noise, self.options = batches, noise, options
        self.random = torch.Generator().manual_seed(seed)
        self.generator = Generator(options.latent, options.hidden, features, self.random)
        self.critic = Critic(options.hidden, features, self.random)
        self.share = torch.tensor([float(len(batch["reference"])) for batch in batches])

    def run(self, on_progress: ProgressCallback, should_stop: StopCallback) -> list[float]:
        """Alternate; the generator ends as the running mean of its weights."""
        pairs = zip((self.generator, self.critic), self.options.rates, strict=True)
        makers, critics = (
            torch.optim.Adam(net.parameters(), lr=rate, betas=(0.0, 0.9)) for net, rate in pairs
        )
        average = {k: v.clone() for k, v in self.generator.state_dict().items()}
        bounds = []
        for step in range(self.options.steps):
            if should_stop():
                raise Stopped
            scale = cosine(step, self.options.steps)
            for optimizer, rate in zip((makers, critics), self.options.rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate * scale
            for _ in range(CRITIC_STEPS):
                value = self._critic_step(critics, step)
            self._generator_step(makers, step)
            blend(average, self.generator.state_dict(), min(KEPT, (1 + step) / (10 + step)))
            if step % 20 == 0:
                bounds.append(value)
                on_progress("training the adversarial sampler", step, self.options.steps)
        self.generator.load_state_dict(average)
        return bounds

    def _critic_step(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        real = picked(self.batches, self.share, self.options.rows, self.random)
        with torch.no_grad():
            fake = self._fake(real)
        bound = variational_bound(self.critic(real), self.critic(fake), self.options.alpha)
        loss = -bound + PENALTY * self._excess(real, fake)
        _step(loss, optimizer, f"critic at step {step + 1}")
        return bound.item()

    def _generator_step(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        real = picked(self.batches, self.share, self.options.rows, self.random)
        with torch.no_grad():
            on_real = self.critic(real)
        bound = variational_bound(on_real, self.critic(self._fake(real)), self.options.alpha)
        _step(bound, optimizer, f"generator at step {step + 1}")

    def _fake(self, real: Batch) -> Batch:
        """The same conditions with surfaces of the generator, read as wells are."""
        b = len(real["reference"])
        z = torch.randn(b, self.options.latent, generator=self.random)
        swapped = torch.rand(b, generator=self.random) < 0.5
        surface = self.generator(z, swapped, real)
        scatter = _student(surface.shape, STUDENT_DOF, self.random)
        sd = torch.sqrt(self.noise.additive_sd**2 + (self.noise.proportional_sd * surface).square())
        noisy = surface + sd * torch.rsqrt(real["wells"].clamp_min(1)) * scatter
        return {**real, "viability": noisy}

    def _excess(self, real: Batch, fake: Batch) -> Tensor:
        mix = torch.rand(len(real["reference"]), 1, 1, generator=self.random)
        between = mix * real["viability"] + (1 - mix) * fake["viability"]
        between.requires_grad_()
        value = self.critic({**real, "viability": between}).sum()
        (gradient,) = torch.autograd.grad(value, between, create_graph=True)
        return gradient_excess(UNIT * gradient)


def _student(shape: torch.Size, df: float, generator: torch.Generator) -> Tensor:
    """Student-t numbers: a normal over the root of a chi-squared of ``df`` (whole) over ``df``."""
    normal = torch.randn(shape, generator=generator)
    chi = torch.randn((*shape, round(df)), generator=generator).square().sum(dim=-1)
    return normal * torch.rsqrt(chi / round(df))


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, where: str) -> None:
    if not math.isfinite(loss.item()):
        raise NonFiniteLossError(f"the loss is {loss.item()} of the {where}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
