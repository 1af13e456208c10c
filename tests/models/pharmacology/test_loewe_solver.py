"""Loewe's equation, batched: the bisected root, every digit, whoever is solved beside it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.pharmacology import loewe_solver
from models.pharmacology.loewe_solver import loewe_tensor

N = 3000


def problems(k: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Doses around the potencies, slopes of 0.4 to 5, maxima from 0 to beyond 1."""
    rng = np.random.default_rng(seed)
    relative = rng.normal(0.0, 2.5, (k, N))
    emax = rng.uniform(0.0, 1.05, (k, N)) ** 2
    emax[:, :200] = emax[0, :200]  # equal maxima, such as two complete inhibitors
    emax[:, :100] = 0.0
    h = np.exp(rng.uniform(-0.9, 1.6, (k, N)))
    return torch.from_numpy(relative), torch.from_numpy(h), torch.from_numpy(emax)


def bisected(relative: Tensor, h: Tensor, emax: Tensor) -> Tensor:
    """The level where equivalent doses sum to 1, by halving the whole range 200 times."""
    floor = emax.amax(0)
    low, high = floor.clone(), torch.ones_like(floor)
    for _ in range(200):
        level = 0.5 * (low + high)
        ratio = (1.0 - level) / (level - emax)
        total = (relative.exp() / ratio ** (1.0 / h)).sum(0)
        # A higher viability takes less of each compound: the doses that are there are more of it.
        low, high = torch.where(total < 1.0, level, low), torch.where(total < 1.0, high, level)
    return 0.5 * (low + high)


@pytest.mark.parametrize("k", [2, 3])
def test_the_root_is_the_bisected_one(k: int) -> None:
    relative, h, emax = problems(k)
    solved = loewe_tensor(relative, h, emax, tolerance=1e-15)
    known = solved.isfinite()
    wanted = bisected(relative, h, emax)
    assert 0.2 < known.double().mean() < 0.9
    # Levels within rounding of either end cannot be inverted.
    inner = known & (wanted > emax.amax(0) + 1e-12) & (wanted < 1.0 - 1e-12)
    assert inner.sum() > 0.2 * N
    assert (solved - wanted)[inner].abs().max() < 1e-9


def test_undefined_is_what_the_weakest_compound_cannot_reach() -> None:
    relative, h, emax = problems(2)
    solved = loewe_tensor(relative, h, emax, tolerance=1e-15)
    alone = 1.0 + (emax - 1.0) * torch.sigmoid(h * relative)
    floor = emax.amax(0)
    unequal = emax[0] != emax[1]
    strongest = torch.where(emax[0] < emax[1], alone[0], alone[1])
    beyond = (floor >= 1.0) | (unequal & (strongest <= floor))
    assert torch.equal(solved.isnan(), beyond)


def test_single_precision_is_as_good_as_its_tolerance() -> None:
    relative, h, emax = problems(2, seed=1)
    exact = loewe_tensor(relative, h, emax, tolerance=1e-15)
    single = loewe_tensor(relative.float(), h.float(), emax.float())
    both = exact.isfinite() & single.isfinite()
    assert (exact.isfinite() != single.isfinite()).sum() <= 3  # at the very edge
    assert (exact - single)[both].abs().max() < 2e-6


def test_numbers_do_not_depend_on_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the last bits: vector units and what is left over round their own ways."""
    columns = [t.float() for t in problems(2, seed=2)]
    whole = loewe_tensor(*columns)
    some = torch.arange(0, N, 7)
    few = loewe_tensor(*(t[:, some] for t in columns))
    torch.testing.assert_close(few, whole[some], atol=5e-7, rtol=0.0, equal_nan=True)
    monkeypatch.setattr(loewe_solver, "_AT_ONCE", 64)
    parts = loewe_tensor(*columns)
    torch.testing.assert_close(parts, whole, atol=5e-7, rtol=0.0, equal_nan=True)


def test_absent_compounds_take_no_part_and_limits_are_kept() -> None:
    inf = torch.inf
    relative = np.array([[0.0, 0.0, 300.0, -300.0], [-inf, 0.0, 300.0, -300.0]])
    h = np.array([[1.5, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]])
    emax = np.array([[0.2, 0.0, 0.3, 0.3], [0.9, 0.0, 0.3, 0.3]])
    found = loewe_tensor(*(torch.from_numpy(t) for t in (relative, h, emax)), tolerance=1e-15)
    assert found.numpy() == pytest.approx([0.6, 1.0 / 3.0, 0.3, 1.0], abs=1e-12)


def test_shapes_are_kept_and_nothing_gives_nothing() -> None:
    relative, h, emax = (t.reshape(2, 30, 100) for t in problems(2))
    assert loewe_tensor(relative, h, emax).shape == (30, 100)
    empty = torch.zeros(2, 0)
    assert loewe_tensor(empty, empty, empty).shape == (0,)
