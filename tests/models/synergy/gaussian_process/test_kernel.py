"""The kernel: symmetric, positive, and the prior's draws follow it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pharmacology.single_agents import POSITIONS
from models.screen import CellLineTable, CompoundTable
from models.synergy.gaussian_process.kernel import (
    COMPOUND_KERNELS,
    Kernel,
    Rows,
    Tables,
    bliss_shift,
)
from models.synergy.gaussian_process.prior_draws import PriorDraws
from models.synergy.inputs import Features
from tests.models.synergy.gaussian_process.screens import (
    LINES,
    N,
    everything,
    features,
    kernel,
    rows,
    tables,
)


def swapped(own: Rows) -> Rows:
    return Rows(own.b, own.a, own.line, own.cell_b, own.cell_a)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_compounds_of_either_block_changes_no_bit(seed: int) -> None:
    own = rows(everything().select(np.random.default_rng(seed).permutation(180)[:40]))
    k, t = kernel(seed), tables()
    assert torch.equal(k(own, own, t), k(swapped(own), own, t))
    assert torch.equal(k(own, own, t), k(own, swapped(own), t))


def test_it_is_a_covariance() -> None:
    own = rows(everything())
    matrix = kernel()(own, own, tables()).double()
    assert torch.allclose(matrix, matrix.T, atol=1e-6)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-5


def test_rows_and_columns_may_be_asked_for_in_parts() -> None:
    own, k, t = rows(everything()), kernel(), tables()
    whole = k(own, own, t)
    part = k(own.select(slice(20, 50)), own.select(slice(90, 130)), t)
    assert torch.allclose(whole[20:50, 90:130], part, atol=1e-6)


def test_one_term_at_a_time_against_its_formula() -> None:
    k, t, at = kernel(), tables(), everything()
    with torch.no_grad():
        for name, value in k.named_parameters():
            value.fill_(0.0 if name in ("line_factors", "log_length") else -60.0)
        k.log_pair[0] = 0.0
        k.log_pair_line[1] = 0.0
    own = rows(at)
    expected = (
        (at.compounds[:, None] == at.compounds[None]).all(-1)
        & (at.cell_line[:, None] == at.cell_line[None])
    ).astype(float)
    assert np.allclose(k(own, own, t).numpy(), expected, atol=1e-5)


def test_a_shift_of_a_curve_moves_bliss_by_what_the_partner_leaves() -> None:
    k, t, at = kernel(), tables(), everything()
    with torch.no_grad():
        for name, value in k.named_parameters():
            value.fill_(0.0 if name in ("line_factors", "log_length") else -60.0)
        k.log_shift[0] = 0.0
    own = rows(at)
    a, b = at.compounds.T
    left = 2.0 * t.level.numpy().reshape(N, LINES)[:, at.cell_line].T
    u, v = left[np.arange(len(a)), a], left[np.arange(len(a)), b]
    expected = (
        np.equal.outer(a, a) * np.outer(v, v)
        + np.equal.outer(b, b) * np.outer(u, u)
        + np.equal.outer(a, b) * np.outer(v, u)
        + np.equal.outer(b, a) * np.outer(u, v)
    ) * np.equal.outer(at.cell_line, at.cell_line)
    assert torch.allclose(k(own, own, t), torch.tensor(expected, dtype=torch.float32), atol=1e-5)


def test_compounds_that_kill_the_same_lines_have_the_same_profile() -> None:
    pattern = np.array([0.2, -0.1, 0.1, -0.3, 0.1])
    level = np.full((N, LINES), 0.6)
    level[0] += pattern
    level[1] += 0.5 * pattern - 0.2
    level[2] -= 1.5 * pattern
    found = Tables.of(
        dataclasses.replace(
            features(), responses=np.repeat(level, 2 * POSITIONS).reshape(N, LINES, 2 * POSITIONS)
        ),
        np.eye(N),
        torch.device("cpu"),
    ).compounds[COMPOUND_KERNELS.index("profile")]
    assert found[0, 1] == pytest.approx(1.0, abs=1e-4)
    assert found[0, 2] == pytest.approx(-1.0, abs=1e-4)
    assert torch.equal(found[3:, 3:], torch.eye(N - 3))


def test_the_shift_of_bliss_by_the_departures() -> None:
    t, at = tables(), everything()
    responses = features().responses
    assert responses is not None
    level, departure = responses[..., :4].mean(-1), responses[..., 4:].mean(-1)
    (a, b), line = at.compounds.T, at.cell_line
    with_them = (level + departure)[a, line] * (level + departure)[b, line]
    expected = 40 * (with_them - level[a, line] * level[b, line])
    assert np.allclose(bliss_shift(rows(at), t).numpy(), expected, atol=1e-5)


def test_draws_of_the_prior_have_the_covariance_of_the_kernel() -> None:
    groups = np.eye(N)
    groups[:3, :3] = 1.0
    t = tables(groups)
    own = rows(everything().select(np.arange(0, 180, 6)))
    k = kernel(3)
    draws = PriorDraws(k, t, 6000, 1)(own).double()
    expected = k(own, own, t).double()
    found = draws @ draws.T / 6000
    scale = torch.sqrt(expected.diagonal()[:, None] * expected.diagonal()[None])
    # The standard error of a covariance of 6,000 nearly Gaussian draws is about 0.018 of the scale.
    assert float(((found - expected) / scale).abs().max()) < 0.08
    assert float((draws.mean(1) / expected.diagonal().sqrt()).abs().max()) < 0.06


def test_a_draw_of_the_prior_is_one_function() -> None:
    draws = PriorDraws(kernel(), tables(), 5, 2)
    own = rows(everything())
    whole = draws(own)
    assert torch.allclose(whole[40:60], draws(own.select(slice(40, 60))), atol=1e-5)
    again = PriorDraws(kernel(), tables(), 5, 2)(own)
    assert torch.equal(whole, again)
    assert torch.allclose(whole, draws(swapped(own)), atol=1e-6)


def test_an_unmeasured_line_keeps_its_variance_and_has_no_place() -> None:
    k, t = kernel(), tables()
    before = k.line_factors.square().sum(1)
    k.forget_unmeasured(torch.tensor([True, True, True, True, False]))
    learned = k.pair_lines(t)
    fixed = sum(torch.exp(k.log_pair_line)[i] * t.lines[i] for i in range(4))
    assert torch.allclose(learned[4, :4], fixed[4, :4], atol=1e-6)
    assert float(learned[4, 4] - fixed[4, 4]) == pytest.approx(float(before[:4].mean()), rel=1e-5)


def test_inputs_may_be_missing() -> None:
    bare = Features(
        CompoundTable(tuple(map(str, range(N))), np.zeros((N, 1), np.uint8), np.zeros(N, bool)),
        CellLineTable(tuple(map(str, range(LINES))), np.zeros((LINES, 0)), np.zeros(LINES, bool)),
    )
    t = Tables.of(bare, np.eye(N), torch.device("cpu"))
    k = Kernel(t, torch.Generator().manual_seed(0)).requires_grad_(False)
    own = rows(everything())
    matrix = k(own, own, t).double()
    assert torch.isfinite(matrix).all()
    assert torch.linalg.eigvalsh(matrix).min() > -1e-5
    assert torch.isfinite(PriorDraws(k, t, 3, 0)(own)).all()
