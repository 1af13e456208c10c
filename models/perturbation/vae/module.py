"""The generative model and its guide, with every part of the loss by name.

z_i ~ N(0, I) basal, shift_i = D_i (E * M) + interaction over the named coordinates, e ~ N(0, I) an
artifact vector that only cells of low quality receive:
    decoder input = [z_i, shift_i, a_i e]   (join "concat": GPO-VAE)
    or            = [z_i + shift_i, a_i e]  (join "sum": SAMS-VAE; basal and shift are one space)
Named coordinates that are readouts may also act on their own readout directly (``own_readout``):
then E is in log ratios (counts) or in standard deviations (continuous) and the names are real.
Guide: q(z_i | x_i, shift_i, a_i e), one hidden layer, diagonal; the rest see :mod:`.masks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.bayes.weights import GaussianWeight, normal
from models.perturbation.vae.cells import Observation
from models.perturbation.vae.doses import DoseTerms, Interaction, interaction_shift
from models.perturbation.vae.layers import Decoder, Encoder, normal_kl, standard_kl
from models.perturbation.vae.masks import EffectDraw, SparseEffects
from models.perturbation.vae.observations import ContinuousObservation, CountObservation
from models.screen import ScreenError

Join = Literal["concat", "sum"]


@dataclass(frozen=True)
class VaeSettings:
    """Sizes and priors.

    ``columns``: names of the shifted coordinates. ``basal``: width of z. ``hidden``: width of both
    networks; 0 makes the decoder linear. ``prior_on``: probability of an edge. ``effect_sd``: prior
    scale of an effect. ``rank``: of the interaction, 0 for none. ``artifact``: a stream for cells
    of low quality. ``own_readout``: coordinates act on the readout of their name. ``anchored``:
    readouts are 0 without basal state and shift (log ratios against a control).
    """

    columns: tuple[str, ...]
    basal: int = 8
    hidden: int = 64
    blocks: int = 1
    join: Join = "concat"
    own_readout: bool = False
    anchored: bool = False
    prior_on: float = 0.3
    effect_sd: float = 1.0
    temperature: float = 1.0
    mask_hidden: int = 32
    rank: int = 0
    artifact: bool = False

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns) or not self.columns:
            raise ScreenError("the shifted coordinates need names, each of them once")
        if min(self.basal, self.hidden, self.mask_hidden) < 1 or self.rank < 0:
            raise ScreenError("widths must be at least 1 and the rank not negative")
        if self.join == "sum" and self.basal != len(self.columns):
            raise ScreenError("summed, the basal state is as wide as there are coordinates")


@dataclass(frozen=True)
class GlobalDraw:
    """One draw of everything that cells share."""

    effects: EffectDraw
    interaction: tuple[Tensor, Tensor] | None
    artifact: Tensor | None


class PerturbationVae(nn.Module):
    """Generative model and guide; ``affinity`` ``(p, t)``, ``readouts`` names ``(g,)``.

    ``offset`` and ``scale`` ``(g,)``: what the decoder's output is multiplied by and added to.
    """

    offset: Tensor
    scale: Tensor
    own: Tensor

    def __init__(
        self,
        settings: VaeSettings,
        observation: Observation,
        affinity: Tensor,
        readouts: tuple[str, ...],
        offset: Tensor,
        scale: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.settings, self.n_readouts = settings, len(readouts)
        m, g = len(settings.columns), len(readouts)
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)
        self.register_buffer("own", _own_readouts(settings, readouts))
        self.doses = DoseTerms(affinity)
        self.effects = SparseEffects(
            affinity.shape[1],
            m,
            generator,
            prior_on=settings.prior_on,
            effect_sd=settings.effect_sd,
            temperature=settings.temperature,
            hidden=settings.mask_hidden,
        )
        self.interaction = (
            Interaction(len(affinity), m, settings.rank, generator) if settings.rank else None
        )
        extra = settings.basal if settings.artifact else 0
        joined = settings.basal + (m if settings.join == "concat" else 0)
        self.artifact = GaussianWeight((extra,), 1.0, generator) if extra else None
        self.encoder = Encoder(
            g + m + extra, settings.hidden, settings.basal, settings.blocks - 1, generator
        )
        self.decoder = Decoder(joined + extra, settings.hidden, g, settings.blocks, generator)
        self.observation: CountObservation | ContinuousObservation = (
            CountObservation(g) if observation == "counts" else ContinuousObservation(0.5 * scale)
        )

    def draw(self, generator: torch.Generator, dense: bool = False) -> GlobalDraw:
        """One draw of masks (all on where ``dense``), effects, interaction and artifact, with
        gradients."""
        interaction = None if self.interaction is None else self.interaction.sample(generator)
        artifact = None if self.artifact is None else self.artifact.sample(1, generator)[0]
        effects = (self.effects.draw_dense if dense else self.effects.draw)(generator)
        return GlobalDraw(effects, interaction, artifact)

    def shift(
        self,
        doses: Tensor,
        effects: Tensor,
        interaction: tuple[Tensor, Tensor] | None,
        pairs: Tensor,
    ) -> Tensor:
        """``(n, m)`` shifts at ``doses`` ``(n, p)`` for one draw of E * M ``(t, m)``."""
        activity = self.doses.activity(doses)
        single = self.doses.rows(activity) @ effects
        if interaction is None or not len(pairs):
            return single
        return single + interaction_shift(activity, interaction, pairs)

    def encode(
        self, inputs: Tensor, shift: Tensor, flag: Tensor, artifact: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(z | x, shift, a e) for standardised ``inputs`` ``(n, g)``."""
        parts = [inputs, shift]
        if artifact is not None:
            parts.append(flag[:, None] * artifact)
        mean, variance = self.encoder(torch.cat(parts, -1))
        # Summed, the network says where the cell is; what the shift explains is not basal.
        return (mean - shift if self.settings.join == "sum" else mean), variance

    def decode(self, z: Tensor, shift: Tensor, flag: Tensor, artifact: Tensor | None) -> Tensor:
        """``(n, g)`` raw output: logits of proportions, or centres of continuous readouts."""
        raw = self._network(z, shift, flag, artifact)
        if self.settings.anchored:
            zero = torch.zeros_like(z[:1]), torch.zeros_like(shift[:1]), torch.zeros_like(flag[:1])
            raw = raw - self._network(*zero, artifact)
        if self.settings.own_readout:
            raw = raw + shift @ self.own
        return self.offset + self.scale * raw

    def counterfactual_kl(
        self, quantities: tuple[Tensor, Tensor], other: Tensor, shift: Tensor, draw: GlobalDraw
    ) -> Tensor:
        """``(n,)`` KL(q(z | x', shift, e) || q(z | x, shift, 0)): a good cell has the basal state
        that its failed likeness ``other`` ``(n, g)`` has. ``quantities``: moments of the second."""
        flag = torch.ones(len(other), device=other.device)
        mean, variance = self.encode(other, shift, flag, draw.artifact)
        return normal_kl(mean, variance, *quantities)

    def global_kl(self) -> Tensor:
        """KL and minus log prior of what has no plate: interaction and Hill terms; nats."""
        penalty = self.doses.penalty()
        return penalty if self.interaction is None else penalty + self.interaction.kl()

    def artifact_kl(self) -> Tensor:
        """KL of the artifact vector from its prior; 0 without a stream."""
        return self.offset.new_zeros(()) if self.artifact is None else self.artifact.kl()

    def basal(
        self, moments: tuple[Tensor, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A draw of z ``(n, basal)`` from its guide and its KL from the prior ``(n,)``."""
        mean, variance = moments
        z = mean + torch.sqrt(variance) * normal((*mean.shape,), generator, mean.device)
        return z, standard_kl(mean, variance)

    def _network(self, z: Tensor, shift: Tensor, flag: Tensor, artifact: Tensor | None) -> Tensor:
        parts = [z, shift] if self.settings.join == "concat" else [z + shift]
        if artifact is not None:
            parts.append(flag[:, None] * artifact)
        raw: Tensor = self.decoder(torch.cat(parts, -1))
        return raw


def _own_readouts(settings: VaeSettings, readouts: tuple[str, ...]) -> Tensor:
    """``(m, g)`` 1 where a coordinate and a readout have one name; raises where none has."""
    position = {name: i for i, name in enumerate(readouts)}
    own = torch.zeros(len(settings.columns), len(readouts))
    for row, name in enumerate(settings.columns):
        if name in position:
            own[row, position[name]] = 1.0
    if settings.own_readout and not own.any():
        raise ScreenError("no coordinate has the name of a readout: turn own_readout off")
    return own
