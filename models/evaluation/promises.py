"""Hit probabilities of what was recommended against the hits found, from reports of replays.

    for name, played in campaigns_by_strategy([json.loads(path.read_text())]).items():
        settled = promised_and_found(played, lambda number: number > SETTLED)

A forecast is honest where of the blocks given a probability p a share p are hits. Blocks of one
campaign err together, so beside the exact interval, for which blocks are independent, stands one
for which only campaigns are: a ratio of sums over C campaigns has the standard error
sqrt(C / (C - 1) sum_c (f_c - R n_c)^2) / sum_c n_c (Cochran, Sampling Techniques, 1977, 6.4).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.forecast import number
from models.evaluation.campaign_report import EDGES, Round
from models.evaluation.replay_summary import SETTLED, Played, pooled
from models.screen import FloatArray, ScreenError


def campaigns_by_strategy(reports: Sequence[Mapping[str, Any]]) -> dict[str, list[Played]]:
    """Campaigns of all ``reports`` (:func:`models.evaluation.replay_running.describe_replays`) by
    strategy; without those that no model chose.

    Raises :class:`ScreenError` for what is no such report, and for a campaign that is in two.
    """
    found: dict[str, list[Played]] = {}
    known: set[tuple[Any, ...]] = set()
    for report in reports:
        try:
            study = report["study"]
            entries = [(n, c) for n, e in report["strategies"].items() for c in e["campaigns"]]
        except (KeyError, TypeError) as error:
            raise ScreenError("this is no report of replayed campaigns") from error
        for name, one in entries:
            identity = (name, one["source"], one["seed"], study["score"], one["threshold"])
            if identity in known:
                raise ScreenError(f"{name}, {one['source']}, seed {one['seed']} is in two reports")
            known.add(identity)
            if any(r["model"] is not None for r in one["rounds"]):
                found.setdefault(name, []).append(Played(**one))
    return found


def promised_and_found(
    played: Sequence[Played], keep: Callable[[int], bool] = lambda number: True
) -> dict[str, Any]:
    """Batches of the rounds that ``keep`` keeps by their number and that a model chose, JSON-able.

    As :func:`models.evaluation.replay_summary.pooled`, and ``campaigns`` that have any; the
    ``ratio`` of hits found to promised with the ends ``ratio_low`` and ``ratio_high`` of its 95 %
    interval over campaigns; in each bin ``campaign_low`` and ``campaign_high`` of its share in the
    same way. These are ``None`` with fewer than two campaigns.
    """
    rounds = [
        kept for one in played if (kept := [r for r in one.rounds if _chosen(r) and keep(_k(r))])
    ]
    report = pooled([r for campaign in rounds for r in campaign])
    found, expected = (
        np.array([sum(r["forecast"][key] for r in c) for c in rounds], dtype=np.float64)
        for key in ("found", "expected")
    )
    low, high = _ends(found, expected)
    total = float(expected.sum())
    report |= {
        "campaigns": len(rounds),
        "ratio": number(float(found.sum()) / total) if total > 0 else None,
        "ratio_low": low,
        "ratio_high": high,
    }
    for entry in report["bins"]:
        k = EDGES.index(entry["low"])
        low, high = _ends(
            *(
                np.array([sum(r["forecast"]["bins"][k][key] for r in c) for c in rounds], float)
                for key in ("found", "n")
            )
        )
        entry |= {"campaign_low": low, "campaign_high": None if high is None else min(high, 1.0)}
    return report


def promises(played: Sequence[Played]) -> dict[str, Any]:
    """``settled``: all rounds after ``SETTLED``; ``by_round``: each round, with its ``number``.
    See :func:`promised_and_found`."""
    numbers = sorted({_k(r) for one in played for r in one.rounds if _chosen(r)})
    return {
        "settled": promised_and_found(played, lambda n: n > SETTLED),
        "by_round": [
            {"number": k, **promised_and_found(played, partial(operator.eq, k))} for k in numbers
        ],
    }


def _ends(found: FloatArray, of: FloatArray) -> tuple[float | None, float | None]:
    """95 % interval of ``sum(found) / sum(of)`` over campaigns, not below 0."""
    some = of > 0
    count, total = int(some.sum()), float(of.sum())
    if count < 2:
        return None, None
    ratio = float(found.sum()) / total
    away = found[some] - ratio * of[some]
    error = float(np.sqrt(count / (count - 1) * np.square(away).sum())) / total
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * error
    return number(max(ratio - half, 0.0)), number(ratio + half)


def _chosen(entry: Round) -> bool:
    return entry["forecast"] is not None and entry["model"] is not None


def _k(entry: Round) -> int:
    return int(entry["number"])
