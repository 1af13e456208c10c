"""Ranks, replicas and the guard, where the answer is known."""

import numpy as np
import pytest
import torch

from models.dynamics.stochastic.calibration import check_ranks, predictive_p
from models.dynamics.stochastic.guard import Cloud
from models.screen import ScreenError


def conjugate(scale, n=600, draws=99, seed=0):
    """Truth and draws of a normal mean after one measurement; ``scale`` of the stated sd."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(n, 2))
    seen = truth + generator.normal(size=truth.shape)
    return truth, seen / 2 + scale * np.sqrt(0.5) * generator.normal(size=(draws, n, 2))


def test_an_exact_posterior_passes():
    found = check_ranks(*conjugate(1.0))
    assert found.sound
    assert found.coverage_90 == pytest.approx([0.9, 0.9], abs=4 * np.sqrt(0.09 / 600))
    assert found.ranks.min() >= 0
    assert found.ranks.max() <= 99


@pytest.mark.parametrize("scale", [0.75, 1.4])
def test_a_posterior_too_sure_or_too_vague_fails(scale):
    found = check_ranks(*conjugate(scale))
    assert not found.sound
    assert (found.coverage_90 < 0.87).all() if scale < 1 else (found.coverage_90 > 0.93).all()


def test_ties_are_broken_fairly():
    truth, draws = conjugate(1.0, n=2000)
    found = check_ranks(np.round(truth, 0), np.round(draws, 0))
    exact = np.random.default_rng(5).integers(0, 3, (2000, 1)).astype(float)
    same = np.random.default_rng(6).integers(0, 3, (50, 2000, 1)).astype(float)
    assert check_ranks(exact, same).sound
    assert found.ranks.shape == (2000, 2)


def test_replicas():
    replicas = np.arange(99.0)[:, None] * np.ones((1, 3))
    found = predictive_p(np.array([49.0, 1000.0, -1.0]), replicas)
    assert found == pytest.approx([1.0, 0.02, 0.02])
    with pytest.raises(ScreenError, match="replicas"):
        predictive_p(np.zeros(2), replicas)


class TestGuard:
    @pytest.fixture
    def cloud(self):
        generator = torch.Generator().manual_seed(0)
        mixing = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        drawn = torch.randn(4000, 4, generator=generator, dtype=torch.float64) @ mixing
        fresh = torch.randn(4000, 4, generator=generator, dtype=torch.float64) @ mixing
        return Cloud.of(drawn), fresh

    def test_one_in_a_hundred_of_its_own_is_refused(self, cloud):
        known, fresh = cloud
        share = float((known.p(fresh) < 0.01).double().mean())
        assert share == pytest.approx(0.01, abs=5 * np.sqrt(0.01 * 0.99 / 2000))

    def test_what_is_like_nothing_is_refused_in_words(self, cloud):
        known, fresh = cloud
        odd = fresh[:1].clone()
        odd[:, 2] += 30 * fresh[:, 2].std()
        (verdict,) = known.verdicts(odd, ("first", "second", "third"))
        assert verdict.refused
        assert "like nothing that was simulated" in verdict.words
        assert "third lies +" in verdict.words
        assert not known.verdicts(torch.zeros(1, 4), ("first",))[0].refused

    def test_what_is_rare_but_simulated_is_not_refused(self):
        """One simulation in fifty has nothing left: far from all others, yet known."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(4000, 3, generator=generator, dtype=torch.float64)
        drawn[::50, 2] = 40.0
        cloud = Cloud.of(drawn)
        rows = torch.tensor([[0.0, 0.0, 40.0], [0.0, 0.0, 80.0]], dtype=torch.float64)
        assert [v.refused for v in cloud.verdicts(rows, ("a", "b", "c"))] == [False, True]

    def test_too_few(self):
        with pytest.raises(ScreenError, match="too few"):
            Cloud.of(torch.zeros(100, 2))
