"""What one replayed campaign achieved, round by round: what was found, and what had been promised.

rounds = campaign_report(campaign, records, threshold=10.0)

Everything is JSON-able. A *hit* is a block whose measured score exceeds the threshold; the *top*
are the best blocks of the whole screen by their true score (in a measured screen the same score).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.forecast import number
from models.bayes.predictive import LEVELS, rmse
from models.evaluation.metrics import top_rows
from models.evaluation.past_campaign import PastCampaign
from models.evaluation.replay import Choice, RoundRecord
from models.screen import BoolArray, FloatArray, IntArray

TOPS = {"1": 0.01, "5": 0.05}
"""Shares of the screen that count as its top, keys in percent."""
EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the bins of forecast hit probabilities."""

Round = dict[str, Any]


def campaign_report(
    campaign: PastCampaign, records: Sequence[RoundRecord], threshold: float
) -> list[Round]:
    """One entry a round, round 0 (the first, random blocks) included:

    ``measured`` blocks so far; ``batch`` blocks of this round; ``hits``: in the ``batch``, in
    ``all`` that was measured, as ``share`` of all there are; ``top``: share found by key of
    ``TOPS``; ``enrichment``: hit rate over chance with a 95 % interval, of the ``batch`` (chance:
    any block left before it) and of all ``chosen`` after round 0 (chance: any block left then);
    ``regret``: score of the best block of all minus the best found (``best``), and the same for
    the mean of the best one percent (``mean_of_best``); ``distinct`` compounds, pairs and cell
    lines in the batch; ``forecast``: see :func:`forecast_report`, ``None`` in round 0; ``wall``
    and ``cpu`` seconds; ``model`` that chose; ``step`` of the schedule.
    """
    state = _State(campaign, threshold)
    return [state.meet(record) for record in records]


class _State:
    """What is known of the screen, and of the campaign so far."""

    def __init__(self, campaign: PastCampaign, threshold: float) -> None:
        self.campaign = campaign
        self.hit: BoolArray = campaign.observed > threshold
        self.tops = {key: top_rows(campaign.truth, share) for key, share in TOPS.items()}
        self.ideal = np.sort(campaign.truth)[::-1][: len(self.tops["1"])]
        self.measured = np.empty(0, np.int64)
        self.initial = np.empty(0, np.int64)

    def meet(self, record: RoundRecord) -> Round:
        """Learn what the next round measured, and say its entry of :func:`campaign_report`."""
        before, batch = self.measured, record.chosen
        self.measured = np.concatenate([before, batch])
        if record.number == 0:
            self.initial = batch
        first = record.number == 0
        return {
            "number": record.number,
            "measured": len(self.measured),
            "batch": len(batch),
            "hits": self._hits(batch),
            "top": {
                key: number(float(np.isin(rows, self.measured).mean()))
                for key, rows in self.tops.items()
            },
            "enrichment": {
                "batch": None if first else self._enrichment(batch, before),
                "chosen": None if first else self._enrichment(self._chosen(), self.initial),
            },
            "regret": self._regret(),
            "distinct": _distinct(self.campaign, batch),
            "forecast": _forecast(record.choice, self.hit[batch], self.campaign.observed[batch]),
            "wall": {} if record.choice is None else record.choice.wall,
            "cpu": {} if record.choice is None else record.choice.cpu,
            "model": None if record.choice is None else record.choice.model,
            "step": {} if record.choice is None else record.choice.step,
        }

    def _chosen(self) -> IntArray:
        return self.measured[len(self.initial) :]

    def _hits(self, batch: IntArray) -> dict[str, Any]:
        found, total = int(self.hit[self.measured].sum()), int(self.hit.sum())
        share = number(found / total) if total else None
        return {"batch": int(self.hit[batch].sum()), "all": found, "share": share}

    def _enrichment(self, rows: IntArray, known: IntArray) -> dict[str, float | None]:
        left = len(self.hit) - len(known)
        base = (int(self.hit.sum()) - int(self.hit[known].sum())) / left
        if not base:
            return {"value": None, "low": None, "high": None}
        found = int(self.hit[rows].sum())
        low, high = binomial_interval(found, len(rows))
        return {
            "value": number(found / len(rows) / base),
            "low": number(low / base),
            "high": number(high / base),
        }

    def _regret(self) -> dict[str, Any]:
        truth, k = self.campaign.truth, len(self.ideal)
        found = np.sort(truth[self.measured])[::-1][:k]
        gap = float(self.ideal[: len(found)].mean() - found.mean())
        return {
            "best": number(float(self.ideal[0] - found[0])),
            "mean_of_best": number(gap),
            "k": len(found),
        }


def forecast_report(
    forecast: dict[str, FloatArray], hit: BoolArray, observed: FloatArray
) -> dict[str, Any]:
    """What a round had promised of its batch of ``k`` blocks against what it got.

    ``expected`` hits (sum of the probabilities), their ``sd`` if blocks were independent,
    ``expected_raw`` before the probabilities were mended (``None`` where unknown), ``found`` hits;
    ``bins``: for each pair of ``EDGES`` the blocks ``n``, the sum of their probabilities
    ``expected`` and the hits ``found``; ``inside``: blocks within the central interval of each
    level, keys in percent; ``log_density`` (mean, nats), ``rmse`` of the means and ``bias``,
    their mean error.
    """
    p, raw = forecast["hit_probability"], forecast.get("raw_hit_probability")
    off_centre = np.abs(forecast["position"] - 0.5)
    return {
        "n": len(p),
        "expected": number(float(p.sum())),
        "sd": number(float(np.sqrt(np.sum(p * (1 - p))))),
        "expected_raw": None if raw is None else number(float(raw.sum())),
        "found": int(hit.sum()),
        "bins": hit_bins(p, hit),
        "inside": {f"{100 * q:.0f}": int(np.sum(off_centre <= q / 2)) for q in LEVELS},
        "log_density": number(float(forecast["log_density"].mean())),
        "rmse": number(rmse(forecast["mean"], observed)),
        "bias": number(float(np.mean(forecast["mean"] - observed))),
    }


def hit_bins(p: FloatArray, hit: BoolArray) -> list[dict[str, Any]]:
    """Blocks, expected hits and hits in each bin of ``EDGES``, the last one closed."""
    at = np.clip(np.searchsorted(EDGES, p, side="right") - 1, 0, len(EDGES) - 2)
    count, found, expected = (
        np.bincount(at, weights, len(EDGES) - 1) for weights in (None, hit.astype(float), p)
    )
    return [
        {"n": int(count[k]), "expected": number(float(expected[k])), "found": int(found[k])}
        for k in range(len(EDGES) - 1)
    ]


def binomial_interval(found: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper & Pearson 1934); (0, 1) for no trials."""
    tail = (1 - level) / 2
    low = float(scipy.stats.beta.ppf(tail, found, n - found + 1)) if found else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, found + 1, n - found)) if found < n else 1.0
    return low, high


def ceiling_share(measured: FloatArray, initial: int, total: int, top: int) -> FloatArray:
    """Share of ``top`` blocks that an oracle has found after ``measured`` of ``total`` blocks:
    chance in the ``initial`` ones, then nothing but the best."""
    start = top * initial / total
    return np.asarray(np.minimum(start + np.maximum(measured - initial, 0), top) / top)


def _forecast(choice: Choice | None, hit: BoolArray, observed: FloatArray) -> dict[str, Any] | None:
    return None if choice is None else forecast_report(choice.forecast, hit, observed)


def _distinct(campaign: PastCampaign, rows: IntArray) -> dict[str, int]:
    at = campaign.candidates.select(rows)
    return {
        "compounds": len(np.unique(at.compounds)),
        "pairs": len(np.unique(at.compounds, axis=0)),
        "cell_lines": len(np.unique(at.cell_line)),
    }
