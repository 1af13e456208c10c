"""The report on a fit: memorisers are caught, planted contradictions named, warnings in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.evaluation.oneil import join_wells
from models.screen import Candidates, ScreenError, Stopped, Wells
from models.synergy.bnn import BnnGaussian
from models.synergy.fit_health import (
    Probing,
    channels_of,
    contradictions_of,
    count_parameters,
    describe_health,
    describe_replicates,
)
from models.synergy.gaussian_process.process import GpPairs
from models.synergy.inputs import Training
from models.synergy.training import Schedule

from .small_screens import linear_training


class _Table:
    """A posterior that says the scores it was given (``exact``), or their mean."""

    model = "table"
    noise_df = 4.0
    schedule = Schedule(1, 1)

    def __init__(self, training: Training, exact: bool) -> None:
        blocks = training.blocks
        self.mean = float(blocks.score.mean())
        self.known = dict(zip(blocks.candidates.keys(100), blocks.score, strict=True))
        self.exact = exact

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        keys = candidates.keys(100)
        found = [self.known[key] if self.exact else self.mean for key in keys]
        return torch.tensor(found).expand(n, -1)

    def diagnostics(self) -> dict[str, Any]:
        return {"kind": "table"}


class _Model:
    name = "table"

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.seen: list[Training] = []

    def fit(self, training: Training, **_: object) -> _Table:
        self.seen.append(training)
        return _Table(training, self.exact)


def _report(exact: bool, training: Training, probe: bool = True) -> dict[str, Any]:
    model = _Model(exact)
    posterior = model.fit(training)
    probing = Probing(model) if probe else None  # type: ignore[arg-type]
    return describe_health(posterior, training, 0, probing)  # type: ignore[arg-type]


def test_a_table_memorises_and_a_mean_does_not() -> None:
    table, mean = _report(True, linear_training()), _report(False, linear_training())
    assert table["memorisation"]["active"]
    assert table["memorisation"]["probe"]["permuted_r_squared"] == pytest.approx(1.0)
    assert table["memorisation"]["probe"]["fitted_r_squared"] == pytest.approx(1.0)
    assert "memorisation is active" in table["memorisation"]["words"]
    assert mean["memorisation"]["active"] is False
    assert mean["warnings"] == []
    assert json.loads(json.dumps(table)) == table


def test_without_a_probe_nothing_is_claimed() -> None:
    report = _report(True, linear_training(), probe=False)["memorisation"]
    assert (report["active"], report["probe"], report["light"]) == (None, None, "unknown")
    assert "were not tried" in report["words"]


def test_the_probe_sees_permuted_scores_with_their_errors_and_no_wells() -> None:
    training = linear_training(n=150)
    errors = np.random.default_rng(0).uniform(1, 2, size=150)
    training = replace(training, blocks=replace(training.blocks, noise_sd=errors))
    model = _Model(True)
    posterior = model.fit(training)
    describe_health(posterior, training, 0, Probing(model))  # type: ignore[arg-type]
    seen = model.seen[-1]
    assert seen.wells is None
    whole = training.sorted().blocks
    assert np.array_equal(seen.blocks.candidates.compounds, whole.candidates.compounds)
    assert not np.array_equal(seen.blocks.score, whole.score)
    pairs = sorted(zip(seen.blocks.score, seen.blocks.noise_sd, strict=True))
    assert pairs == sorted(zip(whole.score, whole.noise_sd, strict=True))


def test_a_model_of_wells_or_one_that_fails_says_why_there_is_no_probe() -> None:
    class OfWells(_Model):
        learns_from_wells = True

    class Fails(_Model):
        def fit(self, training: Training, **more: object) -> _Table:
            raise ScreenError("nothing varies")

    training = linear_training(n=60)
    posterior = _Table(training, True)
    for model, words in ((OfWells(True), "learns from wells"), (Fails(True), "nothing varies")):
        report = describe_health(posterior, training, 0, Probing(model))  # type: ignore[arg-type]
        assert words in report["memorisation"]["words"]
        assert report["memorisation"]["active"] is None


def test_a_stop_reaches_through_the_probe() -> None:
    training = linear_training(n=60)
    with pytest.raises(Stopped):
        describe_health(
            _Table(training, True),  # type: ignore[arg-type]
            training,
            0,
            Probing(BnnGaussian(), should_stop=lambda: True),
        )


def test_a_process_believes_labels_of_which_it_is_told_that_they_are_exact() -> None:
    """Their errors are a fifth of their spread: it has an effect for each block, and uses it."""
    training = linear_training(noise=2.0, n=90)
    posterior = GpPairs().fit(training, seed=0)
    report = describe_health(posterior, training, 0, Probing(GpPairs()))["memorisation"]
    assert report["active"]
    assert report["probe"]["fitted_r_squared"] > 0.9
    assert "keeps every block" in report["counted"]


def test_memorisation_is_a_warning_where_held_out_blocks_show_harm() -> None:
    training = linear_training()
    model = _Model(True)
    posterior, probing = model.fit(training), Probing(model)  # type: ignore[arg-type]
    for own, warned in ((1.0, False), (3.0, True)):
        evidence = {"model": {"rmse": own}, "baselines": {"mean": {"rmse": 2.0}}}
        report = describe_health(posterior, training, 0, probing, evidence)  # type: ignore[arg-type]
        assert report["memorisation"]["active"]
        assert bool(report["warnings"]) is warned


def test_a_planted_contradiction_names_both_blocks() -> None:
    """Compounds 0 and 1 are one structure; of one pair of twin blocks one is far off."""
    training = linear_training(n=180, noise=1.0)
    bits = (np.random.default_rng(1).uniform(size=(10, 64)) < 0.3).astype(np.uint8)
    bits[1] = bits[0]
    compounds = replace(
        training.features.compounds, fingerprints=bits, has_structure=np.ones(10, bool)
    )
    training = replace(training, features=replace(training.features, compounds=compounds)).sorted()
    blocks = training.blocks
    at = {
        (int(a), int(b), int(line)): row
        for row, ((a, b), line) in enumerate(
            zip(blocks.candidates.compounds, blocks.candidates.cell_line, strict=True)
        )
    }
    score = blocks.score.copy()
    for (a, b, line), row in at.items():
        if a == 1 and b > 1:  # twins agree but for noise
            score[row] = score[at[0, b, line]]
    score[at[1, 4, 2]] += 30.0
    training = replace(training, blocks=replace(blocks, score=score))
    flat = _Table(training, False)
    found = describe_health(flat, training, 0)["measure_again"]  # type: ignore[arg-type]
    top = found["pairs"][0]
    assert (top["suspect"]["compounds"], top["other"]["compounds"]) == ([1, 4], [0, 4])
    assert top["suspect"]["cell_line"] == top["other"]["cell_line"] == 2
    assert top["suspect"]["score"] - top["other"]["score"] == pytest.approx(30.0, abs=1e-3)
    assert top["q"] < 0.01
    assert found["flagged"] == len(found["pairs"]) == 1


def test_replicates_give_the_noise_floor_of_a_well() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    a = np.sort(rng.integers(0, 5, size=n))
    control = Wells(
        np.zeros(9, np.int64), np.full((9, 3), -1), np.zeros((9, 3)), rng.uniform(size=9)
    )
    treated = Wells(
        cell_line=np.zeros(n, np.int64),
        compounds=np.stack([a, np.full(n, -1), np.full(n, -1)], axis=1),
        doses_um=np.stack([np.ones(n), np.zeros(n), np.zeros(n)], axis=1),
        viability=0.1 * a + 0.03 * rng.normal(size=n),
    )
    found = describe_replicates(join_wells(control, treated))
    assert (found["groups"], found["points"]) == (5, n)
    assert found["sd"] == pytest.approx(0.03, rel=4 / np.sqrt(2 * n))


def test_channels_of_components_are_put_together() -> None:
    one = {"layers": [{"name": "pair"}], "channels": 3, "collapsed": 1, "alert": True, "words": "x"}
    two = {**one, "collapsed": 0, "alert": False, "words": "y"}
    stacked = {
        "kind": "stacked",
        "components": [
            {"model": "a", "convergence": {"channels": one}},
            {"model": "b", "convergence": {"kind": "recalibrated", "inner": {"channels": two}}},
            {"model": "gp", "convergence": {"kind": "exact"}},
        ],
    }
    found = channels_of(stacked)
    assert found is not None
    assert [layer["name"] for layer in found["layers"]] == ["a.pair", "b.pair"]
    assert (found["channels"], found["collapsed"], found["alert"]) == (6, 1, True)
    assert channels_of({"kind": "exact"}) is None


def test_collapsed_channels_of_a_network_reach_the_report() -> None:
    training = linear_training(n=60)
    network = BnnGaussian().fit(training, seed=0, schedule=Schedule(30, 30))
    report = describe_health(network, training, 0)
    assert report["channels"]["channels"] == 32
    assert report["channels"]["collapsed"] == 0
    network.channels = {**report["channels"], "alert": True, "words": "3 channels are silent"}
    assert describe_health(network, training, 0)["warnings"] == ["3 channels are silent"]
    count, counted = count_parameters(network)
    assert count == sum(
        p.numel() for name, p in network.network.named_parameters() if name.endswith(".mean")
    )
    assert "one draw" in counted


def test_only_the_most_surprising_pairs_are_listed() -> None:
    from models.bayes.contradictions import Contradiction, Neighbourhoods

    training = linear_training(n=120)
    many = tuple(Contradiction(i, i + 1, 0.1, 9.0, 1e-9, 1e-7) for i in range(100))
    found = Neighbourhoods(2.0, 1.0, 0.3, 400, 1.2, many)
    report = contradictions_of(found, training.blocks, np.zeros(120))
    assert (report["flagged"], len(report["pairs"]), report["tested"]) == (100, 50, 400)
