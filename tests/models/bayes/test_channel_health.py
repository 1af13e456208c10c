"""Counts of active channels against counts by hand, and what is said about them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from models.bayes.channel_health import (
    ACTIVE,
    COLLAPSED,
    EVERY,
    WINDOW,
    ChannelHealth,
    mark_activation,
)
from models.screen import ScreenError


def _network(dead: int, width: int = 20) -> nn.Sequential:
    """Two layers; ``dead`` units of the first never pass anything."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, width), nn.ReLU(inplace=True), nn.Linear(width, 1))
    with torch.no_grad():
        network[0].bias[:dead] = -100.0  # type: ignore[index]
    return network


def _run(network: nn.Module, health: ChannelHealth, passes: int, rows: int = 64) -> None:
    generator = torch.Generator().manual_seed(3)
    with health.watch(network):
        for _ in range(passes):
            network(torch.randn(rows, 4, generator=generator)).sum().backward()


@pytest.mark.parametrize("kind", [k for k in ACTIVE if k not in ("relu", "leaky_relu")])
def test_the_edges_are_where_the_slope_is_one_percent_of_the_steepest(kind: str) -> None:
    modules = {"elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU, "softplus": nn.Softplus}
    module = {**modules, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[kind]()
    x = torch.linspace(-12, 12, 24001, dtype=torch.float64, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    slope = x.grad.abs() / min(x.grad.abs().max().item(), 1.0)
    low, high = ACTIVE[kind]
    edges = [edge for edge in (low, high) if math.isfinite(edge)]
    for edge in edges:
        near = int((x - edge).abs().argmin())
        assert slope[near].item() == pytest.approx(0.01, rel=0.03)
    outside = (x < low - 0.05) | (x > high + 0.05)
    assert slope[outside].max() < 0.01


def test_dead_channels_are_counted_and_the_others_are_not() -> None:
    network, health = _network(dead=3), ChannelHealth(every=1)
    _run(network, health, passes=10)
    report = health.report()
    (layer,) = report["layers"]
    assert (layer["name"], layer["activation"], layer["channels"]) == ("1", "relu", 20)
    assert layer["collapsed"] == report["collapsed"] == 3
    assert layer["rows"] == 640
    assert report["alert"]
    assert "3 of 20 in 1" in report["words"]


def test_shares_are_those_counted_by_hand() -> None:
    health = ChannelHealth(every=1)
    before = torch.tensor([[1.0, -1.0, 0.0], [2.0, 3.0, -4.0]], requires_grad=True)
    with health.watch():
        mark_activation("layer", before.repeat(100, 1), "relu")
    (layer,) = health.report()["layers"]
    assert layer["least_active"] == 0.0  # exactly 0 passes nothing
    assert layer["median_active"] == 0.5
    assert layer["collapsed"] == 1


def test_members_of_an_ensemble_have_channels_of_their_own() -> None:
    health = ChannelHealth(every=1)
    before = torch.ones(5, 700, 3)  # members, rows, width
    before[2, :, 1] = -1
    before.requires_grad_(True)
    with health.watch():
        mark_activation("layer", before, "relu", (0, -1))
    (layer,) = health.report()["layers"]
    assert (layer["channels"], layer["collapsed"], layer["rows"]) == (15, 1, 700)


def test_filters_of_a_convolution_are_its_channels() -> None:
    network = nn.Sequential(nn.Conv1d(2, 6, 3), nn.SiLU())
    with torch.no_grad():
        network[0].bias[4] = -50.0  # type: ignore[index]
    health = ChannelHealth(every=1)
    with health.watch(network):
        network(torch.randn(30, 2, 10, generator=torch.Generator().manual_seed(0)))
    (layer,) = health.report()["layers"]
    assert (layer["channels"], layer["collapsed"], layer["rows"]) == (6, 1, 240)


def test_units_of_a_linear_layer_are_the_last_dimension_however_many_rows_have() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.ReLU())
    health = ChannelHealth(every=1)
    with health.watch(network):
        network(torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(0)))
    (layer,) = health.report()["layers"]
    assert (layer["channels"], layer["rows"]) == (5, 28)


def test_a_late_collapse_is_seen_and_an_early_one_forgotten() -> None:
    health = ChannelHealth(every=1)
    alive, dead = torch.ones(100, 2, requires_grad=True), -torch.ones(100, 2, requires_grad=True)
    with health.watch():
        for values in [dead] * WINDOW + [alive] * (2 * WINDOW):
            mark_activation("recovers", values, "relu")
        for values in [alive] * (3 * WINDOW) + [dead] * (2 * WINDOW):
            mark_activation("dies", values, "relu")
    found = {layer["name"]: layer["collapsed"] for layer in health.report()["layers"]}
    assert found == {"recovers": 0, "dies": 2}


def test_only_every_ninth_pass_and_only_passes_with_gradients_are_counted() -> None:
    network, health = _network(dead=0), ChannelHealth()
    _run(network, health, passes=2 * EVERY + 1, rows=10)
    assert health.report()["layers"][0]["rows"] == 30
    with health.watch(network), torch.no_grad():
        network(torch.zeros(5, 4))
    assert health.report()["layers"][0]["rows"] == 30


def test_watching_changes_no_number_and_leaves_no_hook() -> None:
    outputs = []
    for watched in (False, True):
        network, health = _network(dead=2), ChannelHealth(every=1)
        with health.watch(network if watched else None):
            result = network(torch.linspace(-1, 1, 40).reshape(10, 4))
            result.sum().backward()
        outputs.append((result.detach(), network[0].weight.grad))
        assert not network[1]._forward_pre_hooks
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert torch.equal(outputs[0][1], outputs[1][1])  # type: ignore[arg-type]


def test_hooks_go_when_the_training_fails() -> None:
    network, health = _network(dead=0), ChannelHealth()
    with pytest.raises(RuntimeError), health.watch(network):
        raise RuntimeError
    assert not network[1]._forward_pre_hooks
    mark_activation("nobody watches", torch.ones(2, 2, requires_grad=True), "relu")
    assert not health.report()["layers"]


def test_a_training_that_was_stopped_goes_on_counting() -> None:
    whole, first, second = ChannelHealth(), ChannelHealth(), ChannelHealth()
    generator = torch.Generator().manual_seed(1)
    passes = [torch.randn(8, 3, generator=generator, requires_grad=True) for _ in range(200)]
    for health, part in ((whole, passes), (first, passes[:101])):
        with health.watch():
            for values in part:
                mark_activation("layer", values, "silu")
    second.restore(first.state())
    with second.watch():
        for values in passes[101:]:
            mark_activation("layer", values, "silu")
    assert second.report() == whole.report()


def test_one_silent_channel_of_very_many_raises_no_alert() -> None:
    health = ChannelHealth(every=1)
    before = torch.ones(300, 200)
    before[:, 0] = -1
    with health.watch():
        mark_activation("wide", before.requires_grad_(True), "relu")
    report = health.report()
    assert report["collapsed"] == 1
    assert not report["alert"]


def test_a_share_just_above_the_threshold_has_not_collapsed() -> None:
    health = ChannelHealth(every=1)
    before = -torch.ones(2000, 2)
    before[: int(2000 * COLLAPSED), 0] = 1  # two rows of 2,000: not fewer than 1 in 1,000
    before[0, 1] = 1
    with health.watch():
        mark_activation("layer", before.requires_grad_(True), "relu")
    assert health.report()["collapsed"] == 1


def test_nothing_counted_says_so() -> None:
    assert "nothing is known" in ChannelHealth().report()["words"]


def test_few_rows_judge_nobody() -> None:
    """A channel that one row in ten passes is silent in eight rows more often than not."""
    health = ChannelHealth(every=1)
    with health.watch():
        mark_activation("layer", -torch.ones(8, 3, requires_grad=True), "relu")
    report = health.report()
    assert report["layers"][0]["collapsed"] is None
    assert (report["channels"], report["alert"]) == (0, False)
    assert "Fewer than 200 rows" in report["words"]


def test_what_is_refused() -> None:
    with pytest.raises(ScreenError, match="unknown activation"):
        ChannelHealth().count("x", torch.ones(2, 2), "sine", (-1,))
    with pytest.raises(ScreenError, match="1 or more"):
        ChannelHealth(every=0)
