"""Whole functions, fast: equal to the plain formula, to the addressed normals, in any order."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.pharmacology.random_numbers import combine, normals
from models.screen import Candidates
from models.synergy import worlds as module
from models.synergy.inputs import InputTables
from models.synergy.network import HALF, PRIOR, SLOPE, Effects, Network, Sizes
from models.synergy.worlds import Worlds, nearby, prior_normals

N, LINES, DRAWS, SEED = 20, 6, 40, 11


def everything(n: int = N, lines: int = LINES) -> Candidates:
    first, second = np.triu_indices(n, k=1)
    return Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    )


def parts(bend: float = 0.5, skew: float = 0.3) -> tuple[Network, InputTables, Effects]:
    """A network with random weights, wide enough that the straight ends of the bend are met."""
    generator = torch.Generator().manual_seed(4)
    tables = InputTables(
        torch.randn(N, 7, generator=generator),
        torch.randn(LINES, 5, generator=generator),
        torch.randn(N * LINES, 3, generator=generator),
    )
    measured = everything().select(np.random.default_rng(0).permutation(len(everything()))[:150])
    effects = Effects.of(measured, N, LINES)
    sizes = Sizes(N, LINES, 7, 5, 3, len(effects.singles), len(effects.pairs))
    network = Network(sizes, generator).requires_grad_(False)
    network.warp.log_bend.fill_(bend)
    network.warp.skew.fill_(skew)
    return network, tables, effects


def plain(worlds: Worlds, network: Network, effects: Effects, at: Candidates) -> Tensor:
    """The formula of :mod:`models.synergy.network`, candidate by candidate, without a tile."""
    tables, layer, table = worlds.tables, worlds.linear, worlds.embedded

    def bring(compound: np.ndarray) -> tuple[Tensor, ...]:
        single = compound * LINES + at.cell_line
        before = layer["fingerprint"](tables.compounds[compound]) + table["compound"][:, compound]
        before = before + layer["features"](tables.cell_lines[at.cell_line])
        before = (
            before + table["cell_line"][:, at.cell_line] + layer["curve"](tables.curves[single])
        )
        hidden = SLOPE * functional.silu(before)
        effect = layer["skip"](hidden)[..., 0] * HALF + table["main_compound"][:, compound, 0]
        own = _effect("effect_single", 1, table["effect_single"], effects.singles, single)
        return layer["sum"](hidden) * HALF, layer["product"](hidden), effect + own

    (u, v, s), (u2, v2, s2) = bring(at.compounds[:, 0]), bring(at.compounds[:, 1])
    keys = at.compounds[:, 0] * N + at.compounds[:, 1]
    hidden = SLOPE * functional.silu(u + u2 + layer["mix"](v * v2))
    total = (layer["head"](hidden) + layer["bilinear"](v * v2))[..., 0] + s + s2
    total = total + table["main_cell_line"][:, at.cell_line, 0]
    joint = _effect("effect_pair", 2, table["effect_pair"], effects.pairs, keys)
    bent: Tensor = network.warp(total + joint)
    return bent


def _effect(name: str, kind: int, table: Tensor, known: np.ndarray, keys: np.ndarray) -> Tensor:
    columns = []
    for key in keys:
        at = np.flatnonzero(known == key)
        if len(at):
            columns.append(table[:, at[0], 0])
        else:
            address = combine(np.array([kind]), np.array([key]))
            drawn = PRIOR[name] * normals(SEED, address, DRAWS, 1)[:, 0, 0]
            columns.append(torch.as_tensor(drawn, dtype=torch.float32))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("bend", [-1.0, 1.2])
def test_scores_are_those_of_the_plain_formula(bend: float) -> None:
    network, tables, effects = parts(bend)
    worlds = Worlds(network, tables, effects, DRAWS, SEED)
    at = everything()
    expected, found = plain(worlds, network, effects, at), worlds(at)
    assert found.dtype == torch.float32
    assert float(expected.std()) > 0.3
    assert torch.allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_tiles_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    network, tables, effects = parts()
    whole = Worlds(network, tables, effects, DRAWS, SEED)(everything())
    monkeypatch.setattr(module, "CPU_TILE", 77)
    monkeypatch.setattr(module, "TILE_WORLDS", 7)
    monkeypatch.setattr(module, "NORMALS_AT_ONCE", 3 * DRAWS)
    tiled = Worlds(network, tables, effects, DRAWS, SEED)(everything())
    assert torch.allclose(whole, tiled, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(module, "TABLE_ELEMENTS", 1)
    single = Worlds(network, tables, effects, DRAWS, SEED)(everything())
    assert torch.allclose(whole, single, rtol=1e-5, atol=1e-5)


def test_swapping_compounds_gives_the_same_bits_in_many_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CPU_TILE", 512)
    network, tables, effects = parts()
    worlds = Worlds(network, tables, effects, DRAWS, SEED)
    at = everything()
    a, b, line = (torch.from_numpy(c.copy()) for c in (*at.compounds.T, at.cell_line))
    assert torch.equal(worlds.at(a, b, line), worlds.at(b, a, line))


def test_several_threads_give_the_same_bits() -> None:
    network, tables, effects = parts()
    worlds, at = Worlds(network, tables, effects, DRAWS, SEED), everything()
    found: dict[int, Tensor] = {}
    threads = [
        threading.Thread(target=lambda k=k: found.__setitem__(k, worlds(at))) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[0], found[k]) for k in range(1, 4))


@pytest.mark.parametrize("seed", [0, 7, -3, 2**40])
def test_prior_normals_are_those_of_their_address(seed: int) -> None:
    keys = np.array([0, 1, 5, 123_456_789, 2**60])
    found = prior_normals(seed, 2, torch.from_numpy(keys), 300)
    expected = normals(seed, combine(np.full(len(keys), 2), keys), 300, 1)[..., 0]
    assert np.abs(found.numpy() - expected).max() < 1e-6
    assert found.dtype == torch.float32


def test_nearby_is_an_order_in_which_neighbours_share_compounds_and_lines() -> None:
    pool = everything(60, 40)
    shuffled = pool.select(np.random.default_rng(0).permutation(len(pool)))
    order = nearby(shuffled, 2048)
    assert np.array_equal(np.sort(order), np.arange(len(pool)))
    sorted_pool = shuffled.select(order)
    singles = []
    for start in range(0, len(pool), 2048):
        block = sorted_pool.select(np.arange(start, min(start + 2048, len(pool))))
        keys = block.compounds * 40 + block.cell_line[:, None]
        singles.append(len(np.unique(keys)) / len(block))
    assert np.mean(singles) < 0.5
    assert len(nearby(Candidates.empty(), 10)) == 0
    one_line = pool.select(pool.cell_line == 39)
    assert np.array_equal(np.sort(nearby(one_line, 100)), np.arange(len(one_line)))
