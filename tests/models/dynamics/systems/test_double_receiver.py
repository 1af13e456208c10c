"""The double receiver: its quadrature against the solvers, limits, and its group effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dynamics.parameters import Hierarchy
from models.dynamics.solver import Solver
from models.dynamics.systems.double_receiver import DoubleReceiver

TIMES = np.linspace(0, 16, 86)
RECEIVERS = (("luxr", "none"), ("lasr", "none"))
LABELS = {"luxr": ("none", "strong"), "lasr": ("none", "strong")}


def prepared(c6: float, c12: float, **changes: float):
    system = DoubleReceiver(RECEIVERS)
    hierarchy = Hierarchy(system.parameters_of_model, LABELS)
    shared = torch.tensor([c.mean for c in hierarchy.coordinates])[None, None].double()
    groups = {"luxr": torch.zeros(1, dtype=torch.long), "lasr": torch.zeros(1, dtype=torch.long)}
    values = hierarchy.values(hierarchy.moments(shared, groups)[0])
    values |= {name: torch.full((1, 1), value).double() for name, value in changes.items()}
    inputs = torch.tensor([c6, c12], dtype=torch.float64)[:, None, None]
    return system, system.prepare(values, inputs)


@pytest.mark.parametrize(("c6", "c12"), [(0.0, 0.0), (25000.0, 0.0), (0.0, 100.0), (30.0, 400.0)])
def test_quadrature_and_equation_agree(c6: float, c12: float) -> None:
    system, context = prepared(c6, c12)
    solved = Solver("dopri5", rtol=1e-9, atol=1e-11)(system, TIMES, context)
    errors = []
    for substeps in (2, 4):
        system.substeps = substeps
        known = system.exact(torch.from_numpy(TIMES), context)
        errors.append((known - solved).abs().amax((0, 2, 3)) / solved.abs().amax((0, 2, 3)))
    assert errors[0].max() < 2e-3
    assert (errors[0][1:] / errors[1][1:]).numpy() == pytest.approx(np.full(7, 4.0), rel=0.1)
    assert errors[1][0] < 1e-7


def test_heun_on_the_data_grid_is_near_too() -> None:
    system, context = prepared(300.0, 0.0)
    heun = system.observe(Solver("heun")(system, TIMES, context), context).mean
    fine = system.observe(Solver("dopri5")(system, TIMES, context), context).mean
    assert ((heun - fine).abs().amax((0, 2, 3)) / fine.amax((0, 2, 3))).max() < 0.01


def test_observed_channels_are_amounts_of_a_well() -> None:
    system, context = prepared(300.0, 0.0)
    trajectory = system.exact(torch.from_numpy(TIMES), context)
    mean = system.observe(trajectory, context).mean
    x, red, yellow, _, f530 = trajectory[:, :5].unbind(1)
    torch.testing.assert_close(mean[:, 0], x)
    torch.testing.assert_close(mean[:, 1], x * red)
    torch.testing.assert_close(mean[:, 2], x * (yellow + f530))


def test_each_signal_turns_on_its_own_promoter_most() -> None:
    final = {}
    for name, doses in {"none": (0, 0), "C6": (3000.0, 0), "C12": (0, 3000.0)}.items():
        system, context = prepared(*doses, a_R=3.0, a_S=3.0, rho=1.0)
        final[name] = system.observe(system.exact(torch.from_numpy(TIMES), context), context).mean[
            -1, 2:, 0, 0
        ]
    # k_R76 >> k_R81 and k_S81 >> k_S76: C6 makes cyan, C12 yellow.
    assert final["C6"][1] > 3 * final["none"][1]
    assert final["C12"][0] > 3 * final["none"][0]
    assert final["C6"][1] / final["none"][1] > final["C12"][1] / final["none"][1]


def test_the_lag_holds_growth_back_and_growth_ends_at_capacity() -> None:
    system, context = prepared(0.0, 0.0, lag=6.0, r=1.0, K=0.8)
    x = system.exact(torch.from_numpy(TIMES), context)[:, 0, 0, 0]
    assert x[15] == pytest.approx(0.002, rel=0.01)
    assert x[-1] > 0.6
    assert x.max() < 0.8


def test_gradients_are_finite_without_any_signal() -> None:
    system = DoubleReceiver()
    hierarchy = Hierarchy(system.parameters_of_model, {})
    shared = torch.tensor([c.mean for c in hierarchy.coordinates])[None, None].double()
    elements = hierarchy.moments(shared, {})[0].detach().requires_grad_(True)
    context = system.prepare(hierarchy.values(elements), torch.zeros(2, 1, 1).double())
    mean = system.observe(system.exact(torch.from_numpy(TIMES), context), context).mean
    gradient = torch.autograd.grad(mean.sum(), elements)[0]
    assert torch.isfinite(gradient).all()


def test_the_reference_receiver_is_exactly_one_and_others_are_not() -> None:
    system = DoubleReceiver(RECEIVERS, plain=True)
    hierarchy = Hierarchy(system.parameters_of_model, LABELS)
    shared = torch.randn(20, 2, hierarchy.shared_size, generator=torch.Generator().manual_seed(0))
    groups = {"luxr": torch.tensor([0, 1]), "lasr": torch.tensor([1, 0])}
    values = hierarchy.values(hierarchy.moments(shared, groups)[0])
    assert torch.equal(values["a_R"][:, 0], torch.ones(20))
    assert torch.equal(values["a_S"][:, 1], torch.ones(20))
    assert (values["a_R"][:, 1] != 1).all()
    assert hierarchy.individual_names() == ("r", "K", "lag", "rho", "x0")
