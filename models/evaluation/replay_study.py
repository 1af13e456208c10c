"""A comparison of strategies on replayed campaigns, as data: what to play, and where it is kept.

study = ReplayStudy(sources=(FolderSource(path, "bliss_mean"),), strategies=(PEERS["random"],),
                    batch=Amount.read("1%"), initial=Amount.read("1%"), rounds=9, seeds=5)
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.code_digest import closure, code_digest
from models.evaluation.past_campaign import FolderSource, PastCampaign, Source
from models.evaluation.peer_rules import find_peer
from models.evaluation.replay import Choice
from models.evaluation.result_store import ResultStore, Spec
from models.evaluation.running import library_versions, model_modules, repr_of
from models.evaluation.strategies import PlateShape, Strategy, crossed
from models.pharmacology.score_rules import score_rule
from models.rounds import RoundRules
from models.screen import FloatArray, IntArray, ScreenError
from models.synergy.registry import AUTO, AUTOMATIC, find_model

FORMAT = 2
"""Of a stored round; a new one makes all older rounds invalid."""
PLAYED_BY = ("models.rounds", "models.evaluation.replay")
USED_BY_ALL = (
    "models.synergy.choice",
    "models.synergy.evidence",
    "models.synergy.inputs",
    "models.synergy.modules",
    "models.synergy.training",
    "models.synergy.worlds",
)
"""Modules of models/synergy that every round runs, whichever the model."""
JUDGED_BY = ("models.synergy.judging", "models.synergy.fit_health")
"""Run by every round as well, reaching every model by name: what they import is not theirs."""


@dataclass(frozen=True)
class Amount:
    """A number of blocks, or a share of all: exactly one of the two is set."""

    count: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.share is None):
            raise ScreenError("an amount is a number of blocks or a share of them")
        if self.count is not None and self.count < 1:
            raise ScreenError(f"an amount of {self.count} blocks is too small")
        if self.share is not None and not 0 < self.share < 1:
            raise ScreenError(f"a share of {self.share:g} is not between 0 and 1")

    @classmethod
    def read(cls, text: str) -> Amount:
        """``"190"`` blocks; ``"0.01"`` or ``"1%"`` of all."""
        plain = text.strip()
        try:
            if plain.endswith("%"):
                return cls(share=float(plain[:-1]) / 100)
            return cls(share=float(plain)) if "." in plain else cls(count=int(plain))
        except ValueError as error:
            if isinstance(error, ScreenError):
                raise
            raise ScreenError(
                f"{text!r} is no amount: give blocks (190) or a share (0.01 or 1%)"
            ) from None

    def of(self, total: int) -> int:
        """Blocks, of ``total``: at least one."""
        return self.count if self.count is not None else max(1, round((self.share or 0) * total))


@dataclass(frozen=True)
class Threshold:
    """What a hit is: a ``score`` to exceed, or the best ``share`` of the campaign's blocks."""

    score: float | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.score is None) == (self.share is None):
            raise ScreenError("a threshold is a score or a share of the blocks")
        if self.score is not None and not math.isfinite(self.score):
            raise ScreenError(f"the hit threshold is {self.score}")
        if self.share is not None and not 0 < self.share < 1:
            raise ScreenError(f"hits cannot be the best {100 * self.share:g} % of the blocks")

    @classmethod
    def read(cls, text: str) -> Threshold:
        """``"10"``: score above 10; ``"5%"`` or ``"top 5%"``: the best 5 % of the blocks."""
        found = re.fullmatch(r"(?:top\s*)?([0-9.]+)\s*%", text.strip())
        try:
            return cls(share=float(found[1]) / 100) if found else cls(score=float(text))
        except ValueError as error:
            if isinstance(error, ScreenError):
                raise
            raise ScreenError(
                f"{text!r} is no threshold: give a score (10) or a share (5%)"
            ) from None

    def of(self, observed: FloatArray) -> float:
        """The score to exceed: midway between the last hit and the next block."""
        if self.score is not None:
            return self.score
        order = np.sort(observed)[::-1]
        count = max(1, round((self.share or 0) * len(order)))
        return float((order[count - 1] + order[min(count, len(order) - 1)]) / 2)


@dataclass(frozen=True)
class ReplayStudy:
    """Everything that is played: each strategy on each source under each seed.

    ``batch`` a round and ``initial`` random blocks; ``rounds``: at most, fewer where the pool ends.
    Raises :class:`ScreenError` for a strategy whose model or acquisition does not exist.
    """

    sources: tuple[Source, ...]
    strategies: tuple[Strategy, ...]
    batch: Amount
    initial: Amount
    rounds: int
    seeds: int
    score: str = "bliss_mean"
    threshold: Threshold = Threshold(score=10.0)

    def __post_init__(self) -> None:
        score_rule(self.score)
        if not self.sources or not self.strategies:
            raise ScreenError("a replay needs a screen and a strategy")
        if self.rounds < 1 or self.seeds < 1:
            raise ScreenError("a replay needs at least one round and one seed")
        names = [strategy.name for strategy in self.strategies]
        if len(set(names)) != len(names):
            raise ScreenError(f"a strategy is asked for twice: {', '.join(names)}")
        for strategy in self.strategies:
            strategy.rules(score=self.score, hit_threshold=0.0, batch_size=1)

    def tasks(self) -> list[ReplayTask]:
        """One for each campaign: seeds in turn, so that an early end leaves whole pairs."""
        return [
            ReplayTask(self, source.of_seed(seed), strategy, seed)
            for seed in range(self.seeds)
            for source in self.sources
            for strategy in self.strategies
        ]

    def describe(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "sources": [{"kind": type(one).__name__, **asdict(one)} for one in self.sources],
            "batch": asdict(self.batch),
            "initial": asdict(self.initial),
            "rounds": self.rounds,
            "seeds": self.seeds,
            "score": self.score,
            "threshold": asdict(self.threshold),
        }


@dataclass(frozen=True)
class ReplayTask:
    """One campaign of a study."""

    study: ReplayStudy
    source: Source
    strategy: Strategy
    seed: int

    @property
    def name(self) -> str:
        """For a person who waits."""
        return f"{self.strategy.name}, {self.source.name}, seed {self.seed}"

    def rules(self, campaign: PastCampaign) -> RoundRules:
        """Of every round of it."""
        study = self.study
        rules = self.strategy.rules(
            score=study.score,
            hit_threshold=study.threshold.of(campaign.observed),
            batch_size=study.batch.of(len(campaign.candidates)),
        )
        planned = self.strategy.plans and rules.rounds_planned is None
        return replace(rules, rounds_planned=study.rounds) if planned else rules


class StoredRounds:
    """The memory of one campaign (:class:`models.evaluation.replay.Memory`) in a folder.

    A round is recalled only where everything is the same that it depends on: rules, all that was
    measured before it, data, code, versions. The number of seeds may change, and that of rounds
    where the acquisition does not plan with it.
    """

    def __init__(
        self,
        folder: Path,
        task: ReplayTask,
        campaign: PastCampaign,
        rules: RoundRules,
        device: str,
    ) -> None:
        self._store = _RoundStore(folder)
        strategy = task.strategy
        named = asdict(rules)
        if not strategy.modelled:
            del named["model"]
        self._base: dict[str, Any] = {
            "format": FORMAT,
            "strategy": strategy.name if not strategy.modelled else _slug(strategy),
            "inputs": strategy.inputs,
            "chooser": strategy.chooser,
            "fits": strategy.fits,
            "plates": None if strategy.plates is None else asdict(strategy.plates),
            "rules": named,
            "source": task.source.name,
            "seed": task.seed,
            "data": campaign.digest,
            "device": device,
            "code": round_code(strategy.registered),
            "configuration": _configuration(strategy),
            **library_versions(),
        }

    def recall(self, number: int, measured: IntArray) -> Choice | None:
        """See :class:`models.evaluation.replay.Memory`; raises ``ScreenError`` for a broken
        file."""
        found = self._store.get(self._spec(number, measured))
        return None if found is None else Choice.of_json(found)

    def keep(self, number: int, measured: IntArray, choice: Choice) -> None:
        """See :class:`models.evaluation.replay.Memory`."""
        self._store.put(self._spec(number, measured), choice.to_json())

    def _spec(self, number: int, measured: IntArray) -> Spec:
        before = hashlib.sha256(np.ascontiguousarray(measured, np.int64).tobytes()).hexdigest()
        return {**self._base, "round": number, "before": before}


class _RoundStore(ResultStore):
    """Files named by strategy, seed and round."""

    def _path(self, spec: Spec) -> Path:
        named = {"model": spec["strategy"], "split": f"s{spec['seed']}", "fold": spec["round"]}
        whole = super()._path({**spec, **named})
        return whole.with_name(re.sub(r"[^\w.+-]", "_", whole.name))


@cache
def round_code(model: str | None) -> str:
    """Digest of all code that a round of this model runs (``None``: none of the registry).

    Of models/synergy only what the model needs: a change to another model leaves it valid.
    """
    shared = tuple(sorted(n for n in closure(PLAYED_BY) if not n.startswith("models.synergy.")))
    names = () if model is None else AUTOMATIC if model == AUTO else (model,)
    own = {part for name in names for part in model_modules(find_model(name))}
    return code_digest((*USED_BY_ALL, *sorted(own)), (*shared, *JUDGED_BY))


def choose_strategies(
    models: str | None, acquisitions: str | None, peers: str | None, kappa: float
) -> tuple[Strategy, ...]:
    """Names separated by commas: every model with every acquisition, then the peers.

    Without any peer the model is "auto" and the acquisition "hit_probability" unless named; with
    peers alone nothing else is played.
    """
    found: dict[str, Strategy] = {}
    if models is not None or acquisitions is not None or peers is None:
        extra = {} if kappa == RoundRules().kappa else {"kappa": kappa}
        own = crossed(_names(models or AUTO), _names(acquisitions or "hit_probability"), extra)
        found.update({strategy.name: strategy for strategy in own})
    for name in _names(peers or ""):
        found.setdefault(name, find_peer(name))
    return tuple(found.values())


def on_plates(strategies: Sequence[Strategy], plates: str | None) -> tuple[Strategy, ...]:
    """Each strategy on whole plates of each shape, with commas between; "free" is no plates, so
    that "free,24x12x1" shows what the constraint costs."""
    if plates is None:
        return tuple(strategies)
    shapes = [None if n == "free" else PlateShape.read(n) for n in _names(plates)]
    return tuple(
        one if shape is None else one.on_plates(shape) for shape in shapes for one in strategies
    )


def folder_sources(
    path: Path, score: str, lines: str | None, known: Sequence[str]
) -> tuple[FolderSource, ...]:
    """The whole folder, or each of ``lines`` alone: "all", a number (the first so many, by name)
    or names separated by commas. ``known``: the folder's cell lines."""
    if lines is None:
        return (FolderSource(str(path), score),)
    wanted = list(known) if lines.strip() == "all" else list(_names(lines))
    if len(wanted) == 1 and wanted[0].isdigit() and wanted[0] not in known:
        count = int(wanted[0])
        if not 1 <= count <= len(known):
            raise ScreenError(f"the screen has {len(known)} cell lines, not {count}")
        wanted = sorted(known)[:count]
    for name in wanted:
        if name not in known:
            raise ScreenError(f"the screen has no cell line {name!r}; it has {', '.join(known)}")
    return tuple(FolderSource(str(path), score, name) for name in wanted)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))


def _slug(strategy: Strategy) -> str:
    parts = (strategy.model, strategy.acquisition, strategy.inputs, strategy.chooser)
    slug = "+".join(part for part in parts if part not in ("all", "acquisition"))
    return slug if strategy.plates is None else f"{slug}+{strategy.plates}"


def _configuration(strategy: Strategy) -> str:
    """What the models of a strategy were set up with."""
    model = strategy.registered
    if model is None:
        return ""
    names = AUTOMATIC if model == AUTO else (model,)
    return repr([(name, repr_of(find_model(name))) for name in names])
