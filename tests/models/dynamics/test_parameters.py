"""The hierarchy: what a value is made of, reference groups, new groups, fixed parts."""

from __future__ import annotations

import math

import pytest
import torch

from models.dynamics.parameters import GroupEffect, Hierarchy, Parameter, Prior, Spread
from models.screen import ScreenError

PLATES = {"plate": ("A", "B", "C"), "line": ("x", "y")}


def place(hierarchy: Hierarchy, **values: float) -> torch.Tensor:
    names = [c.name for c in hierarchy.coordinates]
    shared = torch.tensor([c.mean for c in hierarchy.coordinates])
    for name, value in values.items():
        shared[names.index(name)] = value
    return shared


def two_levels() -> Hierarchy:
    effects = (GroupEffect("plate", Spread(0.5)), GroupEffect("line", Spread(0.2)))
    rate = Parameter("r", Prior.lognormal(-1.0, 0.3), 1, effects, Spread(0.1))
    pair = Parameter("k", Prior.normal(2.0, 1.0), 2)
    return Hierarchy((rate, pair), PLATES)


def test_every_unknown_has_its_place_and_prior() -> None:
    names = [c.name for c in two_levels().coordinates]
    assert names == [
        *("r", "r.sd", "r.plate.sd", "r.plate=A", "r.plate=B", "r.plate=C"),
        *("r.line.sd", "r.line=x", "r.line=y", "k[0]", "k[1]"),
    ]
    assert two_levels().individual_names() == ("r",)
    assert two_levels().elements == ("r", "k[0]", "k[1]")


def test_a_value_is_location_plus_spread_times_effect() -> None:
    hierarchy = two_levels()
    shared = place(
        hierarchy,
        **{"r": -0.8, "r.plate.sd": math.log(0.4), "r.plate=B": 1.5, "r.line=y": -2.0},
        **{"r.line.sd": math.log(0.3), "r.sd": math.log(0.25), "k[1]": 3.0},
    )
    groups = {"plate": torch.tensor([0, 1]), "line": torch.tensor([1, 1])}
    location, sd = hierarchy.moments(shared.expand(1, 2, -1), groups)
    torch.testing.assert_close(location[0, :, 0], torch.tensor([-1.4, -0.8]))
    torch.testing.assert_close(location[0, :, 2], torch.tensor([3.0, 3.0]))
    torch.testing.assert_close(sd, torch.full((1, 2, 1), 0.25))
    values = hierarchy.values(location)
    torch.testing.assert_close(values["r"], torch.exp(torch.tensor([[-1.4, -0.8]])))
    assert values["k"].shape == (2, 1, 2)


def test_the_reference_group_has_exactly_the_fixed_value() -> None:
    effect = GroupEffect("plate", Spread(1.0), "A")
    hierarchy = Hierarchy((Parameter("a", Prior.lognormal(0, 0), 1, (effect,)),), PLATES)
    assert "a" not in [c.name for c in hierarchy.coordinates]
    assert "a.plate=A" not in [c.name for c in hierarchy.coordinates]
    shared = torch.randn(50, 3, hierarchy.shared_size)
    location, _ = hierarchy.moments(shared, {"plate": torch.tensor([0, 1, 2])})
    values = hierarchy.values(location)["a"]
    assert torch.equal(values[:, 0], torch.ones(50))
    assert (values[:, 1] != 1).all()


def test_a_new_group_widens_what_differs_anyway_and_is_drawn_where_nothing_does() -> None:
    effect = (GroupEffect("plate", Spread(0.4, 0.0)),)
    own = Parameter("own", Prior.normal(0, 1), 1, effect, Spread(0.3, 0.0))
    common = Parameter("common", Prior.normal(0, 1), 1, effect)
    hierarchy = Hierarchy((own, common), PLATES)
    shared = torch.zeros(4000, 2, hierarchy.shared_size)
    groups = {"plate": torch.tensor([-1, 0])}
    with pytest.raises(ScreenError, match="not seen"):
        hierarchy.moments(shared, groups)
    location, sd = hierarchy.moments(shared, groups, torch.Generator().manual_seed(0))
    torch.testing.assert_close(sd[0, :, 0], torch.tensor([0.5, 0.3]))
    assert torch.equal(location[:, 0, 0], torch.zeros(4000))
    # sd of a sample sd of 4,000: 0.4 / sqrt(8,000) = 0.0045.
    assert location[:, 0, 1].std().item() == pytest.approx(0.4, abs=0.018)
    assert torch.equal(location[:, 1, 1], torch.zeros(4000))


def test_typical_members_of_a_group() -> None:
    hierarchy = two_levels()
    shared = place(hierarchy, **{"r.plate.sd": 0.0, "r.plate=C": 0.7})[None, None]
    assert hierarchy.typical(shared, {})[0, 0, 0].item() == pytest.approx(-1.0)
    assert hierarchy.typical(shared, {"plate": 2})[0, 0, 0].item() == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Prior(0.0, -1.0), "sd >= 0"),
        (lambda: Spread(0.0), "positive median"),
        (lambda: Parameter("a", Prior(0, 1), 0), "at least one element"),
        (lambda: Hierarchy((Parameter("a", Prior(0, 1)),) * 2, {}), "named twice"),
        (
            lambda: Hierarchy(
                (Parameter("a", Prior(0, 1), 1, (GroupEffect("donor", Spread(1)),)),), PLATES
            ),
            "'donor'",
        ),
        (
            lambda: Hierarchy(
                (Parameter("a", Prior(0, 1), 1, (GroupEffect("plate", Spread(1), "Z"),)),), PLATES
            ),
            "reference group 'Z'",
        ),
    ],
)
def test_what_is_refused(make, words: str) -> None:
    with pytest.raises(ScreenError, match=words):
        make()
