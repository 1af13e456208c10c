"""Batched Levenberg-Marquardt against closed forms and scipy."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from models.pharmacology.least_squares import minimise, numeric_jacobian
from models.screen import FloatArray, IntArray, Stopped

X = np.linspace(0.0, 3.0, 9)


def decay(theta: FloatArray) -> FloatArray:
    return np.asarray(theta[:, :1] * np.exp(-theta[:, 1:] * X))


TRUTH = np.array([[1.0, 0.5], [2.0, 1.5], [0.3, 3.0]])
TARGET = decay(TRUTH) + 0.01 * np.random.default_rng(0).standard_normal((3, 9))


def problem(theta: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    def residual(at: FloatArray) -> FloatArray:
        return decay(at) - TARGET[rows]

    return residual(theta), numeric_jacobian(residual, theta)


def test_it_ends_where_scipy_ends() -> None:
    found = minimise(problem, np.ones((3, 2)))
    assert found.settled.all()
    for k in range(3):
        alone = least_squares(lambda t, k=k: decay(t[None])[0] - TARGET[k], [1.0, 1.0], xtol=1e-14)
        assert found.theta[k] == pytest.approx(alone.x, abs=1e-4)
        assert found.loss[k] == pytest.approx(alone.cost, abs=1e-8)
        assert found.precision[k] == pytest.approx(alone.jac.T @ alone.jac, rel=1e-3)


def test_a_problem_does_not_notice_the_others() -> None:
    whole = minimise(problem, np.ones((3, 2))).theta
    alone = minimise(lambda t, r: problem(t, r + 1), np.ones((1, 2))).theta
    assert np.array_equal(whole[1], alone[0])


def test_undefined_problems_do_not_settle() -> None:
    def undefined(theta: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        residual, jacobian = problem(theta, rows)
        lost = (rows == 2)[:, None]
        return np.where(lost, np.nan, residual), np.where(lost[..., None], np.nan, jacobian)

    found = minimise(undefined, np.ones((3, 2)))
    assert found.settled.tolist() == [True, True, False]


def test_running_out_of_steps_is_told() -> None:
    assert not minimise(problem, np.full((3, 2), 9.0), steps=1).settled.any()


def test_it_can_be_stopped() -> None:
    with pytest.raises(Stopped):
        minimise(problem, np.ones((3, 2)), should_stop=lambda: True)
