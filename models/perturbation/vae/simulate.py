"""Data whose sparse shifts are known: the simulator of SAMS-VAE, written anew.

Bereket & Karaletsos 2023 (arXiv 2311.02794), simulated data: z ~ N(0, I), a mask of each treatment
over latent coordinates, effects of either sign, a decoder of orthogonal layers with leaky
rectifiers, and normal noise that makes up a share of each readout's variance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from models.perturbation.vae.cells import CellTable
from models.screen import BoolArray, FloatArray, ScreenError

LEAK = 0.2


@dataclass(frozen=True)
class ShiftDesign:
    """Sizes of a simulation; the defaults are the published ones."""

    latent: int = 15
    treatments: int = 100
    readouts: int = 100
    layers: int = 4
    hidden: int = 50
    mask_share: float = 2 / 15
    effect_mean: float = 5.0
    effect_sd: float = 0.5
    noise_share: float = 0.2


@dataclass(frozen=True)
class ShiftTruth:
    """A drawn world: ``mask`` and ``effect`` ``(treatments, latent)``, decoder, noise ``(g,)``."""

    design: ShiftDesign
    mask: BoolArray
    effect: FloatArray
    layers: tuple[FloatArray, ...]
    noise_sd: FloatArray

    def decode(self, latent: FloatArray) -> FloatArray:
        """``(n, latent)`` to noise-free readouts ``(n, g)``."""
        hidden = latent
        for layer in self.layers[:-1]:
            hidden = hidden @ layer
            hidden = np.where(hidden > 0, hidden, LEAK * hidden)
        return np.asarray(hidden @ self.layers[-1])

    def cells(self, per_treatment: int, seed: int) -> CellTable:
        """Cells of every treatment, in the order of treatments."""
        rng = np.random.default_rng(seed)
        treatment = np.repeat(np.arange(self.design.treatments), per_treatment)
        basal = rng.standard_normal((len(treatment), self.design.latent))
        clean = self.decode(basal + (self.mask * self.effect)[treatment])
        noise = rng.standard_normal(clean.shape) * self.noise_sd
        return CellTable.of(
            perturbations=[f"treatment {i}" for i in range(self.design.treatments)],
            doses=np.eye(self.design.treatments)[treatment],
            readouts=[f"readout {i}" for i in range(self.design.readouts)],
            values=clean + noise,
            observation="continuous",
        )


def draw_truth(design: ShiftDesign, seed: int) -> ShiftTruth:
    """A world of this design."""
    if not 0 <= design.noise_share < 1:
        raise ScreenError(f"the share of noise is {design.noise_share}, not within [0, 1)")
    rng = np.random.default_rng(seed)
    shape = (design.treatments, design.latent)
    mask = rng.random(shape) < design.mask_share
    size = design.effect_mean + design.effect_sd * rng.standard_normal(shape)
    effect = size * rng.choice([-1.0, 1.0], shape)
    widths = [design.latent, *[design.hidden] * design.layers, design.readouts]
    layers = tuple(_orthogonal(a, b, rng) for a, b in itertools.pairwise(widths))
    silent = ShiftTruth(design, mask, effect, layers, np.zeros(design.readouts))
    treatment = rng.integers(design.treatments, size=2000)
    basal = rng.standard_normal((2000, design.latent))
    clean = silent.decode(basal + (mask * effect)[treatment])
    ratio = design.noise_share / (1 - design.noise_share)
    return ShiftTruth(design, mask, effect, layers, np.sqrt(ratio * clean.var(axis=0)))


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> FloatArray:
    """``(rows, columns)`` with orthonormal rows or columns, whichever are fewer."""
    drawn = rng.standard_normal((max(rows, columns), min(rows, columns)))
    basis, triangle = np.linalg.qr(drawn)
    basis = basis * np.sign(np.diag(triangle))
    return np.asarray(basis if rows >= columns else basis.T)


@dataclass(frozen=True)
class MaskRecovery:
    """How well edges were found; ``order`` ``(m,)``: found coordinate of each true one."""

    f1: float
    precision: float
    recall: float
    order: tuple[int, ...]


def mask_recovery(found: BoolArray, truth: BoolArray) -> MaskRecovery:
    """Compare masks ``(t, m)`` whose coordinates have no names: they are matched one to one so
    that the most edges agree (Hungarian method)."""
    if found.shape != truth.shape:
        raise ScreenError(f"masks of shapes {found.shape} and {truth.shape} cannot be compared")
    agreed = truth.astype(np.float64).T @ found.astype(np.float64)
    _, order = scipy.optimize.linear_sum_assignment(-agreed)
    hits = float((truth & found[:, order]).sum())
    precision = hits / found.sum() if found.any() else 0.0
    recall = hits / truth.sum() if truth.any() else 0.0
    f1 = 2 * hits / (found.sum() + truth.sum()) if (found.any() or truth.any()) else 1.0
    return MaskRecovery(float(f1), float(precision), float(recall), tuple(int(i) for i in order))


@dataclass(frozen=True)
class NetworkDesign:
    """Counts of ``genes``, of which the first ``perturbed`` are perturbed, alone and in pairs."""

    genes: int = 30
    perturbed: int = 8
    edges: int = 2
    size: float = 1.0
    synergy: float = 0.5
    library: int = 1500
    basal: int = 2
    concentration: float = 20.0


@dataclass(frozen=True)
class NetworkTruth:
    """A drawn world: ``effect`` ``(perturbed, genes)`` log ratios and ``pair`` ``(perturbed,
    perturbed, genes)`` what pairs add, symmetric and of rank one; names of ``genes``."""

    design: NetworkDesign
    genes: tuple[str, ...]
    effect: FloatArray
    pair: FloatArray
    base: FloatArray
    loading: FloatArray

    def cells(self, per_condition: int, seed: int) -> CellTable:
        """Cells of the control, all singles and all pairs."""
        rng, design = np.random.default_rng(seed), self.design
        single = np.eye(design.perturbed)
        first, second = np.triu_indices(design.perturbed, 1)
        conditions = np.vstack(
            [np.zeros((1, design.perturbed)), single, single[first] + single[second]]
        )
        doses = np.repeat(conditions, per_condition, axis=0)
        raw = self.base + doses @ self.effect
        raw += 0.5 * np.einsum("na,nb,abg->ng", doses, doses, self.pair)
        raw += rng.standard_normal((len(doses), design.basal)) @ self.loading
        share = np.exp(raw - raw.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        library = rng.poisson(design.library, len(doses))[:, None]
        rate = (
            library * share * rng.gamma(design.concentration, 1 / design.concentration, raw.shape)
        )
        return CellTable.of(
            perturbations=self.genes[: design.perturbed],
            doses=doses,
            readouts=self.genes,
            values=rng.poisson(rate).astype(np.float64),
            observation="counts",
        )


def draw_network(design: NetworkDesign, seed: int) -> NetworkTruth:
    """A world where each perturbed gene falls and moves ``edges`` other genes, and where pairs
    interact through one factor."""
    rng = np.random.default_rng(seed)
    p, g = design.perturbed, design.genes
    effect = np.zeros((p, g))
    for row in range(p):
        others = rng.choice(np.delete(np.arange(g), row), design.edges, replace=False)
        effect[row, others] = design.size * rng.choice([-1.0, 1.0], design.edges)
        effect[row, row] = -1.5 * design.size
    factor = rng.standard_normal(p)
    pair = np.multiply.outer(np.outer(factor, factor), design.synergy * rng.standard_normal(g))
    pair[np.arange(p), np.arange(p)] = 0.0
    names = tuple(f"gene {i}" for i in range(g))
    base = np.log(rng.dirichlet(np.full(g, 5.0)))
    return NetworkTruth(
        design, names, effect, pair, base, 0.2 * rng.standard_normal((design.basal, g))
    )
