"""The models a campaign can choose, by name. A new model is one more entry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from torch import Tensor

from models.screen import (
    Candidates,
    Posterior,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.bnn import BnnGaussian
from models.synergy.gaussian_process.process import GpPairs
from models.synergy.inputs import Training
from models.synergy.response.hierarchical_bliss import HierarchicalBliss
from models.synergy.response.logit_tensor import LogitTensor
from models.synergy.score_networks.model import SCORE_NETWORKS
from models.synergy.stacking import Stacked
from models.synergy.training import Schedule


class ModelPosterior(Posterior, Protocol):
    """A posterior that knows its observation noise: Student-t, Gaussian for infinite ``df``."""

    @property
    def model(self) -> str:
        """Name of the model in :data:`MODELS`."""
        ...

    @property
    def noise_df(self) -> float:
        """Degrees of freedom, above 2."""
        ...

    @property
    def schedule(self) -> Schedule:
        """What the fit ran."""
        ...

    def diagnostics(self) -> dict[str, Any]:
        """JSON-able: how well the fit converged, in the terms of its method."""
        ...

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of one measurement, in the score's unit."""
        ...


class Model(Protocol):
    """One model family; stateless. See :class:`models.synergy.bnn.BnnGaussian`."""

    @property
    def name(self) -> str:
        """The key under which it is registered."""
        ...

    def fit(
        self,
        training: Training,
        *,
        seed: int,
        device: str = "cpu",
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
        schedule: Schedule | None = None,
        refit: bool = True,
    ) -> ModelPosterior:
        """Posterior given measured blocks."""
        ...

    def save(self, posterior: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (safetensors) and metadata (JSON) of a posterior of this model."""
        ...

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> ModelPosterior:
        """The posterior back, with the same draws to the bit."""
        ...


_ALL: tuple[Model, ...] = (
    BnnGaussian(),
    GpPairs(),
    GpPairs(plain=True),
    HierarchicalBliss(),
    LogitTensor(),
    *SCORE_NETWORKS,
)

_SINGLE: dict[str, Model] = {model.name: model for model in _ALL}
_STACKED: Model = Stacked({name: _SINGLE[name] for name in ("gp_pairs", "concat_ensemble")})

MODELS: Mapping[str, Model] = MappingProxyType({**_SINGLE, _STACKED.name: _STACKED})
"""Every model by its name."""

AUTO = "auto"
"""Instead of a name: the model of :data:`AUTOMATIC` with the best evidence on these data."""

AUTOMATIC = ("gp_pairs", "bnn_gaussian")
"""What "auto" compares; the first is taken unless another is clearly better (:mod:`.choice`)."""


def find_model(name: str) -> Model:
    """The model called ``name``; :class:`ScreenError` that lists the known ones otherwise."""
    if name not in MODELS:
        raise ScreenError(f"unknown model {name!r}; known are {', '.join(MODELS)}")
    return MODELS[name]


def save(posterior: ModelPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of any registered model's posterior."""
    return find_model(posterior.model).save(posterior)


def load(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
) -> ModelPosterior:
    """Inverse of :func:`save`."""
    return find_model(str(metadata.get("model"))).load(tensors, metadata, device)
