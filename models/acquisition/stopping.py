"""When to stop: hits left in the pool, the value of one more plate, the curve so far.

    seen = survey_pool(posterior, candidates, usable, threshold=10.0, draws=128, seed=1, plate=24)
    stop_advice(seen.left, seen.plates[0], found=31, rules=StopRules()).reason

Everything is as good as the model: a forecast that is not calibrated gives advice that is not
either, so advice to stop is softened where the model's own evidence does not support it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.acquisition.hit_calibration import HitCalibration
from models.acquisition.hit_counts import LEVEL, HitCounter, HitForecast, next_plates
from models.acquisition.schedule import judge_evidence
from models.bayes.predictive import Noise
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.registry import ModelPosterior
from models.synergy.worlds import nearby

GO_ON, CONSIDER, STOP = ADVICE = ("go on", "consider stopping", "stop")
ELEMENTS_PER_BLOCK = 1 << 20
"""Candidates times draws between two looks at ``should_stop``."""


@dataclass(frozen=True)
class StopRules:
    """What makes one more plate not worth it; any one rule is enough.

    ``share`` of all hits found, with ``certainty``; fewer than ``min_hits_per_plate`` new hits; a
    hit that costs more than ``most_cost_per_hit`` where a plate costs ``cost_per_plate``.
    """

    share: float = 0.9
    certainty: float = 0.9
    min_hits_per_plate: float = 0.5
    cost_per_plate: float | None = None
    most_cost_per_hit: float | None = None

    def __post_init__(self) -> None:
        for name in ("share", "certainty"):
            if not 0 < getattr(self, name) < 1:
                raise ScreenError(f"{name} is {getattr(self, name)}, must be between 0 and 1")
        if not (math.isfinite(self.min_hits_per_plate) and self.min_hits_per_plate >= 0):
            raise ScreenError("the fewest hits of a plate must be a number, not negative")
        if (self.cost_per_plate is None) != (self.most_cost_per_hit is None):
            raise ScreenError("a cost per plate and a most cost per hit belong together")
        for cost in (self.cost_per_plate, self.most_cost_per_hit):
            if cost is not None and not (math.isfinite(cost) and cost > 0):
                raise ScreenError(f"a cost is {cost}, must be positive")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StopRules:
        """Inverse of :func:`dataclasses.asdict`; :class:`ScreenError` for unknown entries."""
        try:
            return cls(**data)
        except TypeError as error:
            raise ScreenError(f"rules for stopping cannot be read: {error}") from error


@dataclass(frozen=True)
class PoolSurvey:
    """``left``: hits that the unmeasured pool would show if all of it were measured;
    ``true_left``: candidates whose noise-free score is a hit; ``plates``: new hits of each of the
    next plates, taken by falling hit probability; ``rows``: pool rows of each."""

    left: HitForecast
    true_left: HitForecast
    plates: tuple[HitForecast, ...]
    rows: tuple[IntArray, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able numbers, without the rows."""
        return {
            "left": self.left.as_dict(),
            "true_left": self.true_left.as_dict(),
            "plates": [plate.as_dict() for plate in self.plates],
        }


@dataclass(frozen=True)
class StopAdvice:
    """``advice``: one of ``ADVICE``. ``reason``: in words and numbers. ``numbers``: JSON-able, all
    that the reason quotes."""

    advice: str
    reason: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class CurvePoint:
    """After round ``round``: ``measured`` blocks and ``hits`` so far; the ``share`` of all hits
    found by then, with interval, ``None`` where there is no hit at all."""

    round: int
    measured: int
    hits: int
    share: float | None
    share_low: float | None
    share_high: float | None


def survey_pool(
    posterior: ModelPosterior,
    candidates: Candidates,
    usable: BoolArray,
    *,
    threshold: float,
    draws: int,
    seed: int,
    plate: int,
    plates: int = 1,
    level: float = LEVEL,
    calibration: HitCalibration | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolSurvey:
    """Count the hits among the ``usable`` ``(m,)`` candidates, in bounded memory.

    ``plate``: blocks per plate. ``calibration``: from forecasts that were put to the test; without
    one the sum over a large pool can be far off though the model orders it well. The whole pool is
    drawn once and the next plates once more, in the same worlds. Raises ``Stopped``, and
    :class:`ScreenError` where no candidate is usable.
    """
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise ScreenError("no candidate of the pool is left to be counted")
    counter, chance = HitCounter(draws, level, calibration), np.empty(len(rows))
    size = max(1, ELEMENTS_PER_BLOCK // draws)
    order = nearby(candidates.select(rows), size)
    for start in range(0, len(rows), size):
        if should_stop():
            raise Stopped
        on_progress("counting hits", start, len(rows))
        part = order[start : start + size]
        functions, noise = _functions(posterior, candidates.select(rows[part]), draws, seed)
        chance[part] = counter.meet(functions, threshold, noise)
    best = np.argsort(-chance, kind="stable")[: plate * plates]
    functions, noise = _functions(posterior, candidates.select(rows[best]), draws, seed)
    chosen = next_plates(
        functions, threshold, noise, plate, plates, level=level, calibration=calibration
    )
    return PoolSurvey(
        left=counter.measured(),
        true_left=counter.true(),
        plates=tuple(forecast for _, forecast in chosen),
        rows=tuple(rows[best[at]] for at, _ in chosen),
    )


def _functions(
    posterior: ModelPosterior, at: Candidates, draws: int, seed: int
) -> tuple[FloatArray, Noise]:
    functions = posterior.draws(at, draws, seed).cpu().numpy().astype(np.float64)
    scale = posterior.noise_scale(at).cpu().numpy().astype(np.float64)
    return functions, Noise(scale, posterior.noise_df)


def stop_advice(
    left: HitForecast,
    next_plate: HitForecast,
    found: int,
    rules: StopRules,
    *,
    evidence: Mapping[str, Any] | None = None,
    calibration: HitCalibration | None = None,
) -> StopAdvice:
    """Advice from hits ``left`` in the pool, those of the ``next_plate`` and those ``found``.

    "stop" where a rule holds with the certainty of its interval, "consider stopping" where it
    holds on expectation only, or where it holds but ``evidence`` (see
    :func:`models.synergy.evidence.measure_evidence`) does not support the model's forecasts.
    ``calibration``: the one behind the counts, for the reason; it says where there was none.
    """
    if found < 0:
        raise ScreenError(f"{found} hits found, expected a count")
    verdicts = [_by_share(left, found, rules), _by_yield(next_plate, rules)]
    if rules.cost_per_plate is not None and rules.most_cost_per_hit is not None:
        verdicts.append(_by_cost(next_plate, rules.cost_per_plate, rules.most_cost_per_hit))
    strength = max(level for level, _ in verdicts)
    trust = None if evidence is None else judge_evidence(evidence)
    words = [_facts(left, next_plate, found)]
    words += [said for level, said in verdicts if level == strength]
    if strength and trust is not None and not trust.good:
        strength = ADVICE.index(CONSIDER)
        words.append(f"Take this with care: {trust.words}.")
    known = (
        "hit probabilities were not put to the test"
        if calibration is None
        else calibration.describe()
    )
    words.append(f"{known[0].upper()}{known[1:]}.")
    numbers = {
        "found": found,
        "left": left.as_dict(),
        "next_plate": next_plate.as_dict(),
        "share_found": list(_share(found, found, left)),
        "probability_share_reached": _probability_of_share(left, found, rules.share),
        "cost_per_hit": _cost_per_hit(rules.cost_per_plate, next_plate.expected),
        "trusted": None if trust is None else trust.good,
        "calibrated": calibration is not None,
    }
    return StopAdvice(ADVICE[strength], " ".join(words), numbers)


def learning_curve(
    measured: Sequence[int], hits: Sequence[int], left: HitForecast
) -> tuple[CurvePoint, ...]:
    """The campaign so far: blocks ``measured`` and new ``hits`` of each round, first round first.

    With ``F`` hits found in all and ``L`` left, the share found by round ``r`` is
    ``E[hits_r / (F + L)]``, its interval that of ``L``: earlier rounds, too, are seen with today's
    knowledge of how many there are.
    """
    if len(measured) != len(hits) or any(
        h < 0 or h > m for h, m in zip(hits, measured, strict=True)
    ):
        raise ScreenError("every round needs its measured blocks and at most as many hits")
    blocks, found = np.cumsum(measured), np.cumsum(hits)
    points = []
    for r, (block, hit) in enumerate(zip(blocks, found, strict=True)):
        share = _share(int(hit), int(found[-1]), left)
        points.append(CurvePoint(r + 1, int(block), int(hit), *share))
    return tuple(points)


def _by_share(left: HitForecast, found: int, rules: StopRules) -> tuple[int, str]:
    """Strength (position in ``ADVICE``) and words."""
    sure = _probability_of_share(left, found, rules.share)
    goal = f"{100 * rules.share:.0f} % of all hits"
    if sure >= rules.certainty:
        return 2, f"At least {goal} have been found: this is {_percent(sure)} certain."
    share = _share(found, found, left)[0]
    if share is not None and share >= rules.share:
        said = f"About {_percent(share)} of all hits have been found, but it is only"
        return 1, f"{said} {_percent(sure)} certain that these are at least {goal}."
    return 0, f"It is {_percent(sure)} certain that at least {goal} have been found."


def _by_yield(plate: HitForecast, rules: StopRules) -> tuple[int, str]:
    least, high = rules.min_hits_per_plate, plate.interval[1]
    if high < least:
        return 2, f"The next plate will hardly find more than {high}, {least:g} are asked for."
    if plate.expected < least:
        return 1, f"The next plate is expected to find fewer than the {least:g} hits asked for."
    return 0, f"The next plate is expected to find at least the {least:g} hits asked for."


def _by_cost(plate: HitForecast, cost: float, most: float) -> tuple[int, str]:
    expected, best = (_cost_per_hit(cost, n) for n in (plate.expected, plate.interval[1]))
    limit = f"the limit is {most:,.6g}"
    if best is None or best > most:
        said = "no hit is in sight" if best is None else f"a new hit costs at least {best:,.6g}"
        return 2, f"Even if the next plate goes well, {said}; {limit}."
    if expected is None or expected > most:
        return 1, f"A new hit is expected to cost {expected or math.inf:,.6g}; {limit}."
    return 0, f"A new hit is expected to cost {expected:,.6g}; {limit}."


def _facts(left: HitForecast, plate: HitForecast, found: int) -> str:
    share, low, high = _share(found, found, left)
    known = ""
    if share is not None and low is not None and high is not None:
        known = f", {100 * share:.0f} % of all ({100 * low:.0f} to {100 * high:.0f} %)"
    return (
        f"{found} hits are found{known}; {left.describe()} are left in the pool, "
        f"{plate.describe()} of them on the next plate."
    )


def _share(
    hits: int, found: int, left: HitForecast
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Mean and interval of ``hits / (found + left)``; nothing where there is no hit at all."""
    if found == 0:
        return (0.0, 0.0, 0.0) if left.expected > 0 else (None, None, None)
    low, high = left.interval
    mean = float(left.probability @ (hits / (found + np.arange(len(left.probability)))))
    return mean, hits / (found + high), hits / (found + low)


def _probability_of_share(left: HitForecast, found: int, share: float) -> float:
    """P(found / (found + left) >= share)."""
    return left.probability_at_most(found * (1.0 - share) / share)


def _percent(share: float) -> str:
    """A whole percentage that does not claim certainty."""
    if 0.995 <= share < 1.0:
        return "over 99 %"
    return "under 1 %" if 0.0 < share < 0.005 else f"{100 * share:.0f} %"


def _cost_per_hit(cost: float | None, hits: float) -> float | None:
    return None if cost is None or hits <= 0 else cost / hits
