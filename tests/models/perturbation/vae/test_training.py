"""Training: shares of an epoch, penalties that ignore the minibatch, stopping and going on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.bayes.training import NonFiniteLossError
from models.perturbation.vae.alignment import Alignment
from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.fitting import trainer
from models.perturbation.vae.training import Trainer, TrainingPlan
from models.screen import ScreenError, Stopped
from tests.models.perturbation.vae.small import GENES, counts, plan, settings


def _job(seed: int = 0, cells: CellTable | None = None, **changes) -> Trainer:
    held_out = counts(60, seed=5)
    return trainer(
        counts() if cells is None else cells,
        settings(artifact=True, rank=2),
        plan(counterfactual=0.1, sparsity=1.0, **changes),
        seed=seed,
        alignment=Alignment(hops=2, weight=1.0),
        held_out=held_out,
    )


def _state(job: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in job.objective.model.state_dict().items()}


def test_an_epoch_counts_every_global_once() -> None:
    """The plated parts of all minibatches sum to the divergences themselves."""
    job = _job()
    rows = job.objective.data.rows
    total = rows.plates.sum(0)
    assert torch.allclose(total, torch.ones(3), atol=1e-5)
    assert float(rows.artifact_plate.sum()) == pytest.approx(1.0, abs=1e-5)
    seen = []
    for step in range(job.steps_an_epoch):
        job.step = step
        seen.append(job._batch().plates.sum(0))
    assert torch.allclose(torch.stack(seen).sum(0), torch.ones(3), atol=1e-5)


def test_every_epoch_shows_every_cell_once_in_another_order() -> None:
    job = _job()
    epochs = []
    for epoch in range(2):
        found = []
        for step in range(job.steps_an_epoch):
            job.step = epoch * job.steps_an_epoch + step
            found.append(job._batch().library)
        epochs.append(torch.cat(found))
    library = job.objective.data.rows.library
    assert torch.equal(epochs[0].sort().values, library.sort().values)
    assert torch.equal(epochs[1].sort().values, library.sort().values)
    assert not torch.equal(epochs[0], epochs[1])


def test_a_target_without_cells_goes_to_its_prior() -> None:
    """Published, such rows had no weight and saturated; here the prior holds them."""
    cells = counts(120)
    rowless = replace(
        cells,
        targets=(*GENES[:3], "gene 6"),
        affinity=np.hstack([np.eye(3), np.zeros((3, 1))]),
    )
    job = trainer(rowless, settings(), plan(60, batch_cells=120), seed=0)
    job.run()
    on = job.objective.model.effects.probabilities()[3]
    assert torch.allclose(on, torch.full((8,), 0.3), atol=0.06)
    fitted = job.objective.model.effects.probabilities()[:3]
    assert float((fitted - 0.3).abs().max().detach()) > 0.3


@pytest.mark.parametrize("part", ["counterfactual", "alignment", "sparsity", "reconstruction"])
def test_no_part_depends_on_the_size_of_the_minibatch(part) -> None:
    """Repeating the cells of a minibatch leaves every mean alone; the published counterfactual
    part was a sum, so that its weight grew with the minibatch."""
    job = _job()
    rows = job.objective.data.rows.select(torch.arange(40))
    twice = job.objective.data.rows.select(torch.arange(40).repeat(2))
    values = []
    for batch in (rows, twice):
        parts = [
            getattr(job.objective.parts(batch, torch.Generator().manual_seed(i), len(batch)), part)
            for i in range(20)
        ]
        values.append(torch.stack(parts).mean().item())
    assert values[0] != 0
    assert values[1] == pytest.approx(values[0], rel=0.03)


def test_a_loss_that_is_not_finite_names_the_step_and_the_part() -> None:
    job = _job()
    job._advance()
    with torch.no_grad():
        job.objective.model.observation.log_concentration[0] = float("nan")
    with pytest.raises(NonFiniteLossError, match="step 2: reconstruction"):
        job.run()


def test_training_stops_when_asked_and_reports_its_steps() -> None:
    job, seen = _job(), []
    with pytest.raises(Stopped):
        job.run(lambda stage, done, total: seen.append((done, total)), lambda: len(seen) == 5)
    assert seen == [(i, job.n_steps) for i in range(1, 6)]


def test_a_checkpoint_continues_to_the_same_bits() -> None:
    """Through JSON and plain tensors, from the middle of an epoch."""
    whole = _job(epochs=4)
    whole.run()
    first, steps = _job(epochs=4), []
    with pytest.raises(Stopped):
        first.run(lambda *step: steps.append(step), lambda: len(steps) == 6)
    tensors, numbers = first.checkpoint()
    first._advance()
    second = _job(epochs=4)
    second.resume(tensors, json.loads(json.dumps(numbers)))
    second.run()
    assert second.history == whole.history
    for name, value in _state(whole).items():
        assert torch.equal(value, _state(second)[name]), name


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    states = []
    for seed in (0, 0, 1):
        job = _job(seed)
        torch.manual_seed(len(states))
        job.run()
        states.append(_state(job)["effects.logits"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_held_out_cells_choose_the_weights() -> None:
    job = _job(epochs=6)
    job.run()
    assert len(job.history) == 6
    assert job.held_out_loss() == pytest.approx(min(job.history), abs=1e-6)


def test_patience_ends_a_training_that_does_not_get_better() -> None:
    job = _job(epochs=200, patience=2, rate=1e-9, mask_rate=1e-9)
    job.history = [0.0, 1.0, 1.0]
    job.run()
    assert job.step == 0


def test_checkpoints_are_of_one_seed() -> None:
    tensors, numbers = _job(0).checkpoint()
    with pytest.raises(ScreenError, match="seed 0, not 1"):
        _job(1).resume(tensors, numbers)


def test_plans_must_be_positive() -> None:
    with pytest.raises(ScreenError, match="positive"):
        TrainingPlan(epochs=0)
