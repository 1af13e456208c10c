from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from models.screen import Candidates
from models.synergy.gaussian_process.kernel import Kernel, Rows, Tables
from models.synergy.gaussian_process.prior_draws import PriorDraws
from models.synergy.inputs import module_coordinates
from models.synergy.modules import Module
from models.synergy.registry import find_model, load, save
from models.synergy.training import Schedule
from tests.models.synergy.module_screens import (
    LINES,
    N,
    bare_features,
    every_block,
    held_out,
    module,
    noise_module,
    training,
)

CPU = torch.device("cpu")
SHORT = Schedule(3, 3)


def tables(*modules: Module) -> Tables:
    return Tables.of(replace(bare_features(), modules=modules), np.eye(N), CPU)


def only_modules(given: Tables, seed: int = 0) -> Kernel:
    """A kernel of which nothing but the terms of modules is left, with weights of their own."""
    kernel = Kernel(given, torch.Generator().manual_seed(seed)).requires_grad_(False)
    for name, value in kernel.named_parameters():
        value.fill_(0.0 if name in ("line_factors", "log_length") else -60.0)
    assert kernel.log_modules is not None
    rng = np.random.default_rng(seed)
    kernel.log_modules.copy_(torch.tensor(rng.uniform(-1, 1, kernel.log_modules.shape)))
    return kernel


def rows(at: Candidates) -> Rows:
    return Rows.of(at, LINES, CPU)


def swapped(own: Rows) -> Rows:
    return Rows(own.b, own.a, own.line, own.cell_b, own.cell_a)


def test_the_covariance_against_its_formula() -> None:
    one = module(3, skill=0.6)
    given = tables(one)
    kernel = only_modules(given)
    assert kernel.log_modules is not None
    weight = torch.exp(kernel.log_modules[0]).double().numpy()
    z, x = module_coordinates(one), one.standardised_pairs()
    similar = z @ z.T
    at = every_block().select(np.arange(0, 273, 7))
    (a, b), line = at.compounds.T, at.cell_line
    expected = np.zeros((len(at), len(at)))
    for i in range(len(at)):
        for j in range(len(at)):
            c, d = a[j], b[j]
            over = weight[:, 0] + weight[:, 1] * (line[i] == line[j])
            sums = similar[a[i], c] + similar[a[i], d] + similar[b[i], c] + similar[b[i], d]
            both = similar[a[i], c] * similar[b[i], d] + similar[a[i], d] * similar[b[i], c]
            terms = np.array([sums, both, x[a[i], b[i]] @ x[c, d]])
            expected[i, j] = 0.6 * over @ terms
    found = kernel(rows(at), rows(at), given).double().numpy()
    assert np.allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_swapping_the_compounds_changes_no_bit() -> None:
    given = tables(module(0), noise_module(0))
    kernel = Kernel(given, torch.Generator().manual_seed(0)).requires_grad_(False)
    own = rows(every_block())
    whole = kernel(own, own, given)
    assert torch.equal(whole, kernel(swapped(own), own, given))
    assert torch.equal(whole, kernel(own, swapped(own), given))


def test_it_is_a_covariance() -> None:
    given = tables(module(0), noise_module(0))
    own = rows(every_block())
    values = torch.linalg.eigvalsh(only_modules(given)(own, own, given).double())
    assert float(values.min()) > -1e-5 * float(values.max())


def test_what_a_module_does_not_know_gets_nothing() -> None:
    whole = module(0)
    one = replace(whole, compounds=np.where(np.arange(N)[:, None] < 9, whole.compounds, np.nan))
    given, at = tables(one), every_block()
    strange = at.select((at.compounds >= 9).all(axis=1))
    assert len(strange) == LINES * math.comb(N - 9, 2)
    found = only_modules(given)(rows(strange), rows(at), given)
    assert float(found.abs().max()) < 1e-12, "other terms stay at exp(-60)"


def test_draws_of_the_prior_have_the_covariance_of_the_kernel() -> None:
    given = tables(module(0, skill=0.7), noise_module(0))
    kernel = only_modules(given, 2)
    own = rows(every_block().select(np.arange(0, 273, 9)))
    draws = PriorDraws(kernel, given, 2000, 1)(own).double()
    expected = kernel(own, own, given).double()
    found = draws @ draws.T / 2000
    scale = torch.sqrt(expected.diagonal()[:, None] * expected.diagonal()[None])
    # The standard error of a covariance of 2,000 nearly Gaussian draws is about 0.032 of the scale.
    assert float(((found - expected) / scale).abs().max()) < 0.15
    assert float((draws.mean(1) / expected.diagonal().sqrt()).abs().max()) < 0.1


def test_draws_of_the_prior_are_functions_of_unordered_pairs() -> None:
    given = tables(module(0))
    own = rows(every_block())
    whole = PriorDraws(only_modules(given), given, 5, 2)(own)
    assert torch.allclose(whole, PriorDraws(only_modules(given), given, 5, 2)(swapped(own)))
    part = PriorDraws(only_modules(given), given, 5, 2)(own.select(slice(40, 60)))
    assert torch.allclose(whole[40:60], part, atol=1e-5)


class TestModel:
    def draws(self, *modules: Module, name: str = "gp_pairs") -> torch.Tensor:
        posterior = find_model(name).fit(training(0, 60, *modules), seed=4, schedule=SHORT)
        return posterior.draws(every_block(), 5, 9)

    def test_without_skill_it_is_the_model_without(self) -> None:
        bare = self.draws()
        assert torch.equal(bare, self.draws(module(0, skill=0.0)))
        assert not torch.equal(bare, self.draws(module(0)))

    def test_the_plain_reference_does_not_look(self) -> None:
        assert torch.equal(self.draws(name="plain_gp"), self.draws(module(0), name="plain_gp"))

    def test_saved_and_loaded_it_draws_the_same_bits(self) -> None:
        given = training(0, 60, module(0), noise_module(0, skill=0.3))
        posterior = find_model("gp_pairs").fit(given, seed=4, schedule=SHORT)
        tensors, metadata = save(posterior)
        back = load(
            safetensors.torch.load(safetensors.torch.save(tensors)),
            json.loads(json.dumps(metadata)),
        )
        assert torch.equal(*(p.draws(every_block(), 5, 9) for p in (posterior, back)))
        assert back.diagnostics()["modules"] == posterior.diagnostics()["modules"]
        assert list(back.diagnostics()["modules"]) == ["proteins", "dice"]

    def test_without_modules_nothing_is_saved_of_them(self) -> None:
        posterior = find_model("gp_pairs").fit(training(0, 60), seed=4, schedule=SHORT)
        tensors, metadata = save(posterior)
        assert not [name for name in (*tensors, *metadata) if "module" in name]
        assert "modules" not in posterior.diagnostics()

    def test_hyperparameters_of_another_set_of_modules_are_not_taken(self) -> None:
        model = find_model("gp_pairs")
        first = model.fit(training(0, 60, module(0)), seed=4, schedule=SHORT)
        second = model.fit(training(0, 60), seed=4, schedule=first.schedule)
        assert "modules" not in second.diagnostics()


@pytest.mark.slow
def test_true_factors_help_and_noise_does_not_hurt() -> None:
    """Paired over screens: correlation with all blocks that were not measured."""
    gains = {"module": [], "noise": []}
    for seed in range(6):
        left = held_out(seed, 70)
        found = {}
        for name, modules in (
            ("bare", ()),
            ("module", (module(seed),)),
            ("noise", (noise_module(seed),)),
        ):
            posterior = find_model("gp_pairs").fit(training(seed, 70, *modules), seed=seed)
            mean = posterior.draws(left.candidates, 64, seed).mean(0).double().numpy()
            found[name] = float(np.corrcoef(mean, left.score)[0, 1])
        for name, own in gains.items():
            own.append(found[name] - found["bare"])
    mean = {name: float(np.mean(own)) for name, own in gains.items()}
    error = {name: float(np.std(own, ddof=1)) / math.sqrt(6) for name, own in gains.items()}
    assert mean["module"] > 3 * error["module"], (gains, "t with 5 degrees of freedom: p < 0.02")
    assert mean["module"] > 0.05
    assert mean["noise"] > -0.03
