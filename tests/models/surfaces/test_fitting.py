"""A whole fit on a small screen: structure to the last bit, reproducible members, saving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.screen import ScreenError, Stopped, no_progress
from models.surfaces.blocks import Blocks, empty_blocks
from models.surfaces.ensemble import Members, batch_blocks, start_ensemble, train_ensemble
from models.surfaces.fitting import Plan, fit_surfaces
from models.surfaces.kriging import Field
from models.surfaces.model import SurfaceModel
from models.surfaces.saving import load_model, save_model
from tests.models.surfaces.toys import LINES, N_COMPOUNDS, blocks, curves

PLAN = Plan(members=3, betas=(0.1, 0.5), trial_members=2, steps=60, width=8)


@pytest.fixture(scope="module")
def model() -> SurfaceModel:
    return fit_surfaces([blocks()], LINES, N_COMPOUNDS, PLAN, seed=5)


def _bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_swapping_the_compounds_changes_no_bit(model: SurfaceModel, shape: tuple[int, int]) -> None:
    """Means, worlds and spreads, with and without measured wells."""
    table = blocks(shape).select(np.arange(12))
    for share in (0.0, 0.4):
        some = table.seen_only(np.random.default_rng(2).random(table.viability.shape) < share)
        there, back = model.predict(some), model.predict(some.swapped())
        assert _bits(back.draws.transpose(0, 1, 3, 2)) == _bits(there.draws)
        assert _bits(back.scale.transpose(0, 2, 1)) == _bits(there.scale)


def test_margins_are_the_single_agents_to_the_last_bit(model: SurfaceModel) -> None:
    """Doses 0 in the grid: every world is the other compound's curve there."""
    table = blocks().select(np.arange(20))
    doses = tuple(np.concatenate([np.zeros((20, 1)), d], axis=1) for d in table.doses)
    grid = empty_blocks(table.compounds, table.cell_line, (doses[0], doses[1]), curves())
    viability = grid.viability.copy()
    viability[:, 2, 2] = 0.1  # a measured well inside does not move them
    grid = Blocks(
        grid.compounds, grid.cell_line, grid.doses, grid.margins, viability,
        (~np.isnan(viability)).astype(np.int64),
    )  # fmt: skip
    draws = model.predict(grid).draws
    for world in draws:
        assert _bits(world[:, 0, :]) == _bits(grid.margins[1])
        assert _bits(world[:, :, 0]) == _bits(grid.margins[0])


def test_measured_wells_pull_the_surface_and_are_known_better_than_their_noise(
    model: SurfaceModel,
) -> None:
    """The expected surface at a measured well lies between what was expected and what was seen."""
    table = blocks().select(np.array([30]))
    bare = model.predict(table.seen_only(np.zeros(table.viability.shape, bool)))
    seen = np.full(table.viability.shape, np.nan)
    seen[0, 1, 1] = bare.mean[0, 1, 1] + 0.2
    count = (~np.isnan(seen)).astype(np.int64)
    told = model.predict(
        Blocks(table.compounds, table.cell_line, table.doses, table.margins, seen, count)
    )
    assert bare.mean[0, 1, 1] < told.mean[0, 1, 1] < seen[0, 1, 1]
    own = told.covariance()[0][5, 5]  # of the measured well: k v / (k + v) is less than v
    assert own < told.noise_sd[0, 1, 1] ** 2


def test_bands_are_nested_and_around_the_mean(model: SurfaceModel) -> None:
    """50 % within 90 %."""
    said = model.predict(blocks().select(np.arange(5)))
    (low, high), (lowest, highest) = said.band(0.5), said.band(0.9)
    assert np.all((lowest < low) & (low < said.mean) & (said.mean < high) & (high < highest))


def test_a_saved_model_says_the_same(model: SurfaceModel) -> None:
    """Frozen weights are saved with it."""
    tensors, description = save_model(model)
    assert any(name.startswith("prior.") for name in tensors)
    again = load_model(tensors, description)
    some = blocks().select(np.arange(8))
    assert _bits(again.predict(some).draws) == _bits(model.predict(some).draws)
    with pytest.raises(ScreenError, match="format"):
        load_model(tensors, {"format": "other"})


def test_a_model_of_the_first_format_is_read(model: SurfaceModel) -> None:
    """Its field has eight numbers: amplitudes know the reference and no margin by itself."""
    values = model.field.values[:8]
    earlier = replace(model, field=Field.shaped_by_level(values))
    tensors, description = save_model(earlier)
    description |= {"format": "nextround-surfaces/1", "field": list(values)}
    some = blocks().select(np.arange(8))
    assert _bits(load_model(tensors, description).predict(some).draws) == _bits(
        earlier.predict(some).draws
    )


def test_steps_see_more_blocks_where_there_are_more() -> None:
    """All of a few, a twentieth of many, up to an end."""
    assert [batch_blocks(n) for n in (12, 300, 2000, 100_000)] == [12, 48, 100, 192]


def test_a_fit_is_reproducible(model: SurfaceModel) -> None:
    """Same data, seed, code: the same to the last bit."""
    again = fit_surfaces([blocks()], LINES, N_COMPOUNDS, PLAN, seed=5)
    some = blocks().select(np.arange(8))
    assert _bits(again.predict(some).draws) == _bits(model.predict(some).draws)
    assert model.report["beta"] in PLAN.betas
    assert again.report == model.report


def test_what_is_too_little_is_refused_and_work_can_be_stopped() -> None:
    """With the number that is needed."""
    few = blocks().select(np.arange(5))
    with pytest.raises(ScreenError, match="12 measured blocks"):
        fit_surfaces([few], LINES, N_COMPOUNDS, PLAN, seed=1)
    with pytest.raises(Stopped):
        fit_surfaces([blocks()], LINES, N_COMPOUNDS, PLAN, seed=1, should_stop=lambda: True)


def _trained(numbers: tuple[int, ...], model: SurfaceModel) -> torch.Tensor:
    from models.surfaces.ensemble import Lessons
    from models.surfaces.inputs import encode

    table = blocks()
    parts, counts = model.shifts.of(table)
    lesson = Lessons(
        encode(table, model.context, parts, counts),
        torch.from_numpy(parts[None].astype(np.float32)),
        torch.from_numpy(counts[None].astype(np.float32)),
        torch.tensor([False]),
        np.arange(len(table)),
    )
    members = Members(numbers, (0.3,) * len(numbers))
    start = start_ensemble(model.ensemble.sizes, members, [lesson], model.field, 0.1, 9)
    assert not any(value.requires_grad for value in start.prior.values())
    found = train_ensemble(
        start, members, [lesson], model.field, steps=8, seed=9,
        on_progress=no_progress, should_stop=lambda: False,
    )  # fmt: skip
    for name, value in start.prior.items():
        assert torch.equal(value, found.prior[name])
    return torch.cat([value.reshape(len(numbers), -1) for value in found.theta.values()], dim=1)


def test_a_member_is_the_same_whoever_trains_beside_it(model: SurfaceModel) -> None:
    """Member 2 alone, and among four; frozen weights stay as they were drawn."""
    together = _trained((0, 1, 2, 3), model)
    alone = _trained((2,), model)
    torch.testing.assert_close(alone[0], together[2], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[1], together[2], atol=1e-2)


def test_frozen_networks_have_unit_size_and_off_data_members_spread_as_they_do(
    model: SurfaceModel,
) -> None:
    """Rescaled on reference inputs; where the trained part is silent the spread is beta's."""
    ensemble = model.ensemble
    silent = {name: torch.zeros_like(value) for name, value in ensemble.theta.items()}
    from models.surfaces.inputs import channels, encode

    table = blocks()
    encoded = encode(table, model.context, *model.shifts.of(table))
    at = channels(encoded, torch.zeros_like(encoded.gate), model.field, ensemble.unit)
    big = replace(ensemble, theta=silent, beta=torch.ones(3))
    surface, _ = big.outputs(encoded, at)
    correction = (surface - at.base) / (ensemble.unit * at.free)
    sizes = correction.reshape(3, -1).std(dim=1)
    assert torch.all((sizes > 0.6) & (sizes < 1.6))
    between = correction.std(dim=0).mean()
    assert 0.3 < float(between) < 2.0
