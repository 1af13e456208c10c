"""What a fitted sampler gives: draws of surfaces, densities, missing wells filled in, files.

sampler = fit_sampler(tables, noise, seed=0)
sampler.draws(blocks, 100, seed=1)              # (100, b, m, n), noise-free
sampler.log_density(blocks)                     # (b,) nats of what was measured
sampler.impute(blocks, 100, seed=1)             # given what was measured; never a measurement
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.noise import NoiseModel
from models.pharmacology.random_numbers import combine, mix
from models.screen import FloatArray, ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.conditions import (
    CONDITION_SWAP,
    PairFeatures,
    condition,
    drug_noise,
    observe,
)
from models.surfaces.sampler.variational import Hidden, Sizes, SurfaceAutoencoder, orbit_of_normals
from models.surfaces.symmetry import Batch, check_equivariance, grid_permutations

NAME = "symmetric_autoencoder"
VERSION = 1
PROPOSALS = 128
CHUNK = 64


@dataclass(frozen=True)
class Imputed:
    """Surfaces given some wells. **Synthetic**: drawn, not measured, and not to be stored as such.

    ``surfaces``: ``(n, b, m, n')`` noise-free viabilities of all wells, the measured ones too.
    ``missing``: ``(b, m, n')`` wells without any measurement. ``replicates``: ``(n, b, m, n')``
    surfaces with the noise of one well: what one more replicate might read. ``effective``:
    ``(b,)`` how many independent draws the weights were worth, of :data:`PROPOSALS` or more.
    """

    surfaces: FloatArray
    missing: np.ndarray
    replicates: FloatArray
    effective: FloatArray
    synthetic: bool = True


@dataclass(frozen=True)
class SurfaceSampler:
    """The sampler with a likelihood. Swapping the compounds of a block transposes its draws and
    leaves its density as it is."""

    network: SurfaceAutoencoder
    features: PairFeatures
    steps: int

    def draws(self, blocks: Blocks, n: int, seed: int, *, stretch: float = 1.0) -> FloatArray:
        """``(n, b, m, n')`` noise-free surfaces given the margins alone; draw ``i`` of a block is
        the same in any company. ``stretch``: factor on the hidden numbers, 1 for the law that was
        learned."""
        parts = [
            self._surfaces(condition(part, self.features), self._noise(part, n, seed, stretch))
            for part in _chunks(blocks)
        ]
        return np.concatenate(parts, axis=1)

    def log_density(self, blocks: Blocks, proposals: int = PROPOSALS, seed: int = 0) -> FloatArray:
        """``(b,)`` nats of the measured wells of each block, 0 for none; a lower bound in the
        mean. Raises :class:`ScreenError` unless ``proposals`` is a multiple of 8."""
        weights = [self._weighted(part, proposals, seed)[1] for part in _chunks(blocks)]
        found = torch.logsumexp(torch.cat(weights, dim=1).double(), dim=0) - np.log(proposals)
        seen = blocks.measured.any(axis=(1, 2))
        return np.where(seen, found.numpy(), 0.0)

    def impute(self, blocks: Blocks, n: int, seed: int, proposals: int = 512) -> Imputed:
        """Draws given the wells that were measured, by importance resampling.

        Raises :class:`ScreenError` for a block without any: those are :meth:`draws`.
        """
        if not blocks.measured.any(axis=(1, 2)).all():
            raise ScreenError("a block without any measured well has nothing to be filled in from")
        found, effective = [], []
        for part in _chunks(blocks):
            hidden, weights = _ascending(*self._weighted(part, proposals, seed), part)
            share = torch.softmax(weights.double(), dim=0)
            effective.append(1 / share.square().sum(dim=0))
            chosen = _resampled(share, part, n, seed)
            kept = [torch.take_along_dim(z, chosen[..., None], dim=0) for z in hidden]
            batch = condition(part, self.features)
            found.append(self._surfaces(batch, (kept[0], kept[1], kept[2])))
        surfaces = np.concatenate(found, axis=1)
        return Imputed(
            surfaces,
            ~blocks.measured,
            self.replicates(surfaces, blocks, seed),
            torch.cat(effective).numpy(),
        )

    def replicates(self, surfaces: FloatArray, blocks: Blocks, seed: int) -> FloatArray:
        """One well read at each place of noise-free surfaces ``(n, b, m, n')``; unbounded, as
        readings are."""
        z = _student(blocks, surfaces.shape, self.network.noise.df.item(), seed)
        level = torch.from_numpy(surfaces).float()
        with torch.no_grad():
            scale = self.network.noise.scale(level, torch.ones_like(level)).numpy()
        return np.asarray(surfaces + scale * z, dtype=np.float64)

    def noise_sd(self, surfaces: FloatArray) -> FloatArray:
        """Standard deviation of one well around each viability; same shape."""
        level = torch.from_numpy(surfaces).float()
        with torch.no_grad():
            scale = self.network.noise.scale(level, torch.ones_like(level)).double().numpy()
        return np.asarray(scale * self.network.noise.sd_factor())

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (safetensors) and metadata (JSON)."""
        tensors = {f"network.{k}": v.clone() for k, v in self.network.state_dict().items()}
        tensors["features.compounds"] = torch.from_numpy(self.features.compounds.copy())
        tensors["features.cell_lines"] = torch.from_numpy(self.features.cell_lines.copy())
        sizes = {**asdict(self.network.sizes), "features": list(self.network.sizes.features)}
        return tensors, {"model": NAME, "version": VERSION, "sizes": sizes, "steps": self.steps}

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> SurfaceSampler:
        """Inverse of :meth:`save`. Raises :class:`ScreenError` for other files, and
        :class:`~models.surfaces.symmetry.SymmetryError` for weights that are not symmetric."""
        if (metadata.get("model"), metadata.get("version")) != (NAME, VERSION):
            raise ScreenError(f"these are not the files of a {NAME} of version {VERSION}")
        said = metadata["sizes"]
        features = tuple(said["features"])
        sizes = Sizes(said["latent"], said["hidden"], (features[0], features[1]))
        network = SurfaceAutoencoder(sizes, NoiseModel(1.0, 0.0, "loaded"), torch.Generator())
        head = "network."
        network.load_state_dict(
            {k.removeprefix(head): v for k, v in tensors.items() if k.startswith(head)}
        )
        tables = (tensors[f"features.{name}"].numpy() for name in ("compounds", "cell_lines"))
        loaded = cls(network, PairFeatures(*tables), int(metadata["steps"]))
        loaded.require_symmetry()
        return loaded

    def require_symmetry(self) -> float:
        """Check on three random blocks that surfaces turn with their compounds: milliseconds."""
        generator = torch.Generator().manual_seed(0)
        compounds, lines = self.network.sizes.features
        batch = {
            "rows": torch.randn(3, 4, 5 + compounds, generator=generator),
            "columns": torch.randn(3, 4, 5 + compounds, generator=generator),
            "context": torch.randn(3, lines, generator=generator),
            "reference": torch.randn(3, 4, 4, generator=generator),
        }
        noise = torch.randn(3, 3, self.network.sizes.latent, generator=generator)

        def surface(given: Batch) -> Tensor:
            first = given["rows"] is batch["rows"]
            hidden = (noise[0], noise[1], noise[2]) if first else (noise[0], noise[2], noise[1])
            with torch.no_grad():
                return self.network.surface(hidden, given)

        return check_equivariance(
            surface, batch, CONDITION_SWAP, grid_permutations(2), what="the surface sampler"
        )

    def _noise(self, blocks: Blocks, n: int, seed: int, stretch: float) -> Hidden:
        pair, first, second = drug_noise(blocks, n, seed, self.network.sizes.latent)
        return stretch * pair, stretch * first, stretch * second

    def _surfaces(self, batch: Batch, hidden: Hidden) -> FloatArray:
        with torch.no_grad():
            return np.asarray(self.network.surface(hidden, batch).double().numpy())

    def _weighted(self, blocks: Blocks, proposals: int, seed: int) -> tuple[Hidden, Tensor]:
        if proposals < 8 or proposals % 8:
            raise ScreenError(f"the number of proposals must be a multiple of 8, not {proposals}")
        generator = torch.Generator().manual_seed(seed)
        standard = orbit_of_normals(proposals, self.network.sizes.latent, generator)
        with torch.no_grad():
            return self.network.weighted(observe(blocks, self.features), standard)


def _chunks(blocks: Blocks) -> list[Blocks]:
    starts = range(0, max(len(blocks), 1), CHUNK)
    return [blocks.select(np.arange(s, min(s + CHUNK, len(blocks)))) for s in starts]


def _uniforms(blocks: Blocks, n: int, seed: int) -> FloatArray:
    """``(n, b)`` in (0, 1), by the name of the block."""
    low, high = blocks.compounds.min(axis=1), blocks.compounds.max(axis=1)
    key = combine(low.astype(np.int64), high.astype(np.int64), blocks.cell_line.astype(np.int64))
    words = mix(key[None] ^ mix(combine(np.arange(n), np.full(n, seed)))[:, None])
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _ascending(hidden: Hidden, weights: Tensor, blocks: Blocks) -> tuple[Hidden, Tensor]:
    """Proposals in the order that they would have with the compounds ascending: each stands beside
    its swap, and the two change places where the block is turned."""
    turned = torch.from_numpy((blocks.compounds[:, 0] > blocks.compounds[:, 1]).astype(np.int64))
    index = torch.arange(len(weights))[:, None] ^ turned[None]
    moved = [torch.take_along_dim(z, index[..., None], dim=0) for z in hidden]
    return (moved[0], moved[1], moved[2]), torch.take_along_dim(weights, index, dim=0)


def _resampled(share: Tensor, blocks: Blocks, n: int, seed: int) -> Tensor:
    """``(n, b)`` rows of the proposals, each with its probability ``(k, b)``."""
    uniform = torch.from_numpy(_uniforms(blocks, n, seed))
    total = share.cumsum(dim=0).T.contiguous()
    return torch.searchsorted(total, uniform.T.contiguous()).clamp_max(len(share) - 1).T


def _student(blocks: Blocks, shape: tuple[int, ...], df: float, seed: int) -> FloatArray:
    """Standard Student-t numbers of a shape, from a generator of ``seed`` for each block."""
    keys = (_uniforms(blocks, 1, seed)[0] * 2**52).astype(np.int64)
    n, _, rows, columns = shape
    found = np.empty(shape)
    for at, key in enumerate(keys.tolist()):
        turned = blocks.compounds[at, 0] > blocks.compounds[at, 1]
        size = (n, columns, rows) if turned else (n, rows, columns)
        own = np.random.default_rng([seed, key]).standard_t(df, size)
        found[:, at] = own.transpose(0, 2, 1) if turned else own
    return found
