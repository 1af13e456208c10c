"""Wells of two sources: noise alone is no disagreement, a shift is, and it is measured."""

from __future__ import annotations

import numpy as np
import pytest

from models.pharmacology.agreement import BY_CHANCE, compare_sources
from models.screen import ScreenError, Wells

TRUTH = np.linspace(0.2, 1.0, 200)
SD = 0.05


def wells(source: int, shift: float, replicates: int, seed: int, of: slice = slice(None)) -> Wells:
    """Single agents at 200 doses, or some of them."""
    doses = np.repeat(np.arange(1.0, 201.0)[of], replicates)
    truth = np.repeat(TRUTH[of], replicates) + shift
    n = len(doses)
    noise = np.random.default_rng([seed, source]).normal(0, SD, n)
    none = np.zeros(n)
    compounds = np.column_stack([none, none - 1, none - 1]).astype(np.int64)
    doses_um = np.column_stack([doses, none, none])
    return Wells(none.astype(np.int64), compounds, doses_um, truth + noise)


def joined(*parts: Wells) -> tuple[Wells, np.ndarray]:
    names = ("cell_line", "compounds", "doses_um", "viability")
    whole = Wells(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
    return whole, np.concatenate([np.full(len(p), k) for k, p in enumerate(parts)])


def test_noise_alone_is_beyond_by_chance() -> None:
    """The noise is learned too, so the share strays a little more than a binomial one."""
    shares = []
    for seed in range(6):
        (found,) = compare_sources(*joined(wells(0, 0, 3, seed), wells(1, 0, 2, seed)), 1)
        assert (found.source, found.treatments, found.with_first) == (1, 200, True)
        assert found.shift is not None
        assert found.shift_sd == pytest.approx(SD * np.sqrt(1 / 3 + 1 / 2) / np.sqrt(200), rel=0.2)
        assert abs(found.shift) < 3.5 * found.shift_sd
        assert not found.disagrees
        shares.append(found.beyond_noise)
    assert np.mean(shares) == pytest.approx(BY_CHANCE, abs=0.03)


def test_a_shift_is_found_and_does_not_hide_in_the_noise() -> None:
    """With the sources thrown together the replicates themselves would scatter by the shift."""
    (found,) = compare_sources(*joined(wells(0, 0, 2, 2), wells(1, 0.2, 2, 2)), 1)
    assert found.shift == pytest.approx(0.2, abs=0.02)
    assert found.well_sd == pytest.approx(SD, rel=0.2)
    assert found.beyond_noise is not None
    assert found.beyond_noise > 0.9
    assert found.disagrees


def test_few_treatments_are_no_disagreement() -> None:
    first, few = wells(0, 0, 2, 3), wells(1, 0.5, 2, 3, slice(0, 7))
    (found,) = compare_sources(*joined(first, few), 1)
    assert (found.treatments, found.beyond_noise) == (7, 1.0)
    assert not found.disagrees


def test_nothing_in_common_with_the_first_is_compared_with_the_others() -> None:
    first = wells(0, 0, 2, 4, slice(0, 50))
    second, third = (wells(k, 0.2 * (k == 2), 2, 4, slice(100, 200)) for k in (1, 2))
    one, other = compare_sources(*joined(first, second, third), 1)
    assert not one.with_first
    assert not other.with_first
    assert one.shift == pytest.approx(-0.2, abs=0.03)
    assert other.shift == pytest.approx(0.2, abs=0.03)
    (alone,) = compare_sources(*joined(first, second), 1)
    assert (alone.treatments, alone.shift, alone.disagrees) == (0, None, False)


def test_the_order_of_the_wells_changes_nothing() -> None:
    whole, source = joined(wells(0, 0, 2, 5), wells(1, 0.1, 2, 5))
    order = np.random.default_rng(0).permutation(len(whole))
    (found,) = compare_sources(whole.select(order), source[order], 1)
    (before,) = compare_sources(whole, source, 1)
    assert found.beyond_noise == before.beyond_noise
    assert found.shift == pytest.approx(before.shift, abs=1e-12)


def test_a_source_for_each_well() -> None:
    with pytest.raises(ScreenError, match="3 sources"):
        compare_sources(wells(0, 0, 1, 1), np.zeros(3, np.int64), 1)
