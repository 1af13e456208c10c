"""Addressed normal numbers: standard normal, and independent of the company they are asked in."""

import numpy as np
import pytest
from scipy import stats

from models.pharmacology.random_numbers import combine, normals


def test_a_number_depends_on_its_own_address_only() -> None:
    keys = combine(np.arange(50))
    together = normals(3, keys, 40, 3)
    assert np.array_equal(normals(3, keys[[17, 4]], 40, 3), together[:, [17, 4]])
    assert np.array_equal(normals(3, keys, 10, 3), together[:10])


def test_another_seed_gives_other_numbers() -> None:
    keys = combine(np.arange(50))
    assert not np.any(normals(1, keys, 4, 1) == normals(2, keys, 4, 1))


def test_they_are_standard_normal_and_uncorrelated() -> None:
    numbers = normals(0, combine(np.arange(200)), 100, 3)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 0.01
    flat = numbers.reshape(-1, 3)
    assert np.abs(np.corrcoef(flat.T) - np.eye(3)).max() < 0.03
    neighbours = np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.03


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_keys_of_columns_depend_on_their_order(dtype: type) -> None:
    one, two = np.array([1, 2], dtype), np.array([2, 1], dtype)
    assert not np.any(combine(one, two) == combine(two, one))
