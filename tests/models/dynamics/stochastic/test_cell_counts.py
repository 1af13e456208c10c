"""Counts of cells: what is accepted, what is simulated, what is seen of it."""

import numpy as np
import pytest
import torch

from models.dynamics.stochastic.cell_counts import Experiment, WellCounts
from models.dynamics.stochastic.count_summaries import NUMBERS, channels_of, numbers_of
from models.screen import ScreenError

TIMES = np.arange(0.0, 73.0, 12.0)


def wells(counts, times=TIMES, levels=(0.0, 0.0)):
    return WellCounts(times, np.asarray(counts, np.float64), levels)


def experiment(**changed):
    base = {
        "times": TIMES, "first": np.array([10.0]), "wells": np.array([3.0]),
        "levels": np.array([[0.0, 0.0], [1.0, 0.0]]),
    }  # fmt: skip
    return Experiment(**{**base, **changed})


STEADY = np.array([[5, 6, 7, 8, 9, 10, 11]])


@pytest.mark.parametrize(
    ("counts", "changed", "says"),
    [
        (STEADY + 0.5, {}, "whole numbers"),
        (-STEADY, {}, "whole numbers"),
        (STEADY[:, :3], {}, "one for each time"),
        (np.repeat(STEADY, 13, 0), {}, "1 to 12 wells"),
        (STEADY * 0, {}, "without cells at 0 h"),
        (STEADY * 10_000, {}, "chance averages out"),
        (STEADY, {"times": TIMES + 1}, "ascend from 0 h"),
        (STEADY, {"levels": (2.0, 0.0)}, "between 0 and 1"),
        (np.where(np.arange(7) == 0, np.nan, STEADY), {}, "a count at 0 h"),
    ],
)
def test_what_is_no_set_of_wells(counts, changed, says):
    with pytest.raises(ScreenError, match=says):
        wells(counts, **changed)


def test_conditions_share_their_times():
    with pytest.raises(ScreenError, match="same times"):
        Experiment.of([wells(STEADY), wells(STEADY, times=TIMES * 2)])
    found = Experiment.of([wells(STEADY), wells([[3] * 7, [2, np.nan] + [1] * 5], levels=(1, 0))])
    assert found.first.tolist() == [2, 3, 5]
    assert found.wells.tolist() == [1, 2]
    assert found.missing == pytest.approx(1 / 21)


def test_mean_growth_is_that_of_the_rates():
    """Without nuisances and sleep: 10 exp((b - d) t), to five standard errors."""
    theta = torch.tensor([[0.05, 0.02, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(4000, -1)
    first = torch.full((4000, 3), 10.0, dtype=torch.float64)
    made = experiment().simulate(theta, first, torch.Generator().manual_seed(0)).numpy()
    expected = 10 * np.exp(0.03 * TIMES)
    spread = made.std(axis=(0, 1)) / np.sqrt(12_000)
    assert np.all(np.abs(made.mean(axis=(0, 1)) - expected) <= 5 * spread + 2e-3 * expected)


def test_nuisances_spread_wells_and_readings():
    base = torch.tensor([[0.06, 0.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(400, -1)
    first = torch.full((400, 3), 200.0, dtype=torch.float64)

    def log_spread(column, value):
        theta = base.clone()
        theta[:, column] = value
        made = experiment().simulate(theta, first, torch.Generator().manual_seed(0)).log()
        return float(made[..., -1].std()), float(made[..., 0].std())

    plain, spread, error = (log_spread(4, v)[0] for v in (0.0, 0.1, 0.15))
    assert plain < 0.1 < 0.06 * 72 * 0.08 < spread < error
    assert log_spread(5, 0.1)[1] == pytest.approx(0.1, rel=0.15)
    assert log_spread(4, 0.1)[1] < 1e-12


def test_the_prior_knows_the_dose():
    """Untreated cells do not die much, low doses are like none, high ones can be anything."""
    generator = torch.Generator().manual_seed(0)
    frame = experiment()

    def drawn(*levels):
        rows = torch.tensor([levels], dtype=torch.float64).expand(4000, -1)
        found = frame.draw(rows, generator)
        assert bool(frame.prior().contains(found).all())
        return found

    none, low, high, both = drawn(0, 0), drawn(0.003, 0), drawn(1, 0), drawn(1, 1)
    top = frame.fastest
    assert float(none[:, 1].max()) <= 0.25 * top
    deaths = [float(each[:, 1].mean()) for each in (none, low, high)]
    assert deaths[0] < deaths[1] < deaths[2]
    assert float(high[:, 1].max()) > 0.9 * top
    assert float(both[:, 0].mean()) == pytest.approx(0.5 * top, rel=0.05)


def test_numbers_say_what_they_are_called():
    counts = torch.tensor([[[8.0, 8, 4, 4, 2, 0, 0], [8, 9, 8, np.nan, 8, 9, 8]]]).double()
    present = torch.ones(1, 2, dtype=torch.bool)
    found = dict(zip(NUMBERS, numbers_of(counts, present, TIMES)[0].tolist(), strict=True))
    assert found["growth over the whole experiment"] == pytest.approx(-np.log(9) / 2)
    assert found["share of wells without cells at the end"] == 0.5
    assert found["cells at the start"] == pytest.approx(np.log(9))
    assert found["wells that come back from nothing"] == 0
    swapped = numbers_of(counts[:, [1, 0]], present, TIMES)
    assert torch.allclose(swapped, numbers_of(counts, present, TIMES))
    alone = numbers_of(counts, torch.tensor([[True, False]]), TIMES)
    assert torch.allclose(alone, numbers_of(counts[:, :1], present[:, :1], TIMES))


def test_unread_times_are_blank_to_the_network():
    counts = torch.tensor([[[5.0, np.nan, 7, 8, 9, 10, 11]]]).double()
    found = channels_of(counts, TIMES)
    assert found.shape == (1, 1, 5, 7)
    assert found[0, 0, :, 1].abs().max() == 0
    assert bool(torch.isfinite(found).all())
    assert float(found[0, 0, 1, 2]) == pytest.approx(2 * np.log(8 / 6), rel=1e-6)
