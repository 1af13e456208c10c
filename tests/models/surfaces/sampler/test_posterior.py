"""The sampler with a likelihood: exact symmetry, a density that integrates to 1, missing wells."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import safetensors.torch
import torch

from models.bayes.training import NonFiniteLossError
from models.pharmacology.noise import NoiseModel
from models.screen import ScreenError, Stopped
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.conditions import TOP, observe
from models.surfaces.sampler.fitting import Options, fit_sampler
from models.surfaces.sampler.posterior import SurfaceSampler
from models.surfaces.sampler.references import AroundBliss
from tests.models.surfaces.sampler.small import NOISE, SMALL, blocks, fitted, some_missing


@cache
def fresh() -> Blocks:
    return blocks(40, seed=7)


def test_surfaces_turn_with_their_compounds() -> None:
    """To rounding: a matrix product may round a row otherwise where it stands elsewhere."""
    sampler, table = fitted(), fresh()
    assert sampler.require_symmetry() <= 1e-6
    found, turned = (sampler.draws(each, 6, 2) for each in (table, table.swapped()))
    np.testing.assert_allclose(turned.transpose(0, 1, 3, 2), found, atol=1e-6)
    assert np.abs(found - found.transpose(0, 1, 3, 2)).max() > 0.01


def test_the_density_is_invariant() -> None:
    sampler, table = fitted(), fresh()
    for each in (table, some_missing(table)):
        one, other = sampler.log_density(each), sampler.log_density(each.swapped())
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_filled_in_wells_turn_too() -> None:
    sampler, table = fitted(), some_missing(fresh())
    one, other = (sampler.impute(each, 5, 3) for each in (table, table.swapped()))
    np.testing.assert_allclose(other.surfaces.transpose(0, 1, 3, 2), one.surfaces, atol=1e-6)
    np.testing.assert_allclose(other.replicates.transpose(0, 1, 3, 2), one.replicates, atol=1e-6)
    assert np.array_equal(other.missing.transpose(0, 2, 1), one.missing)


def test_draws_are_the_same_in_any_company() -> None:
    sampler, table = fitted(), fresh()
    whole, rows = sampler.draws(table, 4, 1), np.array([30, 2, 11])
    np.testing.assert_allclose(sampler.draws(table.select(rows), 4, 1), whole[:, rows], atol=1e-6)
    np.testing.assert_allclose(sampler.draws(table, 2, 1), whole[:2], atol=1e-6)
    imputed = sampler.impute(some_missing(table), 4, 1)
    part = sampler.impute(some_missing(table).select(rows), 4, 1)
    np.testing.assert_allclose(part.surfaces, imputed.surfaces[:, rows], atol=1e-5)


def test_the_density_of_one_well_integrates_to_one() -> None:
    table = blocks(30, m=1, seed=2)
    sampler = fit_sampler(
        [table], NOISE, seed=0, options=Options(steps=40, rows=32, latent=1, hidden=8)
    )
    grid = np.linspace(-1.0, 2.5, 351)
    one = table.select(np.zeros(len(grid), np.int64))
    each = replace(one, viability=grid[:, None, None])
    mass = [np.trapezoid(np.exp(sampler.log_density(each, 128, seed)), grid) for seed in range(24)]
    error = np.std(mass, ddof=1) / np.sqrt(24)
    assert error < 0.02
    assert abs(np.mean(mass) - 1) < 4 * error


def test_the_density_is_that_of_brute_force() -> None:
    """Against a plain average over the prior, which needs many more draws."""
    sampler, table = fitted(), fresh().select(np.arange(4))
    found = sampler.log_density(table, 4096)
    generator = torch.Generator().manual_seed(5)
    batch = observe(table, sampler.features)
    normals = torch.randn(3, 40_000, 4, 2, generator=generator)
    with torch.no_grad():
        surface = sampler.network.surface((normals[0], normals[1], normals[2]), batch)
        each = sampler.network.noise.log_density(surface, batch["viability"], batch["wells"])
    expected = torch.logsumexp(each.double(), dim=0).numpy() - np.log(40_000)
    np.testing.assert_allclose(found, expected, atol=0.12)


def test_a_missing_well_drops_out_of_the_density() -> None:
    """Given one well the density of a second follows: the chain rule holds over all its values."""
    sampler = fitted()
    table = fresh().select(np.array([3]))
    keep = np.zeros((1, 3, 3), bool)
    keep[0, 0, 0] = True
    one = sampler.log_density(table.seen_only(keep), 8192)[0]
    keep[0, 2, 1] = True
    grid = np.linspace(-0.3, 1.8, 106)
    many = table.seen_only(keep).select(np.zeros(len(grid), np.int64))
    values = many.viability.copy()
    values[:, 2, 1] = grid
    each = replace(many, viability=values)
    mass = [np.trapezoid(np.exp(sampler.log_density(each, 256, seed)), grid) for seed in range(12)]
    error = np.std(mass, ddof=1) / np.sqrt(12)
    assert error < 0.05 * np.exp(one)
    assert abs(np.mean(mass) - np.exp(one)) < 4 * error
    nothing = table.seen_only(np.zeros((1, 3, 3), bool))
    assert sampler.log_density(nothing)[0] == 0.0


def test_held_out_blocks_are_likelier_than_around_bliss() -> None:
    table = fresh()
    ours = fitted().log_density(table)
    theirs = AroundBliss.fit(blocks()).log_density(table)
    gain = ours - theirs
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


def test_surfaces_are_bounded_and_free_of_noise() -> None:
    sampler, table = fitted(), fresh()
    found = sampler.draws(table, 20, 0)
    assert found.min() >= 0
    assert found.max() <= TOP
    read = sampler.replicates(found, table, 1)
    sd = (read - found).std()
    assert sd == pytest.approx(np.sqrt(np.square(sampler.noise_sd(found)).mean()), rel=0.15)


def test_measured_wells_tell_of_the_missing_ones() -> None:
    """The depth of a block is one number: half of its wells say what the others are."""
    sampler, table = fitted(), fresh()
    found = sampler.impute(some_missing(table), 40, 0)
    assert found.synthetic
    assert found.surfaces.shape == found.replicates.shape == (40, 40, 3, 3)
    assert (found.effective >= 1).all()
    missing = found.missing
    given = found.surfaces.mean(axis=0)[missing] - table.viability[missing]
    alone = sampler.draws(table, 40, 0).mean(axis=0)[missing] - table.viability[missing]
    assert np.sqrt(np.mean(given**2)) < 0.6 * np.sqrt(np.mean(alone**2))
    spread = found.surfaces.std(axis=0)[missing].mean()
    assert spread < 0.8 * sampler.draws(table, 40, 0).std(axis=0)[missing].mean()


def test_more_replicates_weigh_more() -> None:
    sampler, table = fitted(), fresh()
    keep = np.zeros(table.viability.shape, bool)
    keep[:, 1, 1] = True
    one = table.seen_only(keep)
    nine = replace(one, n_wells=one.n_wells * 9)
    spread = [
        sampler.impute(each, 60, 0).surfaces[..., 1, 1].std(axis=0).mean() for each in (one, nine)
    ]
    assert spread[1] < 0.8 * spread[0]


def test_files_give_the_same_sampler_and_broken_ones_are_refused() -> None:
    sampler, table = fitted(), fresh()
    tensors, metadata = sampler.save()
    stored = safetensors.torch.load(safetensors.torch.save(tensors))
    again = SurfaceSampler.load(stored, json.loads(json.dumps(metadata)))
    assert np.array_equal(again.draws(table, 3, 0), sampler.draws(table, 3, 0))
    assert np.array_equal(again.log_density(table), sampler.log_density(table))
    with pytest.raises(ScreenError, match="version 1"):
        SurfaceSampler.load(stored, {**metadata, "version": 2})
    stored["network.field.wells.middle.weight"][0, 0] = float("nan")
    with pytest.raises(ScreenError, match="the surface sampler gives nothing, or values"):
        SurfaceSampler.load(stored, metadata)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    table, short = blocks(30), replace(SMALL, steps=5)
    one, other = (
        fit_sampler([each], NOISE, seed=4, options=short)
        for each in (table, table.select(np.random.default_rng(0).permutation(30)))
    )
    assert np.array_equal(one.draws(table, 2, 0), other.draws(table, 2, 0))
    third = fit_sampler([table], NOISE, seed=5, options=short)
    assert not np.array_equal(one.draws(table, 2, 0), third.draws(table, 2, 0))


def test_shapes_may_differ() -> None:
    tables = [blocks(30, m=2), blocks(30, m=3, columns=4, seed=5)]
    sampler = fit_sampler(tables, NOISE, seed=0, options=replace(SMALL, steps=5))
    for table in tables:
        assert sampler.draws(table, 2, 0).shape == (2, 30, *table.shape)


def test_fits_can_be_watched_stopped_and_refused() -> None:
    seen: list[tuple[str, int, int]] = []
    short = replace(SMALL, steps=3)
    fit_sampler([blocks(30)], NOISE, seed=0, options=short, on_progress=lambda *a: seen.append(a))
    assert seen
    assert seen[0][1:] == (0, 3)
    with pytest.raises(Stopped):
        fit_sampler([blocks(30)], NOISE, seed=0, options=short, should_stop=lambda: True)
    with pytest.raises(ScreenError, match="at least 20"):
        fit_sampler([blocks(10)], NOISE, seed=0, options=short)
    with pytest.raises(NonFiniteLossError, match="step 1"):
        fit_sampler([blocks(30)], NoiseModel(0.0, 0.0, "none"), seed=0, options=short)
    table = blocks(3)
    with pytest.raises(ScreenError, match="nothing to be filled in from"):
        fitted().impute(table.seen_only(np.zeros((3, 3, 3), bool)), 2, 0)
    with pytest.raises(ScreenError, match="multiple of 8"):
        fitted().log_density(blocks(3), 9)
