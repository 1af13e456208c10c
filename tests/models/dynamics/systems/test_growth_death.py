"""The growth and death model: its closed form, its equation and its drug effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import Tensor

from models.dynamics.solver import Solver
from models.dynamics.systems.growth_death import (
    GrowthDeath,
    GrowthDeathScale,
    closed_form,
    hill,
    phi1,
    phi2,
    typical_dose,
)
from models.screen import ScreenError

TIMES = np.linspace(0.0, 72.0, 49)


def scale(capacity: float | None = 100.0) -> GrowthDeathScale:
    return GrowthDeathScale((4.0, 0.5), 9.0, (1.0, 1.5), 72.0, capacity)


def values_of(system: GrowthDeath, seed: int = 0, n: int = 3) -> dict[str, Tensor]:
    """Parameters drawn from their priors, ``(1, n)`` or ``(size, 1, n)``."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for parameter in system.parameters_of_model:
        shape = (1, n) if parameter.size == 1 else (parameter.size, 1, n)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        found[parameter.name] = parameter.prior.natural(
            parameter.prior.location + parameter.prior.sd * noise
        )
    return found


def doses(*rows: tuple[float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).T[:, None]


def swapped(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same parameters for the drugs in the other order."""
    orders = {3: [0, 2, 1], 2: [1, 0]}
    found = {}
    for name, value in values.items():
        if name.endswith("_interaction"):
            found[name] = value[[0, 2, 1, 3]]
        elif value.ndim == 3 and not name.endswith("offset"):
            found[name] = value[orders[len(value)]]
        else:
            found[name] = value
    return found


def test_the_closed_form_solves_the_equation() -> None:
    g, k, f, d = 0.04, 0.013, 0.7, 0.09

    def slope(_: float, y: np.ndarray) -> list[float]:
        return [(g - k) * y[0], k * f * y[0] - d * y[1], d * y[1], k * (1 - f) * y[0]]

    solved = scipy.integrate.solve_ivp(
        slope, (0, 72), [1, 0, 0, 0], t_eval=TIMES, rtol=1e-10, atol=1e-12
    )
    known = closed_form(torch.from_numpy(TIMES), *map(torch.tensor, (g, k, f, d)))
    np.testing.assert_allclose(known.numpy(), solved.y, rtol=1e-5, atol=1e-8)


def test_late_apoptotic_cells_follow_their_own_formula() -> None:
    g, k, f, d, t = 0.05, 0.02, 0.4, 0.1, 30.0
    rate, c = g - k, k * f / (g - k + d)
    expected = d * c * math.expm1(rate * t) / rate + c * math.expm1(-d * t)
    args = [torch.tensor(x, dtype=torch.float64) for x in (t, g, k, f, d)]
    assert closed_form(*args)[2].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("pole", ["growth equals death", "growth rate minus conversion"])
def test_poles_are_removed_and_have_gradients(pole: str) -> None:
    g0, k0, d0 = (0.02, 0.02, 0.1) if pole.startswith("growth equals") else (0.02, 0.12, 0.1)
    t, f = torch.tensor(48.0).double(), torch.tensor(0.6).double()
    g, k, d = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (g0, k0, d0))
    at = closed_form(t, g, k, f, d)
    near = closed_form(t, g + 1e-7, k, f, d)
    assert torch.isfinite(at).all()
    torch.testing.assert_close(at, near, rtol=1e-4, atol=1e-6)
    grads = torch.autograd.grad(at.sum(), (g, k, d))
    assert all(torch.isfinite(grad) for grad in grads)
    assert grads[0] == pytest.approx((near.sum() - at.sum()).item() / 1e-7, rel=1e-3)


def test_phi_functions_join_their_series_smoothly() -> None:
    points = [-3.0, -1.0001e-2, -9.999e-3, -1.0001e-3, -9.99e-4, 0.0, 1e-9, 0.5]
    z = torch.tensor(points, dtype=torch.float64)
    exact1 = [1.0 if x == 0 else math.expm1(x) / x for x in z.tolist()]
    torch.testing.assert_close(
        phi1(z), torch.tensor(exact1, dtype=torch.float64), rtol=1e-12, atol=0
    )
    exact2 = [sum(x**n / math.factorial(n + 2) for n in range(30)) for x in z.tolist()]
    torch.testing.assert_close(
        phi2(z), torch.tensor(exact2, dtype=torch.float64), rtol=1e-8, atol=0
    )


@pytest.mark.parametrize("capacity", [None, 100.0])
@pytest.mark.parametrize("onset", [False, True])
def test_exact_path_agrees_with_the_solver(capacity: float | None, onset: bool) -> None:
    system = GrowthDeath(scale(capacity), onset=onset)
    context = system.prepare(values_of(system), doses((0, 0), (4, 0), (2, 1)))
    exact = Solver("exact")(system, TIMES, context)
    solved = Solver("rk4", step=0.25)(system, TIMES, context)
    torch.testing.assert_close(exact, solved, rtol=3e-3, atol=3e-3)


def test_quadrature_converges_with_the_step() -> None:
    system = GrowthDeath(scale())
    context = system.prepare(values_of(system, seed=3), doses((0, 0), (4, 0.2), (2, 1)))
    coarse, fine, truth = (
        system.exact(torch.linspace(0, 72, n).double(), context)[:: (n - 1) // 24]
        for n in (25, 49, 769)
    )
    first, second = (coarse - truth).abs().amax((0, 2, 3)), (fine - truth).abs().amax((0, 2, 3))
    assert first[0] / second[0] > 11  # living: fourth order, 16 in the limit
    assert first[1] / second[1] > 3  # early apoptotic: second order, 4 in the limit


def test_cells_are_kept_without_growth() -> None:
    system = GrowthDeath(scale(None), interaction=False)
    values = values_of(system) | {"growth": torch.zeros(1, 3).double()}
    context = system.prepare(values, doses((0, 0), (4, 0), (2, 1)))
    states = system.exact(torch.from_numpy(TIMES), context)
    total = states[:, :4].sum(1)
    torch.testing.assert_close(total, total[:1].expand_as(total), rtol=1e-3, atol=0)


def test_capacity_is_approached_and_not_passed() -> None:
    system = GrowthDeath(scale(), onset=False)
    values = values_of(system) | {"death": torch.full((1, 1), 1e-9).double()}
    values["death_misfit"] = torch.zeros(1, 1).double()
    times = torch.linspace(0, 720, 481).double()
    living = system.exact(times, system.prepare(values, doses((0, 0))))[:, 0]
    # Quadrature error may lift the plateau by a part in a thousand.
    assert (living <= values["capacity"] * 1.001).all()
    torch.testing.assert_close(living[-1], values["capacity"][0].expand(1, 3), rtol=2e-3, atol=0)


def test_interaction_is_exactly_zero_without_one_of_the_drugs() -> None:
    system = GrowthDeath(scale())
    effects = system.effects(values_of(system, n=4), doses((0, 0), (7, 0), (0, 3), (7, 3)))
    for rate in ("growth", "death"):
        interaction = effects[f"{rate}_interaction"][0]
        assert (interaction[:3] == 0).all()
        assert interaction[3] != 0


def test_without_interaction_growth_is_bliss_and_deaths_add() -> None:
    system = GrowthDeath(scale(), interaction=False)
    values = {k: v[..., :1].expand(*v.shape[:-1], 4) for k, v in values_of(system).items()}
    found = system.effects(values, doses((0, 0), (7, 0), (0, 3), (7, 3)))
    growth, death = found["growth_end"][0], found["death_end"][0]
    assert growth[3] / growth[0] == pytest.approx((growth[1] * growth[2] / growth[0] ** 2).item())
    assert (death[3] - death[0]).item() == pytest.approx(
        (death[1] + death[2] - 2 * death[0]).item()
    )


def test_swapping_the_drugs_changes_nothing_to_the_last_bit() -> None:
    one = GrowthDeath(scale())
    other = GrowthDeath(GrowthDeathScale((0.5, 4.0), 9.0, (1.0, 1.5), 72.0))
    values, given = values_of(one), doses((0, 0.4), (7, 0), (7, 3))
    times = torch.from_numpy(TIMES)
    first = one.exact(times, one.prepare(values, given))
    second = other.exact(times, other.prepare(swapped(values), given.flip(0)))
    assert torch.equal(first, second)


def test_the_unit_of_dose_does_not_matter() -> None:
    one = GrowthDeath(scale())
    other = GrowthDeath(GrowthDeathScale((4000.0, 0.5), 9.0, (1.0, 1.5), 72.0))
    values = values_of(one)
    first = one.effects(values, doses((0, 0.4), (7, 0), (7, 3)))
    second = other.effects(values, doses((0, 0.4), (7000, 0), (7000, 3)))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-12, atol=1e-15)


def test_readings_are_made_of_the_states() -> None:
    system = GrowthDeath(scale())
    values = values_of(system)
    context = system.prepare(values, doses((0, 0), (4, 0), (2, 1)))
    states = system.exact(torch.from_numpy(TIMES), context)
    seen = system.observe(states, context).mean
    living, early, late, dead, hours = states.unbind(1)
    torch.testing.assert_close(hours[:, 0, 0], torch.from_numpy(TIMES))
    torch.testing.assert_close(seen[:, 0], living + early + values["debris"] * (late + dead))
    for at, channel, cells in ((1, "green", early + late), (2, "red", late + dead)):
        background = seen[:, at] - values[f"{channel}_size"] * cells
        knots = values[f"{channel}_offset"] * system.scale.signal[at - 1]
        for knot, step in ((0, 0), (1, 24), (2, 48)):
            torch.testing.assert_close(background[step], knots[knot])
        torch.testing.assert_close(background[12], 0.5 * (knots[0] + knots[1]))


def test_hill_terms() -> None:
    one = torch.tensor(1.0).double()
    assert hill(0 * one, one, 2 * one) == 0
    assert hill(3 * one, 3 * one, 2 * one).item() == pytest.approx(0.5)
    assert hill(2 * one, one, 2 * one).item() == pytest.approx(0.8)


def test_bad_scales_are_refused() -> None:
    with pytest.raises(ScreenError, match="positive"):
        GrowthDeathScale((1.0, 0.0), 9.0, (1.0, 1.0), 72.0)
    with pytest.raises(ScreenError, match="never given"):
        typical_dose([0.0, 0.0])
    assert typical_dose([0, 1, 4, 4, 16]) == pytest.approx(4.0)
