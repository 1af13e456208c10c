"""What a replayed campaign does in each round: a model, an acquisition, and what peers do apart.

strategy = Strategy("ours", "auto", "hit_probability")
rules = strategy.rules(score="bliss_mean", hit_threshold=10.0, batch_size=96)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.acquisition.lab_rules import LabRules
from models.acquisition.rules import AUTO_ACQUISITION, RoundRules
from models.screen import ScreenError

INPUTS = ("all", "structures", "identities")
CHOOSERS = ("acquisition", "halves", "pdbal_plates")
FITS = ("service", "one_hot", "anchored_tensor")


@dataclass(frozen=True)
class PlateShape:
    """Most blocks, compounds and cell lines on one plate."""

    blocks: int
    compounds: int
    lines: int

    def __post_init__(self) -> None:
        if min(self.blocks, self.lines) < 1 or self.compounds < 2:
            raise ScreenError(f"no pair fits on a plate of {self}")

    def __str__(self) -> str:
        return f"{self.blocks}x{self.compounds}x{self.lines}"

    def lab(self) -> LabRules:
        """The same as rules of a laboratory, on as many plates as the batch fills."""
        return LabRules(
            blocks_per_plate=self.blocks,
            compounds_per_plate=self.compounds,
            lines_per_plate=self.lines,
        )

    @classmethod
    def read(cls, text: str) -> PlateShape:
        """``"24x12x1"``: 24 blocks of at most 12 compounds in one cell line."""
        parts = text.strip().lower().split("x")
        if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
            raise ScreenError(f"{text!r} is no plate: give blocks x compounds x lines (24x12x1)")
        return cls(*(int(part) for part in parts))


@dataclass(frozen=True)
class Strategy:
    """One way to run a campaign.

    ``model``, ``acquisition``: as in :class:`models.acquisition.rules.RoundRules`. ``inputs``:
    "all", or "structures" (structures and expression, no single-agent curves), or "identities"
    (which compound, which cell line, nothing else). ``fits``: who fits the model: the "service",
    which knows it by name, or a peer's own way ("one_hot":
    :mod:`models.evaluation.peer_networks`; "anchored_tensor":
    :mod:`models.evaluation.peer_tensor`). ``chooser``: "acquisition", the batch of the service,
    "halves" (:func:`models.evaluation.peer_rules.halves`) or "pdbal_plates"
    (:mod:`models.evaluation.peer_plates`). ``extra``: further fields of the rules, such as
    ``{"kappa": 2.0}``. ``plates``: the batch fills whole plates of this shape with the highest
    sum of values.
    """

    name: str
    model: str
    acquisition: str
    inputs: str = "all"
    chooser: str = "acquisition"
    fits: str = "service"
    extra: Mapping[str, Any] = field(default_factory=dict)
    plates: PlateShape | None = None

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ScreenError(f"unknown inputs {self.inputs!r}; known are {', '.join(INPUTS)}")
        if self.chooser not in CHOOSERS:
            raise ScreenError(f"unknown chooser {self.chooser!r}; known: {', '.join(CHOOSERS)}")
        if self.fits not in FITS:
            raise ScreenError(f"unknown way to fit {self.fits!r}; known are {', '.join(FITS)}")
        if self.plates is not None and self.chooser != "acquisition":
            raise ScreenError(f"strategy {self.name}: its rule does not know plates")
        known = {entry.name for entry in dataclasses.fields(RoundRules)}
        if not set(self.extra) <= known:
            odd = ", ".join(sorted(set(self.extra) - known))
            raise ScreenError(f"strategy {self.name}: no such rule: {odd}")

    @property
    def modelled(self) -> bool:
        """Whether a model is fitted at all."""
        return self.acquisition != "random"

    @property
    def registered(self) -> str | None:
        """The model of the registry that is fitted, "auto" included; ``None`` for none."""
        return None if self.fits == "one_hot" or not self.modelled else self.model

    @property
    def own_way(self) -> bool:
        """Whether a round differs from the service's in more than its rules."""
        return (self.inputs, self.chooser, self.fits) != ("all", "acquisition", "service")

    @property
    def plans(self) -> bool:
        """Whether what it does depends on how many rounds are planned."""
        return self.acquisition == AUTO_ACQUISITION or self.chooser == "pdbal_plates"

    def on_plates(self, shape: PlateShape) -> Strategy:
        """The same strategy on whole plates, and named so."""
        return dataclasses.replace(self, name=f"{self.name} on {shape}", plates=shape)

    def rules(self, *, score: str, hit_threshold: float, batch_size: int) -> RoundRules:
        """Rules of a round; only the batch is ranked, since nobody reads the rest.

        Raises :class:`ScreenError` that names the strategy for a model or an acquisition that
        does not exist.
        """
        given: dict[str, Any] = {
            "score": score,
            "hit_threshold": hit_threshold,
            "batch_size": batch_size,
            "acquisition": self.acquisition,
            "model": self.model if self.fits == "service" else RANDOM.model,
            "ranked": batch_size,
            "lab": None if self.plates is None else self.plates.lab(),
            **self.extra,
        }
        try:
            return RoundRules(**given)
        except ScreenError as error:
            raise ScreenError(f"strategy {self.name}: {error}") from error


RANDOM = Strategy("random", "bnn_gaussian", "random")
"""Chance: no model is fitted, the model's name is never looked at."""


def crossed(
    models: Sequence[str], acquisitions: Sequence[str], extra: Mapping[str, Any]
) -> tuple[Strategy, ...]:
    """Every model with every acquisition, named ``model+acquisition``; "random" only once."""
    found: dict[str, Strategy] = {}
    for acquisition in acquisitions:
        for model in models:
            name = "random" if acquisition == "random" else f"{model}+{acquisition}"
            made = RANDOM if name == "random" else Strategy(name, model, acquisition, extra=extra)
            found.setdefault(name, made)
    return tuple(found.values())
