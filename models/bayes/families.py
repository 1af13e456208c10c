"""The weight families by name: what a layer is built with.

    layer = VariationalLinear(64, 8, generator, family=WEIGHT_FAMILIES["laplace"])

Biases follow the prior of their family, but for the two that prune: there they are Gaussian,
because an offset has no input that could be irrelevant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Protocol

import torch

from models.bayes.dropout import ArdWeight, SparseDropoutWeight
from models.bayes.priors import mixture_scales
from models.bayes.weights import (
    MEAN_START,
    SD_START,
    SLAB_SHARE,
    SPIKE,
    GaussianWeight,
    LaplaceGaussianWeight,
    LaplaceWeight,
    MixtureWeight,
    VariationalWeight,
)


class MakeWeight(Protocol):
    """Builds one tensor of weights."""

    def __call__(
        self,
        shape: tuple[int, ...],
        prior_sd: float,
        generator: torch.Generator,
        mean_start: float = MEAN_START,
        sd_start: float = SD_START,
    ) -> VariationalWeight:
        """See :class:`VariationalWeight`."""
        ...


@dataclass(frozen=True)
class WeightFamily:
    """How a layer makes its weights and its biases.

    ``proper``: the prior can be drawn from and given back to identities never measured.
    ``prunes``: weights can become exactly 0 (:func:`models.bayes.dropout.sparsity`), and the KL
    wants a warm-up (:func:`models.bayes.dropout.warm_up`).
    """

    name: str
    weight: MakeWeight
    bias: MakeWeight
    proper: bool = True
    prunes: bool = False


def mixture_family(share: float = SLAB_SHARE, spike: float = SPIKE) -> WeightFamily:
    """Two-Gaussian mixtures with this probability of the slab and this ratio spike / slab.

    Raises :class:`models.screen.ScreenError` outside (0, 1).
    """
    mixture_scales(1.0, share, spike)
    make = partial(MixtureWeight, share=share, spike=spike)
    return WeightFamily("mixture", make, make)


GAUSSIAN = WeightFamily("gaussian", GaussianWeight, GaussianWeight)
MIXTURE = mixture_family()
LAPLACE = WeightFamily("laplace", LaplaceWeight, LaplaceWeight)
LAPLACE_GAUSSIAN = WeightFamily("laplace_gaussian", LaplaceGaussianWeight, LaplaceGaussianWeight)
SPARSE_DROPOUT = WeightFamily(
    "sparse_dropout", SparseDropoutWeight, GaussianWeight, proper=False, prunes=True
)
ARD = WeightFamily("ard", ArdWeight, GaussianWeight, prunes=True)

WEIGHT_FAMILIES: Mapping[str, WeightFamily] = MappingProxyType(
    {
        family.name: family
        for family in (GAUSSIAN, MIXTURE, LAPLACE, LAPLACE_GAUSSIAN, SPARSE_DROPOUT, ARD)
    }
)
"""Every family under its name."""
