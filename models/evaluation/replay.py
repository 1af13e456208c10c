"""Campaigns replayed on screens whose outcome is known: would the best have been found earlier?

campaign = PastCampaign.of_folder(load_oneil_layout(folder), "bliss_mean", fingerprints)
records = replay(campaign, RoundRules(batch_size=190), rounds=10, initial=190, seed=0)

Every batch is chosen by the code that the service runs, :func:`models.rounds.run_round`; the rules
of peers that it does not know run through its four stages and differ in the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from models.acquisition.hit_calibration import ForecastHistory
from models.acquisition.rules import AUTO_ACQUISITION
from models.bayes.forecast import mark
from models.bayes.predictive import Noise
from models.evaluation.metrics import top_share_found
from models.evaluation.past_campaign import PastCampaign
from models.evaluation.peer_plates import PLATE, PlateLayout, lay_out
from models.evaluation.peer_play import PeerRound
from models.evaluation.strategies import Strategy
from models.rounds import Pool, RoundResult, RoundRules, run_round
from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    Screen,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

__all__ = [
    "Choice",
    "Memory",
    "PastCampaign",
    "RoundRecord",
    "forecast_history",
    "play_round",
    "replay",
]

TOP_SHARE = 0.01
FORECASTS = ("hit_probability", "raw_hit_probability", "mean", "sd", "position", "log_density")
PARTS = ("prepare", "fit", "choose")
NO_PLATES = np.empty((0, PLATE), np.int64)


@dataclass(frozen=True)
class Choice:
    """What one round chose and what it had said of it before it was measured.

    ``chosen``: ``(k,)`` rows of the campaign, first choice first. ``forecast``: the names in
    ``FORECASTS``, ``(k,)`` each: ``hit_probability`` P(measured score > threshold) and
    ``raw_hit_probability`` before it was mended, predictive ``mean`` and ``sd`` (noise included),
    ``position`` P(measurement <= what was then measured) and ``log_density`` of it (nats).
    ``wall``: seconds per stage of the round; ``cpu``: CPU seconds of this process in its
    ``PARTS``. ``model``: that was fitted, or ``None``. ``step``: of the schedule, and why.
    """

    chosen: IntArray
    forecast: dict[str, FloatArray]
    model: str | None
    reason: str
    evidence: dict[str, Any]
    wall: dict[str, float]
    cpu: dict[str, float]
    step: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Wall seconds of all stages."""
        return sum(self.wall.values())

    def to_json(self) -> dict[str, Any]:
        """Inverse of :meth:`of_json`, to the bit."""
        return {
            "chosen": self.chosen.tolist(),
            "forecast": {name: column.tolist() for name, column in self.forecast.items()},
            "model": self.model,
            "reason": self.reason,
            "evidence": self.evidence,
            "wall": self.wall,
            "cpu": self.cpu,
            "step": self.step,
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Choice:
        """A stored choice."""
        forecast = {name: np.array(column) for name, column in found["forecast"].items()}
        return cls(**{**found, "chosen": np.array(found["chosen"], np.int64), "forecast": forecast})


class Memory(Protocol):
    """Keeps what rounds chose, so that a replay that was stopped goes on where it was."""

    def recall(self, number: int, measured: IntArray) -> Choice | None:
        """The choice of round ``number`` after exactly the blocks ``measured``, if known."""
        ...

    def keep(self, number: int, measured: IntArray, choice: Choice) -> None:
        """Remember it."""
        ...


@dataclass(frozen=True)
class RoundRecord:
    """After a round: ``measured`` blocks so far, share of the top found, share of the batch that
    were hits, ``evidence`` of the fit that chose it, and how long the choice took (0 where it was
    remembered). ``choice``: ``None`` in round 0, whose blocks are random."""

    number: int
    measured: int
    top_found: float
    hit_rate: float
    evidence: dict[str, Any]
    seconds: float
    chosen: IntArray
    choice: Choice | None = None
    reused: bool = False


def replay(
    campaign: PastCampaign,
    rules: RoundRules,
    *,
    rounds: int,
    initial: int,
    seed: int,
    strategy: Strategy | None = None,
    memory: Memory | None = None,
    device: str = "cpu",
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
    on_round: Callable[[RoundRecord], None] = lambda record: None,
) -> list[RoundRecord]:
    """``initial`` random blocks (round 0), then ``rounds`` batches chosen by :func:`play_round`.

    The first blocks depend on ``seed`` alone: arms with other rules start from the same. Stops
    early when nothing is left to measure. ``strategy``: what a peer does apart from the rules.
    Each round learns from what the ones before it had forecast; a strategy that plans does so with
    ``rounds`` unless the rules plan otherwise.
    """
    plans = rules.acquisition == AUTO_ACQUISITION or (strategy is not None and strategy.plans)
    if plans and rules.rounds_planned is None:
        rules = replace(rules, rounds_planned=max(rounds, 1))
    if not 1 <= initial <= len(campaign.candidates):
        raise ScreenError(f"cannot start from {initial} of {len(campaign.candidates)} blocks")
    measured = np.random.default_rng(seed).permutation(len(campaign.candidates))[:initial]
    layout = _layout(campaign, measured, strategy, seed)
    records = [_record(campaign, rules, 0, measured, measured, None, False)]
    on_round(records[0])
    for number in range(1, rounds + 1):
        if len(measured) == len(campaign.candidates):
            break
        choice = memory.recall(number, measured) if memory is not None else None
        reused = choice is not None
        if choice is None:
            choice = play_round(
                campaign,
                rules,
                measured,
                seed + 1000 * number,
                round_number=number,
                history=forecast_history(campaign, records, rules.hit_threshold),
                strategy=strategy,
                layout=layout,
                device=device,
                on_progress=on_progress,
                should_stop=should_stop,
            )
            if memory is not None:
                memory.keep(number, measured, choice)
        measured = np.concatenate([measured, choice.chosen])
        records.append(_record(campaign, rules, number, measured, choice.chosen, choice, reused))
        on_round(records[-1])
    return records


def _layout(
    campaign: PastCampaign, initial: IntArray, strategy: Strategy | None, seed: int
) -> PlateLayout | None:
    """Candidate plates of all but the first blocks, made once a campaign."""
    if strategy is None or strategy.chooser != "pdbal_plates":
        return None
    rest = np.setdiff1d(np.arange(len(campaign.candidates)), initial)
    return lay_out(campaign.candidates, rest, PLATE, seed)


def forecast_history(
    campaign: PastCampaign, records: Sequence[RoundRecord], threshold: float
) -> ForecastHistory:
    """What the rounds of ``records`` that had a model forecast of their batches, as it was stated
    before it was mended, and which blocks were then measured above the ``threshold``."""
    past = [(r, r.choice) for r in records if r.choice is not None and r.choice.model is not None]
    if not past:
        return ForecastHistory.none()
    latest = records[-1].number
    return ForecastHistory(
        np.concatenate([choice.forecast["raw_hit_probability"] for _, choice in past]),
        np.concatenate([campaign.observed[choice.chosen] > threshold for _, choice in past]),
        np.concatenate([np.full(len(c.chosen), latest - r.number, np.int64) for r, c in past]),
    )


def play_round(
    campaign: PastCampaign,
    rules: RoundRules,
    measured: IntArray,
    seed: int,
    *,
    round_number: int = 1,
    history: ForecastHistory | None = None,
    strategy: Strategy | None = None,
    layout: PlateLayout | None = None,
    device: str = "cpu",
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Choice:
    """Choose a batch among all blocks but ``measured`` (rows of the campaign), and note what was
    forecast for it. ``layout``: candidate plates of the ``strategy``, where it has any. Takes and
    raises what :func:`models.rounds.run_round` does."""
    rest = np.setdiff1d(np.arange(len(campaign.candidates)), measured)
    clock = _Clock(on_progress)
    result = _Played(
        campaign.reveal(measured),
        Pool.of(campaign.candidates.select(rest)),
        rules,
        seed,
        {"round_number": round_number, "history": history},
        NO_PLATES if layout is None else layout.left(rest),
        device,
        clock,
        should_stop,
    ).run(strategy if strategy is not None and strategy.own_way else None)
    cpu = clock.finish()
    chosen = rest[result.ranked.batch]
    return Choice(
        chosen=chosen,
        forecast=_forecast(
            result, campaign.candidates.select(chosen), rules, seed, campaign.observed[chosen]
        ),
        model=None if result.posterior is None else result.posterior.model,
        reason=result.reason,
        evidence=result.evidence,
        wall={name: round(value, 4) for name, value in result.timings.items()},
        cpu={name: round(value, 4) for name, value in cpu.items()},
        step=result.step,
    )


@dataclass(frozen=True)
class _Played:
    """One round: as the service plays it, or in a peer's way. ``plates``: see
    :class:`models.evaluation.peer_play.PeerRound`."""

    screen: Screen
    pool: Pool
    rules: RoundRules
    seed: int
    past: dict[str, Any]
    plates: IntArray
    device: str
    on_progress: ProgressCallback
    should_stop: StopCallback

    def run(self, strategy: Strategy | None) -> RoundResult:
        """The round as ``strategy`` plays it; as the service does for ``None``. Raises
        ``Stopped``."""
        if strategy is not None:
            return self._as_peer(strategy)
        return run_round(
            self.screen,
            self.pool,
            self.rules,
            self.seed,
            device=self.device,
            **self.past,
            **self._watch(),
        )

    def _as_peer(self, strategy: Strategy) -> RoundResult:
        return PeerRound(
            strategy,
            self.screen,
            self.pool,
            self.rules,
            self.seed,
            self.plates,
            self.past,
            self._watch(),
            self.device,
        ).run()

    def _watch(self) -> dict[str, Any]:
        return {"on_progress": self.on_progress, "should_stop": self.should_stop}


@dataclass
class _Clock:
    """CPU seconds of the parts of a round, told apart by the stages that it reports.

    Scoring the pool and choosing from it are one part: nothing is reported in between.
    """

    inner: ProgressCallback
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    _part: int = 0
    _last: float = field(default_factory=time.process_time)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._count()
        if stage == "scoring":
            self._part = 2
        elif stage not in ("curves", "blocks"):
            self._part = max(self._part, 1)
        self.inner(stage, done, total)

    def finish(self) -> dict[str, float]:
        """CPU seconds of each of ``PARTS``, the time since the last report included."""
        self._count()
        return self.spent

    def _count(self) -> None:
        now = time.process_time()
        self.spent[PARTS[self._part]] += now - self._last
        self._last = now


def _forecast(
    result: RoundResult,
    at: Candidates,
    rules: RoundRules,
    seed: int,
    observed: FloatArray,
) -> dict[str, FloatArray]:
    """What the round said of its batch, held against what was then measured."""
    posterior, ranked = result.posterior, result.ranked
    rows = ranked.in_batch
    if posterior is None:
        draws, noise = ranked.mean[None, rows], Noise(ranked.sd[rows])
    else:
        draws = posterior.draws(at, rules.draws, seed).numpy().astype(np.float64)
        scale = posterior.noise_scale(at).numpy().astype(np.float64)
        noise = Noise(scale, posterior.noise_df)
    marks = mark(draws, observed, noise)
    return {
        "hit_probability": ranked.hit_probability[rows],
        "raw_hit_probability": result.raw_hit_probability[rows],
        "mean": ranked.mean[rows],
        "sd": ranked.sd[rows],
        "position": marks.position,
        "log_density": marks.log_density,
    }


def _record(
    campaign: PastCampaign,
    rules: RoundRules,
    number: int,
    measured: IntArray,
    chosen: IntArray,
    choice: Choice | None,
    reused: bool,
) -> RoundRecord:
    return RoundRecord(
        number=number,
        measured=len(measured),
        top_found=top_share_found(campaign.truth, measured, TOP_SHARE),
        hit_rate=float(np.mean(campaign.observed[chosen] > rules.hit_threshold)),
        evidence={} if choice is None else choice.evidence,
        seconds=0.0 if choice is None or reused else choice.seconds,
        chosen=chosen,
        choice=choice,
        reused=reused,
    )
