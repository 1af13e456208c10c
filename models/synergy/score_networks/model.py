"""The score networks as models: every merge in every form; fit, fine-tune, save, load.

Names are ``{merge}_{form}``, with ``_film_identity`` or ``_film_features`` where the cell line
comes in by one of the two only. Forms: ``deterministic`` (one network), ``ensemble``,
``randomised_prior``, ``mean_variance`` and the families of posteriors over weights
(:data:`models.bayes.families.WEIGHT_FAMILIES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.inputs import Training
from models.synergy.score_networks.architecture import Design
from models.synergy.score_networks.fitting import Fit, Start
from models.synergy.score_networks.network import FORMS, MEMBERS, Form
from models.synergy.score_networks.posterior import (
    NetworkPosterior,
    load_posterior,
    save_posterior,
)
from models.synergy.score_networks.training import Checkpoint
from models.synergy.training import Schedule

VARIATIONAL_HIDDEN = 48
"""Mean-field posteriors of wide networks fall back to their prior (see
:mod:`models.synergy.network`), so they are narrower than the point estimates."""
HIDDEN = 64


class ScoreNetwork:
    """One score network; stateless.

    ``merge``: "bilinear" or "concat". ``form``: one of
    :data:`models.synergy.score_networks.network.FORMS`. ``film``: "both", "identity" or
    "features". ``members``: of an ensemble; the default depends on the form. ``hidden``: width.
    """

    def __init__(
        self,
        merge: str,
        form: str,
        film: str = "both",
        *,
        members: int | None = None,
        beta: float = 1.0,
        hidden: int | None = None,
    ) -> None:
        self.form = Form(form, members or MEMBERS.get(form, 1), beta)
        width = hidden or (VARIATIONAL_HIDDEN if self.form.variational else HIDDEN)
        self.design = Design(merge, film, width, width, log_scale=form == "mean_variance")
        ending = "" if film == "both" else f"_film_{film}"
        self._name = f"{merge}_{form}{ending}"

    @property
    def name(self) -> str:
        """Of the model in the registry."""
        return self._name

    @property
    def reads_modules(self) -> bool:
        """Whether modules are among the inputs: the plain reference has no numbers of compounds."""
        return self.design.merge != "plain"

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
        checkpoint: Checkpoint | None = None,
    ) -> NetworkPosterior:
        """Fit to measured blocks; the order of rows does not matter.

        ``schedule``: run exactly this, without a search. ``refit``: after the search train again
        on all blocks (else the posterior has not seen those that chose the number of steps).
        ``checkpoint``: go on from what it holds; a fit that was killed ends with the same bits.
        Raises :class:`ScreenError` for fewer than 5 blocks or another fit's checkpoint,
        ``Stopped``, and :class:`models.bayes.training.NonFiniteLossError`.
        """
        job = Fit(
            self._name,
            self.design,
            self.form,
            training.sorted(),
            seed,
            device,
            on_progress,
            should_stop,
            checkpoint,
        )
        return job.run(schedule, refit)

    def fine_tune(
        self,
        posterior: NetworkPosterior,
        training: Training,
        *,
        seed: int,
        device: str = "cpu",
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
        schedule: Schedule | None = None,
        refit: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> NetworkPosterior:
        """Go on from another screen's posterior: :meth:`fit` with its layers as the prior's centre.

        What is addressed by features carries over (in the first screen's directions); compounds
        and cell lines are new identities. Scores are standardised as on the first screen.
        Raises as :meth:`fit`, and :class:`ScreenError` for a posterior of another model or score
        or tables whose columns differ.
        """
        if posterior.model != self._name:
            raise ScreenError(f"cannot fine-tune {self._name} from a {posterior.model}")
        if posterior.score != training.score:
            raise ScreenError(
                f"the posterior was trained on {posterior.score}, the blocks are {training.score}"
            )
        job = Fit(
            self._name,
            posterior.module.design,
            posterior.module.form,
            training.sorted(),
            seed,
            device,
            on_progress,
            should_stop,
            checkpoint,
            Start.of(posterior),
        )
        return job.run(schedule, refit)

    def save(self, posterior: NetworkPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors for safetensors and metadata for JSON; :meth:`load` gives the same draws."""
        return save_posterior(posterior)

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> NetworkPosterior:
        """Rebuild a saved posterior. Raises :class:`ScreenError` for another model or version."""
        return load_posterior(self._name, tensors, metadata, device)


class PlainNetworks(ScoreNetwork):
    """Eight plain perceptrons over identities, single-agent responses and expression.

    A quick reference to beat: no structure, no gating by the cell line, no bilinear form.
    """

    def __init__(self, members: int = 8, hidden: int = 128) -> None:
        super().__init__("plain", "ensemble", members=members, hidden=hidden)
        self._name = "plain_networks"


SCORE_NETWORKS: tuple[ScoreNetwork, ...] = (
    *(ScoreNetwork(merge, form) for merge in ("bilinear", "concat") for form in FORMS),
    *(ScoreNetwork("bilinear", "ensemble", film) for film in ("identity", "features")),
    PlainNetworks(),
)
"""Every merge in every form, both halves of FiLM, and the plain reference."""
