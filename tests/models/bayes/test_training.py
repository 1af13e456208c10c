"""What training loops share: the Student-t density is scipy's, one thread is given back."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from models.bayes.training import one_thread, student_log_density


def test_the_student_density_is_scipys() -> None:
    x = np.linspace(-9, 9, 41)
    expected = scipy.stats.t.logpdf(x, 4.5, scale=1.7)
    found = student_log_density(torch.tensor(x), torch.tensor(1.7), torch.tensor(4.5))
    assert np.allclose(found, expected, atol=1e-6)


def test_threads_are_given_back_even_after_an_error() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError), one_thread():
        raise RuntimeError
    assert torch.get_num_threads() == before
