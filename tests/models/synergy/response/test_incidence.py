import numpy as np
import torch

from models.synergy.response.incidence import colours_of

CPU = torch.device("cpu")


def test_units_of_a_colour_share_no_well_and_all_units_are_coloured() -> None:
    rng = np.random.default_rng(0)
    well = np.repeat(np.arange(200), 2)
    first = rng.integers(0, 30, 200)
    unit = np.stack([first, (first + rng.integers(1, 30, 200)) % 30], axis=1).ravel()
    slot = np.tile([0, 1], 200)
    colours = colours_of(unit, well, slot, 30, CPU)
    seen = []
    for colour in colours:
        assert len(np.unique(colour.well.numpy())) == len(colour.well)
        seen += colour.units.tolist()
    assert sorted(seen) == sorted(set(unit.tolist()))
    assert sum(len(colour.well) for colour in colours) == len(unit)


def test_entries_are_added_up_by_unit() -> None:
    unit, well = np.array([2, 0, 2, 0, 0]), np.arange(5)
    (colour,) = colours_of(unit, well, np.zeros(5, np.int64), 3, CPU)
    values = torch.arange(5, dtype=torch.float64)[colour.well]
    assert colour.units.tolist() == [0, 2]
    assert (colour.sums @ values[:, None])[:, 0].tolist() == [1.0 + 3 + 4, 0.0 + 2]
    assert colour.starts == [0, 3, 5]
    assert values[colour.starts[0] : colour.starts[1]].sum() == 8.0


def test_units_without_wells_have_no_colour() -> None:
    none = np.empty(0, np.int64)
    assert colours_of(none, none, none, 4, CPU) == ()
