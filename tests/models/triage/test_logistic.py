"""Penalised logistic regression against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from scipy.special import expit

from models.screen import ScreenError
from models.triage.logistic import Penalty, fit_logistic


def data(n: int = 400, p: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.standard_normal((n, p))])
    return design, (rng.random(n) < expit(design @ np.linspace(-1, 1, p + 1))).astype(float)


def test_coefficients_are_those_of_a_plain_optimiser() -> None:
    design, hit = data()
    weight = np.random.default_rng(1).uniform(0.2, 3, len(hit))
    penalty = 2.0 * np.eye(3)

    def loss(b: np.ndarray) -> float:
        logits = design @ b + 0.3
        return float(
            weight @ (np.logaddexp(0, logits) - hit * logits)
            + 0.5 * b[1:] @ penalty @ b[1:]
            + 0.5e-6 * b @ b
        )

    known = scipy.optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    fit = fit_logistic(
        design, hit, weight, [Penalty(1, np.eye(3), 3, 2.0)], offset=np.full(len(hit), 0.3)
    )
    assert fit.coefficients == pytest.approx(known.x, abs=1e-5)


def test_an_intercept_alone_is_the_log_odds_with_its_standard_error() -> None:
    hit = np.array([1.0] * 30 + [0.0] * 90)
    fit = fit_logistic(np.ones((120, 1)), hit, np.ones(120))
    assert fit.coefficients[0] == pytest.approx(np.log(1 / 3), abs=1e-6)
    assert fit.covariance[0, 0] == pytest.approx(1 / (120 * 0.25 * 0.75), rel=1e-6)
    assert fit.freedom[0] == pytest.approx(1.0, abs=1e-6)
    assert fit.deviance == pytest.approx(-2 * (30 * np.log(0.25) + 90 * np.log(0.75)), rel=1e-9)


def test_separated_rows_stay_finite() -> None:
    design = np.column_stack([np.ones(6), [-3, -2, -1, 1, 2, 3]])
    fit = fit_logistic(
        design, np.array([0.0, 0, 0, 1, 1, 1]), np.ones(6), [Penalty(1, np.eye(1), 1)]
    )
    assert 0 < fit.coefficients[1] < 20


def test_a_learned_penalty_lets_signal_through_and_holds_noise() -> None:
    rng = np.random.default_rng(3)
    n = 3000
    x = rng.standard_normal((n, 12))
    hit = (rng.random(n) < expit(-1 + x[:, :6] @ np.array([1, -1, 0.8, -0.8, 1, -1.0]))).astype(
        float
    )
    design = np.column_stack([np.ones(n), x])
    penalties = [Penalty(1, np.eye(6), 6), Penalty(7, np.eye(6), 6)]
    fit = fit_logistic(design, hit, np.ones(n), penalties)
    assert fit.weights[0] < 3 < 30 < fit.weights[1]
    assert fit.freedom[1:7].sum() > 5.5


def test_alike_rows_are_worth_their_weight() -> None:
    design, hit = data(60)
    double = fit_logistic(np.repeat(design, 2, 0), np.repeat(hit, 2), np.ones(120))
    weighed = fit_logistic(design, hit, np.full(60, 2.0))
    assert double.coefficients == pytest.approx(weighed.coefficients, abs=1e-9)
    assert double.covariance == pytest.approx(weighed.covariance, rel=1e-6)


@pytest.mark.parametrize(
    ("design", "hit", "weight", "words"),
    [
        (np.zeros((0, 1)), np.zeros(0), np.zeros(0), "needs rows"),
        (np.array([[np.nan]]), np.ones(1), np.ones(1), "finite"),
        (np.ones((1, 1)), np.array([2.0]), np.ones(1), "between 0 and 1"),
        (np.ones((1, 1)), np.ones(1), np.zeros(1), "positive"),
    ],
)
def test_bad_rows_are_refused(
    design: np.ndarray, hit: np.ndarray, weight: np.ndarray, words: str
) -> None:
    with pytest.raises(ScreenError, match=words):
        fit_logistic(design, hit, weight)
