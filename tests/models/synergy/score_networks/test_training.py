"""Training: a killed fit goes on to the same bits; losses; early stopping."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.screen import ScreenError, Stopped
from models.synergy.score_networks.architecture import Design, Outputs, Rows, Shape
from models.synergy.score_networks.model import ScoreNetwork
from models.synergy.score_networks.network import Form, ScoreModule
from models.synergy.score_networks.training import Data, loss_of, schedule_for
from models.synergy.training import Schedule
from tests.models.synergy.score_networks.screens import LINES, N, all_blocks, training

PLAN = Schedule(24, 24)


class Memory:
    """A checkpoint that keeps copies, and all of them."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def load(self) -> dict[str, Tensor] | None:
        return {k: v.clone() for k, v in self.states[-1].items()} if self.states else None

    def save(self, state: dict[str, Tensor]) -> None:
        self.states.append({k: v.clone() for k, v in state.items()})


class StopAfter:
    """Answers true from the ``n``-th question on."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks and checkpoints every few steps; minibatches smaller than the data."""
    monkeypatch.setattr("models.synergy.training.MIN_STEPS", 6)
    monkeypatch.setattr("models.synergy.training.CHECK_EVERY", 3)
    monkeypatch.setattr("models.synergy.score_networks.training.SAVE_EVERY", 5)
    monkeypatch.setattr("models.synergy.score_networks.training.BATCH_ROWS", 32)
    monkeypatch.setattr(
        "models.synergy.score_networks.fitting.schedule_for", lambda n, form: Schedule(20, 20)
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("form", ["ensemble", "randomised_prior", "mixture"])
@pytest.mark.parametrize("left", [15, 1])
def test_a_killed_fit_goes_on_to_the_same_bits(form: str, left: int) -> None:
    """Killed in the search, and in the refit with one step left."""
    model = ScoreNetwork("bilinear", form, hidden=8)
    train, at = training(80), all_blocks(N, LINES)
    count, memory = StopAfter(1000), Memory()
    whole = model.fit(train, seed=1, should_stop=count)
    asked = 1000 - count.left
    with pytest.raises(Stopped):
        model.fit(train, seed=1, should_stop=StopAfter(asked - left), checkpoint=memory)
    again = StopAfter(1000)
    resumed = model.fit(train, seed=1, should_stop=again, checkpoint=memory)
    assert torch.equal(whole.draws(at, 4, 0), resumed.draws(at, 4, 0))
    assert whole.schedule == resumed.schedule
    assert 1000 - again.left < asked
    assert int(memory.states[-1]["stage"][0]) == 1


@pytest.mark.usefixtures("quick")
def test_a_checkpoint_of_another_fit_is_refused() -> None:
    model, memory = ScoreNetwork("concat", "ensemble", members=2, hidden=8), Memory()
    model.fit(training(60), seed=1, schedule=PLAN, checkpoint=memory)
    assert len(memory.states) == 4
    with pytest.raises(ScreenError, match="another fit"):
        model.fit(training(60), seed=2, schedule=PLAN, checkpoint=memory)
    with pytest.raises(ScreenError, match="another fit"):
        model.fit(training(59), seed=1, schedule=PLAN, checkpoint=memory)


@pytest.mark.usefixtures("quick")
def test_the_search_answers_at_a_check_and_the_refit_runs_that_long() -> None:
    model = ScoreNetwork("bilinear", "ensemble", members=2, hidden=8)
    searched = model.fit(training(80), seed=1, refit=False)
    refitted = model.fit(training(80), seed=1)
    assert searched.schedule == refitted.schedule
    assert searched.schedule.steps in (12, 15, 18, 20)
    same = model.fit(training(80), seed=1, schedule=refitted.schedule)
    at = all_blocks(N, LINES)
    assert torch.equal(same.draws(at, 2, 0), refitted.draws(at, 2, 0))
    assert not torch.equal(searched.draws(at, 2, 0), refitted.draws(at, 2, 0))


def small_module(form: str) -> ScoreModule:
    return ScoreModule(Design("bilinear", hidden=4, pair_hidden=4), Form(form, 3), _SHAPE, 0)


_SHAPE = Shape(N, LINES, 0, 0, 0)


def some_data(noise: Tensor | None = None) -> Data:
    rows = Rows.of(all_blocks(N, LINES), LINES, torch.device("cpu")).select(torch.arange(10))
    score = torch.randn(10, generator=torch.Generator().manual_seed(0))
    return Data(rows, score, torch.full((10,), 0.3), noise=noise)


def test_the_weights_see_a_gaussian_and_the_noise_sees_detached_residuals() -> None:
    module, data = small_module("ensemble"), some_data()
    score = torch.zeros(3, 10, requires_grad=True)
    loss_of(module, Outputs(score, None), data, torch.zeros(3), 10).backward()
    learned, df = module.noise()
    variance = (learned**2 + 0.3**2) * df / (df - 2)
    assert score.grad is not None
    assert torch.allclose(score.grad, (-data.score / variance / 10).expand(3, 10).detach())
    assert module.log_noise.grad is not None
    assert float(module.log_noise.grad) != 0


def test_noise_on_targets_moves_the_weights_and_not_the_noise() -> None:
    gradients, learned = [], []
    for level in (0.0, 1.0):
        module, data = small_module("randomised_prior"), some_data(torch.full((3, 10), level))
        score = torch.zeros(3, 10, requires_grad=True)
        loss_of(module, Outputs(score, None), data, torch.zeros(3), 10).backward()
        assert score.grad is not None
        assert module.log_noise.grad is not None
        gradients.append(score.grad)
        learned.append(float(module.log_noise.grad))
    assert learned[0] == learned[1]
    assert torch.all(gradients[1] < gradients[0])


def test_the_horizon_grows_with_the_rows() -> None:
    members, posterior = Form("ensemble", 8), Form("ard")
    assert schedule_for(30, members) == Schedule(402, 402)
    assert schedule_for(15_000, members).steps == 1400
    assert schedule_for(15_000, posterior).steps == 2800
    assert schedule_for(15_000, Form("laplace")).steps == 1400
    assert schedule_for(10**6, members).steps == 2400
