"""Solvers against closed forms and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dynamics.parameters import Parameter
from models.dynamics.solver import Method, Solver, hermite, solver_nodes
from models.dynamics.systems.logistic import LogisticGrowth
from models.screen import ScreenError
from tests.models.dynamics.toys import Level

TIMES = np.array([0.0, 1.0, 2.5, 4.0])


def growth(dtype: torch.dtype = torch.float64) -> tuple[LogisticGrowth, dict[str, torch.Tensor]]:
    system = LogisticGrowth()
    values = {
        "r": torch.tensor([[1.1, 0.6], [0.9, 1.4]], dtype=dtype),
        "K": torch.tensor([[1.0, 0.8]], dtype=dtype),
        "x0": torch.tensor([[0.02, 0.1]], dtype=dtype),
    }
    return system, system.prepare(values, torch.zeros(0, 1, 2, dtype=dtype))


def error(method: Method, step: float, times: np.ndarray = TIMES) -> float:
    system, context = growth()
    exact = Solver("exact")(system, times, context)
    return float((Solver(method, step)(system, times, context) - exact).abs().max())


@pytest.mark.parametrize(("method", "order"), [("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_halving_the_step_shows_the_order(method: Method, order: int) -> None:
    # All times are nodes of both grids: no interpolation in the error.
    ratio = error(method, 0.125) / error(method, 0.0625)
    assert ratio == pytest.approx(2**order, rel=0.15)


def test_steps_on_the_data_grid_are_the_steps_of_that_grid() -> None:
    system, context = growth()
    grid = np.linspace(0, 4, 33)
    on_grid = Solver("heun")(system, grid, context)
    regular = Solver("heun", 0.125)(system, grid, context)
    torch.testing.assert_close(on_grid, regular, rtol=1e-12, atol=1e-14)


def test_the_state_holds_at_hour_zero_wherever_readings_begin() -> None:
    system, context = growth()
    late = np.array([2.5, 4.0])
    for method in ("heun", "dopri5"):
        solver = Solver(method)  # type: ignore[arg-type]
        whole = Solver("dopri5")(system, TIMES, context)[2:]
        assert (solver(system, late, context) - whole).abs().max() < (
            0.2 if method == "heun" else 1e-5
        )


def test_irregular_times_between_nodes_are_of_fourth_order() -> None:
    times = np.array([0.3, 0.77, 1.9, 3.333])
    ratio = error("rk4", 0.25, times) / error("rk4", 0.125, times)
    assert ratio > 10


def test_cubics_are_interpolated_exactly() -> None:
    nodes, times = np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.4, 2.2, 3.0])

    def cubic(t: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(1 - t + 2 * t**2 - 0.5 * t**3)

    slopes = torch.from_numpy(-1 + 4 * nodes - 1.5 * nodes**2)
    torch.testing.assert_close(hermite(nodes, cubic(nodes), slopes, times), cubic(times))


def test_adaptive_and_adjoint_agree_with_the_fast_path_and_its_gradients() -> None:
    gradients = {}
    for method, step in (("rk4", 0.05), ("dopri5", None), ("adjoint", None)):
        system = LogisticGrowth()
        r = torch.tensor([[1.1, 0.6]], dtype=torch.float64, requires_grad=True)
        one = torch.ones(1, 2, dtype=torch.float64)
        context = system.prepare({"r": 1 * r, "K": one, "x0": 0.02 * one}, one[None])
        solver = Solver(method, step, rtol=1e-9, atol=1e-11)  # type: ignore[arg-type]
        solved = solver(system, TIMES, context)
        gradients[method] = (solved.detach(), torch.autograd.grad(solved.square().sum(), r)[0])
    for method in ("dopri5", "adjoint"):
        torch.testing.assert_close(gradients[method][0], gradients["rk4"][0], rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(gradients[method][1], gradients["rk4"][1], rtol=1e-5, atol=1e-8)


def test_nodes_cover_the_times() -> None:
    assert solver_nodes(np.array([1.0, 2.0]), None).tolist() == [0, 1, 2]
    nodes = solver_nodes(np.array([0.0, 1.0]), 0.3)
    assert nodes[-1] == 1.0
    assert np.diff(nodes).max() <= 0.3
    assert solver_nodes(np.array([0.0]), 0.3)[-1] > 0


def test_no_exact_solution_is_said() -> None:
    class Unsolved(Level):
        def exact(self, times, context):
            return None

    system = Unsolved()
    context = {"level": torch.zeros(1, 1)}
    with pytest.raises(ScreenError, match="no exact solution"):
        Solver("exact")(system, TIMES, context)
    with pytest.raises(ScreenError, match="positive"):
        Solver(step=0.0)
    assert isinstance(system.parameters_of_model[0], Parameter)
