"""Mended hit probabilities: known laws, the limits, and what few blocks leave open."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from models.acquisition.draws import AcquisitionError
from models.acquisition.hit_calibration import (
    DRIFT_SD,
    FADING,
    PRIOR_SD,
    ForecastHistory,
    HitCalibration,
    learn_calibration,
    mend,
)
from models.screen import BoolArray, FloatArray

LAW = np.array([-0.5, np.log(0.8), np.log(1.5)])


def law(chance: FloatArray) -> FloatArray:
    """``logit p' = -0.5 + 0.8 log p - 1.5 log(1 - p)``."""
    return expit(LAW[0] + 0.8 * np.log(chance) - 1.5 * np.log(1 - chance))


def outcomes(k: int, seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Forecasts whose truth is ``law``."""
    rng = np.random.default_rng(seed)
    chance = expit(2.0 * rng.normal(size=k) - 1.0)
    return chance, rng.random(k) < law(chance)


def sds(found: HitCalibration) -> FloatArray:
    """Of what is learned, without the drift."""
    root = np.zeros((3, 3))
    root[np.tril_indices(3)] = found.factor
    return np.sqrt(np.diag(root @ root.T) - DRIFT_SD**2)


def report(k: int, seed: int = 0, threshold: float = 10.0) -> dict[str, Any]:
    chance, hit = outcomes(k, seed)
    return {"threshold": threshold, "chance": chance.tolist(), "hit": hit.astype(int).tolist()}


def test_nothing_to_learn_from_changes_nothing() -> None:
    none = HitCalibration.of(np.empty(0), np.empty(0, bool))
    p = np.array([0.0, 1e-9, 0.001, 0.3, 0.9, 1.0])
    assert none.apply(p) == pytest.approx(p)
    assert sds(none) == pytest.approx(PRIOR_SD)


def test_a_known_law_is_found() -> None:
    found = HitCalibration.of(*outcomes(40_000))
    error = sds(found)
    assert np.all(error < 0.06)
    assert np.all(np.abs(np.array([found.shift, found.log_low, found.log_high]) - LAW) < 4 * error)
    chance, hit = outcomes(40_000, seed=1)
    mended = found.apply(chance)
    for low in np.arange(0.0, 1.0, 0.1):
        inside = (mended >= low) & (mended < low + 0.1)
        wanted, sd = mended[inside].sum(), np.sqrt((mended * (1 - mended))[inside].sum())
        assert hit[inside].sum() == pytest.approx(wanted, abs=4 * sd + 0.02 * wanted)


def test_few_blocks_against_the_posterior_on_a_grid() -> None:
    chance, hit = outcomes(60)
    found = HitCalibration.of(chance, hit)
    axes = [np.linspace(-5 * sd, 5 * sd, 61) for sd in PRIOR_SD]
    a, b, c = np.meshgrid(*axes, indexing="ij")
    log = -sum((v / sd) ** 2 / 2 for v, sd in zip((a, b, c), PRIOR_SD, strict=True))
    for p, y in zip(chance, hit, strict=True):
        z = a + np.exp(b) * np.log(p) - np.exp(c) * np.log(1 - p)
        log = log + y * z - np.logaddexp(0, z)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    own = (found.shift, found.log_low, found.log_high)
    top = np.unravel_index(np.argmax(log), log.shape)
    step = axes[0][1] - axes[0][0]
    assert own == pytest.approx([axis[at] for axis, at in zip(axes, top, strict=True)], abs=step)
    sd = [np.sqrt((weight * v**2).sum() - (weight * v).sum() ** 2) for v in (a, b, c)]
    assert sds(found) == pytest.approx(sd, rel=0.2)


def test_a_weight_of_two_is_the_block_twice() -> None:
    chance, hit = outcomes(40)
    twice = HitCalibration.of(np.tile(chance, 2), np.tile(hit, 2))
    weighed = HitCalibration.of(chance, hit, np.full(40, 2.0))
    p = np.linspace(0.01, 0.99, 20)
    assert weighed.apply(p) == pytest.approx(twice.apply(p), abs=1e-6)
    none = HitCalibration.of(chance, hit, np.zeros(40))
    assert none.apply(p) == pytest.approx(p)
    with pytest.raises(AcquisitionError, match="weight"):
        HitCalibration.of(chance, hit, np.full(40, -1.0))


def test_order_stays_and_worlds_belong_together() -> None:
    found = HitCalibration.of(*outcomes(60))
    p = np.concatenate([[1e-12, 1e-9, 1e-6], np.linspace(0.001, 0.999, 50), [1 - 1e-9]])
    assert np.all(np.diff(found.apply(p)) > 0)
    worlds = found.worlds(p, 40)
    assert np.all(np.diff(worlds, axis=1) > 0)
    assert np.array_equal(found.worlds(p[10:20], 40), worlds[:, 10:20])


def test_worlds_spread_as_the_posterior_does() -> None:
    found = HitCalibration.of(*outcomes(60))
    half = np.log(found.worlds(np.array([0.5]), 4000))
    logits = half - np.log1p(-np.exp(half))
    root = np.zeros((3, 3))
    root[np.tril_indices(3)] = found.factor

    def spread(power: int) -> float:
        """Moment of a + (e^c - e^b) log 2 under the Gaussian, b and c by integration."""
        covariance = root @ root.T
        mean = np.array([found.shift, found.log_low, found.log_high])
        at, weight = np.polynomial.hermite_e.hermegauss(24)
        z = np.stack(np.meshgrid(at, at, at, indexing="ij"), -1) @ np.linalg.cholesky(covariance).T
        theta = mean + z
        value = theta[..., 0] + (np.exp(theta[..., 2]) - np.exp(theta[..., 1])) * np.log(2)
        w = np.einsum("i,j,k->ijk", weight, weight, weight)
        return float((w * value**power).sum() / w.sum())

    sd = np.sqrt(spread(2) - spread(1) ** 2)
    assert logits.mean() == pytest.approx(spread(1), abs=4 * sd / np.sqrt(4000))
    assert logits.std() == pytest.approx(sd, rel=0.06)


def test_mended_worlds_have_the_wanted_mean() -> None:
    rng = np.random.default_rng(2)
    chances = rng.random((30, 6))
    chances[:, 5] = 0.0
    before = chances.mean(axis=0)
    wanted = np.tile([0.1, 0.3, 0.6, 0.9, 0.99, 0.0], (30, 1))
    after = mend(chances, before, wanted)
    assert after.mean(axis=0) == pytest.approx(wanted[0])
    assert after.min() >= 0.0
    assert after.max() <= 1.0
    assert np.array_equal(np.argsort(after[:, 2]), np.argsort(chances[:, 2]))
    assert mend(chances, before, np.tile(before, (30, 1))) == pytest.approx(chances)


def test_both_sources_count_and_old_rounds_fade() -> None:
    chance, hit = outcomes(50, seed=3)
    held_out = report(80)
    ago = np.repeat([1, 0], 25)
    found = learn_calibration(held_out, ForecastHistory(chance, hit, ago), 10.0)
    assert found is not None
    assert (found.n_blocks, found.n_hits) == (130, int(hit.sum()) + sum(held_out["hit"]))
    by_hand = HitCalibration.of(
        np.concatenate([chance, held_out["chance"]]),
        np.concatenate([hit, np.array(held_out["hit"], bool)]),
        np.concatenate([np.full(25, FADING), np.ones(105)]),
    )
    assert found == by_hand
    alike = learn_calibration(held_out, ForecastHistory(chance, hit), 10.0)
    assert alike != found
    only = learn_calibration(None, ForecastHistory(chance, hit), 10.0)
    assert only == HitCalibration.of(chance, hit)
    assert learn_calibration(None, ForecastHistory.none(), 10.0) is None


def test_batches_that_promised_too_much_are_believed_less() -> None:
    """The best of many noisy forecasts: on the whole right, but not where the best are."""
    rng = np.random.default_rng(0)
    truth = expit(rng.normal(size=20_000) - 2.0)
    logit = np.log(truth / (1 - truth)) + 0.8 * rng.normal(size=len(truth))
    stated, hit = expit(logit), rng.random(len(truth)) < truth
    best = np.argsort(-stated)[:600]
    past, now = best[::2], best[1::2]
    assert stated[now].sum() > 1.3 * hit[now].sum()
    found = learn_calibration(None, ForecastHistory(stated[past], hit[past]), 10.0)
    assert found is not None
    mended = found.apply(stated[now])
    assert mended.sum() == pytest.approx(hit[now].sum(), abs=3 * np.sqrt(2 * mended.sum()))


def test_json_and_back() -> None:
    found = HitCalibration.of(*outcomes(60))
    data = json.loads(json.dumps(found.as_dict()))
    assert HitCalibration.from_dict(data) == found
    assert data["reason"].startswith("Hit probabilities are mended by 60 forecasts")


@pytest.mark.parametrize("chance", [[0.5], [0.5, 1.5], [0.5, np.nan]])
def test_what_is_no_probability_is_refused(chance: list[float]) -> None:
    for made in (HitCalibration.of, ForecastHistory):
        with pytest.raises(AcquisitionError):
            made(np.array(chance), np.array([True, False]))


def test_what_does_not_belong_together_is_refused() -> None:
    chance, hit = outcomes(4)
    for ago in (np.array([0, 1]), np.array([0, 1, 2, -1])):
        with pytest.raises(AcquisitionError, match="rounds"):
            ForecastHistory(chance, hit, ago)
    with pytest.raises(AcquisitionError, match="hits above 10, now 12"):
        learn_calibration(report(9), ForecastHistory.none(), 12.0)
