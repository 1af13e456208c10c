from functools import cache

import numpy as np
import pytest
import torch

from models.pharmacology.hill import hill
from models.screen import ABSENT, Candidates, ScreenError, Stopped
from models.synergy.inputs import Training
from models.synergy.response.hierarchical_bliss import (
    HierarchicalBliss,
    HierarchicalBlissPosterior,
)
from models.synergy.training import Schedule
from tests.models.synergy.response.small import (
    N_LINES,
    SHORT,
    UNSEEN,
    every_pair,
    padded,
    training,
    truth,
)

MODEL = HierarchicalBliss()


@cache
def fitted() -> HierarchicalBlissPosterior:
    return MODEL.fit(training(), seed=1, schedule=SHORT)


def viability(
    compounds: list[list[float]],
    doses: list[list[float]],
    line: int = 0,
    n: int = 20,
    seed: int = 5,
) -> torch.Tensor:
    index = padded(compounds, ABSENT).astype(np.int64)
    lines = np.full(len(index), line)
    return fitted().viability_draws(index, padded(doses, 0.0), lines, n, seed)


def test_vehicle_is_exactly_one() -> None:
    assert bool((viability([[], [0, 1]], [[], [0.0, 0.0]]) == 1.0).all())


def test_at_dose_zero_a_partner_changes_no_bit() -> None:
    together = viability([[0, 1], [0, 1, 2]], [[2.0, 0.0], [2.0, 0.0, 0.0]])
    alone = viability([[0], [0]], [[2.0], [2.0]])
    assert torch.equal(together, alone)


def test_towards_dose_zero_the_interaction_vanishes() -> None:
    nearly = viability([[0, 1]], [[2.0, 1e-12]])
    assert torch.allclose(nearly, viability([[0]], [[2.0]]), atol=1e-3)


def test_swapping_compounds_changes_no_bit() -> None:
    one = viability([[0, 3, 5], [6, 2]], [[1.0, 2.0, 3.0], [4.0, 5.0]])
    other = viability([[5, 0, 3], [2, 6]], [[3.0, 1.0, 2.0], [5.0, 4.0]])
    assert torch.equal(one, other)


def test_single_curves_fall_with_dose_unless_they_do_nothing() -> None:
    doses = [[float(d)] for d in np.logspace(-4, 4, 60)]
    curve = viability([[2]] * 60, doses, n=50)
    steps = curve.diff(dim=1)
    falling, flat_or_brighter = (steps <= 1e-6).all(dim=1), (steps >= -1e-6).all(dim=1)
    assert bool((falling | flat_or_brighter).all())
    assert bool(((curve > 0) & (curve < 1.051)).all())


def test_three_compounds_without_interaction_are_a_product() -> None:
    tiny = viability([[0, 1, 2]], [[3.0, 3.0, 3.0]], n=10)
    assert tiny.shape == (10, 1)
    assert bool((torch.isfinite(tiny) & (tiny > 0)).all())
    singles = [viability([[c]], [[3.0]], n=10) for c in range(3)]
    pairs = [viability([list(p)], [[3.0, 3.0]], n=10) for p in ((0, 1), (0, 2), (1, 2))]
    # Pairwise interactions add in the exponent: triple * singles = product of the pairs.
    expected = pairs[0] * pairs[1] * pairs[2] / (singles[0] * singles[1] * singles[2])
    assert torch.allclose(tiny, expected, rtol=1e-4)


def test_draws_are_whole_functions() -> None:
    at = every_pair()
    whole = fitted().draws(at, 12, 7)
    order = np.random.default_rng(0).permutation(len(at))
    for rows in (order[:5], order[40:90], np.array([3])):
        assert torch.allclose(fitted().draws(at.select(rows), 12, 7), whole[:, rows], atol=2e-4)
    assert torch.allclose(fitted().draws(at, 5, 7), whole[:5], atol=2e-4)
    assert not torch.allclose(fitted().draws(at, 12, 8), whole)


def test_draws_beyond_the_states_differ_where_nothing_was_measured() -> None:
    kept = SHORT.steps - SHORT.horizon
    new = Candidates(np.array([[0, UNSEEN], [0, 1]]), np.array([0, N_LINES - 1]))
    draws = fitted().draws(new, 2 * kept, 3)
    assert not torch.equal(draws[:kept], draws[kept:])


def test_the_unseen_follow_the_prior_with_wider_draws() -> None:
    at = every_pair()
    sd = fitted().draws(at, 200, 2).std(dim=0).numpy()
    unseen = (at.compounds == UNSEEN).any(axis=1)
    new_line = ~unseen & (at.cell_line == N_LINES - 1)
    seen = ~unseen & ~new_line
    assert np.median(sd[unseen]) > 1.3 * np.median(sd[seen])
    assert np.median(sd[new_line]) > 1.1 * np.median(sd[seen])
    single = [viability([[c]], [[1.0]], n=200).std() for c in (0, UNSEEN)]
    assert float(single[1]) > 2 * float(single[0])


def test_row_order_and_seeds() -> None:
    data = training()
    assert data.wells is not None
    order = np.random.default_rng(3).permutation(len(data.wells))
    again = MODEL.fit(training(rows=order), seed=1, schedule=SHORT)
    at = every_pair()
    assert torch.equal(again.draws(at, 6, 4), fitted().draws(at, 6, 4))
    other = MODEL.fit(data, seed=2, schedule=SHORT)
    assert not torch.equal(other.draws(at, 6, 4), fitted().draws(at, 6, 4))


def test_saved_and_loaded_to_the_bit() -> None:
    tensors, metadata = MODEL.save(fitted())
    back = MODEL.load(tensors, metadata)
    at = every_pair()
    assert torch.equal(back.draws(at, 30, 4), fitted().draws(at, 30, 4))
    assert torch.equal(back.noise_sd(at), fitted().noise_sd(at))
    assert back.diagnostics() == fitted().diagnostics()
    assert back.schedule == SHORT
    with pytest.raises(ScreenError, match="cannot load"):
        MODEL.load(tensors, {**metadata, "version": 99})


@pytest.mark.parametrize("score", ["hsa_mean", "bliss_max"])
def test_other_scores(score: str) -> None:
    posterior = MODEL.fit(training(score), seed=1, schedule=Schedule(10, 4))
    at = every_pair()
    draws = posterior.draws(at, 8, 0)
    assert bool(torch.isfinite(draws).all())
    assert posterior.noise_df > 2
    assert bool((posterior.noise_sd(at) >= posterior.noise_scale(at)).all())


def test_scores_only_are_refused_and_progress_can_stop() -> None:
    data = training()
    bare = Training(data.blocks, data.features, None, data.score)
    with pytest.raises(ScreenError, match="learns from wells"):
        MODEL.fit(bare, seed=0)
    with pytest.raises(ScreenError, match="at least 5"):
        MODEL.fit(data.select(np.arange(4)), seed=0)
    with pytest.raises(ScreenError, match="must keep"):
        MODEL.fit(data, seed=0, schedule=Schedule(5, 4))
    with pytest.raises(Stopped):
        MODEL.fit(data, seed=0, should_stop=lambda: True)
    with pytest.raises(ScreenError, match="cannot draw"):
        fitted().draws(every_pair(), 0, 0)


@pytest.mark.slow
def test_measured_blocks_are_known_better_than_measured() -> None:
    data = training()
    posterior = MODEL.fit(data, seed=1)
    at = data.blocks.candidates
    expected = truth().true_score(at, "bliss_mean")
    mean = posterior.score_draws(at, 100, 0, drawn_reference=True).mean(dim=0).numpy()
    assert np.std(mean - expected) < 0.5 * np.std(data.blocks.score - expected)
    assert np.corrcoef(mean, expected)[0, 1] > 0.85


def test_a_score_is_the_excess_over_the_measured_single_agents() -> None:
    """By hand: 100 (R - V) averaged over the doses, R from the single-agent curves."""
    posterior, at = fitted(), Candidates(np.array([[0, 2]]), np.array([1]))
    _, doses = posterior.grids.rows(at)
    pairs, line = np.tile([[0, 2]], (len(doses), 1)), np.full(len(doses), 1)
    joint = posterior.viability_draws(pairs, doses, line, 6, 9).numpy()
    curves = posterior.reference
    single = [
        hill(doses[:, k], curves.log_c[c, 1], curves.log_h[c, 1], curves.emax[c, 1])
        for k, c in enumerate((0, 2))
    ]
    expected = 100 * (single[0] * single[1] - joint).mean(axis=1)
    assert np.allclose(posterior.draws(at, 6, 9)[:, 0].numpy(), expected, atol=1e-3)
    own = posterior.score_draws(at, 6, 9, drawn_reference=True)
    assert not torch.allclose(own, posterior.draws(at, 6, 9))
