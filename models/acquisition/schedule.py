"""From exploring to finding: which acquisition a round should use, and why, in words.

What a round learns pays off in the rounds after it, so exploring is worth the more the more
rounds follow, and nothing in the last. A model that does not yet order blocks better than chance
has nothing to exploit. So a batch is found by ``finder`` but for a share that ``explorer``
chooses: all of it while the model knows nothing, then a share that falls linearly with the rounds
that remain, none of it in the last round.

    step = propose_step(3, rounds_planned=10, evidence=fitted.evidence)
    step.acquisition, step.explore_share, step.explorer, step.reason
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from models.acquisition.functions import ACQUISITIONS
from models.screen import FloatArray, ScreenError

EXPLORE, BOTH, FIND = "explore", "both", "find"
CERTAINTY = 0.95
"""One-sided certainty with which a rank correlation must be above zero."""
FEWEST_HELD_OUT = 5


@dataclass(frozen=True)
class ScheduleRules:
    """``finder``, ``explorer``: names in :data:`models.acquisition.functions.ACQUISITIONS`.

    ``most_explored``: share of the batch that explores in the first round of a model that knows
    something. ``open_ended``: the share without a planned end. ``most_kappa``: ``kappa`` of "ucb"
    as a finder in the first round; it falls like the share, to 0 in the last round.
    """

    finder: str = "hit_probability"
    explorer: str = "thompson"
    most_explored: float = 0.25
    open_ended: float = 0.1
    most_kappa: float = 2.0

    def __post_init__(self) -> None:
        for name in (self.finder, self.explorer):
            if name not in ACQUISITIONS:
                known = ", ".join(ACQUISITIONS)
                raise ScreenError(f"unknown acquisition {name!r}; known are {known}")
        for share in (self.most_explored, self.open_ended):
            if not 0 <= share <= 1:
                raise ScreenError(f"a share that explores is {share}, must be between 0 and 1")
        if not (math.isfinite(self.most_kappa) and self.most_kappa >= 0):
            raise ScreenError(f"kappa is {self.most_kappa}, expected a number, not negative")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScheduleRules:
        """Inverse of :func:`dataclasses.asdict`; :class:`ScreenError` for unknown entries."""
        try:
            return cls(**data)
        except TypeError as error:
            raise ScreenError(f"rules for a schedule cannot be read: {error}") from error


@dataclass(frozen=True)
class Step:
    """What a round should do. ``phase``: ``EXPLORE``, ``BOTH`` or ``FIND``. ``acquisition``
    chooses the batch but for ``explore_share`` of it, which ``explorer`` chooses. ``kappa``: for
    "ucb". ``reason``: in words, with the numbers it rests on."""

    phase: str
    acquisition: str
    kappa: float
    explorer: str
    explore_share: float
    reason: str


@dataclass(frozen=True)
class Trust:
    """``good``: do the forecasts order held-out blocks, and better than the baselines know?
    ``words`` say so; ``rank_low``: lower bound of the rank correlation; ``gain``: nats per block
    over the best baseline; both ``None`` where unknown."""

    good: bool
    words: str
    rank_low: float | None
    gain: float | None


def propose_step(
    round_number: int,
    *,
    rounds_planned: int | None,
    evidence: Mapping[str, Any] | None,
    rules: ScheduleRules | None = None,
) -> Step:
    """The step of round ``round_number`` (the first is 1) of ``rounds_planned`` (``None``: open).

    ``evidence``: of the model as it will score this round, see
    :func:`models.synergy.evidence.measure_evidence`; ``None`` before there is any. A round beyond
    the plan counts as the last. Raises :class:`ScreenError` for numbers below 1.
    """
    rules = rules or ScheduleRules()
    if round_number < 1 or (rounds_planned is not None and rounds_planned < 1):
        raise ScreenError("rounds are counted from 1")
    trust = judge_evidence(evidence)
    if rounds_planned is not None and round_number >= rounds_planned:
        reason = (
            f"Last of {rounds_planned} planned rounds: nothing learned now can be used later, so "
            f"the whole batch goes to what is likeliest to be found; {trust.words}."
        )
        return Step(FIND, rules.finder, 0.0, rules.explorer, 0.0, reason)
    remaining = _remaining(round_number, rounds_planned)
    kappa = rules.most_kappa * remaining
    when = f"Round {round_number}" + (f" of {rounds_planned}" if rounds_planned else "")
    if not trust.good:
        reason = f"{when}: {trust.words}, so the whole batch explores by {rules.explorer}."
        return Step(EXPLORE, rules.explorer, kappa, rules.explorer, 1.0, reason)
    share = rules.open_ended if rounds_planned is None else rules.most_explored * remaining
    later = (
        "without a planned end a fixed share keeps exploring"
        if rounds_planned is None
        else f"{rounds_planned - round_number} more can use what this one learns"
    )
    reason = (
        f"{when}: {trust.words}; {later}, so {rules.finder} chooses and {100 * share:.0f} % of the "
        f"batch explores by {rules.explorer}."
    )
    return Step(BOTH, rules.finder, kappa, rules.explorer, share, reason)


def rounds_within_budget(round_number: int, blocks_left: int, batch_size: int) -> int:
    """``rounds_planned`` where a budget of blocks, not a plan, ends the campaign.

    ``blocks_left``: that may still be measured, those of round ``round_number`` included. A last
    batch may be smaller than ``batch_size``.
    """
    if round_number < 1 or blocks_left < 1 or batch_size < 1:
        raise ScreenError("a round number, a budget and a batch size are at least 1")
    return round_number - 1 + math.ceil(blocks_left / batch_size)


def judge_evidence(evidence: Mapping[str, Any] | None) -> Trust:
    """What a round's evidence says about trusting the model's order.

    Good: the Spearman correlation with held-out blocks is above 0 with ``CERTAINTY`` (Fisher's z,
    standard error sqrt(1.06 / (n - 3)); Fieller, Hartley & Pearson, Biometrika 44 (1957), 470),
    and the log density is above that of every baseline.
    """
    model = None if evidence is None else evidence.get("model")
    if evidence is None or model is None:
        return Trust(False, "no model has been checked on held-out blocks yet", None, None)
    count = int(evidence.get("n_held_out", 0))
    rank, gain = model.get("spearman"), _gain(evidence)
    if rank is None or count < FEWEST_HELD_OUT:
        return Trust(False, f"{count} held-out blocks cannot show an order", None, gain)
    error = math.sqrt(1.06 / (count - 3))
    bounded = min(max(rank, -1 + 1e-9), 1 - 1e-9)
    low = math.tanh(math.atanh(bounded) - float(scipy.stats.norm.ppf(CERTAINTY)) * error)
    seen = f"rank correlation {rank:.2f} on {count} held-out blocks"
    if low <= 0:
        return Trust(False, f"the model does not order blocks beyond chance ({seen})", low, gain)
    if gain is not None and gain <= 0:
        words = f"a baseline forecasts as well as the model ({gain:+.2f} nats a block; {seen})"
        return Trust(False, words, low, gain)
    said = "" if gain is None else f", {gain:+.2f} nats a block over the best baseline"
    return Trust(True, f"the model orders blocks ({seen}{said})", low, gain)


def mixed_values(
    finding: FloatArray, exploring: FloatArray, share: float, length: int
) -> FloatArray:
    """``(m,)`` values whose falling order mixes two: of every prefix ``share`` explores.

    Positions up to ``length`` take turns, each the best candidate of its own values not yet named;
    the rest follows by ``finding``. A chooser that passes over candidates keeps about the mixture.
    The values are those of ``finding``, handed out anew: the first in the order gets the largest,
    so that sums keep the unit of ``finding``. Of equal values the next one down is handed out.
    """
    if not 0 <= share <= 1 or finding.shape != exploring.shape:
        raise ScreenError("a mixture needs a share between 0 and 1 and two values per candidate")
    explores = np.diff(np.floor(share * np.arange(length + 1) + 1e-9)) > 0
    ends = int((~explores).sum()), int(explores.sum())
    # Each list may lose at most as many to the other as that one names.
    orders = [np.argsort(-values, kind="stable") for values in (finding, exploring)]
    heads = [iter(order[: sum(ends)].tolist()) for order in orders]
    named: dict[int, None] = {}
    for explore in explores[: len(finding)]:
        named[next(row for row in heads[int(explore)] if row not in named)] = None
    first = np.array(list(named), dtype=np.int64)
    rest = np.ones(len(finding), bool)
    rest[first] = False
    values = np.empty(len(finding))
    order = np.concatenate([first, orders[0][rest[orders[0]]]])
    values[order] = _falling(finding[orders[0]], len(first))
    return values


def _falling(ordered: FloatArray, length: int) -> FloatArray:
    """``ordered`` so that the ``length`` first fall strictly, and lie above all others: ties, in
    which the order would be lost, move to the next float."""
    falling = np.array(ordered, dtype=np.float64)
    for k in range(1, length):
        falling[k] = min(falling[k], np.nextafter(falling[k - 1], -np.inf))
    if length:
        falling[length:] = np.minimum(falling[length:], np.nextafter(falling[length - 1], -np.inf))
    return falling


def _remaining(round_number: int, rounds_planned: int | None) -> float:
    """Rounds that remain, as a share: 1 in the first, 0 in the last; 1/2 without an end."""
    if rounds_planned is None:
        return 0.5
    return (rounds_planned - round_number) / max(rounds_planned - 1, 1)


def _gain(evidence: Mapping[str, Any]) -> float | None:
    """Nats per held-out block over the best baseline."""
    own = evidence["model"].get("elpd")
    others = [b.get("elpd") for b in evidence.get("baselines", {}).values()]
    known = [elpd for elpd in others if elpd is not None]
    return None if own is None or not known else own - max(known)
