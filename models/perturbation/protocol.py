"""What every model of perturbation responses is, and what a fit of it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from models.perturbation.data import ResponseTable
from models.screen import FloatArray, ProgressCallback, StopCallback, never_stop, no_progress


@runtime_checkable
class ResponsePosterior(Protocol):
    """Joint draws of the response to any doses of the perturbations that were learned from.

    A response is the effect against the control: in the unit of the data for log ratios, the
    natural logarithm of a ratio for counts. It is exactly 0 where no perturbation is present.

    Draw ``i`` under one seed is *one world*: the same function of the doses however they are
    ordered or split into calls (up to rounding), joint over readouts, so that any functional of
    the draws (a difference of conditions, a weighted sum of readouts) has the right posterior.
    """

    @property
    def model(self) -> str:
        """Name of the model that was fitted."""
        ...

    @property
    def perturbations(self) -> tuple[str, ...]:
        """``(p,)`` names, the columns of ``doses``."""
        ...

    @property
    def readouts(self) -> tuple[str, ...]:
        """``(g,)`` names, the last axis of what comes back."""
        ...

    @property
    def noise_scale(self) -> FloatArray:
        """``(g,)`` scale of a measured response around the true one, same unit; with
        :attr:`noise_df` a Student-t distribution."""
        ...

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of the noise, above 2; infinite: Gaussian."""
        ...

    def draws(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)`` float64 draws of the noise-free response at ``doses`` ``(m, p)``."""
        ...

    def mean(self, doses: FloatArray) -> FloatArray:
        """``(m, g)`` expected response at ``doses`` ``(m, p)``."""
        ...

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able metadata; the metadata hold ``model`` and ``version``."""
        ...


@runtime_checkable
class ResponseModel(Protocol):
    """Something that learns responses from a table. Stateless: fits do not change it."""

    @property
    def name(self) -> str:
        """Name by which the model is chosen, shown and stored."""
        ...

    def fit(
        self,
        table: ResponseTable,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> ResponsePosterior:
        """Posterior given ``table``; the order of its rows does not matter.

        Raises :class:`models.screen.ScreenError` for tables that it cannot learn from and
        :class:`models.screen.Stopped` once ``should_stop`` answered true.
        """
        ...

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> ResponsePosterior:
        """Inverse of :meth:`ResponsePosterior.save`: the same draws to the bit."""
        ...
