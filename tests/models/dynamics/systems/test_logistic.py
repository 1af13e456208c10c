"""Logistic growth: the closed form obeys its equation."""

from __future__ import annotations

import torch

from models.dynamics.systems.logistic import LogisticGrowth


def test_the_closed_form_obeys_the_equation() -> None:
    system = LogisticGrowth()
    one = torch.ones(2, 3, dtype=torch.float64)
    context = system.prepare({"r": 1.3 * one, "K": 0.9 * one, "x0": 0.03 * one}, one[None])
    times = torch.linspace(0, 9, 7, dtype=torch.float64)
    step = 1e-5
    before, at, after = (system.exact(times + d, context) for d in (-step, 0.0, step))
    slope = (after - before) / (2 * step)
    torch.testing.assert_close(slope, system.derivative(0.0, at, context), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(at[0], system.initial(context))
