"""The registry of weight families."""

from __future__ import annotations

import pytest
import torch

from models.bayes.dropout import ArdWeight, PrunableWeight, SparseDropoutWeight
from models.bayes.families import WEIGHT_FAMILIES, mixture_family
from models.bayes.layers import VariationalLinear
from models.bayes.weights import (
    GaussianWeight,
    LaplaceGaussianWeight,
    LaplaceWeight,
    MixtureWeight,
)
from models.screen import ScreenError

CLASSES = {
    "gaussian": (GaussianWeight, GaussianWeight),
    "mixture": (MixtureWeight, MixtureWeight),
    "laplace": (LaplaceWeight, LaplaceWeight),
    "laplace_gaussian": (LaplaceGaussianWeight, LaplaceGaussianWeight),
    "sparse_dropout": (SparseDropoutWeight, GaussianWeight),
    "ard": (ArdWeight, GaussianWeight),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_name_builds_its_weights_and_biases() -> None:
    assert set(WEIGHT_FAMILIES) == set(CLASSES)
    for name, family in WEIGHT_FAMILIES.items():
        layer = VariationalLinear(3, 2, seeded(), family=family)
        assert family.name == name
        assert (type(layer.weight), type(layer.bias)) == CLASSES[name]
        assert family.prunes == isinstance(layer.weight, PrunableWeight)
        assert family.proper == (name != "sparse_dropout")


def test_all_families_start_alike() -> None:
    """One seed, one start: a comparison of families compares families."""
    start = VariationalLinear(3, 2, seeded(1)).weight
    for family in WEIGHT_FAMILIES.values():
        weight = VariationalLinear(3, 2, seeded(1), family=family).weight
        assert torch.equal(weight.mean, start.mean)
        assert torch.equal(weight.log_sd, start.log_sd)


def test_a_mixture_can_be_shaped() -> None:
    weight = mixture_family(share=0.5, spike=0.01).weight((2,), 1.0, seeded())
    assert isinstance(weight, MixtureWeight)
    assert weight.share.item() == 0.5
    assert (weight.spike_sd / weight.slab_sd).item() == pytest.approx(0.01)
    with pytest.raises(ScreenError, match="share and spike"):
        mixture_family(share=1.5)
